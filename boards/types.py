"""A board as a value: its FPGA, its clock, its pins and how much fits on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hwgen.boards.pll import Pll
from hwgen.toolchain.nextpnr import Device

__all__ = ["LINKS", "Board", "Capacity", "Pin", "SpiPins", "UartPins", "Wires"]

Wires = Literal["uart", "spi"]
"""What the host link runs over: the board's USB bridge, or an SPI controller outside."""

LINKS: tuple[Wires, ...] = get_args(Wires)
"""Names of them."""


@dataclass(frozen=True)
class Pin:
    """A package pin: its ``site``, the electrical ``attributes`` of its buffer, its polarity."""

    site: str
    attributes: tuple[tuple[str, str], ...] = ()
    invert: bool = False


@dataclass(frozen=True)
class UartPins:
    """Pins of the UART that the board connects to USB: the FPGA reads ``rx`` and drives ``tx``."""

    rx: Pin
    tx: Pin


@dataclass(frozen=True)
class SpiPins:
    """Pins for an SPI controller outside, which drives all but ``cipo``; ``cs`` is active low."""

    cs: Pin
    copi: Pin
    cipo: Pin
    clk: Pin


@dataclass(frozen=True)
class Capacity:
    """What the FPGA holds: four-input LUTs, flip-flops, memory blocks and their bits, DSP blocks.

    ``bram_bits`` counts all blocks together; ``spram_bits`` those of the single-port memories that
    only iCE40 UltraPlus has.
    """

    luts: int
    ffs: int
    brams: int
    bram_bits: int
    dsps: int
    spram_bits: int = 0


@dataclass(frozen=True)
class Board:
    """A board that hwgen can build for.

    ``name`` is what the command line takes, ``title`` what people call it; ``part`` names the FPGA
    and ``device`` chooses it for nextpnr. ``clock`` is the pin of the oscillator of ``clock_hz``,
    which clocks the design unless ``pll`` makes another clock of it; ``target_mhz`` the clock that
    place and route aims at, so that its report says what the design could do. ``nfu_tile`` is
    (Tn, Ti) of an NFU that leaves room for its memory. ``leds`` start with the least significant
    bit; ``uart`` holds the pins of the board's own USB bridge, ``spi`` those on the connector that
    ``connector`` names; ``loader`` is the board's name in openFPGALoader.
    """

    name: str
    title: str
    vendor: str
    part: str
    device: Device
    capacity: Capacity
    clock: Pin
    clock_hz: int
    pll: Pll
    target_mhz: float
    nfu_tile: tuple[int, int]
    leds: tuple[Pin, ...]
    uart: UartPins
    spi: SpiPins
    connector: str
    loader: str

    @property
    def family(self) -> str:
        """FPGA family: ``ecp5``, ``ice40`` or ``gowin``."""
        return self.device.family

    def ports(self, link: Wires = "uart") -> tuple[tuple[str, Pin], ...]:
        """Every port of the top, one bit each, with its pin."""
        wires: tuple[tuple[str, Pin], ...]
        if link == "uart":
            wires = (("rx", self.uart.rx), ("tx", self.uart.tx))
        else:
            spi = self.spi
            wires = (("cs", spi.cs), ("sck", spi.clk), ("copi", spi.copi), ("cipo", spi.cipo))
        return (
            ("clk", self.clock),
            *wires,
            *((f"led{index}", pin) for index, pin in enumerate(self.leds)),
        )
