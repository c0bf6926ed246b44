"""Frames between a host and a board: what they hold, how they become bytes and are found again.

A frame is

    SYNC  command  sequence  length (3, little-endian)  payload (length)  CRC (2, big-endian)

with the CRC-16 of IBM 3740 (CCITT, x^16 + x^12 + x^5 + 1, started with ones) over command to
payload. The host asks, the device answers each request with one frame of the same sequence number,
and hears nothing while it answers:

=========  ================================  =============================================
request    payload                           answer
=========  ================================  =============================================
``PING``   nothing                           ``INFO``, an :class:`Info`
``IMAGE``  an image                          ``RESULT``, a :class:`Result`
``LOAD``   a part of a program               ``LOADED``, nothing
           (:mod:`hwgen.link.loading`)
=========  ================================  =============================================

An image is its pixels in raster order, all channels of a pixel as one little-endian number with
channel 0 in the least significant bits, padded to whole bytes; so are the words of a result. An
``ERROR`` has one byte, an :class:`ErrorCode`. A frame that stops for longer than the device's
timeout, 50 ms or more, is forgotten, and bytes between frames mean nothing.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

__all__ = [
    "CRC_START",
    "CYCLES_BYTES",
    "MAX_PAYLOAD",
    "OVERHEAD",
    "SYNC",
    "VERSION",
    "Command",
    "Decoder",
    "ErrorCode",
    "Frame",
    "Info",
    "Result",
    "checksum",
]

VERSION = 2
"""Version of the protocol."""

SYNC = 0xA5
"""First byte of every frame."""

CRC_START = 0xFFFF
"""What the CRC starts with."""

MAX_PAYLOAD = 0xFF_FFFF
"""Bytes of the largest payload."""

_LENGTH = 3  # bytes
_HEADER = 3 + _LENGTH
_CRC = struct.Struct(">H")
_INFO = struct.Struct("<BQQIII")
_CYCLES = struct.Struct("<I")

CYCLES_BYTES = _CYCLES.size
"""Bytes of the count of cycles before the words of a result."""

OVERHEAD = _HEADER + _CRC.size
"""Bytes of a frame beside its payload."""


class Command(IntEnum):
    """What a frame is; bit 7 tells answers from requests."""

    PING = 0x01
    IMAGE = 0x02
    LOAD = 0x03
    INFO = 0x81
    RESULT = 0x82
    LOADED = 0x83
    ERROR = 0x84


class ErrorCode(IntEnum):
    """Why the device did not do what a frame asked for."""

    CHECKSUM = 1
    COMMAND = 2
    LENGTH = 3
    OVERRUN = 4
    UNSUPPORTED = 5
    BUSY = 6
    EMPTY = 7
    HARDWARE = 8

    @property
    def sentence(self) -> str:
        """What it means."""
        return _SENTENCES[self]


_SENTENCES = {
    ErrorCode.CHECKSUM: "a frame arrived damaged",
    ErrorCode.COMMAND: "it does not know the command",
    ErrorCode.LENGTH: "the payload has the wrong length for its design",
    ErrorCode.OVERRUN: "pixels came faster than its design takes them: build it for a lower baud "
    "rate (--baud)",
    ErrorCode.UNSUPPORTED: "its design loads no programs: weights and what is done with them are "
    "in its bitstream",
    ErrorCode.BUSY: "it is at work on an image",
    ErrorCode.EMPTY: "it holds no whole program: load one",
    ErrorCode.HARDWARE: "the program is for other hardware than it has",
}


def checksum(data: bytes) -> int:
    """CRC-16 of ``data``."""
    return binascii.crc_hqx(data, CRC_START)


@dataclass(frozen=True)
class Frame:
    """A frame: ``command`` and ``sequence`` in 0 .. 255, at most 16 MiB - 1 of ``payload``."""

    command: int
    sequence: int
    payload: bytes = b""

    def __post_init__(self) -> None:
        if not (0 <= self.command <= 0xFF and 0 <= self.sequence <= 0xFF):
            raise ValueError(
                "Command and sequence number must be bytes, "
                f"not {self.command!r} and {self.sequence!r}"
            )
        if len(self.payload) > MAX_PAYLOAD:
            raise ValueError(
                f"A payload must have at most {MAX_PAYLOAD} bytes, not {len(self.payload)}"
            )

    def encode(self) -> bytes:
        """The frame as bytes."""
        header = bytes([SYNC, self.command, self.sequence])
        body = header + len(self.payload).to_bytes(_LENGTH, "little") + self.payload
        return body + _CRC.pack(checksum(body[1:]))


class Decoder:
    """Finds frames in a stream of bytes that may hold anything between them.

    If what looks like a frame has a wrong CRC, the search goes on behind its first byte, so that no
    frame inside is lost.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def wanted(self) -> int:
        """Bytes, at least 1, without which no further frame can be whole."""
        buffer = self._buffer
        if len(buffer) < _HEADER:
            return OVERHEAD - len(buffer)
        return OVERHEAD + _length(buffer) - len(buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that are whole with ``data``, in the order of their bytes."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def search(self) -> list[Frame]:
        """Frames that are whole inside of what looks like the start of a longer one.

        For when no more bytes come: then it may have been none. If it was, it goes on as before.
        """
        for start in range(1, len(self._buffer)):
            if self._buffer[start] == SYNC:
                inner = Decoder()
                if frames := inner.feed(bytes(self._buffer[start:])):
                    self._buffer = inner._buffer
                    return frames
        return []

    def _next(self) -> Frame | None:
        buffer = self._buffer
        while True:
            start = buffer.find(SYNC)
            del buffer[: len(buffer) if start < 0 else start]
            if len(buffer) < _HEADER:
                return None
            size = OVERHEAD + _length(buffer)
            if len(buffer) < size:
                return None
            if checksum(bytes(buffer[1:size])) == 0:
                frame = Frame(buffer[1], buffer[2], bytes(buffer[_HEADER : size - _CRC.size]))
                del buffer[:size]
                return frame
            del buffer[0]


def _length(header: bytearray) -> int:
    """Bytes of the payload behind a header."""
    return int.from_bytes(header[_HEADER - _LENGTH : _HEADER], "little")


@dataclass(frozen=True)
class Info:
    """What a device says of itself.

    ``design`` is the hash of its hardware (:func:`~hwgen.link.payload.design_hash`), ``program``
    that of the program in it: 0 if the hardware is all there is, or if it is being loaded.
    ``clock_hz`` is the clock in which cycles are counted; ``image_bytes`` and ``result_bytes`` are
    those of an image and of the words of a result.
    """

    design: int
    clock_hz: int
    image_bytes: int
    result_bytes: int
    program: int = 0
    version: int = VERSION

    def encode(self) -> bytes:
        """The payload of an ``INFO``."""
        return _INFO.pack(
            self.version,
            self.design,
            self.program,
            self.clock_hz,
            self.image_bytes,
            self.result_bytes,
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """The inverse of :meth:`encode`; :class:`ValueError` if the length is another."""
        if len(payload) != _INFO.size:
            raise ValueError(f"An INFO must have {_INFO.size} bytes, not {len(payload)}")
        version, design, program, clock_hz, image_bytes, result_bytes = _INFO.unpack(payload)
        return cls(design, clock_hz, image_bytes, result_bytes, program, version)


@dataclass(frozen=True)
class Result:
    """What a device made of an image.

    ``cycles`` of its clock passed from the first pixel that the design accepted to the last word of
    its result; ``words`` are the bytes of the result.
    """

    cycles: int
    words: bytes

    def encode(self) -> bytes:
        """The payload of a ``RESULT``."""
        return _CYCLES.pack(self.cycles) + self.words

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """The inverse of :meth:`encode`; :class:`ValueError` if there is no count of cycles."""
        if len(payload) < _CYCLES.size:
            raise ValueError(f"A RESULT must have at least 4 bytes, not {len(payload)}")
        return cls(_CYCLES.unpack_from(payload)[0], payload[_CYCLES.size :])
