"""Colorlight i5 v7.0 and i9 v7.2 on their extension board: Lattice ECP5 in two sizes.

The modules drive displays, and their pins were traced by users. Those here are as in the tables of
https://github.com/wuxx/Colorlight-FPGA-Projects (README.md and colorlight_i9_v7.2.md), whose
extension board has the USB bridge, and as in the platforms of LiteX (colorlight_i5.py). The modules
differ in the pin of the LED.
"""

from __future__ import annotations

from hwgen.boards.parts import ECP5, ecp5_device
from hwgen.boards.pll import ECP5_PLL
from hwgen.boards.types import Board, Pin, SpiPins, UartPins

__all__ = ["COLORLIGHT_I5", "COLORLIGHT_I9"]

_BUFFER = ("IO_TYPE", "LVCMOS33")


def _colorlight(name: str, size: str, led: str) -> Board:
    return Board(
        name=f"colorlight-{name}",
        title=f"Colorlight {name}",
        vendor="Colorlight",
        part=f"LFE5U-{size}F",
        device=ecp5_device(size, speed="6"),
        capacity=ECP5[size],
        clock=Pin("P3", (_BUFFER,)),
        clock_hz=25_000_000,
        pll=ECP5_PLL,
        target_mhz=100.0,
        nfu_tile=(8, 8),
        leds=(Pin(led, (_BUFFER,), invert=True),),
        spi=SpiPins(
            *(Pin(site, (_BUFFER, ("PULLMODE", "DOWN"))) for site in ("C17", "B18", "B20", "F20"))
        ),
        connector="first Pmod of P3, pins 1 to 4",
        loader=f"colorlight-{name}",
        uart=UartPins(rx=Pin("H18", (_BUFFER, ("PULLMODE", "UP"))), tx=Pin("J17", (_BUFFER,))),
    )


COLORLIGHT_I5 = _colorlight("i5", "25", led="U16")
COLORLIGHT_I9 = _colorlight("i9", "45", led="L2")
