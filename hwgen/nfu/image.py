"""One memory for everything: where program, weights, scales and activations lie in bytes.

Every word lies at a multiple of a power of two of bytes, so that an address is a shift: an
instruction in 64 bytes, an SB row and a word of scales in the next power of two, an activation in
one byte or, with more than 8 bits, in two. Bytes are little-endian, spare bits 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import WORD_WIDTH, Instruction, encode
from hwgen.nfu.memory import MemoryImage

__all__ = ["MemoryMap", "Region", "activation_bytes", "memory_bytes", "memory_map", "word_bytes"]

_ALIGNMENT = 64


@dataclass(frozen=True)
class Region:
    """``count`` words of ``stride`` bytes each, a power of two, from byte ``address`` on."""

    address: int
    stride: int
    count: int

    @property
    def end(self) -> int:
        """Byte behind the last word."""
        return self.address + self.stride * self.count


@dataclass(frozen=True)
class MemoryMap:
    """Where everything lies; ``activations`` in words of one."""

    program: Region
    weights: Region
    scales: Region
    activations: Region

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.activations.end

    def moved(self, base: int) -> MemoryMap:
        """The same, ``base`` bytes further on."""
        regions = (self.program, self.weights, self.scales, self.activations)
        return MemoryMap(*(replace(r, address=r.address + base) for r in regions))


def word_bytes(bits: int) -> int:
    """Bytes from one word of so many bits to the next."""
    return 1 << ((bits + 7) // 8 - 1).bit_length()


def activation_bytes(config: NfuConfig) -> int:
    """Bytes of an activation."""
    return word_bytes(config.activation_width)


def memory_map(config: NfuConfig, program: Sequence[Instruction], image: MemoryImage) -> MemoryMap:
    """Where a program and its memory lie."""
    address, regions = 0, []
    for count, stride in (
        (len(program), word_bytes(WORD_WIDTH)),
        (len(image.rows), word_bytes(config.row_width)),
        (len(image.tables), word_bytes(config.table_width)),
        (len(image.activations), activation_bytes(config)),
    ):
        aligned = max(_ALIGNMENT, stride)
        address = -(-address // aligned) * aligned
        regions.append(Region(address, stride, count))
        address = regions[-1].end
    return MemoryMap(*regions)


def memory_bytes(config: NfuConfig, program: Sequence[Instruction], image: MemoryImage) -> bytes:
    """Contents of memory, from byte 0 on."""
    where = memory_map(config, program, image)
    mask = (1 << config.activation_width) - 1
    memory = bytearray(where.size)
    for region, words in (
        (where.program, map(encode, program)),
        (where.weights, image.rows),
        (where.scales, image.tables),
        (where.activations, (image.activations & mask).tolist()),
    ):
        memory[region.address : region.end] = b"".join(
            word.to_bytes(region.stride, "little") for word in words
        )
    return bytes(memory)
