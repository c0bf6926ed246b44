"""Index of the greatest channel of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import IntArray, Range
from hwgen.stream.common import Pipeline, pixel_signature, range_shape

__all__ = ["ArgMax"]


@dataclass(frozen=True)
class _Candidate:
    """Greatest of some neighbouring channels, and which one it is."""

    value: Value
    range: Range
    index: Value
    last: int


class ArgMax(wiring.Component):
    """Index of the greatest channel, the first of equals.

    Accepts one pixel a cycle; the latency is :py:`latency` cycles: a tree of compare and select
    with a register after each level.

    Parameters
    ----------
    ranges : sequence of Range
        Range of each input channel (C entries).

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    o : :py:`Out(pixel_signature([Range(0, C - 1)]))`
    """

    def __init__(self, ranges: Sequence[Range]) -> None:
        if not ranges:
            raise ValueError("ArgMax needs at least one channel")
        self.ranges = tuple(ranges)
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Range of the index."""
        return (Range(0, len(self.ranges) - 1),)

    @property
    def latency(self) -> int:
        """Cycles from an accepted pixel to its index."""
        return max(1, (len(self.ranges) - 1).bit_length())

    def model(self, x: IntArray) -> IntArray:
        """Index of the greatest channel of frames (N, C, H, W), as (N, 1, H, W)."""
        return np.argmax(x, axis=1, keepdims=True).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, latency=self.latency)
        level = [
            _Candidate(self.i.payload[f"c{k}"], r, Const(k, range_shape(Range(0, k))), k)
            for k, r in enumerate(self.ranges)
        ]
        for stage in range(self.latency):
            pairs = [tuple(level[k : k + 2]) for k in range(0, len(level), 2)]
            level = [_greater(pipeline, pair, name=f"s{stage}_{k}") for k, pair in enumerate(pairs)]
        m.d.comb += self.o.payload.c0.eq(level[0].index)
        return m


def _greater(pipeline: Pipeline, pair: tuple[_Candidate, ...], *, name: str) -> _Candidate:
    a, b = pair[0], pair[-1]
    second = b.value > a.value
    r = Range(max(a.range.lo, b.range.lo), max(a.range.hi, b.range.hi))
    value = pipeline.register(Mux(second, b.value, a.value), range_shape(r), name=f"max_{name}")
    index = pipeline.register(
        Mux(second, b.index, a.index), range_shape(Range(0, b.last)), name=f"index_{name}"
    )
    return _Candidate(value, r, index, b.last)
