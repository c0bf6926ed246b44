"""Sipeed Tang Nano 9K and Tang Nano 20K: Gowin GW1NR-9C and GW2AR-18C.

The pins of the 9K are those of amaranth-boards, but for its headers, which it lacks. It does not
know the 20K. Those are as in the platforms of LiteX (sipeed_tang_nano_9k.py, connector J6, and
sipeed_tang_nano_20k.py, connector J6), which follow Sipeed's schematics.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth_boards.tang_nano_9k import TangNano9kPlatform

from hwgen.boards.pll import GW1N9_PLL, GW2A_PLL
from hwgen.boards.resources import resource_pins, uart_pins
from hwgen.boards.types import Board, Capacity, Pin, SpiPins, UartPins
from hwgen.toolchain.nextpnr import Device

__all__ = ["TANG_NANO_9K", "TANG_NANO_20K"]

_BUFFER = ("IO_TYPE", "LVCMOS33")
_PULL_UP = ("PULL_MODE", "UP")


def _device(part: str, family: str) -> Device:
    return Device("gowin", ("--device", part, "--vopt", f"family={family}"), ("-d", family))


def _header(*sites: str) -> SpiPins:
    return SpiPins(*(Pin(site, (_BUFFER, ("PULL_MODE", "DOWN"))) for site in sites))


TANG_NANO_9K = Board(
    name="tang-nano-9k",
    title="Tang Nano 9K",
    vendor="Sipeed",
    part="GW1NR-9C",
    device=_device(TangNano9kPlatform.part, "GW1N-9C"),
    capacity=Capacity(8_640, 6_480, 26, 26 * 18_432, 20),
    clock=resource_pins(TangNano9kPlatform, "clk27")[0],
    clock_hz=27_000_000,
    pll=GW1N9_PLL,
    target_mhz=60.0,
    nfu_tile=(4, 4),
    # the bank of the LEDs is supplied with 1.8 V, for the memory that is in the package
    leds=tuple(
        replace(
            resource_pins(TangNano9kPlatform, "led", number)[0],
            attributes=(("IO_TYPE", "LVCMOS18"),),
        )
        for number in range(6)
    ),
    spi=_header("25", "26", "27", "28"),
    connector="J6, pins of the FPGA 25 to 28",
    loader="tangnano9k",
    uart=uart_pins(TangNano9kPlatform),
)

TANG_NANO_20K = Board(
    name="tang-nano-20k",
    title="Tang Nano 20K",
    vendor="Sipeed",
    part="GW2AR-18C",
    device=_device("GW2AR-LV18QN88C8/I7", "GW2A-18C"),
    capacity=Capacity(20_736, 15_552, 46, 46 * 18_432, 48),
    clock=Pin("4", (_BUFFER,)),
    clock_hz=27_000_000,
    pll=GW2A_PLL,
    target_mhz=100.0,
    nfu_tile=(8, 8),
    leds=tuple(Pin(str(site), (_BUFFER,), invert=True) for site in range(15, 21)),
    spi=_header("73", "74", "75", "77"),
    connector="J6, pins of the FPGA 73 to 75 and 77",
    loader="tangnano20k",
    uart=UartPins(rx=Pin("70", (_BUFFER, _PULL_UP)), tx=Pin("69", (_BUFFER, _PULL_UP))),
)
