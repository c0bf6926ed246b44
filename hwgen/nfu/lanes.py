"""NFU-1: the lanes of a tile, of any kind."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.stream.common import Registers

__all__ = ["Lanes"]


class Lanes(wiring.Component):
    """Tn x Ti lanes, each of which gives ``operands`` values to its adder tree.

    Takes a row every cycle, and gives its operands two cycles later. An operand is
    ``terms[k] + negative[k]``: its negation is completed by an adder's carry.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    x : :py:`In(ArrayLayout(signed(activation_width + 1), ti))`
    codes : :py:`In(codes_width)`
    terms : :py:`Out(ArrayLayout(signed(term_width), tn * ti * operands))`
    negative : :py:`Out(tn * ti * operands)`
    shift : :py:`Out(shift_width)`
        Power of two of the row; only if ``config.lane`` has any.
    present : :py:`Out(tn)`
        Whether a neuron has a weight at all; only if ``config.maximum``.
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        count = config.tn * config.ti * config.lane.operands
        members: dict[str, Any] = {
            "x": In(data.ArrayLayout(signed(config.activation_width + 1), config.ti)),
            "codes": In(config.codes_width),
            "terms": Out(data.ArrayLayout(signed(self.term_width), count)),
            "negative": Out(count),
        }
        if config.lane.shift_width:
            members["shift"] = Out(config.lane.shift_width)
        if config.maximum:
            members["present"] = Out(config.tn)
        super().__init__(members)

    @property
    def term_width(self) -> int:
        """Bits of an operand."""
        exact = self.config.lane.operand_width(self.config.activation_width)
        return min(exact, self.config.accumulator_width)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        operands = self.config.lane.build(
            Registers(m, Const(1, 1)),
            [self.x[i] for i in range(self.config.ti)],
            self.codes,
            tn=self.config.tn,
            width=self.term_width,
        )
        m.d.comb += self.negative.eq(Cat(*operands.negative))
        for k, term in enumerate(operands.terms):
            m.d.comb += self.terms[k].eq(term)
        if operands.shift is not None:
            m.d.comb += self.shift.eq(operands.shift)
        if self.config.maximum:
            m.d.comb += self.present.eq(Cat(*operands.present))
        return m
