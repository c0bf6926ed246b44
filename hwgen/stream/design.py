"""A generated streaming design as data: its Verilog and all that a bench must know to drive it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.programs import Loading

__all__ = ["PixelLayout", "StreamDesign", "Tap"]


@dataclass(frozen=True)
class PixelLayout:
    """How one pixel of all channels lies in a payload: ``channels`` are (width, signed).

    Channel 0 occupies the least significant bits, with no gaps.
    """

    channels: tuple[tuple[int, bool], ...]

    @classmethod
    def from_ranges(cls, ranges: Sequence[Range]) -> PixelLayout:
        """Layout in which every channel is exactly as wide as its range."""
        return cls(tuple((r.width, r.signed) for r in ranges))

    @property
    def width(self) -> int:
        """Bits of the whole payload."""
        return sum(width for width, _ in self.channels)

    def pack(self, pixels: IntArray) -> list[int]:
        """Payloads, as unsigned integers, of ``pixels`` (N, C)."""
        payloads = [0] * len(pixels)
        offset = 0
        for channel, (width, _) in enumerate(self.channels):
            mask = (1 << width) - 1
            for index, value in enumerate(pixels[:, channel].tolist()):
                payloads[index] |= (value & mask) << offset
            offset += width
        return payloads

    def unpack(self, payloads: Sequence[int]) -> IntArray:
        """Pixels (N, C) of unsigned ``payloads``; the inverse of :meth:`pack`."""
        pixels = np.empty((len(payloads), len(self.channels)), dtype=np.int64)
        offset = 0
        for channel, (width, signed) in enumerate(self.channels):
            mask, sign = (1 << width) - 1, (1 << (width - 1)) if signed else 0
            for index, payload in enumerate(payloads):
                field = (payload >> offset) & mask
                pixels[index, channel] = (field ^ sign) - sign
            offset += width
        return pixels


@dataclass(frozen=True)
class Tap:
    """A layer's stream made visible: outputs ``tap<index>__payload`` and ``tap<index>__valid``.

    ``valid`` is high in each cycle in which a pixel of the integer network's tensor ``node``
    passes, so that a bench samples the payload whenever ``valid`` is high at a clock edge.
    A vector (C, 1, 1) that passes one channel a beat has the shape (1, C, 1) here.
    """

    index: int
    node: str
    shape: Shape
    layout: PixelLayout


@dataclass(frozen=True)
class StreamDesign:
    """Verilog of a streaming network and its ports.

    Ports of the module ``name``: ``clk``, synchronous active-high ``rst``; the input stream
    ``i__payload``, ``i__valid``, ``i__ready``; the output stream ``o__payload``, ``o__valid``,
    ``o__ready``; the taps, if any. A stream carries one pixel of all channels a transfer, in
    raster order, frame after frame with nothing between them. A transfer happens at a rising edge
    of ``clk`` with valid and ready both high. ``loading`` tells of a module inside that takes
    programs, None if there is none.
    """

    name: str
    verilog: str
    input_shape: Shape
    input_layout: PixelLayout
    output_shape: Shape
    output_layout: PixelLayout
    taps: tuple[Tap, ...] = ()
    loading: Loading | None = None
