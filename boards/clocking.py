"""The clock of a design on a board, and its reset, from the board's oscillator."""

from __future__ import annotations

import math
from dataclasses import dataclass

from amaranth.hdl import ClockDomain, Const, DomainRenamer, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hwgen.boards.pll import PllSetting, choose_setting
from hwgen.boards.types import Board

__all__ = ["LEAST_RESET", "BoardClock", "ClockGenerator", "PowerOnReset", "board_clock"]

LEAST_RESET = 64
"""Cycles that a reset takes at least."""

_RESET_SECONDS = 5e-6
_FILTERS = (17, 26, 44, 66, 101)  # MHz at the comparison from which an iCE40 takes the next filter


@dataclass(frozen=True)
class BoardClock:
    """The clock of a design on a board: ``hz``, and how the PLL makes it (None: it does not)."""

    hz: int
    setting: PllSetting | None

    @property
    def reset_cycles(self) -> int:
        """Cycles of reset after configuration: 5 us, as iCE40 memories need 3 us, or 64."""
        return max(LEAST_RESET, math.ceil(self.hz * _RESET_SECONDS))


def board_clock(board: Board, clock_mhz: float | None = None) -> BoardClock:
    """The clock on ``board`` that is ``clock_mhz`` or just less, by default its oscillator's.

    A clock with a fraction of a Hz counts as one of the next lower whole number.

    Raises
    ------
    ResourceError
        If the PLL makes no such clock.
    """
    if clock_mhz is None or clock_mhz * 1e6 == board.clock_hz:
        return BoardClock(board.clock_hz, None)
    setting = choose_setting(board.pll, board.clock_hz, clock_mhz)
    return BoardClock(math.floor(setting.output_hz), setting)


class PowerOnReset(wiring.Component):
    """A reset of ``cycles`` after configuration and after the clock was lost.

    Parameters
    ----------
    cycles : :class:`int`
        Cycles, at least 1.

    Members
    -------
    lock : :py:`In(1)`
        Whether the clock is steady; asynchronous.
    rst : :py:`Out(1)`
        Reset, of the domain ``sync``, which must have none itself; from a register.
    """

    def __init__(self, cycles: int) -> None:
        if cycles < 1:
            raise ValueError(f"A reset must take at least 1 cycle, not {cycles}")
        self.cycles = cycles
        super().__init__({"lock": In(1), "rst": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steady = Signal()
        m.submodules.lock = FFSynchronizer(self.lock, steady)
        cycles = Signal(range(self.cycles))
        with m.If(~steady):
            m.d.sync += [cycles.eq(0), self.rst.eq(1)]
        with m.Elif(self.rst):
            m.d.sync += [cycles.eq(cycles + 1), self.rst.eq(cycles != self.cycles - 1)]
        return m


class ClockGenerator(wiring.Component):
    """The clock of a design and its reset.

    Parameters
    ----------
    setting : :class:`~hwgen.boards.pll.PllSetting` or None
        How the PLL makes the clock; None if the oscillator's is the design's.
    cycles : :class:`int`
        Cycles of reset, at least 1.

    Members
    -------
    oscillator : :py:`In(1)`
        Clock of the board.
    clk : :py:`Out(1)`, rst : :py:`Out(1)`
        Clock and reset of the design.
    """

    def __init__(self, setting: PllSetting | None, *, cycles: int) -> None:
        self.setting = setting
        self.cycles = cycles
        super().__init__({"oscillator": In(1), "clk": Out(1), "rst": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.made = made = ClockDomain("made", local=True, reset_less=True)
        reset = PowerOnReset(self.cycles)
        m.submodules.reset = DomainRenamer("made")(reset)
        if self.setting is None:
            m.d.comb += [made.clk.eq(self.oscillator), reset.lock.eq(1)]
        else:
            clock = Signal()
            m.submodules.pll = _INSTANCES[self.setting.pll.primitive](
                self.setting, self.oscillator, clock, reset.lock
            )
            m.d.comb += made.clk.eq(clock)
        m.d.comb += [self.clk.eq(made.clk), self.rst.eq(reset.rst)]
        return m


def _ice40(setting: PllSetting, oscillator: Signal, clock: Signal, lock: Signal) -> Instance:
    pad = setting.pll.primitive == "SB_PLL40_PAD"
    pfd_mhz = setting.pfd_hz / 1_000_000
    return Instance(
        setting.pll.primitive,
        ("i", "PACKAGEPIN" if pad else "REFERENCECLK", oscillator),
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=Const(setting.reference - 1, 4),
        p_DIVF=Const(setting.feedback - 1, 7),
        p_DIVQ=Const(setting.output.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(1 + sum(pfd_mhz >= bound for bound in _FILTERS), 3),
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=lock,
    )


def _ecp5(setting: PllSetting, oscillator: Signal, clock: Signal, lock: Signal) -> Instance:
    # nextpnr sets the charge pump and the loop filter as ecppll of Project Trellis does
    fed_back = Signal()
    return Instance(
        "EHXPLLL",
        p_CLKI_DIV=setting.reference,
        p_CLKFB_DIV=1,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=setting.feedback,
        p_CLKOP_CPHASE=setting.feedback - 1,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=setting.output,
        p_CLKOS_CPHASE=setting.output - 1,
        p_FEEDBK_PATH="CLKOP",
        i_CLKI=oscillator,
        i_CLKFB=fed_back,
        i_RST=Const(0),
        i_STDBY=Const(0),
        o_CLKOP=fed_back,
        o_CLKOS=clock,
        o_LOCK=lock,
    )


def _gowin(setting: PllSetting, oscillator: Signal, clock: Signal, lock: Signal) -> Instance:
    return Instance(
        "rPLL",
        p_DEVICE=setting.pll.part,
        p_FCLKIN=f"{setting.input_hz / 1e6:g}",
        p_IDIV_SEL=setting.reference - 1,
        p_FBDIV_SEL=setting.feedback - 1,
        p_ODIV_SEL=setting.output,
        p_CLKFB_SEL="internal",
        i_CLKIN=oscillator,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        i_FBDSEL=Const(0, 6),
        i_IDSEL=Const(0, 6),
        i_ODSEL=Const(0, 6),
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=clock,
        o_LOCK=lock,
    )


_INSTANCES = {
    "SB_PLL40_PAD": _ice40,
    "SB_PLL40_CORE": _ice40,
    "EHXPLLL": _ecp5,
    "rPLL": _gowin,
}
