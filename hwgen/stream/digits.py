"""Streams of digits, and where they begin: pixels that become digits.

A stream of digits carries one digit of every field a beat, least significant first; ``first`` marks
the first digit of a word. Words last past their highest bits with copies of the sign. The digits of
a word follow each other without a gap while the reader takes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import Range
from hwgen.stream.common import pixel_signature

__all__ = ["Serialise", "digit_count", "digit_ranges", "digit_signature"]


def digit_count(ranges: Sequence[Range], digit: int) -> int:
    """Digits of ``digit`` bits that hold every value of the ranges."""
    return -(-max(r.width for r in ranges) // digit)


def digit_ranges(fields: int, digit: int) -> tuple[Range, ...]:
    """Ranges of what a beat of a stream of digits carries: ``first`` and a digit a field."""
    return (Range(0, 1), *[Range(0, (1 << digit) - 1)] * fields)


def digit_signature(fields: int, digit: int) -> stream.Signature:
    """Stream of digits of fields ``x0, x1, ...``."""
    layout = {"first": 1, **{f"x{k}": digit for k in range(fields)}}
    return stream.Signature(data.StructLayout(layout))


class Serialise(wiring.Component):
    """Pixels to digits: each pixel loads registers that shift by a digit a beat.

    Accepts a pixel every ``digits`` cycles; its first digit follows one cycle after it.

    Parameters
    ----------
    ranges : sequence of Range
        Range of each channel.
    digit : int
        Bits of a digit.
    digits : int
        Digits of a word, at least as many as a channel has.

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    o : :py:`Out(digit_signature(len(ranges), digit))`
    """

    latency = 1
    """Cycles from a pixel to its first digit."""

    def __init__(self, ranges: Sequence[Range], *, digit: int, digits: int) -> None:
        self.ranges = tuple(ranges)
        self.digit = digit
        self.digits = digits
        if digits < digit_count(self.ranges, digit):
            raise ValueError(
                f"A word must have at least {digit_count(self.ranges, digit)} digits, not {digits}"
            )
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(digit_signature(len(self.ranges), digit)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Ranges of what a beat carries."""
        return digit_ranges(len(self.ranges), self.digit)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.i, self.o
        last, load = Signal(), Signal()
        m.d.comb += [
            i.ready.eq(~o.valid | (o.ready & last)),
            load.eq(i.valid & i.ready),
        ]
        with m.If(i.ready):
            m.d.sync += o.valid.eq(i.valid)
        if self.digits == 1:
            m.d.comb += [last.eq(1), o.payload.first.eq(1)]
        else:
            place = Signal(range(self.digits))
            m.d.comb += last.eq(place == self.digits - 1)
            with m.If(load):
                m.d.sync += [place.eq(0), o.payload.first.eq(1)]
            with m.Elif(o.ready):
                m.d.sync += [place.eq(place + 1), o.payload.first.eq(0)]
        for k, r in enumerate(self.ranges):
            value: Value = i.payload[f"c{k}"]
            sign = value[-1] if r.signed else Const(0, 1)
            width = -(-r.width // self.digit) * self.digit
            rest = Signal(width, name=f"x{k}", reset_less=True)
            fill = (rest[-1] if r.signed else Const(0, 1)).replicate(self.digit)
            extended = Cat(value, sign.replicate(width - r.width))
            with m.If(load | o.ready):
                m.d.sync += rest.eq(Mux(load, extended, Cat(rest[self.digit :], fill)))
            m.d.comb += o.payload[f"x{k}"].eq(rest[: self.digit])
        return m
