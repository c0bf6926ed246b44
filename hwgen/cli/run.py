"""``hwgen run``: images through a board, or through a simulated one."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from hwgen.cli._console import print_json, progress_bars
from hwgen.cli._options import DIRECTORY, JSON
from hwgen.cli._table import print_table
from hwgen.flow.on_board import BoardRun, ImageRun, load_inputs, run_on_board
from hwgen.flow.options import RunOptions
from hwgen.flow.workspace import Workspace

__all__ = ["run"]

_ROWS = 20  # images whose results are printed
_OUTPUTS = 10  # of an image


@click.command(short_help="Run images on a board, or on a simulated one.")
@DIRECTORY
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE..."
)
@click.option(
    "--port",
    metavar="DEVICE",
    help="Serial port of the board, such as /dev/ttyUSB1; for a bitstream with --link spi the "
    "SPI controller, such as /dev/spidev0.0 or ftdi://ftdi:232h/1.",
)
@click.option(
    "--simulate", is_flag=True, help="Simulate the whole board, pin by pin, behind a serial port."
)
@click.option(
    "--baud",
    type=click.IntRange(1),
    help="Rate of the port in bits a second; by default that of the bitstream in DIR.",
)
@click.option("--resize", is_flag=True, help="Change pictures to the size that the network takes.")
@click.option(
    "--range",
    "black_white",
    type=(float, float),
    metavar="BLACK WHITE",
    help="What 0 and 255 of a picture are to the network; by default as in its test images.",
)
@click.option(
    "--load",
    type=click.Path(path_type=Path),
    metavar="OTHER",
    help="Load the program of the network in directory OTHER first, and run images through it; the "
    "design in DIR must be an NFU that was generated with --loadable.",
)
@click.option("--no-check", is_flag=True, help="Do not compare results with the golden model.")
@JSON
def run(
    directory: Path,
    images: tuple[Path, ...],
    port: str | None,
    simulate: bool,
    baud: int | None,
    resize: bool,
    black_white: tuple[float, float] | None,
    load: Path | None,
    no_check: bool,
    as_json: bool,
) -> None:
    """Send images to the board that holds the design in DIR, and show what it makes of them.

    IMAGE is a picture, or an NPZ file with images 'x' (N,C,H,W) and, if known, classes 'y'. Every
    result is compared with the golden model: one that differs is a failure.

    \b
        hwgen run out/face --port /dev/ttyUSB1 face.png
        hwgen run out/face --simulate models/face/test.npz
        hwgen run out/face-nfu --port /dev/ttyUSB1 --load out/digits digit.png
    """
    if (port is None) != simulate:
        raise click.UsageError("give either --port DEVICE or --simulate")
    if baud is not None and simulate:
        raise click.UsageError("--baud is the rate of a --port")
    workspace = Workspace.open(directory)
    source = workspace if load is None else Workspace.open(load)
    inputs, names = load_inputs(source, images, resize=resize, black_white=black_white)
    options = RunOptions(port=port, baud=baud, check=not no_check, load=load)
    with progress_bars(quiet=as_json) as progress:
        done = run_on_board(workspace, inputs, names, options, progress)
    if as_json:
        print_json(_json(done))
        return
    shown = done.images[:_ROWS]
    columns = ("image", "class", "outputs", "cycles", "ms")
    print_table(columns, [_cells(image) for image in shown], numbers=columns[1:])
    console = Console(highlight=False, soft_wrap=True)
    if len(shown) < len(done.images):
        console.print(f"... and {len(done.images) - len(shown)} more (--json has all)")
    for line in _lines(done):
        console.print(line)


def _cells(image: ImageRun) -> tuple[str, ...]:
    outputs = " ".join(f"{value:g}" for value in image.outputs[:_OUTPUTS])
    more = " ..." if len(image.outputs) > _OUTPUTS else ""
    mark = {None: "", True: "", False: " (wrong)"}[image.right]
    decision = "-" if image.decision is None else f"{image.decision}{mark}"
    return (
        image.name,
        decision,
        outputs + more,
        f"{image.cycles:,}",
        f"{image.seconds * 1e3:.1f}",
    )


def _lines(done: BoardRun) -> list[str]:
    count = len(done.images)
    lines = []
    if done.accuracy is not None:
        lines.append(f"accuracy: {done.accuracy:.2%} of {count} images")
    if done.checked:
        lines.append(f"golden model: {count} of {count} results equal, bit for bit")
    rate = count / done.seconds if done.seconds else 0.0
    again = f", {done.repeats} requests repeated" if done.repeats else ""
    lines.append(
        f"{done.port} at {done.baud:,} bit/s, clock {done.info.clock_hz / 1e6:g} MHz: "
        f"{rate:.1f} images/s on the host{again}"
    )
    return lines


def _json(done: BoardRun) -> dict[str, object]:
    return {
        "port": done.port,
        "baud": done.baud,
        "clock_hz": done.info.clock_hz,
        "design": f"{done.info.design:016x}",
        "program": f"{done.info.program:016x}",
        "image_bytes": done.info.image_bytes,
        "result_bytes": done.info.result_bytes,
        "accuracy": done.accuracy,
        "checked": done.checked,
        "repeats": done.repeats,
        "seconds": done.seconds,
        "images": [
            {
                "image": image.name,
                "class": image.decision,
                "outputs": list(image.outputs),
                "cycles": image.cycles,
                "seconds": image.seconds,
                "right": image.right,
            }
            for image in done.images
        ],
    }
