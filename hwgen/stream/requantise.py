"""Requantisation of a stream: bias, dyadic multiplier, rounding shift and saturation a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import Requantise as RequantiseOp
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range, odd_part, round_shift, saturate
from hwgen.stream.common import Pipeline, clamped, lookup, next_count, pixel_signature, range_shape
from hwgen.stream.shiftsum import affine, affine_stages, shifted_left

__all__ = ["Requantise", "Scaling", "scaling_of"]


@dataclass(frozen=True)
class Scaling:
    """``round_shift((x + offset) * multiplier, shift)`` as ``(k * x + constant) >> down << up``."""

    coefficient: int
    constant: int
    up: int
    down: int
    range: Range

    @property
    def stages(self) -> int:
        return affine_stages(self.coefficient, self.constant) if self.coefficient else 0


def scaling_of(multiplier: int, shift: int, offset: int, r: Range) -> Scaling:
    """The scaling of a channel of range ``r``."""
    if multiplier == 0:
        return Scaling(0, 0, 0, 0, Range(0, 0))
    ends = [round_shift((x + offset) * multiplier, shift) for x in (r.lo, r.hi)]
    odd, twos = odd_part(multiplier)
    up, down = max(0, twos - shift), max(0, shift - twos)
    constant = offset * odd + (1 << down >> 1)
    return Scaling(odd, constant, up, down, Range(min(ends), max(ends)))


@dataclass(frozen=True)
class _Channel:
    """Distinct scalings of one channel; ``classes[k]`` is the one used by position class k."""

    scalings: tuple[Scaling, ...]
    classes: tuple[int, ...]
    lo: int
    hi: int

    @property
    def raw(self) -> Range:
        """Range before saturation."""
        raw = self.scalings[0].range
        for scaling in self.scalings[1:]:
            raw = raw.union(scaling.range)
        return raw

    @property
    def range(self) -> Range:
        return self.raw.clamp(self.lo, self.hi)

    @property
    def selected(self) -> int:
        """Stages from the input to the register after the choice by position, if there is one."""
        return max(s.stages for s in self.scalings) + (len(self.scalings) > 1)

    @property
    def stages(self) -> int:
        if self.range.lo == self.range.hi:
            return 0
        return self.selected + (self.range != self.raw)


class Requantise(wiring.Component):
    """Requantisation ``y = saturate(round_shift((x + offset) * multiplier, shift), lo, hi)``.

    Accepts one pixel a cycle; the latency is :py:`latency` cycles, one adder or one saturation a
    stage, and every channel is delayed to the slowest. The multiplication is a sum of shifted
    copies of x, the offset and the rounding constant are one addition, and what a channel does not
    need (an adder, a bound out of its reach) is not built. Channels whose multiplier depends on
    the position compute each distinct one and choose by a pixel counter.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.Requantise`
        Multipliers, shifts and bounds; shapes broadcast to (C, H, W).
    ranges : sequence of Range
        Range of each input channel (C entries).
    shape : (int, int, int)
        Shape (C, H, W) of a frame.
    offset : int64 array, optional
        Added to each channel before everything else (C entries): the bias of the convolution.

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(
        self,
        op: RequantiseOp,
        *,
        ranges: Sequence[Range],
        shape: Shape,
        offset: npt.ArrayLike | None = None,
    ) -> None:
        channels, height, width = shape
        if len(ranges) != channels:
            raise ValueError(f"Ranges must be one a channel ({channels}), not {len(ranges)}")
        self.op = op
        self.ranges = tuple(ranges)
        self.shape = shape
        self.offset: IntArray = np.zeros(channels, dtype=np.int64)
        if offset is not None:
            self.offset += np.asarray(offset, dtype=np.int64).reshape(channels)
        multipliers = np.broadcast_to(op.multiplier, shape).reshape(channels, -1)
        shifts = np.broadcast_to(op.shift, shape).reshape(channels, -1)
        keys = np.concatenate([multipliers, shifts])
        distinct, inverse = np.unique(keys, axis=1, return_inverse=True)
        self._positions: IntArray = inverse.reshape(height, width)
        self._channels = tuple(
            self._channel(k, distinct[k].tolist(), distinct[channels + k].tolist())
            for k in range(channels)
        )
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    def _channel(self, k: int, multipliers: list[int], shifts: list[int]) -> _Channel:
        pairs = list(zip(multipliers, shifts, strict=True))
        kinds = list(dict.fromkeys(pairs))
        scalings = tuple(scaling_of(m, s, int(self.offset[k]), self.ranges[k]) for m, s in kinds)
        classes = tuple(kinds.index(pair) for pair in pairs)
        return _Channel(scalings, classes, self.op.lo, self.op.hi)

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each output channel."""
        return tuple(channel.range for channel in self._channels)

    @property
    def latency(self) -> int:
        """Cycles from an accepted pixel to its result."""
        return max(1, *(channel.stages for channel in self._channels))

    def model(self, x: IntArray) -> IntArray:
        """Requantise frames (N, C, H, W)."""
        biased = x + self.offset[:, None, None]
        return saturate(
            round_shift(biased * self.op.multiplier, self.op.shift), self.op.lo, self.op.hi
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, latency=self.latency)
        needed = max((c.selected for c in self._channels if len(c.scalings) > 1), default=0)
        classes = self._position_class(m, pipeline, needed)
        for k, (channel, r) in enumerate(zip(self._channels, self.ranges, strict=True)):
            output = self.o.payload[f"c{k}"]
            if channel.range.lo == channel.range.hi:
                m.d.comb += output.eq(channel.range.lo)
                continue
            value = self._selected(m, pipeline, self.i.payload[f"c{k}"], r, k, classes)
            if channel.range != channel.raw:
                value = pipeline.register(
                    clamped(value, channel.raw, channel.lo, channel.hi),
                    range_shape(channel.range),
                    name=f"saturated{k}",
                )
            rest = self.latency - channel.stages
            m.d.comb += output.eq(pipeline.delay(value, rest, name=f"y{k}"))
        return m

    def _selected(
        self, m: Module, pipeline: Pipeline, x: Value, r: Range, k: int, classes: list[Value]
    ) -> Value:
        """Value before saturation, ``channel.selected`` stages after the input."""
        channel = self._channels[k]
        last = max(s.stages for s in channel.scalings)
        values = []
        for n, scaling in enumerate(channel.scalings):
            if scaling.coefficient == 0:
                values.append(Const(0, 1))
                continue
            total = affine(
                pipeline,
                x,
                r,
                coefficient=scaling.coefficient,
                constant=scaling.constant,
                name=f"sum{k}_{n}",
            )
            shifted = shifted_left(total.shift_right(scaling.down), scaling.up)
            values.append(pipeline.delay(shifted, last - scaling.stages, name=f"sum{k}_{n}"))
        if len(values) == 1:
            return values[0]
        choice = Signal(range_shape(channel.raw), name=f"choice{k}")
        with m.Switch(classes[last]):
            for n, value in enumerate(values):
                with m.Case(*(c for c, use in enumerate(channel.classes) if use == n)):
                    m.d.comb += choice.eq(value)
        return pipeline.register(choice, choice.shape(), name=f"chosen{k}")

    def _position_class(self, m: Module, pipeline: Pipeline, stages: int) -> list[Value]:
        """Class of the pixel at the input, and of those 1, 2, ... ``stages`` stages on."""
        if stages == 0:
            return []
        height, width = self._positions.shape
        row, column = Signal(range(height)), Signal(range(width))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += column.eq(next_count(column, width))
            with m.If(column == width - 1):
                m.d.sync += row.eq(next_count(row, height))
        _, row_kinds = np.unique(self._positions, axis=0, return_inverse=True)
        _, column_kinds = np.unique(self._positions, axis=1, return_inverse=True)
        row_kind = lookup(m, row, row_kinds.ravel(), name="row_kind")
        column_kind = lookup(m, column, column_kinds.ravel(), name="column_kind")
        table = np.zeros((1 << len(row_kind), 1 << len(column_kind)), dtype=np.int64)
        table[np.ix_(row_kinds.ravel(), column_kinds.ravel())] = self._positions
        kind = lookup(m, Cat(column_kind, row_kind), table.ravel(), name="position")
        kinds: list[Value] = [kind]
        for stage in range(stages):
            kinds.append(pipeline.register(kinds[-1], kind.shape(), name=f"position_d{stage + 1}"))
        return kinds
