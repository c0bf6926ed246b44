"""Designs that a host loads with programs: their memories, and what a program puts there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["PART_BITS", "Loading", "Program", "WritableMemory", "part_count"]

PART_BITS = 16
"""Bits that are written at once."""


@dataclass(frozen=True)
class WritableMemory:
    """A memory of ``depth`` words of ``width`` bits that holds ``name``."""

    name: str
    width: int
    depth: int


def part_count(width: int) -> int:
    """Parts of a word of ``width`` bits."""
    return -(-width // PART_BITS)


@dataclass(frozen=True)
class Program:
    """Contents of the writable memories, each from word 0 on, and the beats of the streams.

    ``image_beats`` transfers carry an image, ``result_beats`` a result.
    """

    contents: tuple[tuple[int, ...], ...]
    image_beats: int
    result_beats: int

    @property
    def hash(self) -> int:
        """64 bits of the SHA-256 of all that it is, never 0."""
        text = repr((self.contents, self.image_beats, self.result_beats))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") or 1


@dataclass(frozen=True)
class Loading:
    """The module of a design that takes programs.

    The module ``core`` has, instead of the design's streams of pixels, streams ``i`` and ``o`` of
    single elements of ``input_width`` and ``output_width`` bits; an output ``busy`` that is high
    while it works on an image; and a stream ``load`` of parts of words, from the least significant
    bit on: ``memory``, ``address``, ``part`` and ``data``. Nothing is loaded while it is busy, and
    a reset follows before the next image. A reset leaves what was loaded.

    Parameters
    ----------
    core : str
        Name of the module.
    hardware : int
        64-bit hash of the module without what is loaded.
    memories : tuple of WritableMemory
        What can be written, by its number.
    input_width, output_width : int
        Bits of an element of each stream.
    program : Program
        What is in the memories once the FPGA is configured.
    """

    core: str
    hardware: int
    memories: tuple[WritableMemory, ...]
    input_width: int
    output_width: int
    program: Program

    @property
    def address_width(self) -> int:
        """Bits of ``address``."""
        return max(1, max((memory.depth - 1).bit_length() for memory in self.memories))

    @property
    def part_width(self) -> int:
        """Bits of ``part``."""
        return max(1, max((part_count(m.width) - 1).bit_length() for m in self.memories))

    @property
    def memory_width(self) -> int:
        """Bits of ``memory``."""
        return max(1, (len(self.memories) - 1).bit_length())
