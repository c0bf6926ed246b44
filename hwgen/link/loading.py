"""Programs as payloads of ``LOAD``, and what a board that takes them says of itself.

The first byte of a payload says what it is:

========================  =======================================================================
``BEGIN``                 hash of the hardware (8): what was loaded is given up
number of a memory        address of a word (3), then words, each in whole parts of two bytes
``COMMIT``                hash of the program (8), bytes of an image (4), of a result (4): it is
                          whole
========================  =======================================================================

A payload has at most :data:`LARGEST` bytes. It is kept until its CRC has been seen, so that nothing
damaged is ever written. Words before ``BEGIN`` are refused, and images until ``COMMIT``: what was
broken off is loaded again from the start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hwgen.errors import UnsupportedError
from hwgen.link.protocol import CYCLES_BYTES, MAX_PAYLOAD, Info
from hwgen.stream.programs import PART_BITS, Loading, Program, part_count

__all__ = [
    "ADDRESS_BYTES",
    "BEGIN",
    "COMMIT",
    "LARGEST",
    "STATE",
    "load_payloads",
    "loading_info",
    "program_state",
]

BEGIN, COMMIT = 0xFE, 0xFF
LARGEST = 512
"""Bytes of the largest payload, a memory block of an iCE40."""

ADDRESS_BYTES = 3
STATE = struct.Struct("<QII")
"""Hash of a program, bytes of an image and of a result."""

_HASH = struct.Struct("<Q")


def program_state(loading: Loading, program: Program) -> tuple[int, int, int]:
    """Hash of a program, bytes of an image and of a result."""
    image = program.image_beats * -(-loading.input_width // 8)
    result = program.result_beats * -(-loading.output_width // 8)
    return program.hash, image, result


def loading_info(loading: Loading, program: Program, clock_hz: int) -> Info:
    """What a device with ``program`` at ``clock_hz`` says of itself.

    Raises
    ------
    UnsupportedError
        If an image or a result is too large for a frame.
    """
    code, image, result = program_state(loading, program)
    for what, size in (("image", image), ("result", result + CYCLES_BYTES)):
        if size > MAX_PAYLOAD:
            raise UnsupportedError(
                f"The {what} of a board with a host link must have at most {MAX_PAYLOAD:,} bytes, "
                f"not {size:,}"
            )
    return Info(loading.hardware, clock_hz, image, result, code)


def load_payloads(loading: Loading, program: Program) -> Iterator[bytes]:
    """Payloads that load ``program``, in order; words that are 0 are loaded too."""
    yield bytes([BEGIN]) + _HASH.pack(loading.hardware)
    for number, (memory, words) in enumerate(zip(loading.memories, program.contents, strict=True)):
        size = part_count(memory.width) * PART_BITS // 8
        most = (LARGEST - 1 - ADDRESS_BYTES) // size
        for address in range(0, len(words), most):
            content = b"".join(
                word.to_bytes(size, "little") for word in words[address : address + most]
            )
            head = bytes([number]) + address.to_bytes(ADDRESS_BYTES, "little")
            yield head + content
    yield bytes([COMMIT]) + STATE.pack(*program_state(loading, program))
