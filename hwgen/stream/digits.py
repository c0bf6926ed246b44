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

    With flags, field k is zero where flag ``k % flags`` is high, whatever its digit is.
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
        # Places are counted in pairs, one hot: an eighth of a byte then takes four LUTs (_chosen).
        pairs = Signal(-(-self.digits // 2), name="pairs", init=1)
        odd = Signal() if self.digits > 1 else Const(0)
        last = pairs[-1] & (odd if self.digits % 2 == 0 else 1)
        m.d.comb += [
            o.valid.eq(i.valid),
            o.payload.first.eq(pairs[0] & ~odd),
            i.ready.eq(o.ready & last),
        ]
        if self.digits > 1:
            with m.If(i.valid & o.ready):
                m.d.sync += odd.eq(~odd & ~last)
                with m.If(odd | last):
                    m.d.sync += pairs.eq(pairs.rotate_left(1))
        for k, r in enumerate(self.ranges):
            value: Value = i.payload[f"c{k}"]
            sign = value[-1] if r.signed else Const(0, 1)
            count = -(-r.width // self.digit)
            own = pairs[: -(-count // 2)]
            extended = Cat(value, sign.replicate(len(own) * 2 * self.digit - r.width))
            digits = [extended.word_select(n, self.digit) for n in range(2 * len(own))]
            past = ~own.any() if len(own) < len(pairs) else Const(0, 1)
            for bit in range(self.digit):
                bits = [word[bit] for word in digits]
                chosen = _chosen(m, own, odd & ~past, bits, name=f"x{k}_{bit}")
                m.d.comb += o.payload[f"x{k}"][bit].eq(
                    Mux(past, sign, chosen) if r.signed else chosen
                )
        return m


def _chosen(m: Module, pairs: Value, odd: Value, bits: Sequence[Value], *, name: str) -> Value:
    """``bits[2 * k + odd]`` if pair k is the one that is high, ``odd`` if none is.

    A chain of LUTs of four inputs, one a pair: those before the pair say which of its bits it is,
    those behind it pass it on.
    """
    chosen: Value = odd
    for k in range(len(pairs)):
        link = Signal(name=f"{name}_to{k}")
        m.d.comb += link.eq(Mux(pairs[k], Mux(chosen, bits[2 * k + 1], bits[2 * k]), chosen))
        chosen = link
    return chosen
