"""Streams of digits, and where they begin: pixels that become digits.

A stream of digits carries one digit of every field a beat, least significant first; ``first`` marks
the first digit of a word. Words last past their highest bits with copies of the sign. The digits of
a word follow each other without a gap while the reader takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import Range
from hwgen.stream.common import pixel_signature

__all__ = ["Serialise", "digit_count", "digit_ranges", "digit_signature"]


def digit_count(ranges: Sequence[Range], digit: int) -> int:
    """Digits of ``digit`` bits that hold every value of the ranges."""
    return -(-max(r.width for r in ranges) // digit)


def digit_ranges(fields: int, digit: int, *, flags: int = 0) -> tuple[Range, ...]:
    """Ranges of what a beat of a stream of digits carries."""
    return (*[Range(0, 1)] * (1 + flags), *[Range(0, (1 << digit) - 1)] * fields)


def digit_signature(fields: int, digit: int, *, flags: int = 0) -> stream.Signature:
    """Stream of digits of fields ``x0, x1, ...``.

    With flags, field k is zero where flag ``k % flags`` is low, whatever its digit is.
    """
    layout: dict[str, Any] = {"first": 1}
    if flags:
        layout["flags"] = flags
    layout |= {f"x{k}": digit for k in range(fields)}
    return stream.Signature(data.StructLayout(layout))


class Serialise(wiring.Component):
    """Pixels to digits: one digit of each channel of the pixel that waits at the input.

    Takes a pixel with its last digit, every ``digits`` cycles; there is no register between.

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

    latency = 0
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
        place = Signal(range(self.digits))
        last = place == self.digits - 1
        m.d.comb += [o.valid.eq(i.valid), o.payload.first.eq(place == 0)]
        m.d.comb += i.ready.eq(o.ready & last)
        with m.If(i.valid & o.ready):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        for k, r in enumerate(self.ranges):
            value: Value = i.payload[f"c{k}"]
            sign = value[-1] if r.signed else Const(0, 1)
            count = -(-r.width // self.digit)
            extended = Cat(value, sign.replicate(count * self.digit - r.width))
            digit = o.payload[f"x{k}"]
            m.d.comb += digit.eq(sign.replicate(self.digit))
            with m.Switch(place):
                for n in range(count):
                    with m.Case(n):
                        m.d.comb += digit.eq(extended.word_select(n, self.digit))
        return m
