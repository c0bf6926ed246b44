"""NFU-3: requantisation of Tn sums by dyadic scales."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.control import chosen
from hwgen.nfu.dyadic import code_layout, shifted_term
from hwgen.nfu.segments import SegmentSearch
from hwgen.nfu.stages import scale_levels, search_stages
from hwgen.nfu.tree import adder_tree
from hwgen.stream.common import Registers

__all__ = ["Nfu3", "run_layout", "scale_layout"]

_SHIFT_LOW = 3
_BOUND = 17


def scale_layout(config: NfuConfig) -> data.StructLayout:
    """One channel of the table: the constant and the terms of the multiplier."""
    code = code_layout(config.scale_exponent_width)
    return data.StructLayout(
        {
            "constant": signed(config.product_width),
            "terms": data.ArrayLayout(code, config.scale_terms),
        }
    )


def run_layout() -> data.StructLayout:
    """What a run says of NFU-3; ``scale`` is 0 for sums that pass as they are."""
    bound = signed(_BOUND)
    return data.StructLayout(
        {
            "scale": 1,
            "function": 1,
            "shift": unsigned(6),
            "saturate": 1,
            "low": bound,
            "high": bound,
        }
    )


class Nfu3(wiring.Component):
    """``saturate((sum * multiplier + constant) >> shift, low, high)`` of Tn sums.

    A run may do without the saturation, or without all of it. In a run of a function the segment of
    each sum chooses multiplier and constant.

    Takes ``nfu3_lanes`` sums a cycle, so a word of Tn sums every ``config.turns`` cycles; its
    result is whole ``search_stages(config) + scale_levels(config) + config.turns + 5`` cycles
    after it.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    sums : :py:`In(ArrayLayout(signed(accumulator_width), tn))`
    valid : :py:`In(1)`
        There is a word of sums in the next cycle.
    run : :py:`In(1)`
        Which entry of ``runs`` it belongs to.
    scales : :py:`In(ArrayLayout(scale_layout(config), nfu3_lanes))`
        Scales of the first sums, ``search_stages(config)`` cycles after them; in the next cycles
        those of the next.
    runs : :py:`In(ArrayLayout(run_layout(), 2))`
        Must not change while sums of the run are inside.
    o : :py:`Out(ArrayLayout(signed(accumulator_width), tn))`
    address : :py:`In(range(table_depth))`
        Word of the table for the first sums, a cycle before them. This port and those that follow
        are there only if ``config.function`` is.
    found : :py:`Out(ArrayLayout(table_depth.bit_length() - 1, nfu3_lanes))`
        Word of each lane, a cycle before ``scales``.
    write_address : :py:`In(range(table_depth))`
    write : :py:`In(1)`
    breakpoints : :py:`In(ArrayLayout(signed(width), nfu3_lanes))`
        A word of the table that is written.
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        sums = data.ArrayLayout(signed(config.accumulator_width), config.tn)
        members: dict[str, Any] = {
            "sums": In(sums),
            "valid": In(1),
            "run": In(1),
            "scales": In(data.ArrayLayout(scale_layout(config), config.nfu3_lanes)),
            "runs": In(data.ArrayLayout(run_layout(), 2)),
            "o": Out(sums),
        }
        if config.function is not None:
            word, lanes = (config.table_depth - 1).bit_length(), config.nfu3_lanes
            members |= {
                "address": In(word),
                "found": Out(data.ArrayLayout(word, lanes)),
                "write_address": In(word),
                "write": In(1),
                "breakpoints": In(data.ArrayLayout(signed(config.function.width), lanes)),
            }
        super().__init__(members)

    @property
    def _lane_latency(self) -> int:
        """Cycles from a lane's sum to its result."""
        return search_stages(self.config) + 2 + scale_levels(self.config) + 4

    def elaborate(self, platform: object) -> Module:
        m = Module()
        registers = Registers(m, Const(1, 1))
        lanes, turns = self.config.nfu3_lanes, self.config.turns
        sums = [self.sums[n] for n in range(lanes)]
        first = Signal(name="first_turn")  # of a word
        current = Signal(name="current_run", reset_less=True)
        m.d.sync += first.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += current.eq(self.run)
        if turns > 1:
            width = lanes * self.config.accumulator_width
            rest = Signal(width * (turns - 1), name="rest", reset_less=True)
            with m.If(first):
                m.d.sync += rest.eq(self.sums.as_value()[width:])
            with m.Else():
                m.d.sync += rest.eq(rest[width:])
            now = Mux(first, self.sums.as_value()[:width], rest[:width])
            each = self.config.accumulator_width
            sums = [now.word_select(n, each).as_signed() for n in range(lanes)]
        run: list[Value] = [current]
        for stage in range(self._lane_latency - 1):
            run.append(registers.register(run[-1], 1, name=f"run_d{stage + 1}"))
        begin = search_stages(self.config)
        if self.config.function is not None:
            self._search(m, sums, chosen(self.runs, run[begin - 1]).function)
            sums = [registers.delay(x, begin, name=f"sum{n}") for n, x in enumerate(sums)]
        at = begin + 2 + scale_levels(self.config)
        # what a run says comes from registers of its own: chosen where it is used, it is too late
        scale = Signal(reset_less=True)
        if begin:
            m.d.sync += scale.eq(chosen(self.runs, run[begin - 1]).scale)
        else:
            with m.If(self.valid):
                m.d.sync += scale.eq(chosen(self.runs, self.run).scale)
        before = chosen(self.runs, run[at - 1])
        amount = registers.register(Mux(before.scale, before.shift, 0), 6, name="amount")
        before = chosen(self.runs, run[at + 1])
        # bounds are kept as complements, to which sums are added to compare them
        shape = signed(_BOUND)
        not_low = registers.register(~before.low, shape, name="not_low")
        not_high = registers.register(~before.high, shape, name="not_high")
        later_low = registers.register(not_low, shape, name="later_low")
        later_high = registers.register(not_high, shape, name="later_high")
        saturate = registers.delay(before.saturate, 2, name="saturate")
        fine = registers.register(amount[:_SHIFT_LOW], _SHIFT_LOW, name="fine")
        outputs = []
        for n, x in enumerate(sums):
            product = self._product(registers, x, n, scale)
            coarse = registers.register(
                product >> (amount[_SHIFT_LOW:] << _SHIFT_LOW), product.shape(), name=f"coarse{n}"
            )
            shifted = registers.register(coarse >> fine, product.shape(), name=f"shifted{n}")
            # compared in one stage, by the sign of a difference, and chosen in the next
            one = Const(1, 1)  # the two make the carry that a complement lacks
            difference = Cat(one, shifted).as_signed() + Cat(one, not_low).as_signed()
            below = registers.register(difference[-1], 1, name=f"below{n}")
            above = registers.register(~(shifted + not_high)[-1], 1, name=f"above{n}")
            output = signed(self.config.accumulator_width)
            inside = registers.register(shifted, output, name=f"inside{n}")
            outside = saturate & (below | above)
            bound = ~Mux(below, later_low, later_high)
            value = Mux(outside, bound, inside)
            outputs.append(registers.register(value, output, name=f"y{n}"))
        # the last outputs complete the word; those before have been kept
        word = Cat(*outputs)
        kept = self.o.as_value()[: len(self.o.as_value()) - len(word)]
        if turns > 1:
            before = Signal(len(word) * (turns - 1), name="before", reset_less=True)
            m.d.sync += before.eq(Cat(before, word)[len(word) :])
            m.d.comb += kept.eq(before)
        m.d.comb += self.o.as_value()[len(kept) :].eq(word)
        return m

    def _search(self, m: Module, sums: list[Value], function: Value) -> None:
        """Have the word of the table found for each lane."""
        for n, x in enumerate(sums):
            m.submodules[f"search{n}"] = search = SegmentSearch(self.config)
            m.d.comb += [
                search.address.eq(self.address),
                search.x.eq(x),
                search.function.eq(function),
                self.found[n].eq(search.found),
                search.write_address.eq(self.write_address),
                search.write.eq(self.write),
                search.breakpoint.eq(self.breakpoints[n]),
            ]

    def _product(self, registers: Registers, x: Value, n: int, scale: Value) -> Value:
        """``sum * multiplier + constant`` of one channel, or the sum as it is."""
        width = self.config.product_width
        entry = self.scales[n]
        constant = Mux(scale, entry.constant, Const(0, signed(width))).as_signed()
        operands: list[tuple[Value, Value]] = []
        for k in range(self.config.scale_terms):
            one = Const(1 << (self.config.scale_exponent_width + 1)) if k == 0 else Const(0)
            code = Mux(scale, Value.cast(entry.terms[k]), one)[: entry.terms[k].shape().size]
            term = data.View(entry.terms[k].shape(), code)
            operands.append(shifted_term(registers, x, term, width=width, name=f"term{n}_{k}"))
        operands.append((registers.delay(constant, 2, name=f"constant{n}"), Const(0, 1)))
        product, _ = adder_tree(registers, operands, width=width, name=f"product{n}")
        return product
