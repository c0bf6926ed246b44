"""Chains of adders that make convolutions of the products of columns: the row-transposed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import pixel_signature, range_shape, union
from hwgen.stream.position import Position
from hwgen.stream.scan import Scan

__all__ = ["Chain", "row_matrix"]


def row_matrix(matrix: IntArray, scan: Scan) -> IntArray:
    """Matrix (I * KH, KW * O) of a column, of that (I * KH * KW, O) of a window.

    Column ``s * O + o`` is what the column under column s of the kernel adds to output o.
    """
    inputs, outputs = matrix.shape
    kw = scan.kernel[1]
    return matrix.reshape(inputs // kw, kw * outputs)


@dataclass(frozen=True)
class _Tap:
    """What a column of the kernel does at each beat of a row.

    ``skips``: it is right of the frame, as all behind it are, and adds nothing. ``restarts``: it is
    left of the frame, as all before it are, and its sum is the bias. ``fresh``: it is the first not
    left of the frame, and adds to the bias; so where the beat of the one before it would be one
    before the frame. ``ever``: whether it is in the frame for any window.
    """

    restarts: tuple[bool, ...]
    fresh: tuple[bool, ...]
    skips: tuple[bool, ...]
    ever: bool


class Chain(wiring.Component):
    """Sums what the columns of a window give, each output along a chain of adders.

    Output o of the window that a beat completes is the sum over s of input field ``s * O + o`` of
    the beat ``(KW - 1 - s) * dilation`` before. There is one adder and ``dilation`` registers for
    each s and o. A frame is the ``scan.beats`` beats of a :class:`hwgen.stream.column.Column`. Its
    windows at the right edge are complete while the next row passes: what is outside the frame
    restarts a chain or is not added to it, so padding costs no cycle.

    Parameters
    ----------
    scan : Scan
        Of the convolution.
    ranges : sequence of :class:`Range`
        Range of each input field, ``KW * O`` of them. Those of column 0 of the kernel hold the
        bias already.
    bias : sequence of int, optional
        The bias in them, which is what a chain restarts from; zeros by default.

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(
        self, scan: Scan, *, ranges: Sequence[Range], bias: Sequence[int] | None = None
    ) -> None:
        self.scan, self.ranges = scan, tuple(ranges)
        self.outputs, rest = divmod(len(self.ranges), scan.kernel[1])
        self.bias = (0,) * self.outputs if bias is None else tuple(bias)
        if rest or len(self.bias) != self.outputs:
            raise ValueError(
                f"Chain of {scan.kernel[1]} columns cannot add {len(self.ranges)} fields to "
                f"{len(self.bias)} outputs"
            )
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def output_shape(self) -> Shape:
        """Channels, rows and columns of what comes out."""
        return (self.outputs, *self.scan.out_size)

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each output."""
        return self.partial_ranges[-1]

    @property
    def partial_ranges(self) -> tuple[tuple[Range, ...], ...]:
        """Range of the sum of the first columns of the kernel, for each of them and each output."""
        sums: list[tuple[Range, ...]] = []
        for s, tap in enumerate(self._taps()):
            spans = []
            for o, bias in enumerate(self.bias):
                field, start = self.ranges[s * self.outputs + o], Range(bias, bias)
                cases = [start] if any(tap.restarts) else []
                before = sums[-1][o] if s else Range(0, 0)
                if any(tap.fresh):
                    before = before.union(start)
                if any(tap.skips):
                    cases.append(before)
                if tap.ever:
                    cases.append(before + field)
                spans.append(union(cases or [start]))
            sums.append(tuple(spans))
        return tuple(sums)

    @property
    def latency(self) -> int:
        """Cycles from the first beat of a frame to its first window, at full rate."""
        return self.scan.first + 1

    @property
    def added_bits(self) -> tuple[int, ...]:
        """Width of every adder, each with a register behind it."""
        return tuple(
            span.width
            for s, tap in enumerate(self._taps())
            for field, span in zip(self._fields(s), self.partial_ranges[s], strict=True)
            if s and tap.ever and field.width and span.width
        )

    @property
    def kept_bits(self) -> int:
        """Bits of registers that hold what no adder before them gives."""
        delays = [self.scan.dilations[1]] * (self.scan.kernel[1] - 1) + [1]
        spans = zip(self.partial_ranges, delays, strict=True)
        registers = sum(delay * span.width for row, delay in spans for span in row)
        return registers - sum(self.added_bits)

    @property
    def masked_bits(self) -> int:
        """Bits of fields that are added in the frame alone, and of sums that begin anew."""
        skipped = sum(
            r.width for s, tap in enumerate(self._taps()) if any(tap.skips) for r in self._fields(s)
        )
        begun = sum(
            span.width
            for s, tap in enumerate(self._taps())
            if any(tap.fresh)
            for span in self.partial_ranges[s - 1]
        )
        return skipped + begun

    def _fields(self, s: int) -> tuple[Range, ...]:
        """Ranges of what column ``s`` of the kernel adds."""
        return self.ranges[s * self.outputs : (s + 1) * self.outputs]

    def model(self, x: IntArray) -> IntArray:
        """Outputs (N, O, OH, OW) of products ``x`` (N, KW * O, 1, beats)."""
        scan = self.scan
        (oh, ow), (sh, sw), (_, kw) = scan.out_size, scan.strides, scan.kernel
        count = len(x)
        beats = scan.first + np.arange(oh)[:, None] * sh * scan.row + np.arange(ow) * sw
        fields = x.reshape(count, kw, self.outputs, scan.beats)
        total = np.empty((count, *self.output_shape), dtype=np.int64)
        total[:] = np.array(self.bias).reshape(-1, 1, 1)
        for s, inside in enumerate(scan.inside(1)):
            at = (beats - (kw - 1 - s) * scan.dilations[1])[:, inside]
            added = fields[:, s][:, :, at]
            if s == 0:
                added = added - np.array(self.bias).reshape(-1, 1, 1)
            total[..., inside] += added
        return total

    def _taps(self) -> list[_Tap]:
        """Of each column of the kernel."""
        scan = self.scan
        (_, kw), (_, dilation) = scan.kernel, scan.dilations
        inside = scan.inside(1)
        taps = []
        for s in range(kw):
            places = [self._place(u, s) for u in range(scan.row)]
            left = [x is not None and x < 0 for x in places]
            right = [x is not None and x >= scan.width for x in places]
            fresh = [False] * scan.row
            if s and scan.first < (kw - s) * dilation:
                former = [self._place(u, s, s - 1) for u in range(scan.row)]
                fresh = [
                    x is not None and x < 0 and not out for x, out in zip(former, left, strict=True)
                ]
            if scan.first < (kw - 1 - s) * dilation:
                left = [False] * scan.row
            if s == 0:  # a sum of nothing is the bias too
                left = [a or b for a, b in zip(left, right, strict=True)]
                right = [False] * scan.row
            taps.append(_Tap(tuple(left), tuple(fresh), tuple(right), bool(inside[s].any())))
        return taps

    def _place(self, beat: int, tap: int, other: int | None = None) -> int | None:
        """In the window to which a beat of a row adds column ``tap``, the place of a column.

        That is ``tap``, or another column of the kernel. None if no window is wanted there.
        """
        scan = self.scan
        (_, kw), (_, dilation), (_, stride) = scan.kernel, scan.dilations, scan.strides
        window = (beat + (kw - 1 - tap) * dilation - scan.first) % scan.row
        if window % stride or window // stride >= scan.out_size[1]:
            return None
        return window + (tap if other is None else other) * dilation - scan.pads[1]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        scan = self.scan
        ce, go = Signal(), Signal()
        position = Position(m, scan, go)
        give = position.gives()
        m.d.comb += [
            ce.eq(self.o.ready | ~self.o.valid),
            go.eq(ce & self.i.valid),
            self.i.ready.eq(ce),
        ]
        with m.If(ce):
            m.d.sync += self.o.valid.eq(go & give)

        partial = self.partial_ranges
        sums: list[Value] = [Const(b) for b in self.bias]
        for s, tap in enumerate(self._taps()):
            restart = position.along_row(tap.restarts, f"restart{s}")
            fresh = position.along_row(tap.fresh, f"fresh{s}")
            skip = position.along_row(tap.skips, f"skip{s}")
            for o, bias in enumerate(self.bias):
                span = partial[s][o]
                if span.lo == span.hi:
                    sums[o] = Const(span.lo, range_shape(span))
                    continue
                field = self.i.payload[f"c{s * self.outputs + o}"]
                before = Mux(fresh, bias, sums[o]) if any(tap.fresh) else sums[o]
                added = Mux(skip, 0, field) if any(tap.skips) else field
                total = before + added if s and tap.ever else added if tap.ever else before
                register = Signal(range_shape(span), name=f"sum{s}_{o}", reset_less=True)
                with m.If(go):
                    m.d.sync += register.eq(total)
                    with m.If(restart):
                        m.d.sync += register.eq(bias)
                for k in range(1, scan.dilations[1] if s < scan.kernel[1] - 1 else 1):
                    behind = Signal(range_shape(span), name=f"sum{s}_{o}_{k}", reset_less=True)
                    with m.If(go):
                        m.d.sync += behind.eq(register)
                    register = behind
                sums[o] = register
        m.d.comb += [self.o.payload[f"c{o}"].eq(value) for o, value in enumerate(sums)]
        return m
