"""Words of digits in hardware: the registers that they pass and the adders that make them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from hwgen.numeric import Range
from hwgen.shiftadd.digit_zeros import Zeros, zeros_of
from hwgen.shiftadd.graph import Operand
from hwgen.shiftadd.polarity import Chains, Polarities, plus_and_other, polarities_of
from hwgen.stream.common import clamped, lookup, range_shape
from hwgen.stream.digit_layer import DigitLayer, DigitOutput

__all__ = ["Words"]


class Words:
    """Words in time: tokens that run along with them, their digits, and what is derived of both.

    A token accompanies each word; it is in place t in the cycle in which the digits of time t are
    there. All registers keep still unless ``go`` is high.

    Parameters
    ----------
    m : :class:`Module`
        Module under construction.
    go : Value
        Clock enable.
    i : stream interface
        Digits of the inputs (:func:`hwgen.stream.digits.digit_signature`).
    flags : int
        Flags that come with the digits.
    layer : :class:`DigitLayer`
        What is built.
    complement : bool
        Whether the carry logic takes its operands as they are, so that it is worth while to keep
        complements, and leaves its LUTs an input for other purposes.
    """

    def __init__(
        self, m: Module, go: Value, i: Any, flags: int, layer: DigitLayer, *, complement: bool
    ) -> None:
        self.m, self.go, self.i, self.flags, self.layer = m, go, i, flags, layer
        self._chained = layer.alignment.digit >= (2 if complement else 3)
        self._complement = complement and self._chained
        self._tokens: list[Value] = []
        self._masks: dict[tuple[int, int], Value] = {}
        self._counters: dict[int, Value] = {}
        # For each value and bit of a digit: the bit as computed, then from 1, 2, ... registers.
        self._chains: dict[tuple[int, int], list[Value]] = {}

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
        if not self._tokens:
            self._tokens.append(self.i.valid & self.i.payload.first)
        while len(self._tokens) <= time:
            token = Signal(name=f"token{len(self._tokens)}")
            with self.m.If(self.go):
                self.m.d.sync += token.eq(self._tokens[-1])
            self._tokens.append(token)
        return self._tokens[time]

    def output(self, output: DigitOutput) -> Value:
        """An output of the layer."""
        if output.field is None:
            return Const(output.range.lo, range_shape(output.range))
        places = self.layer.alignment.places(output.field)
        bits = [self._chains[output.field.source, bit][delay] for bit, delay in places]
        value: Value = Cat(Const(0, output.pad), *bits)
        if output.clears:
            return clamped(value[:-1], Range(0, max(output.raw.hi, 0)), output.lo, output.hi)
        if output.raw.signed:
            value = value.as_signed()
        return clamped(value, output.raw, output.lo, output.hi)

    @cached_property
    def _zeros(self) -> Zeros:
        fields = [output.field for output in self.layer.outputs if output.field is not None]
        return zeros_of(self.layer.graph, self.layer.alignment, fields)

    @cached_property
    def _forms(self) -> Polarities | None:
        """Which digits are kept as complements."""
        if not self._complement:
            return None
        graph, plan = self.layer.graph, self.layer.alignment
        reads = [
            tuple(
                0
                if graph.ranges[o.source].lo == graph.ranges[o.source].hi
                else plan.delay(graph, index, o)
                for o in plus_and_other(node)[:2]
            )
            for index, node in enumerate(graph.nodes)
        ]
        return polarities_of(
            graph,
            Chains(
                tuple(0 if r.lo == r.hi else plan.digit for r in graph.ranges),
                tuple(map(max, plan.depth)),
                (0,) * len(graph.nodes),
                tuple((plus, other) for plus, other in reads),
            ),
        )

    def _form(self, value: int, register: int) -> bool:
        """Whether a register of a value holds complements."""
        return self._forms is not None and self._forms.kept[value][register]

    def _keep(self, value: int, name: str, digit: Value, flag: Value | None = None) -> None:
        """The digit and its delays, each bit as long as it is needed.

        A flag clears the first of its registers, behind which all its readers are.
        """
        depths = self.layer.alignment.depth[value]
        for bit, now in enumerate(digit):
            self._chains[value, bit] = [now]
        negative: Value | None = None
        for k in range(max(depths)):
            bits = [bit for bit, depth in enumerate(depths) if depth > k]
            form = self._form(value, k + 1)
            register = Signal(len(bits), name=f"{name}_d{k + 1}", reset_less=True)
            negative = self._negative(value, k) if negative is None else negative
            clear = negative if flag is None or k else flag
            now = Cat(self._chains[value, bit][k] for bit in bits)
            with self.m.If(self.go):
                self.m.d.sync += register.eq(_turned(now, form))
                self._clear(register, value, bits, k + 1)
                if clear is not None:
                    with self.m.If(clear):
                        self.m.d.sync += register.eq(_zeros(len(bits), form))
            for place, bit in enumerate(bits):
                self._chains[value, bit].append(_turned(register[place], form))

    def _clear(self, register: Signal, value: int, bits: Sequence[int], number: int) -> None:
        """Clear the bits of a register that others need as zeros before the next word."""
        for time, cleared in self._cleared(value, bits, number).items():
            with self.m.If(self.token(time)):
                for bit in cleared:
                    at = bits.index(bit)
                    self.m.d.sync += register[at].eq(_zeros(1, self._form(value, number)))

    def _cleared(self, value: int, bits: Sequence[int], number: int) -> dict[int, list[int]]:
        """The bits of a register that are cleared, by the time at which they are."""
        times: dict[int, list[int]] = defaultdict(list)
        for bit in bits:
            time = self._zeros.clears.get((value, bit, number))
            if time is not None:
                times[time].append(bit)
        return times

    def _negative(self, value: int, delay: int) -> Value | None:
        """High when the register behind ``delay`` others is the first to hold an output below 0."""
        for output in self.layer.outputs:
            if output.clears and output.field is not None and output.field.source == value:
                bit, last = self.layer.alignment.places(output.field)[-1]
                if last == delay + 1:
                    token = self.token(self.layer.alignment.latency - 1)
                    return token & self._chains[value, bit][delay]
        return None

    def _sum(self, index: int) -> Value:
        """The digits of a node, from registers."""
        m, graph, plan = self.m, self.layer.graph, self.layer.alignment
        value = len(graph.inputs) + index
        first, second, negated = plus_and_other(graph.nodes[index])
        start = plan.begin[value] - 1
        a, b = self._operand(index, first), self._operand(index, second)
        form = self._form(value, 0)
        register = Signal(plan.digit, name=f"n{index}", reset_less=True)
        carry: Value = Const(0, 1)
        if plan.digits > 1:
            carry = Signal(name=f"carry{index}", reset_less=True)
        if self._forms is None:
            if self._chained:
                total, out = self._chain(a, b, carry, negated=negated)
            else:
                total, out = _gates(a, b, carry, negated=negated)
            if plan.digits > 1:
                with m.If(self.go):
                    with m.If(self.token(start - 1)):
                        m.d.sync += carry.eq(0)
                    with m.Else():
                        m.d.sync += carry.eq(out)
            with m.If(self.go):
                m.d.sync += register.eq(total)
                self._clear(register, value, range(plan.digit), 0)
            return register
        # The sum of a complement and a value, or of two complements and 1, is one of the
        # difference, or of the sum.
        mode = self._forms.modes[index]
        begins = mode ^ negated
        if plan.digits == 1:
            carry = Const(begins, 1)
        total, out = self._chain(_turned(a, mode), _turned(b, begins), carry, negated=False)
        total = _turned(total, mode ^ form)
        # What clears is part of the LUTs: flip-flops of a chain that are cleared apart would
        # have to lie apart from the others.
        keeps = [Const(1, 1)] * plan.digit
        for time, bits in self._cleared(value, range(plan.digit), 0).items():
            for bit in bits:
                keeps[bit] = ~self.token(time)
        token = self.token(start - 1)
        with m.If(self.go):
            if plan.digits > 1:
                m.d.sync += carry.eq(out | token if begins else out & ~token)
            m.d.sync += register.eq(total | ~Cat(keeps) if form else total & Cat(keeps))
        return _turned(register, form)

    def _chain(self, a: Value, b: Value, carry: Value, *, negated: bool) -> tuple[Value, Value]:
        """Sum of two digits and a carry, and the carry out; of a difference, it is a borrow."""
        low, high = Cat(Const(not negated, 1), a), Cat(carry, b)
        total = Signal(len(a) + 2)  # by name, since what is written twice would be two chains
        self.m.d.comb += total.eq(low - high if negated else low + high)
        return total[1 : len(a) + 1], total[len(a) + 1]

    def _operand(self, index: int, operand: Operand) -> Value:
        """The digit of an operand that a node adds, without its sign."""
        graph, plan = self.layer.graph, self.layer.alignment
        start = plan.begin[len(graph.inputs) + index] - 1
        span = graph.ranges[operand.source]
        if span.lo == span.hi:
            return self._constant(span.lo << operand.shift, index, start)
        bits: list[Value] = []
        for bit, (place, register, zeros) in enumerate(plan.bits(graph, index, operand)):
            if zeros >= plan.digits:
                bits.append(Const(0, 1))
                continue
            digit = self._chains[operand.source, place][register]
            if (index, operand, bit) in self._zeros.masks:
                digit = digit & self._mask(start, zeros)
            bits.append(digit)
        return Cat(bits)

    def _mask(self, start: int, zeros: int) -> Value:
        """Low in the first ``zeros`` cycles of the words of time ``start``."""
        if zeros == 1:
            return ~self.token(start)
        if (start, zeros) not in self._masks:
            mask = Signal(name=f"zeros{start}_{zeros}", reset_less=True)
            begin, end = self.token(start - 1), self.token(start + zeros - 1)
            with self.m.If(self.go):
                self.m.d.sync += mask.eq(begin | (mask & ~end))
            self._masks[start, zeros] = ~mask
        return self._masks[start, zeros]

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
        if base not in self._counters:
            counter = Signal(range(plan.digits), name=f"place{base}", reset_less=True)
            with self.m.If(self.go):
                self.m.d.sync += counter.eq(Mux(self.token(base - 1), 0, counter + 1))
            self._counters[base] = counter
        late = start - base
        shifted = np.array([*[0] * late, *table[: plan.digits - late]])
        digit = lookup(self.m, self._counters[base], shifted, name=f"constant{index}")
        return Cat(digit, Const(0, plan.digit - len(digit)))


def _turned(value: Value, complement: bool) -> Value:
    """The value, or its bitwise complement."""
    return ~value if complement else value


def _zeros(width: int, complement: bool) -> int:
    """Zero, or its complement."""
    return (1 << width) - 1 if complement else 0


def _gates(a: Value, b: Value, carry: Value, *, negated: bool) -> tuple[Value, Value]:
    """Sum of two digits and a carry, and the carry out, without carry logic; or a difference."""
    bits = []
    for x, y in zip(a, b, strict=True):
        bits.append(x ^ y ^ carry)
        less = ~x if negated else x
        carry = (less & y) | (carry & (less | y))
    return Cat(bits), carry
