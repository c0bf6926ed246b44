"""The module that a board is configured with: a streaming core behind the host link."""

from __future__ import annotations

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.boards.types import Board
from hwgen.errors import ResourceError
from hwgen.link.device import Device, DeviceParameters
from hwgen.link.uart import MIN_DIVISOR, UartReceiver, UartTransmitter, choose_baud, divisor_of
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.yosys import rtlil_to_verilog

__all__ = ["RESET_CYCLES", "BoardTop", "component_verilog", "top_name", "top_verilog"]

RESET_CYCLES = 64
"""Cycles of reset after configuration; iCE40 memories need 3 us, 36 cycles at 12 MHz."""


class BoardTop(wiring.Component):
    """A streaming core, the Verilog module ``core``, that a host talks to over a UART.

    :class:`~hwgen.link.device.Device` tells how. All is synchronous to ``clk``; the first
    :data:`RESET_CYCLES` cycles after configuration are a reset.

    Parameters
    ----------
    core : :class:`str`
        Module with the ports of a :class:`~hwgen.stream.design.StreamDesign`.
    parameters : :class:`~hwgen.link.device.DeviceParameters`
        Sizes and constants of the link.
    divisor : :class:`int`
        Cycles of a bit of the UART.
    led_inverts : :class:`tuple` of :class:`bool`
        One a LED: whether a low level lights it.

    Members
    -------
    clk : :py:`In(1)`
        Clock of the board.
    rx : :py:`In(1)`, tx : :py:`Out(1)`
        The UART.
    led0, led1, ... : :py:`Out(1)`
        Low bits of the last word that was sent.
    """

    def __init__(
        self,
        *,
        core: str,
        parameters: DeviceParameters,
        divisor: int,
        led_inverts: tuple[bool, ...] = (),
    ) -> None:
        self.core = core
        self.parameters = parameters
        self.divisor = divisor
        self.led_inverts = led_inverts
        super().__init__(
            {
                "clk": In(1),
                "rx": In(1, init=1),
                "tx": Out(1),
                **{f"led{index}": Out(1) for index in range(len(led_inverts))},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.por = por = ClockDomain("por", reset_less=True)
        m.domains.sync = sync = ClockDomain("sync")
        cycles = Signal(range(RESET_CYCLES + 1))
        running = cycles == RESET_CYCLES
        with m.If(~running):
            m.d.por += cycles.eq(cycles + 1)
        m.d.comb += [por.clk.eq(self.clk), sync.clk.eq(self.clk), sync.rst.eq(~running)]

        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.device = device = Device(self.parameters, leds=len(self.led_inverts))
        wiring.connect(m, receiver.o, device.rx)
        wiring.connect(m, device.tx, transmitter.i)
        m.submodules.core = Instance(
            self.core,
            i_clk=ClockSignal(),
            i_rst=ResetSignal() | device.reset,
            i_i__payload=device.o.payload,
            i_i__valid=device.o.valid,
            o_i__ready=device.o.ready,
            o_o__payload=device.i.payload,
            o_o__valid=device.i.valid,
            i_o__ready=device.i.ready,
        )
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        m.d.comb += [
            getattr(self, f"led{index}").eq(device.led[index] ^ int(invert))
            for index, invert in enumerate(self.led_inverts)
        ]
        return m


def top_name(design: StreamDesign) -> str:
    """Name of the board's top module for ``design``."""
    return f"{design.name}_top"


def top_verilog(design: StreamDesign, board: Board, *, baud: int | None = None) -> str:
    """Verilog of the top module of ``design`` on ``board``, without the design's own Verilog.

    The UART runs at ``baud``, by default the rate that :func:`~hwgen.link.uart.choose_baud` takes.

    Raises
    ------
    ResourceError
        If the clock does not give this rate.
    UnsupportedError
        If an image or a result is too large for the link.
    """
    if baud is None:
        baud = choose_baud(board.clock_hz)
    divisor = divisor_of(board.clock_hz, baud)
    if divisor is None:
        raise ResourceError(
            f"The clock of {board.title}, {board.clock_hz / 1e6:g} MHz, must give the baud rate "
            f"within 0.75 % in at least {MIN_DIVISOR} cycles a bit, not {baud}"
        )
    top = BoardTop(
        core=design.name,
        parameters=DeviceParameters.of(design, board.clock_hz),
        divisor=divisor,
        led_inverts=tuple(pin.invert for pin in board.leds),
    )
    return component_verilog(top, name=top_name(design))


def component_verilog(top: BoardTop, *, name: str) -> str:
    """Verilog of a top as module ``name``, without its core."""
    return rtlil_to_verilog(str(rtlil.convert(top, name=name, emit_src=False)))
