"""``hwgen boards``: what hwgen can build for."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from hwgen.boards import BOARDS
from hwgen.cli._console import print_json
from hwgen.cli._options import JSON

__all__ = ["boards"]


@click.command(short_help="List the boards.")
@JSON
def boards(as_json: bool) -> None:
    """List the boards with the capacity of their FPGA and the clock of their oscillator.

    No design uses a DSP block.

    \b
        hwgen boards
    """
    if as_json:
        print_json({name: _row(name) for name in BOARDS})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("board", "name", "FPGA"):
        table.add_column(column, no_wrap=True)
    for column in ("LUTs", "FFs", "BRAMs", "BRAM kbit", "DSPs (unused)", "clock MHz"):
        table.add_column(column, justify="right")
    for name, board in BOARDS.items():
        capacity = board.capacity
        table.add_row(
            name,
            board.title,
            board.part,
            f"{capacity.luts:,}",
            f"{capacity.ffs:,}",
            f"{capacity.brams:,}",
            f"{capacity.bram_bits // 1024:,}",
            f"{capacity.dsps:,}",
            f"{board.clock_hz / 1e6:g}",
        )
    Console(highlight=False, soft_wrap=True).print(table)


def _row(name: str) -> dict[str, object]:
    board = BOARDS[name]
    capacity = board.capacity
    return {
        "title": board.title,
        "vendor": board.vendor,
        "part": board.part,
        "family": board.family,
        "luts": capacity.luts,
        "ffs": capacity.ffs,
        "brams": capacity.brams,
        "bram_bits": capacity.bram_bits,
        "dsps": capacity.dsps,
        "clock_mhz": board.clock_hz / 1e6,
    }
