"""Adder graphs a digit at a time: a linear layer, requantised or not, on streams of digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import Requantise
from hwgen.numeric import IntArray, Range, round_shift, saturate
from hwgen.shiftadd.build import scaled, with_bias
from hwgen.shiftadd.digit_serial import Alignment, Field, align, without_right_shifts
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.stream.common import clamped, lookup, pixel_signature, range_shape
from hwgen.stream.digits import digit_count, digit_signature
from hwgen.stream.requantise import Scaling, scaling_of

__all__ = ["DigitSerial"]

_CARRY_CHAIN = 3
"""Bits of a digit from which carry logic is smaller than LUTs alone."""


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
    ) -> None:
        count = len(graph.outputs)
        self.graph = graph
        self.digit = digit
        self.bias = (0,) * count if bias is None else tuple(int(b) for b in bias)
        self.op = op
        self.flags = flags
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
    def _layer(self) -> _Layer:
        return _layer(self.graph, self.digit, self.bias, self.op)

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
        words = _Words(m, go, i, self.flags, layer)
        words.build()
        m.d.comb += done.eq(words.token(layer.alignment.latency))
        with m.If(load):
            m.d.sync += o.valid.eq(1)
        with m.Elif(o.ready):
            m.d.sync += o.valid.eq(0)
        for k, output in enumerate(layer.outputs):
            held = Signal(range_shape(output.range), name=f"y{k}", reset_less=True)
            with m.If(load):
                m.d.sync += held.eq(words.output(output))
            m.d.comb += o.payload[f"c{k}"].eq(held)
        return m


@dataclass(frozen=True)
class _Output:
    """``saturate(field << pad, lo, hi)``; ``raw`` is the range before the saturation.

    With ``clears``, the registers in which a negative value ends are cleared in the last cycle.
    """

    field: Field | None
    pad: int
    raw: Range
    lo: int
    hi: int
    clears: bool = False

    @property
    def range(self) -> Range:
        return self.raw.clamp(self.lo, self.hi)


@dataclass(frozen=True)
class _Layer:
    """What is built: a graph with constant inputs, its outputs, and when all is there."""

    graph: AdderGraph
    outputs: tuple[_Output, ...]
    alignment: Alignment


def _layer(graph: AdderGraph, digit: int, bias: Sequence[int], op: Requantise | None) -> _Layer:
    spans = graph.output_ranges
    if op is None:
        scalings = [
            Scaling(1, b, 0, 0, Range(r.lo + b, r.hi + b)) for r, b in zip(spans, bias, strict=True)
        ]
    else:
        multipliers = np.broadcast_to(op.multiplier.ravel(), len(spans)).tolist()
        shifts = np.broadcast_to(op.shift.ravel(), len(spans)).tolist()
        scalings = [
            scaling_of(*each) for each in zip(multipliers, shifts, bias, spans, strict=True)
        ]
    whole = with_bias(
        scaled(graph, [s.coefficient for s in scalings]), [s.constant for s in scalings]
    )
    whole = without_right_shifts(whole)
    outputs = []
    for scaling, operand in zip(scalings, whole.outputs, strict=True):
        lo, hi = (op.lo, op.hi) if op else (scaling.range.lo, scaling.range.hi)
        outputs.append(_output(whole, operand, scaling, lo, hi))
    reads = [o.source for node in whole.nodes for o in node.operands]
    reads += [o.source for o in whole.outputs if o is not None]
    outputs = [
        replace(output, clears=output.lo == 0 and output.raw.signed)
        if output.field is not None and reads.count(output.field.source) == 1
        else output
        for output in outputs
    ]
    fields = [output.field for output in outputs if output.field is not None]
    least = digit_count(graph.inputs, digit)
    wait = int(any(output.clears for output in outputs))
    alignment = align(whole, fields, digit, digits=least, wait=wait)
    return _Layer(whole, tuple(outputs), alignment)


def _output(
    graph: AdderGraph, operand: Operand | None, scaling: Scaling, lo: int, hi: int
) -> _Output:
    raw = scaling.range
    if operand is None or raw.clamp(lo, hi).lo == raw.clamp(lo, hi).hi:
        return _Output(None, 0, raw, lo, hi)
    assert not operand.negate
    low = scaling.down - operand.shift
    pad = scaling.up + max(-low, 0)
    width = max(raw.width - pad, 1)
    return _Output(Field(operand.source, max(low, 0), width), pad, raw, lo, hi)


@dataclass
class _Words:
    """Words in time: tokens that run along with them, their digits, and what is derived of both.

    A token accompanies each word; it is in place t in the cycle in which the digits of time t are
    there. All registers keep still unless ``go`` is high.
    """

    m: Module
    go: Value
    i: Any
    flags: int
    layer: _Layer
    tokens: list[Value] = field(default_factory=list)
    masks: dict[tuple[int, int], Value] = field(default_factory=dict)
    counters: dict[int, Value] = field(default_factory=dict)
    chains: dict[tuple[int, int], list[Value]] = field(default_factory=dict)
    """For each value and bit of a digit: the bit as computed, then from 1, 2, ... registers."""

    def build(self) -> None:
        """Make the digits of every value."""
        graph = self.layer.graph
        for value, span in enumerate(graph.ranges):
            if span.lo == span.hi:
                continue
            name = f"x{value}"
            if name in self.i.payload.shape().members:
                flag = self.i.payload.flags[value % self.flags] if self.flags else None
                self._keep(value, name, self.i.payload[name], flag)
            else:
                index = value - len(graph.inputs)
                self._keep(value, f"n{index}", self._sum(index))

    def token(self, time: int) -> Value:
        """High while the first digits of time ``time`` are there; from a register if time > 0."""
        if not self.tokens:
            self.tokens.append(self.i.valid & self.i.payload.first)
        while len(self.tokens) <= time:
            token = Signal(name=f"token{len(self.tokens)}")
            with self.m.If(self.go):
                self.m.d.sync += token.eq(self.tokens[-1])
            self.tokens.append(token)
        return self.tokens[time]

    def output(self, output: _Output) -> Value:
        """An output of the layer."""
        if output.field is None:
            return Const(output.range.lo, range_shape(output.range))
        places = self.layer.alignment.places(output.field)
        bits = [self.chains[output.field.source, bit][delay] for bit, delay in places]
        value: Value = Cat(Const(0, output.pad), *bits)
        if output.clears:
            return clamped(value[:-1], Range(0, max(output.raw.hi, 0)), output.lo, output.hi)
        if output.raw.signed:
            value = value.as_signed()
        return clamped(value, output.raw, output.lo, output.hi)

    def _keep(self, value: int, name: str, digit: Value, flag: Value | None = None) -> None:
        """The digit and its delays, each bit as long as it is needed.

        A flag clears the first of its registers, behind which all its readers are.
        """
        depths = self.layer.alignment.depth[value]
        for bit, now in enumerate(digit):
            self.chains[value, bit] = [now]
        negative: Value | None = None
        for k in range(max(depths)):
            bits = [bit for bit, depth in enumerate(depths) if depth > k]
            register = Signal(len(bits), name=f"{name}_d{k + 1}", reset_less=True)
            negative = self._negative(value, k) if negative is None else negative
            clear = negative if flag is None or k else ~flag
            with self.m.If(self.go):
                self.m.d.sync += register.eq(Cat(self.chains[value, bit][k] for bit in bits))
                if clear is not None:
                    with self.m.If(clear):
                        self.m.d.sync += register.eq(0)
            for place, bit in enumerate(bits):
                self.chains[value, bit].append(register[place])

    def _negative(self, value: int, delay: int) -> Value | None:
        """High when the register behind ``delay`` others is the first to hold an output below 0."""
        for output in self.layer.outputs:
            if output.clears and output.field is not None and output.field.source == value:
                bit, last = self.layer.alignment.places(output.field)[-1]
                if last == delay + 1:
                    token = self.token(self.layer.alignment.latency - 1)
                    return token & self.chains[value, bit][delay]
        return None

    def _sum(self, index: int) -> Signal:
        """The digits of a node, registered."""
        m, graph, plan = self.m, self.layer.graph, self.layer.alignment
        node = graph.nodes[index]
        first, second = sorted(node.operands, key=lambda operand: operand.negate)
        a, b = self._operand(index, first), self._operand(index, second)
        start = plan.begin[len(graph.inputs) + index] - 1
        register = Signal(plan.digit, name=f"n{index}", reset_less=True)
        kept: Value = Const(0, 1)
        if plan.digits > 1:
            kept = Signal(name=f"carry{index}", reset_less=True)
        total, carry = _added(a, b, kept, negated=second.negate)
        if plan.digits > 1:
            with m.If(self.go):
                with m.If(self.token(start - 1)):
                    m.d.sync += kept.eq(0)
                with m.Else():
                    m.d.sync += kept.eq(carry)
        with m.If(self.go):
            m.d.sync += register.eq(total)
        return register

    def _operand(self, index: int, operand: Operand) -> Value:
        """The digit of an operand that a node adds, without its sign."""
        graph, plan = self.layer.graph, self.layer.alignment
        start = plan.begin[len(graph.inputs) + index] - 1
        span = graph.ranges[operand.source]
        if span.lo == span.hi:
            return self._constant(span.lo << operand.shift, index, start)
        late, rest = divmod(operand.shift, plan.digit)
        delay = plan.delay(graph, index, operand)
        bits = []
        for bit in range(plan.digit):
            before = bit < rest
            zeros = late + before
            source = (bit - rest) % plan.digit
            if zeros >= plan.digits:
                bits.append(Const(0, 1))
            else:
                digit = self.chains[operand.source, source][delay + before]
                bits.append(digit & self._mask(start, zeros))
        return Cat(bits)

    def _mask(self, start: int, zeros: int) -> Value:
        """Low in the first ``zeros`` cycles of the words of time ``start``."""
        if zeros == 0:
            return Const(1, 1)
        if zeros == 1:
            return ~self.token(start)
        if (start, zeros) not in self.masks:
            mask = Signal(name=f"zeros{start}_{zeros}", reset_less=True)
            begin, end = self.token(start - 1), self.token(start + zeros - 1)
            with self.m.If(self.go):
                self.m.d.sync += mask.eq(begin | (mask & ~end))
            self.masks[start, zeros] = ~mask
        return self.masks[start, zeros]

    @cached_property
    def _bases(self) -> dict[int, int]:
        """For each node that adds a constant, when the counter of its digits starts.

        It may start before the node, as long as it counts all digits that are read in the end.
        """
        graph, plan = self.layer.graph, self.layer.alignment
        constant = [span.lo == span.hi for span in graph.ranges]
        inner = {operand.source for node in graph.nodes for operand in node.operands}
        fields = [output.field for output in self.layer.outputs if output.field is not None]
        needed = {field.source: -(-field.stop // plan.digit) for field in fields}
        starts = sorted(
            (plan.begin[value] - 1, value)
            for value, node in enumerate(graph.nodes, start=len(graph.inputs))
            if any(constant[operand.source] for operand in node.operands)
        )
        bases: dict[int, int] = {}
        base = -plan.digits
        for start, value in starts:
            digits = plan.digits if value in inner else needed.get(value, plan.digits)
            if start - base + digits > plan.digits:
                base = start
            bases[value - len(graph.inputs)] = base
        return bases

    def _constant(self, constant: int, index: int, start: int) -> Value:
        """The digits of a constant, the first in the first cycle of the words of time ``start``."""
        plan = self.layer.alignment
        table = [
            (constant >> (place * plan.digit)) & ((1 << plan.digit) - 1)
            for place in range(plan.digits)
        ]
        if plan.digits == 1:
            return Const(table[0], plan.digit)
        base = self._bases[index]
        if base not in self.counters:
            counter = Signal(range(plan.digits), name=f"place{base}", reset_less=True)
            with self.m.If(self.go):
                self.m.d.sync += counter.eq(Mux(self.token(base - 1), 0, counter + 1))
            self.counters[base] = counter
        late = start - base
        shifted = np.array([*[0] * late, *table[: plan.digits - late]])
        digit = lookup(self.m, self.counters[base], shifted, name=f"constant{index}")
        return Cat(digit, Const(0, plan.digit - len(digit)))


def _added(a: Value, b: Value, carry: Value, *, negated: bool) -> tuple[Value, Value]:
    """Sum of two digits and a carry, and the carry out; of a difference, it is a borrow."""
    if len(a) >= _CARRY_CHAIN:
        low, high = Cat(Const(not negated, 1), a), Cat(carry, b)
        total = low - high if negated else low + high
        return total[1 : len(a) + 1], total[len(a) + 1]
    bits = []
    for x, y in zip(a, b, strict=True):
        bits.append(x ^ y ^ carry)
        less = ~x if negated else x
        carry = (less & y) | (carry & (less | y))
    return Cat(bits), carry
