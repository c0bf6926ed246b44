"""A UART: 8 data bits, no parity, 1 stop bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["BAUDS", "MIN_DIVISOR", "UartReceiver", "UartTransmitter", "choose_baud", "divisor_of"]

MIN_DIVISOR = 4
"""Least cycles of a bit: a receiver needs them to find its middle."""

BAUDS = (1_000_000, 921_600, 500_000, 460_800, 230_400, 115_200, 57_600, 19_200, 9_600)
"""Rates that USB adapters have in common, fastest first."""

_ACCURATE = 0.0075  # of the bit time; both sides together may be 2 % apart


def divisor_of(clock_hz: float, baud: int) -> int | None:
    """Cycles of a bit at ``baud``, or None if the clock gives no bit time that is close enough."""
    divisor = round(clock_hz / baud)
    if divisor < MIN_DIVISOR or abs(clock_hz / divisor / baud - 1) > _ACCURATE:
        return None
    return divisor


def choose_baud(clock_hz: float, fastest: float = BAUDS[0]) -> int:
    """Fastest of :data:`BAUDS`, ``fastest`` at most, that a clock gives accurately.

    Raises
    ------
    ValueError
        If there is none: the clock or ``fastest`` is too slow.
    """
    for baud in BAUDS:
        if baud <= fastest and divisor_of(clock_hz, baud) is not None:
            return baud
    raise ValueError(
        f"A clock must give a usual baud rate up to {fastest:g}, not {clock_hz / 1e6:g} MHz"
    )


class UartReceiver(wiring.Component):
    """Bytes from a serial line, each bit sampled in its middle.

    A start bit that is not low in its middle and a byte without a stop bit are dropped; the line
    must be high before another start bit counts. Sampling is relative to each start bit: the clocks
    of both sides may differ by 2 % with bits of 4 cycles, and by 4 % with bits of 16 or more.

    Parameters
    ----------
    divisor : :class:`int`
        Cycles of a bit, at least :data:`MIN_DIVISOR`.

    Members
    -------
    rx : :py:`In(1)`
        The line, asynchronous.
    o : :py:`Out(stream.Signature(8, always_ready=True))`
        Bytes, half a bit before the end of their stop bits.
    """

    def __init__(self, divisor: int) -> None:
        _check(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line, before = Signal(init=1), Signal(init=1)
        m.submodules.sync = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(line)
        # the start bit, then 8 bits of data; the 1 set at the start arrives at bit 0 with the last
        bits = Signal(9, reset_less=True)
        starting, busy = Signal(), Signal()
        timer = Signal(range(self.divisor))
        sample = timer == 0
        m.d.comb += self.o.payload.eq(bits[1:])
        m.d.sync += timer.eq(timer - 1)
        with m.If(sample):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.If(~busy):
            m.d.sync += [starting.eq(1), timer.eq(self.divisor // 2 - 1)]
            with m.If(before & ~line):
                m.d.sync += busy.eq(1)
        with m.Elif(sample & starting):
            m.d.sync += [starting.eq(0), bits.eq(1 << 8), busy.eq(~line)]
        with m.Elif(sample & ~bits[0]):
            m.d.sync += bits.eq(Cat(bits[1:], line))
        with m.Elif(sample):
            m.d.comb += self.o.valid.eq(line)
            m.d.sync += busy.eq(0)
        return m


class UartTransmitter(wiring.Component):
    """Bytes onto a serial line, with no gap if they come in time.

    Parameters
    ----------
    divisor : :class:`int`
        Cycles of a bit, at least :data:`MIN_DIVISOR`.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes.
    tx : :py:`Out(1)`
        The line, from a register.
    """

    def __init__(self, divisor: int) -> None:
        _check(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # a 1 follows the data, and only 0 follows it: it is the stop bit, and it marks the end
        bits = Signal(10, init=1)
        timer = Signal(range(self.divisor))
        m.d.comb += [self.tx.eq(bits[0]), self.i.ready.eq((bits == 1) & (timer == 0))]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(self.i.ready):
            with m.If(self.i.valid):
                m.d.sync += [
                    bits.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                    timer.eq(self.divisor - 1),
                ]
        with m.Else():
            m.d.sync += [bits.eq(bits >> 1), timer.eq(self.divisor - 1)]
        return m


def _check(divisor: int) -> None:
    if divisor < MIN_DIVISOR:
        raise ValueError(f"A bit must have at least {MIN_DIVISOR} cycles, not {divisor}")
