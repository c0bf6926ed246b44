"""``hwgen estimate``: what a design takes, before it is synthesised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwgen.cli._console import print_json, progress_bars
from hwgen.cli._options import DIRECTORY, JSON, SIZE_OPTIONS, add_options
from hwgen.cli._table import print_table
from hwgen.flow.estimation import estimate as estimate_design
from hwgen.flow.workspace import Workspace
from hwgen.toolchain.synthesis import FAMILIES

__all__ = ["estimate"]

_COLUMNS = ("Layer", "LUTs", "flip-flops", "memory blocks", "cycles an image")
_KEYS = ("luts", "ffs", "brams")


@click.command(short_help="Predict LUTs, memory and clock without synthesis.")
@DIRECTORY
@click.option("--board", metavar="NAME", help="Board that the design is for ('hwgen boards').")
@click.option("--family", type=click.Choice(sorted(FAMILIES)), help="FPGA family, without a board.")
@click.option(
    "--forms",
    metavar="FORMS",
    help="Forms of the layers, as 'hwgen generate' takes them; by default the design in DIR.",
)
@add_options(SIZE_OPTIONS)
@JSON
def estimate(
    directory: Path,
    board: str | None,
    family: str | None,
    forms: str | None,
    size: tuple[int, int] | None,
    pixels: int,
    as_json: bool,
) -> None:
    """Predict what the design in DIR takes, in seconds.

    With --forms, --size or --pixels it is another design of its network. The figures come from
    models that were fitted to real synthesis; cycles are exact.

    \b
        hwgen estimate out/face --board ulx3s-25f
        hwgen estimate out/face --board icebreaker --forms '*=memory:1'
    """
    workspace = Workspace.open(directory)
    with progress_bars(quiet=as_json) as progress:
        found = estimate_design(
            workspace,
            progress,
            board=board,
            family=family,
            forms=forms,
            size=size,
            pixels=pixels,
        )
    result = found.as_json()
    if as_json:
        print_json(result)
        return
    _print(result)


def _print(result: dict[str, Any]) -> None:
    rows = [_row(layer["name"], layer, f"{layer['cycles']:,}") for layer in result["layers"]]
    rows.append(_row("all", result["total"], f"{result['cycles_per_image']:,.0f}"))
    if result["capacity"]:
        shares = (result["total"][k] / max(result["capacity"][k], 1) for k in _KEYS)
        rows.append([f"of {result['board']}", *(f"{share:.0%}" for share in shares), ""])
    print_table(_COLUMNS, rows, numbers=_COLUMNS[1:])
    if result["clock_mhz"] is not None:
        click.echo(
            f"About {result['clock_mhz']:.0f} MHz after place and route: "
            f"{result['images_per_second']:,.0f} images a second"
        )


def _row(name: str, cost: dict[str, Any], cycles: str) -> list[str]:
    return [name, *(f"{cost[key]:,}" for key in _KEYS), cycles]
