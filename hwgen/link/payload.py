"""Images and results as payloads of frames, and the hash that tells designs apart."""

from __future__ import annotations

import hashlib

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.link.protocol import CYCLES_BYTES, MAX_PAYLOAD, Info
from hwgen.numeric import IntArray
from hwgen.sim.words import frames_to_pixels, pack_words, pixels_to_frames, unpack_words
from hwgen.stream.design import PixelLayout, StreamDesign

__all__ = [
    "byte_count",
    "decode_result",
    "design_hash",
    "design_info",
    "encode_image",
    "frame_sizes",
]


def design_hash(design: StreamDesign) -> int:
    """64 bits of the SHA-256 of a design's Verilog."""
    return int.from_bytes(hashlib.sha256(design.verilog.encode()).digest()[:8], "big")


def byte_count(layout: PixelLayout) -> int:
    """Bytes of one pixel."""
    return -(-layout.width // 8)


def frame_sizes(design: StreamDesign) -> tuple[int, int]:
    """Bytes of an image and of the words of a result.

    Raises
    ------
    UnsupportedError
        If one is too large for a frame.
    """
    image, result = (
        shape[1] * shape[2] * byte_count(layout)
        for shape, layout in (
            (design.input_shape, design.input_layout),
            (design.output_shape, design.output_layout),
        )
    )
    for what, size in (("image", image), ("result", result + CYCLES_BYTES)):
        if size > MAX_PAYLOAD:
            raise UnsupportedError(
                f"The {what} of a board with a host link must have at most {MAX_PAYLOAD:,} bytes, "
                f"not {size:,}"
            )
    return image, result


def design_info(design: StreamDesign, clock_hz: int) -> Info:
    """What a device with ``design`` at ``clock_hz`` says of itself.

    Raises
    ------
    UnsupportedError
        If an image or a result is too large for a frame.
    """
    return Info(design_hash(design), clock_hz, *frame_sizes(design))


def encode_image(design: StreamDesign, image: IntArray) -> bytes:
    """Payload of an integer ``image`` (C, H, W).

    Raises
    ------
    DataError
        If a value does not fit its channel.
    """
    layout = design.input_layout
    words = pack_words(layout, frames_to_pixels(image[np.newaxis]))
    return words.view(np.uint8)[:, : byte_count(layout)].tobytes()


def decode_result(design: StreamDesign, words: bytes) -> IntArray:
    """Integer result (C, H, W) of the bytes of its words."""
    layout = design.output_layout
    taken = np.frombuffer(words, dtype=np.uint8).reshape(-1, byte_count(layout))
    padded = np.zeros((len(taken), -(-layout.width // 32) * 4), dtype=np.uint8)
    padded[:, : taken.shape[1]] = taken
    frames = pixels_to_frames(unpack_words(layout, padded.view("<u4")), design.output_shape)
    result: IntArray = frames[0]
    return result
