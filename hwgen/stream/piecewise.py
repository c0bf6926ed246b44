"""Piecewise-linear activations of a stream: dyadic slopes chosen by comparison.

A table of the function as logic would need no adder, but for a tanh of 5 to 9 segments with 8 to 10
bits in and 8 out it takes 61 to 174 LUT4s of an iCE40, against 48 to 103 for what is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import PiecewiseLinear as PiecewiseLinearOp
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range, round_shift, saturate
from hwgen.stream.codes import WeightCode, weight_code
from hwgen.stream.common import Pipeline, clamped, pixel_signature, range_shape
from hwgen.stream.product import multiple_stages, multiples, product, product_stages, with_carry

__all__ = ["PiecewiseLinear"]


@dataclass(frozen=True)
class _Function:
    """The segments that a channel's inputs reach; the constants include that of the rounding.

    Segment s begins at ``starts[s]`` and gives ``(slopes[s] * x + constants[s]) >> shift``.
    """

    starts: tuple[int, ...]
    slopes: tuple[int, ...]
    constants: tuple[int, ...]
    code: WeightCode
    total: Range
    raw: Range
    range: Range

    @property
    def product_at(self) -> int:
        """Stage of the segment's flags and of the input's multiples."""
        return max(multiple_stages(self.code), int(len(self.starts) > 1))

    @property
    def stages(self) -> int:
        if self.range.lo == self.range.hi:
            return 0
        return self.product_at + product_stages(self.code) + 1 + (self.raw != self.range)


class PiecewiseLinear(wiring.Component):
    """Activation ``y = saturate(round_shift(slope * x + offset, shift), lo, hi)`` by segments.

    Accepts one pixel a cycle; the latency is :py:`latency` cycles. Comparators find the segment of
    each channel, its slope's digits choose among shifted copies and small multiples of x, and its
    offset, which includes the rounding, is added. Segments out of a channel's reach, and bounds
    that its results keep by themselves, are not built.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.PiecewiseLinear`
        Breakpoints, slopes and offsets of each channel, or of one function for all.
    ranges : sequence of Range
        Range of each input channel (C entries).
    shape : (int, int, int)
        Shape (C, H, W) of a frame.

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(self, op: PiecewiseLinearOp, *, ranges: Sequence[Range], shape: Shape) -> None:
        if len(ranges) != shape[0]:
            raise ValueError(f"Ranges must be one a channel ({shape[0]}), not {len(ranges)}")
        if len(op.slopes) not in (1, shape[0]):
            raise ValueError(f"Functions must be 1 or {shape[0]}, not {len(op.slopes)}")
        self.op = op
        self.ranges = tuple(ranges)
        self.shape = shape
        last = len(op.slopes) - 1
        self._functions = tuple(_function(op, min(k, last), r) for k, r in enumerate(ranges))
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each output channel."""
        return tuple(function.range for function in self._functions)

    @property
    def latency(self) -> int:
        """Cycles from an accepted pixel to its result."""
        return max(1, *(function.stages for function in self._functions))

    def model(self, x: IntArray) -> IntArray:
        """Apply the functions to frames (N, C, H, W)."""
        y = np.empty_like(x)
        for channel in range(x.shape[1]):
            g = min(channel, len(self.op.slopes) - 1)
            v = x[:, channel]
            s = (v[..., None] >= self.op.breakpoints[g]).sum(axis=-1)
            total = self.op.slopes[g][s] * v + self.op.offsets[g][s]
            y[:, channel] = saturate(round_shift(total, self.op.shift), self.op.lo, self.op.hi)
        return y

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, latency=self.latency)
        for k, (function, r) in enumerate(zip(self._functions, self.ranges, strict=True)):
            output = self.o.payload[f"c{k}"]
            if function.range.lo == function.range.hi:
                m.d.comb += output.eq(function.range.lo)
                continue
            value = self._channel(pipeline, function, self.i.payload[f"c{k}"], r, f"c{k}")
            rest = self.latency - function.stages
            m.d.comb += output.eq(pipeline.delay(value, rest, name=f"y{k}"))
        return m

    def _channel(
        self, pipeline: Pipeline, function: _Function, x: Value, r: Range, name: str
    ) -> Value:
        code, at = function.code, function.product_at
        reached = [_at_least(x, r, start) for start in function.starts[1:]]
        flags = [
            pipeline.delay(flag, at, name=f"{name}_from{start}")
            for flag, start in zip(reached, function.starts[1:], strict=True)
        ]
        words = code.words(np.array(function.slopes)).tolist()
        chosen = _by_segment(flags, words, Range(0, (1 << code.width) - 1))
        word = pipeline.wire(chosen, name=f"{name}_word")
        delayed = pipeline.delay(x, at - multiple_stages(code), name=f"{name}_x")
        found = multiples(pipeline, delayed, r, code, name=name)
        partial = product(
            pipeline, [word], [found], r, code, width=function.total.width, name=f"{name}_product"
        )
        later = [
            pipeline.delay(flag, product_stages(code), name=f"{name}_offset{n}")
            for n, flag in enumerate(flags)
        ]
        constants = Range(min(function.constants), max(function.constants))
        offset = _by_segment(later, function.constants, constants)
        total = pipeline.register(
            with_carry(offset, partial.value, partial.carry),
            range_shape(function.total),
            name=f"{name}_total",
        ).shift_right(self.op.shift)
        if function.raw == function.range:
            return total
        return pipeline.register(
            clamped(total, function.raw, self.op.lo, self.op.hi),
            range_shape(function.range),
            name=f"{name}_saturated",
        )


def _function(op: PiecewiseLinearOp, g: int, r: Range) -> _Function:
    """What is left of function ``g`` for inputs of range ``r``."""
    edges = [r.lo, *op.breakpoints[g].tolist(), r.hi + 1]
    half = 1 << op.shift >> 1
    segments: list[tuple[int, int, int]] = []
    totals: list[int] = []
    for s, (slope, offset) in enumerate(
        zip(op.slopes[g].tolist(), op.offsets[g].tolist(), strict=True)
    ):
        start, end = max(edges[s], r.lo), min(edges[s + 1], r.hi + 1)
        if start >= end:
            continue
        totals += [slope * x + offset + half for x in (start, end - 1)]
        if not segments or segments[-1][1:] != (slope, offset + half):
            segments.append((start, slope, offset + half))
    starts, slopes, constants = zip(*segments, strict=True)
    total = Range(min(totals), max(totals))
    raw = Range(total.lo >> op.shift, total.hi >> op.shift)
    code = weight_code(np.array(slopes), width=r.width, sharing=1)
    return _Function(starts, slopes, constants, code, total, raw, raw.clamp(op.lo, op.hi))


def _by_segment(reached: Sequence[Value], table: Sequence[int], r: Range) -> Value:
    """``table[s]`` for s the number of thresholds ``reached``, of which the first s are true."""
    shape = range_shape(r)
    value: Value = Const(table[0], shape)
    for flag, entry in zip(reached, table[1:], strict=True):
        value = Mux(flag, Const(entry, shape), value)
    return value


def _at_least(x: Value, r: Range, threshold: int) -> Value:
    """``x >= threshold`` without a carry chain: a constant's comparison is few LUTs."""
    assert r.lo < threshold <= r.hi
    result: Value = Const(1, 1)
    for k in range(len(x)):
        bit = x[k] ^ (r.signed and k == len(x) - 1)
        result = bit & result if (threshold - (r.signed << (len(x) - 1))) >> k & 1 else bit | result
    return result
