"""An SPI peripheral that carries the bytes of the link: mode 0, most significant bit first."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["CLOCKS", "SpiPeripheral"]

CLOCKS = 8
"""Least cycles of the peripheral's clock in one of the controller's."""


class SpiPeripheral(wiring.Component):
    """Bytes from and to an SPI controller, both ways at once.

    The controller samples and changes its lines as in mode 0; its clock is at most one eighth of
    this one's, and chip select stays low for a byte at least. Where there is nothing to send, a
    byte is 0, which begins no frame: a controller that waits for an answer sends bytes of 0 until
    the first byte of a frame comes.

    Members
    -------
    cs, clk, copi : :py:`In(1)`
        Lines of the controller, asynchronous; ``cs`` is active low.
    cipo : :py:`Out(1)`
        Line to the controller, from a register.
    o : :py:`Out(stream.Signature(8, always_ready=True))`
        Bytes that came.
    i : :py:`In(stream.Signature(8))`
        Bytes to go.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "cs": In(1, init=1),
                "clk": In(1),
                "copi": In(1),
                "cipo": Out(1),
                "o": Out(stream.Signature(8, always_ready=True)),
                "i": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        idle, clock, data = Signal(init=1), Signal(), Signal()
        for name, line, seen in (
            ("sync_cs", self.cs, idle),
            ("sync_clk", self.clk, clock),
            ("sync_copi", self.copi, data),
        ):
            m.submodules[name] = FFSynchronizer(line, seen, init=seen.init)
        before = Signal()
        rising, falling = ~before & clock, before & ~clock
        m.d.sync += before.eq(clock)

        left = Signal(3, init=7)
        heard, said = Signal(7, reset_less=True), Signal(8)
        m.d.comb += [
            self.cipo.eq(said[7]),
            self.o.payload.eq(Cat(data, heard)),
            self.o.valid.eq(~idle & rising & (left == 0)),
        ]
        # A byte is taken when its first bit is on the line, which the controller has not read yet:
        # one that is offered later waits for the next.
        offered = Signal()
        m.d.comb += self.i.ready.eq(~idle & rising & (left == 7) & offered)
        load = Signal()
        with m.If(~idle & rising):
            m.d.sync += [heard.eq(Cat(data, heard)), left.eq(left - 1)]
        with m.If(~idle & falling):
            m.d.sync += said.eq(said << 1)
            m.d.comb += load.eq(left == 7)
        with m.If(idle):
            m.d.sync += left.eq(7)
            m.d.comb += load.eq(1)
        with m.If(load):
            m.d.sync += [offered.eq(self.i.valid), said.eq(Mux(self.i.valid, self.i.payload, 0))]
        return m
