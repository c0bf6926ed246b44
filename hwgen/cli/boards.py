"""``hwgen boards``: what hwgen can build for."""

from __future__ import annotations

from dataclasses import fields

import click

from hwgen.boards import BOARDS, Board
from hwgen.boards.types import SpiPins, UartPins
from hwgen.cli._console import print_json
from hwgen.cli._options import JSON
from hwgen.cli._table import print_table

__all__ = ["boards"]


@click.command(short_help="List the boards.")
@JSON
def boards(as_json: bool) -> None:
    """List the boards with the capacity of their FPGA, the clock of their oscillator, which a PLL
    can multiply ('--clock'), and the FPGA's pins over which a host talks to them: those of the
    board's own UART, and those for an SPI controller ('--link spi'), with their connector.

    No design uses a DSP block.

    \b
        hwgen boards
    """
    if as_json:
        print_json({name: _row(name) for name in BOARDS})
        return
    numbers = ("LUTs", "FFs", "BRAMs", "BRAM kbit", "SPRAM kbit", "DSPs (unused)", "clock MHz")
    rows = [_cells(board) for board in BOARDS.values()]
    links = ("UART rx/tx", "SPI cs/copi/cipo/sck", "SPI connector")
    print_table(("board", "name", "FPGA", *numbers, *links), rows, numbers=numbers)


def _cells(board: Board) -> tuple[str, ...]:
    capacity = board.capacity
    counts = (
        capacity.luts,
        capacity.ffs,
        capacity.brams,
        capacity.bram_bits // 1024,
        capacity.spram_bits // 1024,
        capacity.dsps,
    )
    clock = f"{board.clock_hz / 1e6:g}"
    links = ("/".join(_sites(board.uart).values()), "/".join(_sites(board.spi).values()))
    numbers = (*(f"{count:,}" for count in counts), clock)
    return (board.name, board.title, board.part, *numbers, *links, board.connector)


def _sites(pins: UartPins | SpiPins) -> dict[str, str]:
    """Site of each pin, by its name."""
    return {each.name: getattr(pins, each.name).site for each in fields(pins)}


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
        "spram_bits": capacity.spram_bits,
        "dsps": capacity.dsps,
        "clock_mhz": board.clock_hz / 1e6,
        "uart": _sites(board.uart),
        "spi": {**_sites(board.spi), "connector": board.connector},
    }
