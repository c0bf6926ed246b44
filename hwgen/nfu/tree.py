"""NFU-2: adder trees and the sums that they feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.stages import tree_levels
from hwgen.stream.common import Registers
from hwgen.stream.product import with_carry

__all__ = ["Nfu2", "adder_tree"]

_Operand = tuple[Value, Value]


def adder_tree(
    registers: Registers, operands: Sequence[_Operand], *, width: int, name: str
) -> tuple[Value, Value]:
    """Sum of values and carries, modulo ``2**width``, as one value and one carry.

    One level of adders a stage. Each adder takes the carry of its left operand, and its result
    keeps that of the right one, so that no carry needs an adder of its own.
    """
    level = 0
    while len(operands) > 1:
        following = []
        for n in range(0, len(operands), 2):
            label = f"{name}_{level}_{n // 2}"
            value, carry = operands[n]
            if n + 1 < len(operands):
                value = with_carry(value, operands[n + 1][0], carry)
                carry = operands[n + 1][1]
            shape = signed(min(len(value), width))
            kept = registers.register(value, shape, name=label)
            if not isinstance(carry, Const):
                carry = registers.register(carry, 1, name=f"{label}_carry")
            following.append((kept, carry))
        operands = following
        level += 1
    return operands[0]


class Nfu2(wiring.Component):
    """Tn adder trees with a register of partial sums each, which can hold the maximum instead.

    Takes a row every cycle. :py:`tree_levels(config) - 1` cycles after ``terms`` the control inputs
    belong to the same row; ``sums`` holds the result two cycles after that. What a row adds to is a
    register beside the sums, chosen in the cycle before, so that no multiplexer is in the way of
    the adders' carries.

    The maximum is taken of values no wider than an activation: the register takes the row in place
    of what it held, or keeps that. So it costs a comparator a neuron and no multiplexer.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    term_width : int
        Bits of a term.

    Members
    -------
    terms : :py:`In(ArrayLayout(signed(term_width), tn * ti * operands))`
    negative : :py:`In(tn * ti * operands)`
    valid : :py:`In(1)`
        There is a row in the next cycle.
    first : :py:`In(1)`
        It begins a group: the sums begin at ``partial``.
    partial : :py:`In(ArrayLayout(signed(accumulator_width), tn))`
    shift : :py:`In(shift_width)`
        Power of two by which the sums of ``terms`` are multiplied; only if the lane has any.
    present : :py:`In(tn)`
        Whether the row of ``terms`` has a term of the neuron.
    maximum : :py:`In(1)`
        Take the maximum; ``partial`` is 0 then. Both ports are there only if ``config.maximum``.
    sums : :py:`Out(ArrayLayout(signed(accumulator_width), tn))`
    """

    def __init__(self, config: NfuConfig, *, term_width: int) -> None:
        self.config = config
        count = config.tn * config.ti * config.lane.operands
        sums = data.ArrayLayout(signed(config.accumulator_width), config.tn)
        members: dict[str, Any] = {
            "terms": In(data.ArrayLayout(signed(term_width), count)),
            "negative": In(count),
            "valid": In(1),
            "first": In(1),
            "partial": In(sums),
            "sums": Out(sums),
        }
        if config.lane.shift_width:
            members["shift"] = In(config.lane.shift_width)
        if config.maximum:
            members["present"] = In(config.tn)
            members["maximum"] = In(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = Registers(m, Const(1, 1))
        width = self.config.accumulator_width
        each = self.config.ti * self.config.lane.operands
        shift: Value | None = None
        if self.config.lane.shift_width:
            shift = rows.delay(self.shift, tree_levels(self.config) - 1, name="shift")
        valid, first, maximum = Signal(), Signal(), Signal()
        restart: Value = self.first
        m.d.sync += [valid.eq(self.valid), first.eq(self.first)]
        if self.config.maximum:
            m.d.sync += maximum.eq(self.maximum)
            restart |= self.maximum
        for n in range(self.config.tn):
            lanes = range(n * each, (n + 1) * each)
            operands = [(self.terms[k], self.negative[k]) for k in lanes]
            row, carry = adder_tree(rows, operands, width=width, name=f"tree{n}")
            if shift is not None:
                # the last carry is a unit of the row, and so multiplied like it
                shifted = with_carry(row, Const(0, 1), carry) << shift
                shape = signed(min(len(row) + (1 << len(shift)), width))
                row, carry = rows.register(shifted, shape, name=f"shifted{n}"), Const(0, 1)
            enable = Signal(name=f"enable{n}")
            m.d.comb += enable.eq(valid)
            if self.config.maximum:
                levels = tree_levels(self.config)
                present = rows.delay(self.present[n], levels, name=f"present{n}")
                greater = self._is_greater(m, row, present, n, valid=valid, first=first)
                m.d.comb += enable.eq(valid & (~maximum | first | greater))
            before = Signal(signed(width), name=f"before{n}", reset_less=True)
            total = with_carry(before, row, carry)
            with m.If(self.valid & restart):
                m.d.sync += before.eq(self.partial[n])
            with m.Elif(valid):
                m.d.sync += before.eq(total)
            kept = Registers(m, enable).register(total, signed(width), name=f"sum{n}")
            m.d.comb += self.sums[n].eq(kept)
        return m

    def _is_greater(
        self, m: Module, row: Value, present: Value, n: int, *, valid: Value, first: Value
    ) -> Value:
        """Whether the row has an input for the neuron that is greater than all before."""
        empty = Signal(name=f"empty{n}")  # no row of the group has had one
        with m.If(valid):
            m.d.sync += empty.eq((first | empty) & ~present)
        width = self.config.activation_width + 1
        before, new = self.sums[n][:width].as_signed(), row[:width].as_signed()
        return present & (empty | (new > before))
