"""Window generator for pixels that pass a digit a beat."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import Range
from hwgen.stream.digits import digit_count, digit_ranges, digit_signature
from hwgen.stream.position import Position
from hwgen.stream.scan import Scan

__all__ = ["DigitWindow", "window_flags"]


def window_flags(scan: Scan, ranges: Sequence[Range]) -> int:
    """Flags of the digits of windows over channels of the given ranges."""
    return 0 if any(r.signed for r in ranges) else scan.kernel[0] * scan.kernel[1]


class DigitWindow(wiring.Component):
    """Sliding window over a stream of pixels, a digit a beat; the padding is zero.

    Does what :class:`hwgen.stream.window.Window` does, in the order of the same scan, with line
    buffer and taps that hold digits: the taps of a row are one shift register, of which each tap
    sees the digit that its own column's delay has reached. A beat of the scan takes as many cycles
    as a pixel has digits, and ``digits`` cycles if it gives a window, in the last of which nothing
    shifts and each tap repeats its sign. If no pixel is negative, taps have flags, which are high
    in the padding and past the last digit; else the taps themselves are zero in the padding.

    Parameters
    ----------
    scan : :class:`Scan`
        Order of the beats.
    ranges : sequence of :class:`Range`
        Range of each input channel.
    digit : int
        Bits of a digit.
    digits : int
        Digits of a word at the output, at least as many as a pixel has.

    Members
    -------
    i : :py:`In(digit_signature(channels, digit))`
        Words of as many digits as the widest channel has.
    o : :py:`Out(digit_signature(taps, digit, flags=flags))`
        Field ``x((c * KH + r) * KW + s)`` is channel c, row r, column s.
    """

    def __init__(self, scan: Scan, ranges: Sequence[Range], *, digit: int, digits: int) -> None:
        self.scan = scan
        self.ranges = tuple(ranges)
        self.digit = digit
        self.digits = digits
        self.entering = digit_count(self.ranges, digit)
        if digits < self.entering:
            raise ValueError(f"A word must have at least {self.entering} digits, not {digits}")
        super().__init__(
            {
                "i": In(digit_signature(len(self.ranges), digit)),
                "o": Out(digit_signature(self.taps, digit, flags=self.flags)),
            }
        )

    @property
    def taps(self) -> int:
        """Fields of the output."""
        return len(self.ranges) * self.scan.kernel[0] * self.scan.kernel[1]

    @property
    def flags(self) -> int:
        """Flags of the output, one a tap of the kernel or none."""
        return window_flags(self.scan, self.ranges)

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Ranges of what a beat carries."""
        return digit_ranges(self.taps, self.digit, flags=self.flags)

    @property
    def latency(self) -> int:
        """Cycles from the first digit of a frame to its first window, at full rate."""
        return self.scan.first * self.entering + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o, scan = self.i, self.o, self.scan
        (kh, kw), dw = scan.kernel, scan.dilations[1]
        ce, go, shift, step, enters, last = (
            Signal(name=name) for name in ("ce", "go", "shift", "step", "enters", "last")
        )
        position = Position(m, scan, step)
        take, give = position.takes(), position.gives()
        place = Signal(range(self.digits), name="place")
        m.d.comb += [
            ce.eq(o.ready | ~o.valid),
            enters.eq(place < self.entering),
            last.eq((place == self.digits - 1) | (~give & (place == self.entering - 1))),
            go.eq(ce & (i.valid | ~(take | position.leads()) | ~enters)),
            shift.eq(go & enters),
            step.eq(go & last),
            i.ready.eq(ce & take & enters),
        ]
        with m.If(go):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        with m.If(ce):
            m.d.sync += [o.valid.eq(go & give), o.payload.first.eq(place == 0)]

        blanks = self._blanks(m, ce, enters, position)
        active = Signal()
        with m.If(ce):
            m.d.sync += active.eq(enters)
        pixel = Cat(i.payload[f"x{c}"] for c in range(len(self.ranges)))
        rows = [*self._line_buffer(m, shift, pixel), pixel]
        reach = (kw - 1) * dw * self.entering + 1
        for r, entering in enumerate(rows):
            column: list[Value] = []
            for k in range(reach):
                register = Signal(len(pixel), name=f"row{r}_{k}", reset_less=True)
                with m.If(shift):
                    m.d.sync += register.eq(column[-1] if k else entering)
                column.append(register)
            for s in range(kw):
                found = column[(kw - 1 - s) * dw * self.entering]
                for c, span in enumerate(self.ranges):
                    field = (c * kh + r) * kw + s
                    bits = found[c * self.digit : (c + 1) * self.digit]
                    tap = o.payload[f"x{field}"]
                    if self.flags:
                        m.d.comb += tap.eq(bits)
                        continue
                    sign = Signal(name=f"sign{field}", reset_less=True)
                    with m.If(ce & active):
                        m.d.sync += sign.eq(bits[-1] if span.signed else 0)
                    now = Mux(active, bits, sign.replicate(self.digit))
                    m.d.comb += tap.eq(now & ~blanks[r * kw + s].replicate(self.digit))
        if self.flags:
            m.d.comb += o.payload.flags.eq(Cat(blanks))
        return m

    def _blanks(self, m: Module, ce: Value, enters: Value, position: Position) -> list[Value]:
        """For each tap, whether it is in the padding; as a flag, or has no digits left.

        In the cycles of the window's digits, one after the digits enter.
        """
        blanks: list[Value] = []
        for r in range(self.scan.kernel[0]):
            row = position.window_row_mask(r)
            for s in range(self.scan.kernel[1]):
                blank = Signal(name=f"blank_r{r}_s{s}", reset_less=True)
                inside = row & position.column_mask(s) & (enters if self.flags else Const(1))
                with m.If(ce):
                    m.d.sync += blank.eq(~inside)
                blanks.append(blank)
        return blanks

    def _line_buffer(self, m: Module, shift: Value, pixel: Value) -> list[Value]:
        """Digits of the rows above the one that enters, the uppermost first."""
        rows = self.scan.kernel[0] - 1
        if not rows:
            return []
        depth = self.scan.dilations[0] * self.scan.row * self.entering
        width = rows * len(pixel)
        if depth == 1:
            word: Value = Signal(width, name="word", reset_less=True)
            with m.If(shift):
                m.d.sync += word.eq(Cat(pixel, word)[:width])
        else:
            # The memory is read one digit ahead; what was read stands until the next digit.
            m.submodules.lines = lines = memory.Memory(shape=width, depth=depth, init=[])
            read, write = lines.read_port(), lines.write_port()
            word = read.data
            address, following = Signal(range(depth)), Signal(range(depth))
            m.d.comb += following.eq(Mux(address == depth - 1, 0, address + 1))
            with m.If(shift):
                m.d.sync += address.eq(following)
            m.d.comb += [
                read.addr.eq(following),
                read.en.eq(shift),
                write.addr.eq(address),
                write.data.eq(Cat(pixel, word)[:width]),
                write.en.eq(shift),
            ]
        return [word[k : k + len(pixel)] for k in range(0, width, len(pixel))][::-1]
