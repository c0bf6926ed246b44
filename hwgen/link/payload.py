"""Images and results as payloads of frames, and the hash that tells designs apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.link.protocol import CYCLES_BYTES, MAX_PAYLOAD, Info
from hwgen.numeric import IntArray
from hwgen.sim.words import frames_to_pixels, pack_words, pixels_to_frames, unpack_words
from hwgen.stream.design import PixelLayout, StreamDesign

__all__ = [
    "Frames",
    "PixelFrames",
    "byte_count",
    "design_hash",
    "design_info",
]


class Frames(Protocol):
    """How images and results of a network are bytes."""

    def encode(self, image: IntArray) -> bytes:
        """Payload of an integer ``image`` (C, H, W).

        Raises
        ------
        DataError
            If a value does not fit its channel.
        """
        ...

    @property
    def result_bytes(self) -> int:
        """Bytes of the words of a result."""
        ...

    def decode(self, words: bytes) -> IntArray:
        """Integer result (C, H, W) of the bytes of its words."""
        ...


@dataclass(frozen=True)
class PixelFrames:
    """Pixels of all channels, as the streams of ``design`` carry them, in whole bytes."""

    design: StreamDesign

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        _, height, width = self.design.input_shape
        return height * width * byte_count(self.design.input_layout)

    @property
    def result_bytes(self) -> int:
        """Bytes of the words of a result."""
        _, height, width = self.design.output_shape
        return height * width * byte_count(self.design.output_layout)

    def encode(self, image: IntArray) -> bytes:
        """Payload of an integer ``image`` (C, H, W).

        Raises
        ------
        DataError
            If a value does not fit its channel.
        """
        layout = self.design.input_layout
        words = pack_words(layout, frames_to_pixels(image[np.newaxis]))
        return words.view(np.uint8)[:, : byte_count(layout)].tobytes()

    def decode(self, words: bytes) -> IntArray:
        """Integer result (C, H, W) of the bytes of its words."""
        layout = self.design.output_layout
        taken = np.frombuffer(words, dtype=np.uint8).reshape(-1, byte_count(layout))
        padded = np.zeros((len(taken), -(-layout.width // 32) * 4), dtype=np.uint8)
        padded[:, : taken.shape[1]] = taken
        pixels = unpack_words(layout, padded.view("<u4"))
        result: IntArray = pixels_to_frames(pixels, self.design.output_shape)[0]
        return result


def design_hash(design: StreamDesign) -> int:
    """64 bits of the SHA-256 of a design's Verilog."""
    return int.from_bytes(hashlib.sha256(design.verilog.encode()).digest()[:8], "big")


def byte_count(layout: PixelLayout) -> int:
    """Bytes of one pixel."""
    return -(-layout.width // 8)


def design_info(design: StreamDesign, clock_hz: int) -> Info:
    """What a device with ``design`` at ``clock_hz`` says of itself.

    Raises
    ------
    UnsupportedError
        If an image or a result is too large for a frame.
    """
    frames = PixelFrames(design)
    sizes = {"image": frames.image_bytes, "result": frames.result_bytes + CYCLES_BYTES}
    for what, size in sizes.items():
        if size > MAX_PAYLOAD:
            raise UnsupportedError(
                f"The {what} of a board with a host link must have at most {MAX_PAYLOAD:,} bytes, "
                f"not {size:,}"
            )
    return Info(design_hash(design), clock_hz, frames.image_bytes, frames.result_bytes)
