"""NFU-1: dyadic lanes, barrel shifters split in two stages."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.stream.common import Registers

__all__ = ["Lanes", "code_layout", "shifted_term"]


def code_layout(exponent_width: int) -> data.StructLayout:
    """One term: exponent, sign, presence."""
    return data.StructLayout(
        {"exponent": unsigned(exponent_width), "negative": 1, "present": unsigned(1)}
    )


def shifted_term(
    registers: Registers, x: Value, code: data.View, *, width: int, name: str
) -> tuple[Signal, Signal]:
    """``x << exponent``, complemented if negative, 0 if absent; two stages later.

    The value is modulo ``2**width``. The second value is the 1 that a complement lacks.
    """
    low = len(code.exponent) // 2
    full = min(len(x) + (1 << len(code.exponent)) - 1, width)
    masked = Mux(code.present, x, Const(0, signed(len(x)))).as_signed()
    coarse = registers.register(
        masked << (code.exponent[low:] << low), signed(full), name=f"{name}_coarse"
    )
    negative = registers.register(code.negative, 1, name=f"{name}_negative")
    fine: Value = coarse
    if low:
        amount = registers.register(code.exponent[:low], low, name=f"{name}_fine")
        fine = coarse << amount
    complement = fine[:full] ^ negative.replicate(full)
    value = registers.register(complement.as_signed(), signed(full), name=f"{name}_value")
    return value, registers.delay(negative, 1, name=f"{name}_negative")


class Lanes(wiring.Component):
    """Tn x Ti lanes that each form ``terms`` signed powers of two of their activation.

    Takes a row every cycle; the latency is :py:`latency` cycles. A term is
    ``terms[k] + negative[k]``: its negation is completed by an adder's carry.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    x : :py:`In(ArrayLayout(signed(activation_width + 1), ti))`
    codes : :py:`In(ArrayLayout(code_layout(exponent_width), tn * ti * terms))`
    terms : :py:`Out(ArrayLayout(signed(term_width), tn * ti * terms))`
    negative : :py:`Out(tn * ti * terms)`
    present : :py:`Out(tn)`
        Whether a neuron has a term at all; only if ``config.maximum``.
    """

    latency = 2
    """Cycles from a row to its terms."""

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        count = config.tn * config.ti * config.lane.terms
        layout = code_layout(config.lane.exponent_width)
        members: dict[str, Any] = {
            "x": In(data.ArrayLayout(signed(config.activation_width + 1), config.ti)),
            "codes": In(data.ArrayLayout(layout, count)),
            "terms": Out(data.ArrayLayout(signed(self.term_width), count)),
            "negative": Out(count),
        }
        if config.maximum:
            members["present"] = Out(config.tn)
        super().__init__(members)

    @property
    def term_width(self) -> int:
        """Bits of a term."""
        exact = self.config.activation_width + self.config.lane.exponents
        return min(exact, self.config.accumulator_width)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        registers = Registers(m, Const(1, 1))
        for k in range(len(self.negative)):
            x = self.x[k // self.config.lane.terms % self.config.ti]
            value, negative = shifted_term(
                registers, x, self.codes[k], width=self.term_width, name=f"lane{k}"
            )
            m.d.comb += [self.terms[k].eq(value), self.negative[k].eq(negative)]
        if self.config.maximum:
            each = self.config.ti * self.config.lane.terms
            found = [
                Cat(self.codes[n * each + k].present for k in range(each)).any()
                for n in range(self.config.tn)
            ]
            present = registers.register(Cat(*found), self.config.tn, name="present")
            m.d.comb += self.present.eq(registers.delay(present, 1, name="present"))
        return m
