"""What a memory becomes on an FPGA family: blocks, LUT memories, or logic, as Yosys chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["GEOMETRIES", "Geometry", "Mapped", "Memory", "mapped"]

_ROM_BIT = 1 / 16
"""What Yosys takes a constant bit to cost as logic; a bit that is written costs 1."""

_LUT_MEMORY = 4


@dataclass(frozen=True)
class Memory:
    """``words`` of ``width`` bits with one port that reads; ``constant`` if none writes."""

    words: int
    width: int
    constant: bool

    @property
    def bits(self) -> int:
        """Bits that it holds."""
        return self.words * self.width


@dataclass(frozen=True)
class Geometry:
    """Memories of a family.

    ``block`` holds (words, bits of a word) of each way to use a block, ``byte`` the bits that are
    written together, 0 for a whole word; ``cost`` is what Yosys takes a block to cost, in the unit
    in which a written bit of logic costs 1. ``lut_words`` and ``lut_width`` are the size of a LUT
    memory, 0 if the family has none, and ``lut_part`` says whether one that is filled in part
    counts in part.
    """

    block: tuple[tuple[int, int], ...]
    cost: float
    byte: int = 0
    lut_words: int = 0
    lut_width: int = 0
    lut_part: bool = False


@dataclass(frozen=True)
class Mapped:
    """What a memory takes: ``blocks``; or LUT memories; or bits of logic, constant or written.

    ``mux`` bits of multiplexers choose among words that lie in several blocks or LUT memories.
    """

    blocks: int = 0
    lutrams: int = 0
    rom_bits: int = 0
    ram_bits: int = 0
    mux: int = 0


_BLOCK = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
GEOMETRIES: Mapping[str, Geometry] = MappingProxyType(
    {
        "ecp5": Geometry(_BLOCK, 128, byte=9, lut_words=16, lut_width=4),
        "ice40": Geometry(((2048, 2), (1024, 4), (512, 8), (256, 16)), 64),
        "gowin": Geometry(_BLOCK, 128, byte=9, lut_words=16, lut_width=4, lut_part=True),
    }
)
"""Memories by family: iCE40 EBR, ECP5 and Gowin block RAM with their distributed RAM."""


def mapped(memory: Memory, geometry: Geometry, *, meets: bool = True) -> Mapped:
    """The cheapest of what Yosys weighs (its pass ``memory_libmap``).

    ``meets`` if a word may be read while it is written, which blocks alone do not allow.
    """
    width, constant = memory.width, memory.constant
    emulated = 1 if constant or not meets else 7
    choices = []
    for words, bits in geometry.block:
        rows = -(-memory.words // words)
        part = 1 if constant else min(geometry.byte or bits, bits)
        count = -(-rows * -(-width // part) * part // bits)
        cost = geometry.cost * count + _chosen(rows, width, constant) + 2 * emulated
        choices.append((cost, Mapped(blocks=count, mux=(rows - 1) * width)))
    if constant:
        choices.append((_ROM_BIT * memory.bits, Mapped(rom_bits=memory.bits)))
    else:
        choices.append((memory.bits, Mapped(ram_bits=memory.bits)))
    if geometry.lut_words and not constant:
        rows = -(-memory.words // geometry.lut_words)
        count = rows * -(-width // geometry.lut_width)
        counted = rows * width / geometry.lut_width if geometry.lut_part else count
        cost = _LUT_MEMORY * counted + _chosen(rows, width, constant) + 2
        choices.append((cost, Mapped(lutrams=count, mux=(rows - 1) * width)))
    return min(choices, key=lambda choice: choice[0])[1]


def _chosen(rows: int, width: int, constant: bool) -> float:
    """What Yosys takes it to cost to choose among rows when a word is read, or written."""
    return (rows - 1) * width / 2 + (rows / 2 if rows > 1 and not constant else 0)
