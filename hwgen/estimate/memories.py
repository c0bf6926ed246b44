"""What a memory becomes on an FPGA family: blocks, LUT memories, or logic, as Yosys chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["GEOMETRIES", "Geometry", "Mapped", "Memory", "mapped"]

_ROM_BIT = 1 / 16
"""What Yosys takes a constant bit to cost as logic; a bit that is written costs 1."""


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

    ``block`` holds (words, bits of a word) of each way to use a block, ``cost`` what Yosys takes a
    block to cost, in the unit in which a written bit of logic costs 1. ``lut_words`` and
    ``lut_width`` are the size of a LUT memory, 0 if the family has none.
    """

    block: tuple[tuple[int, int], ...]
    cost: float
    lut_words: int = 0
    lut_width: int = 0
    lut_cost: float = 4.0


@dataclass(frozen=True)
class Mapped:
    """What a memory takes: ``blocks``; or LUT memories; or bits of logic, constant or written."""

    blocks: int = 0
    lutrams: int = 0
    rom_bits: int = 0
    ram_bits: int = 0


GEOMETRIES: Mapping[str, Geometry] = MappingProxyType(
    {
        "ecp5": Geometry(
            ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)), 128, 16, 4
        ),
        "ice40": Geometry(((2048, 2), (1024, 4), (512, 8), (256, 16)), 64),
        "gowin": Geometry(
            ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)), 128, 16, 4
        ),
    }
)
"""Memories by family: iCE40 EBR, ECP5 and Gowin block RAM with their distributed RAM."""


def mapped(memory: Memory, geometry: Geometry) -> Mapped:
    """The cheapest of what Yosys weighs (its pass ``memory_libmap``)."""
    blocks = min(
        -(-memory.words // words) * -(-memory.width // width) for words, width in geometry.block
    )
    choices = [(geometry.cost * blocks, Mapped(blocks=blocks))]
    if memory.constant:
        choices.append((_ROM_BIT * memory.bits, Mapped(rom_bits=memory.bits)))
    else:
        choices.append((memory.bits, Mapped(ram_bits=memory.bits)))
        if geometry.lut_words:
            rows = -(-memory.words // geometry.lut_words)
            cells = rows * -(-memory.width // geometry.lut_width)
            # words beyond the first row of LUT memories are chosen by multiplexers
            choices.append(
                (geometry.lut_cost * cells + (rows - 1) * memory.width, Mapped(lutrams=cells))
            )
    return min(choices, key=lambda choice: choice[0])[1]
