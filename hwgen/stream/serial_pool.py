"""Pooling of pixels that pass one channel a beat: one maximum or sum for all channels."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import MaxPool, SumPool
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import (
    Registers,
    delayed_flags,
    in_turns,
    pixel_signature,
    range_shape,
    union,
)
from hwgen.stream.patches import Patches
from hwgen.stream.pool import pool_window
from hwgen.stream.scan import Scan

__all__ = ["SerialPool", "pool_scan"]

_STAGES = 3


def pool_scan(op: MaxPool | SumPool, shape: Shape) -> Scan:
    """Positions of a pool in a frame (C, H, W)."""
    dilations = op.dilations if isinstance(op, MaxPool) else (1, 1)
    return Scan(shape[1], shape[2], op.kernel, op.strides, op.pads, dilations)


class SerialPool(wiring.Component):
    """Maximum or sum over each patch of each channel, channels one after the other.

    The newest rows lie in memory (:class:`hwgen.stream.patches.Patches`), a value a word; one value
    is read a cycle. A position keeps the block busy for the taps of all channels; if it was idle,
    the first result follows the last value that the position needs by :py:`latency` cycles.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.MaxPool` or :class:`hwgen.integer.types.SumPool`
        The pool; every position has a tap in the frame.
    ranges : sequence of Range
        Range of each channel (C entries).
    shape : (int, int, int)
        Shape (C, H, W) of a frame.

    Members
    -------
    i : :py:`In(pixel_signature([union(ranges)]))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(self, op: MaxPool | SumPool, *, ranges: Sequence[Range], shape: Shape) -> None:
        self.op = op
        self.ranges = tuple(ranges)
        self.shape = shape
        self.scan = pool_scan(op, shape)
        if not all(self.scan.inside(axis).any(axis=0).all() for axis in (0, 1)):
            raise ValueError("Every position of a pool must have a tap in the frame")
        super().__init__(
            {
                "i": In(pixel_signature([union(self.ranges)])),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Range of the one field of ``o``."""
        return (union(self.value_ranges),)

    @property
    def value_ranges(self) -> tuple[Range, ...]:
        """Range of each channel."""
        if isinstance(self.op, MaxPool):
            return self.ranges
        taps = self.op.kernel[0] * self.op.kernel[1]
        padded = any(self.op.pads)
        return tuple((r.union(Range(0, 0)) if padded else r).scale(taps) for r in self.ranges)

    @property
    def latency(self) -> int:
        """Cycles from the last value that a position needs to its first result, if idle."""
        return self.op.kernel[0] * self.op.kernel[1] + _STAGES + 1

    def model(self, x: IntArray) -> IntArray:
        """Results (N, 1, OH * OW * C, 1) of frames (N, 1, H * W * C, 1)."""
        channels, height, width = self.shape
        frames = x.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        windows = pool_window(self.op, ranges=self.ranges, shape=self.shape).model(frames)
        taps = windows.reshape(len(x), channels, -1, *windows.shape[2:])
        reduced: IntArray = taps.max(axis=2) if isinstance(self.op, MaxPool) else taps.sum(axis=2)
        return in_turns(reduced)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        channels = self.shape[0]
        m.submodules.patches = patches = Patches(
            self.scan,
            ranges=[union(self.ranges)],
            channels=1,
            batches=channels,
            serial=range(channels),
            beats=channels,
        )
        ce, finished = Signal(), Signal()
        m.d.comb += [
            patches.i.payload.eq(self.i.payload),
            patches.i.valid.eq(self.i.valid),
            self.i.ready.eq(patches.i.ready),
            patches.ce.eq(ce),
            ce.eq(~(finished & self.o.valid & ~self.o.ready)),
        ]
        registers = Registers(m, ce)
        running = delayed_flags(m, ce, patches.running, _STAGES)
        last = delayed_flags(m, ce, patches.last, _STAGES)
        m.d.comb += finished.eq(running[_STAGES] & last[_STAGES])

        is_max = isinstance(self.op, MaxPool)
        read = union(self.ranges)
        fill = read.lo if is_max else 0
        shape = range_shape(read.union(Range(fill, fill)) if patches.masked else read)
        inside = registers.register(patches.inside, 1, name="inside")
        word = patches.word["c0"]
        value = registers.register(
            Mux(inside, word, fill) if patches.masked else word, shape, name="value"
        )
        first = Signal(init=1)
        total = Signal(range_shape(self.output_ranges[0]), reset_less=True)
        arrived = running[_STAGES - 1] & ce
        with m.If(arrived):
            m.d.sync += first.eq(last[_STAGES - 1])
            if not is_max:
                m.d.sync += total.eq(Mux(first, 0, total) + value)
        if is_max:
            with m.If(arrived & (first | (value > total))):
                m.d.sync += total.eq(value)

        result = Signal(total.shape(), reset_less=True)
        m.d.comb += self.o.payload.c0.eq(result)
        with m.If(finished & ce):
            m.d.sync += [result.eq(total), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
