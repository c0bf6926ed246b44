"""Sum over the whole image: a global average pool before its requantisation."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import SumPool
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import next_count, pixel_signature, range_shape

__all__ = ["Accumulate"]


class Accumulate(wiring.Component):
    """Sum of each channel over the frame, one running sum a channel and no line buffer.

    Accepts one pixel a cycle, frame after frame, while its result is taken at once; the result
    follows the last pixel of the frame by one cycle.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.SumPool`
        Pool whose kernel is the whole input, without padding.
    ranges : sequence of Range
        Range of each input channel (C entries).
    shape : (int, int, int)
        Shape (C, H, W) of a frame.

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    latency = 1
    """Cycles from the last accepted pixel of a frame to its result."""

    def __init__(self, op: SumPool, *, ranges: Sequence[Range], shape: Shape) -> None:
        if op.kernel != shape[1:] or any(op.pads):
            raise ValueError(f"Kernel {op.kernel} must cover the input {shape[1:]} unpadded")
        if len(ranges) != shape[0]:
            raise ValueError(f"Ranges must be one a channel ({shape[0]}), not {len(ranges)}")
        self.op = op
        self.ranges = tuple(ranges)
        self.shape = shape
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each channel's sum."""
        return tuple(r.scale(self.shape[1] * self.shape[2]) for r in self.ranges)

    def model(self, x: IntArray) -> IntArray:
        """Sums (N, C, 1, 1) of frames (N, C, H, W)."""
        sums: IntArray = x.sum(axis=(2, 3), keepdims=True)
        return sums

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixels = self.shape[1] * self.shape[2]
        pixel = Signal(range(pixels))
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            m.d.sync += [
                pixel.eq(next_count(pixel, pixels)),
                self.o.valid.eq(pixel == pixels - 1),
            ]
        for k, r in enumerate(self.output_ranges):
            total = Signal(range_shape(r), name=f"total{k}", reset_less=True)
            m.d.comb += self.o.payload[f"c{k}"].eq(total)
            with m.If(take):
                base = Mux(pixel == 0, 0, total)
                m.d.sync += total.eq(base + self.i.payload[f"c{k}"])
        return m
