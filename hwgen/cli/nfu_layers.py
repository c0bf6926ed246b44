"""``hwgen nfu layers``: how each layer of a network runs on an NFU."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hwgen.cli._console import print_json
from hwgen.cli._nfu import PICTURE, timing_of, timing_options
from hwgen.cli._options import DIRECTORY, JSON, TILE, FiniteRange
from hwgen.cli._result import write_file
from hwgen.cli._table import print_table
from hwgen.errors import ResourceError
from hwgen.flow.nfu import compiled_network
from hwgen.flow.workspace import Workspace
from hwgen.nfu.assembler import disassemble
from hwgen.nfu.chart import draw_roofline, render
from hwgen.nfu.files import image_bytes
from hwgen.nfu.metrics import bandwidth, metrics_csv, metrics_table, network_metrics

__all__ = ["layers"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Cycles, stalls and bytes of every layer.")
@DIRECTORY
@click.option(
    "--tile",
    type=TILE,
    metavar="TNxTI",
    help="Outputs and inputs of a cycle, each 1, 2, 4, 8 or 16; by default those of the design in "
    "DIR if it is an NFU, else 4x4.",
)
@timing_options
@click.option(
    "--clock",
    type=FiniteRange(0, min_open=True),
    default=48.0,
    show_default=True,
    metavar="MHZ",
    help="Clock for the operations a second.",
)
@click.option("--csv", type=_FILE, metavar="FILE", help="Write all figures, a line a layer.")
@click.option("--plot", type=PICTURE, metavar="FILE", help="Draw the roofline: .png, .svg or .pdf.")
@click.option(
    "--save",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write program.nfu and image.npz, which the other commands of 'hwgen nfu' take.",
)
@JSON
def layers(
    directory: Path,
    tile: tuple[int, int] | None,
    latency: int,
    rates: tuple[tuple[str, int, int], ...],
    clock: float,
    csv: Path | None,
    plot: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Compile the network in DIR for an NFU, and tell how each layer runs.

    \b
    dense          cycles of an NFU that skips nothing and never waits
    ideal          cycles if every lane had a term in every cycle
    speed-up       dense / cycles
    efficiency     ideal / cycles
    utilisation    share of the lanes that have a term, of the cycles with a row
    roof           least cycles for these lanes, and these bytes at full rate

    The NFU is that of the design in DIR, or the one that suits the network with --tile.

    \b
        hwgen nfu layers out/face
        hwgen nfu layers out/face --tile 8x8 --latency 10 --rate sb=1/2 --csv layers.csv
        hwgen nfu layers out/face --plot roofline.svg --save out/face-nfu
    """
    config, compiled = compiled_network(Workspace.open(directory), tile)
    timing = timing_of(latency, rates)
    found = network_metrics(config, compiled, timing)
    figures = {"bytes_a_cycle": bandwidth(config, timing), "clock_hz": clock * 1e6}
    if csv is not None:
        write_file(csv, metrics_csv(found, **figures).encode())
    if plot is not None:
        write_file(plot, render(draw_roofline(found, **figures), plot.suffix))
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"Cannot write {str(folder)!r}: {error.strerror}") from None
        write_file(folder / "image.npz", image_bytes(config, compiled.memory))
        write_file(folder / "program.nfu", disassemble(compiled.program).encode())
    if as_json:
        print_json({"layers": [asdict(one) for one in found]})
        return
    columns, rows = metrics_table(found, **figures)
    numbers = tuple(column for column in columns[1:] if column != "stalls")
    print_table(columns, rows, numbers=numbers)
