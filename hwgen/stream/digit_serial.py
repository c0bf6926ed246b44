"""Adder graphs a digit at a time: a linear layer, requantised or not, on streams of digits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import Requantise
from hwgen.numeric import IntArray, Range, round_shift, saturate
from hwgen.shiftadd.graph import AdderGraph
from hwgen.stream.common import pixel_signature, range_shape
from hwgen.stream.digit_layer import DigitLayer, digit_layer
from hwgen.stream.digit_words import Words
from hwgen.stream.digits import digit_signature

__all__ = ["DigitSerial"]


class DigitSerial(wiring.Component):
    """Constant matrix-vector product of words that pass a digit a beat, and its requantisation.

    Computes ``y = x @ graph.matrix + bias``, or with ``op`` the requantisation of that, exactly.
    Every adder adds a digit a cycle and keeps its carry; a shift to the left moves a word in time
    and in its digits (:mod:`hwgen.shiftadd.digit_serial`), and the shift of a requantisation leaves
    low digits out. Saturation sees the whole value in the end, on its way into a register. Accepts
    a word every :py:`interval` cycles; ``o`` is valid :py:`latency` cycles after the first digit.
    Everything stalls while ``o`` holds a vector that is not taken and the next is complete.

    Parameters
    ----------
    graph : :class:`AdderGraph`
        Adder graph of the matrix.
    digit : int
        Bits of a digit.
    bias : sequence of int, optional
        A constant added to each output, by default zeros.
    op : :class:`Requantise`, optional
        Multipliers and shifts of shape (C, 1, 1) or (1, 1, 1), and bounds.
    flags : int
        Flags that come with the digits.
    complement : bool
        Whether registers hold the complement of a value where that saves inverters, and digits of
        two bits have carry chains: for carry logic that takes its operands as they are (iCE40).

    Members
    -------
    i : :py:`In(digit_signature(len(graph.inputs), digit, flags=flags))`
        Words of :py:`interval` digits.
    o : :py:`Out(pixel_signature(ranges))`
        Output vector.
    """

    def __init__(
        self,
        graph: AdderGraph,
        *,
        digit: int,
        bias: Sequence[int] | None = None,
        op: Requantise | None = None,
        flags: int = 0,
        complement: bool = False,
    ) -> None:
        count = len(graph.outputs)
        self.graph = graph
        self.digit = digit
        self.bias = (0,) * count if bias is None else tuple(int(b) for b in bias)
        self.op = op
        self.flags = flags
        self.complement = complement
        if len(self.bias) != count:
            raise ValueError(f"Bias must have {count} entries, not {len(self.bias)}")
        if op is not None and max(op.multiplier[0].size, op.shift[0].size) > 1:
            raise ValueError("Requantisation must not depend on the position")
        super().__init__(
            {
                "i": In(digit_signature(len(graph.inputs), digit, flags=flags)),
                "o": Out(pixel_signature(self.ranges)),
            }
        )

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Exact range of every output."""
        return tuple(output.range for output in self._layer.outputs)

    output_ranges = ranges

    @property
    def interval(self) -> int:
        """Digits of a word: cycles from a vector to the next."""
        return self._layer.alignment.digits

    @property
    def latency(self) -> int:
        """Cycles from the first digit of a word to ``o`` being valid with its result."""
        return self._layer.alignment.latency + 1

    @cached_property
    def _layer(self) -> DigitLayer:
        return digit_layer(self.graph, self.digit, self.bias, self.op)

    def model(self, x: IntArray) -> IntArray:
        """Outputs (N, outputs) for input vectors (N, inputs)."""
        sums: IntArray = self.graph.evaluate(x) + np.array(self.bias)
        if self.op is None:
            return sums
        multiplier, shift = self.op.multiplier.ravel(), self.op.shift.ravel()
        return saturate(round_shift(sums * multiplier, shift), self.op.lo, self.op.hi)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layer = self._layer
        i, o = self.i, self.o
        go, load, done = Signal(), Signal(), Signal()
        # With one digit a word, results follow each other at once, and what is taken makes room.
        room = ~o.valid | o.ready if self.interval == 1 else ~o.valid
        m.d.comb += [load.eq(done & room), go.eq(~done | load), i.ready.eq(go)]
        words = Words(m, go, i, self.flags, layer, complement=self.complement)
        words.build()
        m.d.comb += done.eq(words.token(layer.alignment.latency))
        with m.If(load):
            m.d.sync += o.valid.eq(1)
        with m.Elif(o.ready):
            m.d.sync += o.valid.eq(0)
        for k, output in enumerate(layer.outputs):
            # What saturation sets has to start so where flip-flops start as they are set (ECP5).
            top = output.range.hi if output.raw.hi > output.hi and not self.complement else 0
            held = Signal(range_shape(output.range), name=f"y{k}", reset_less=True, init=top)
            with m.If(load):
                m.d.sync += held.eq(words.output(output))
            m.d.comb += o.payload[f"c{k}"].eq(held)
        return m
