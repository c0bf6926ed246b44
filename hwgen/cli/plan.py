"""``hwgen plan``: the form of each layer, for a board and a rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwgen.cli._console import print_json, progress_bars
from hwgen.cli._options import (
    DIRECTORY,
    JSON,
    RATE_OPTIONS,
    SIZE_OPTIONS,
    add_options,
    plan_options,
)
from hwgen.cli._result import write_file
from hwgen.cli._table import print_table
from hwgen.flow.planning import plan_folding
from hwgen.flow.workspace import Workspace
from hwgen.report.folding import folding_plot

__all__ = ["plan"]

_FILE = click.Path(path_type=Path, dir_okay=False)
_COLUMNS = ("Images a second", "cycles", "LUTs", "flip-flops", "memory blocks", "board", "forms")


@click.command(short_help="Choose the form of each layer for a board and a rate.")
@DIRECTORY
@click.option("--board", metavar="NAME", required=True, help="Board to fit on ('hwgen boards').")
@add_options(RATE_OPTIONS)
@add_options(SIZE_OPTIONS)
@click.option("--plot", "plot_file", type=_FILE, metavar="FILE.svg", help="Plot area over rate.")
@JSON
def plan(
    directory: Path,
    board: str,
    fps: float | None,
    fit: bool,
    size: tuple[int, int] | None,
    pixels: int,
    plot_file: Path | None,
    as_json: bool,
) -> None:
    """Fold the network in DIR: each layer gets the form with which all of them fit the board.

    With --fps they keep that rate at the clock of the board, for the least of its scarcest
    resource; with --fit, or neither, they are as fast as fits. 'hwgen generate DIR --forms planned'
    builds what was chosen.

    \b
        hwgen plan out/face --board icebreaker --fps 30
        hwgen plan out/digits --board ulx3s-25f --fit --plot digits.svg
        hwgen plan out/face --board icebreaker --size 120x160 --fit
        hwgen generate out/digits --forms planned
    """
    options = plan_options(fps, fit=fit, size=size, pixels=pixels)
    workspace = Workspace.open(directory)
    with progress_bars(quiet=as_json) as progress:
        result = plan_folding(workspace, board, options, progress)
    if plot_file is not None:
        write_file(plot_file, folding_plot(result).encode())
    if as_json:
        print_json(result)
        return
    _print(result, directory)


def _print(result: dict[str, Any], directory: Path) -> None:
    rows = [_row(point, point["forms"]) for point in result["curve"]]
    rows += [_row(system, system["name"]) for system in result["systems"]]
    print_table(_COLUMNS, rows, numbers=_COLUMNS[:-1])
    click.echo(f"Chosen for {result['board']}: {result['name']}")
    click.echo(f"{result['images_per_second']:,.1f} images a second at the clock of the board")
    click.echo(f"next: hwgen generate {directory} --forms planned")


def _row(point: dict[str, Any], forms: str) -> list[str]:
    about = "" if point.get("exact", True) else "~"
    share = f"{about}{point['share']:.0%}" if "share" in point else ""
    return [
        f"{point['images_per_second']:,.1f}",
        f"{point['cycles']:,}",
        *(f"{point[key]:,}" for key in ("luts", "ffs", "brams")),
        share,
        forms,
    ]
