"""Frames as payload words and back, for any width, in whole arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen.errors import DataError
from hwgen.network.types import Shape
from hwgen.numeric import IntArray
from hwgen.stream.design import PixelLayout

__all__ = ["Words", "frames_to_pixels", "pack_words", "pixels_to_frames", "unpack_words"]

Words = npt.NDArray[np.uint32]
_U64 = np.uint64


def word_count(layout: PixelLayout) -> int:
    """32-bit words of one payload."""
    return (layout.width + 31) // 32


def frames_to_pixels(frames: IntArray) -> IntArray:
    """Pixels (N * H * W, C) in raster order of ``frames`` (N, C, H, W)."""
    return np.ascontiguousarray(frames.transpose(0, 2, 3, 1)).reshape(-1, frames.shape[1])


def pixels_to_frames(pixels: IntArray, shape: Shape) -> IntArray:
    """Frames (N, C, H, W) of ``pixels`` (N * H * W, C); the inverse of the above."""
    channels, height, width = shape
    frames = pixels.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(frames)


def pack_words(layout: PixelLayout, pixels: IntArray) -> Words:
    """Payloads (N, words) of ``pixels`` (N, C), least significant word first.

    Raises
    ------
    DataError
        If a pixel does not fit its channel.
    """
    lanes = (layout.width + 63) // 64
    packed = np.zeros((len(pixels), lanes + 1), dtype=_U64)
    offset = 0
    for channel, (width, signed) in enumerate(layout.channels):
        values = pixels[:, channel]
        lo, hi = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
        if len(values) and not lo <= int(values.min()) <= int(values.max()) <= hi:
            raise DataError(
                f"Channel {channel} holds {int(values.min())} .. {int(values.max())}, "
                f"which does not fit its {lo} .. {hi}"
            )
        field = values.astype(_U64) & _U64((1 << width) - 1)
        lane, shift = divmod(offset, 64)
        packed[:, lane] |= field << _U64(shift)
        if shift + width > 64:
            packed[:, lane + 1] |= field >> _U64(64 - shift)
        offset += width
    words = np.ascontiguousarray(packed).view("<u4")[:, : word_count(layout)]
    return np.ascontiguousarray(words)


def unpack_words(layout: PixelLayout, words: Words) -> IntArray:
    """Pixels (N, C) of payloads ``words`` (N, words); the inverse of :func:`pack_words`."""
    lanes = (layout.width + 63) // 64
    padded = np.zeros((len(words), 2 * (lanes + 1)), dtype="<u4")
    padded[:, : words.shape[1]] = words
    packed = padded.view(_U64)
    pixels = np.empty((len(words), len(layout.channels)), dtype=np.int64)
    offset = 0
    for channel, (width, signed) in enumerate(layout.channels):
        lane, shift = divmod(offset, 64)
        field = packed[:, lane] >> _U64(shift)
        if shift + width > 64:
            field |= packed[:, lane + 1] << _U64(64 - shift)
        # the field's top bit goes to bit 63, and the shift back extends it
        spare = 64 - width
        lifted = field << _U64(spare)
        if signed:
            pixels[:, channel] = lifted.view(np.int64) >> np.int64(spare)
        else:
            pixels[:, channel] = (lifted >> _U64(spare)).view(np.int64)
        offset += width
    return pixels
