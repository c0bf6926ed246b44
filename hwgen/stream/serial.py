"""Vectors that pass one value after the other: one requantisation for all, and their collection.

A vector of C channels is then a frame (1, C, 1). Fully connected layers give their outputs in turns
anyway; what follows them need exist only once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import Requantise as RequantiseOp
from hwgen.numeric import IntArray, Range, odd_part, round_shift, saturate
from hwgen.stream.codes import weight_code
from hwgen.stream.common import (
    Pipeline,
    clamped,
    next_count,
    pixel_signature,
    range_shape,
    union,
)
from hwgen.stream.product import multiple_stages, multiples, product, product_stages, with_carry

__all__ = ["Gather", "SerialRequantise"]


class SerialRequantise(wiring.Component):
    """Requantisation of a vector that passes one channel a beat.

    Computes ``y = saturate(round_shift((x + offset) * multiplier, shift), lo, hi)`` with each
    channel's constants, which lie in memory: a code word for the multiplier, whose digits choose
    among multiples of x, and the sum of offset and rounding. Accepts one value a cycle; the latency
    is :py:`latency` cycles.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.Requantise`
        Multipliers and shifts of shape (C, 1, 1) or (1, 1, 1), and bounds.
    ranges : sequence of Range
        Range of each channel (C entries).
    offset : int64 array, optional
        Added to each channel before everything else (C entries).

    Members
    -------
    i : :py:`In(pixel_signature([union(ranges)]))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(
        self,
        op: RequantiseOp,
        *,
        ranges: Sequence[Range],
        offset: npt.ArrayLike | None = None,
    ) -> None:
        channels = len(ranges)
        self.op = op
        self.ranges = tuple(ranges)
        self.offset: IntArray = np.zeros(channels, dtype=np.int64)
        if offset is not None:
            self.offset += np.asarray(offset, dtype=np.int64).reshape(channels)
        self._multiplier = np.broadcast_to(op.multiplier, (channels, 1, 1)).ravel()
        self._shift = np.broadcast_to(op.shift, (channels, 1, 1)).ravel()
        self._down, self._factors, self._constants = self._common_shift()
        self._code = weight_code(self._factors, width=union(ranges).width, sharing=1)
        super().__init__(
            {
                "i": In(pixel_signature([union(self.ranges)])),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    def _common_shift(self) -> tuple[int, IntArray, IntArray]:
        """Shift, factors and constants with ``y = saturate((factor * x + constant) >> shift)``."""
        scalings = []
        for multiplier, shift, offset in zip(
            self._multiplier.tolist(), self._shift.tolist(), self.offset.tolist(), strict=True
        ):
            odd, twos = odd_part(multiplier) if multiplier else (0, shift)
            down, up = max(0, shift - twos), max(0, twos - shift)
            scalings.append((odd << up, down, (offset * odd << up) + (1 << down >> 1)))
        most = max(down for _, down, _ in scalings)
        factors = [factor << (most - down) for factor, down, _ in scalings]
        constants = [constant << (most - down) for _, down, constant in scalings]
        return most, np.array(factors), np.array(constants)

    @property
    def _total(self) -> Range:
        """Range before the shift."""
        return union(
            r.scale(factor) + Range(constant, constant)
            for r, factor, constant in zip(
                self.ranges, self._factors.tolist(), self._constants.tolist(), strict=True
            )
        )

    @property
    def _raw(self) -> Range:
        return Range(self._total.lo >> self._down, self._total.hi >> self._down)

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Range of the one field of ``o``: that of all channels together."""
        return (union(self.value_ranges),)

    @property
    def value_ranges(self) -> tuple[Range, ...]:
        """Exact range of each channel."""
        return tuple(
            Range(min(ends), max(ends))
            for r, factor, constant in zip(
                self.ranges, self._factors.tolist(), self._constants.tolist(), strict=True
            )
            for ends in [
                [
                    saturate((x * factor + constant) >> self._down, self.op.lo, self.op.hi)
                    for x in (r.lo, r.hi)
                ]
            ]
        )

    @property
    def _factor_at(self) -> int:
        """Stage of the multiples and of the code word."""
        return max(1, multiple_stages(self._code))

    @property
    def _saturates(self) -> bool:
        return self._raw.clamp(self.op.lo, self.op.hi) != self._raw

    @property
    def latency(self) -> int:
        """Cycles from an accepted value to its result."""
        return self._factor_at + product_stages(self._code) + 1 + self._saturates

    def model(self, x: IntArray) -> IntArray:
        """Requantise frames (N, 1, C, 1)."""
        column = (slice(None), None)
        biased = (x + self.offset[column]) * self._multiplier[column]
        return saturate(round_shift(biased, self._shift[column]), self.op.lo, self.op.hi)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, latency=self.latency)
        code, at = self._code, self._factor_at
        channels = len(self.ranges)
        index = Signal(range(channels))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += index.eq(next_count(index, channels))

        index_at = pipeline.delay(index, at - 1, name="index")
        words = code.words(self._factors).tolist()
        word = self._table(m, pipeline, index_at, words, code.width, name="factors")
        r = union(self.ranges)
        x = pipeline.delay(self.i.payload.c0, at - multiple_stages(code), name="x")
        found = multiples(pipeline, x, r, code, name="x")
        width = self._total.width
        partial = product(pipeline, [word], [found], r, code, width=width, name="product")

        constants = [constant & ((1 << width) - 1) for constant in self._constants.tolist()]
        index_then = pipeline.delay(index_at, product_stages(code), name="index_then")
        constant = self._table(m, pipeline, index_then, constants, width, name="constants")
        total = pipeline.register(
            with_carry(constant.as_signed(), partial.value, partial.carry),
            range_shape(self._total),
            name="total",
        ).shift_right(self._down)
        if self._saturates:
            shape = range_shape(self._raw.clamp(self.op.lo, self.op.hi))
            bounded = clamped(total, self._raw, self.op.lo, self.op.hi)
            total = pipeline.register(bounded, shape, name="saturated")
        m.d.comb += self.o.payload.c0.eq(total)
        return m

    def _table(
        self,
        m: Module,
        pipeline: Pipeline,
        index: Value,
        words: list[int],
        width: int,
        *,
        name: str,
    ) -> Value:
        """``words[index]``, a stage later."""
        m.submodules[name] = table = memory.Memory(
            shape=unsigned(max(1, width)), depth=len(words), init=words
        )
        read = table.read_port()
        m.d.comb += [read.addr.eq(index), read.en.eq(pipeline.ce)]
        return read.data


class Gather(wiring.Component):
    """Collection of a vector that comes one channel a beat, frame (1, C, 1) to (C, 1, 1).

    Accepts one value a cycle, vector after vector, while its result is taken at once; the result
    follows the last value by one cycle.

    Parameters
    ----------
    ranges : sequence of Range
        Range of each channel (C entries).

    Members
    -------
    i : :py:`In(pixel_signature([union(ranges)]))`
    o : :py:`Out(pixel_signature(ranges))`
    """

    latency = 1
    """Cycles from the last accepted value of a vector to the vector."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self.ranges = tuple(ranges)
        super().__init__(
            {
                "i": In(pixel_signature([union(self.ranges)])),
                "o": Out(pixel_signature(self.ranges)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Range of each output channel."""
        return self.ranges

    def model(self, x: IntArray) -> IntArray:
        """Vectors (N, C, 1, 1) of frames (N, 1, C, 1)."""
        return x.transpose(0, 2, 1, 3)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        channels = len(self.ranges)
        index = Signal(range(channels))
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            m.d.sync += [
                index.eq(next_count(index, channels)),
                self.o.valid.eq(index == channels - 1),
            ]
        value: Value = self.i.payload.c0
        for k, r in reversed(list(enumerate(self.ranges))):
            stored = Signal(value.shape(), name=f"y{k}", reset_less=True)
            with m.If(take):
                m.d.sync += stored.eq(value)
            m.d.comb += self.o.payload[f"c{k}"].eq(stored[: r.width])
            value = stored
        return m
