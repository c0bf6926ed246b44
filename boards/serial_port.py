"""A bit-serial port for a streaming core, for boards without a host link."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SerialPort"]


class SerialPort(wiring.Component):
    """Shifts words in for a core's input stream, and the words of its output stream out.

    A word is a payload, least significant bit first. Bits pass at the rising clock edges at which
    valid and ready are both high, in both directions; between the bits of a word, as between words,
    either side may wait for as long as it likes. A word of W bits takes at least W + 1 cycles, in
    each direction: one for each bit, and one in which it passes to or from the core. Both
    directions run at the same time.

    Parameters
    ----------
    input_width, output_width : :class:`int`
        Bits of the core's input and output payloads, each at least 1.
    leds : :class:`int`
        Number of LEDs, at least 0.

    Members
    -------
    sdi, sdi_valid : :py:`In(1)`, sdi_ready : :py:`Out(1)`
        Bits in.
    sdo, sdo_valid : :py:`Out(1)`, sdo_ready : :py:`In(1)`
        Bits out.
    o : :py:`Out(stream.Signature(input_width))`
        Words for the core's input.
    i : :py:`In(stream.Signature(output_width))`
        Words from the core's output.
    led : :py:`Out(leds)`
        Low bits of the last word from the core, 0 before the first.
    """

    def __init__(self, *, input_width: int, output_width: int, leds: int) -> None:
        if min(input_width, output_width) < 1:
            raise ValueError(
                f"Words must have at least 1 bit, not {input_width} in and {output_width} out"
            )
        if leds < 0:
            raise ValueError(f"Number of LEDs must not be negative, not {leds}")
        self.input_width = input_width
        self.output_width = output_width
        self.leds = leds
        super().__init__(
            {
                "sdi": In(1),
                "sdi_valid": In(1),
                "sdi_ready": Out(1),
                "sdo": Out(1),
                "sdo_valid": Out(1),
                "sdo_ready": In(1),
                "o": Out(stream.Signature(input_width)),
                "i": In(stream.Signature(output_width)),
                "led": Out(leds),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._shift_in(m)
        self._shift_out(m)
        return m

    def _shift_in(self, m: Module) -> None:
        word = Signal(self.input_width, reset_less=True, name="word_in")
        left = Signal(range(self.input_width), init=self.input_width - 1, name="left_in")
        full = Signal()
        m.d.comb += [
            self.sdi_ready.eq(~full),
            self.o.valid.eq(full),
            self.o.payload.eq(word),
        ]
        with m.If(~full & self.sdi_valid):
            m.d.sync += [
                word.eq(Cat(word, self.sdi)[1:]),
                left.eq(left - 1),
            ]
            with m.If(left == 0):
                m.d.sync += [full.eq(1), left.eq(self.input_width - 1)]
        with m.If(full & self.o.ready):
            m.d.sync += full.eq(0)

    def _shift_out(self, m: Module) -> None:
        word = Signal(self.output_width, reset_less=True, name="word_out")
        left = Signal(range(self.output_width), name="left_out")
        busy = Signal()
        led = Signal(self.leds)
        m.d.comb += [
            self.sdo_valid.eq(busy),
            self.sdo.eq(word[0]),
            self.i.ready.eq(~busy),
            self.led.eq(led),
        ]
        with m.If(busy & self.sdo_ready):
            m.d.sync += [word.eq(word >> 1), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += busy.eq(0)
        with m.If(~busy & self.i.valid):
            m.d.sync += [
                word.eq(self.i.payload),
                left.eq(self.output_width - 1),
                busy.eq(1),
                led.eq(self.i.payload),
            ]
