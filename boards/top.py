"""The module that a board is configured with: a streaming core behind the host link."""

from __future__ import annotations

import math

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.boards.clocking import LEAST_RESET, ClockGenerator, board_clock
from hwgen.boards.pll import PllSetting
from hwgen.boards.types import Board, Wires
from hwgen.errors import ResourceError
from hwgen.link.device import Device, DeviceParameters
from hwgen.link.spi import CLOCKS, SpiPeripheral
from hwgen.link.uart import (
    BAUDS,
    MIN_DIVISOR,
    UartReceiver,
    UartTransmitter,
    choose_baud,
    divisor_of,
)
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.yosys import rtlil_to_verilog

__all__ = ["BoardTop", "component_verilog", "core_name", "link_rate", "top_name", "top_verilog"]


class BoardTop(wiring.Component):
    """A streaming core, the Verilog module ``core``, that a host talks to over a UART or SPI.

    :class:`~hwgen.link.device.Device` tells how. All is synchronous to ``clk``, or to what
    the PLL makes of it; after configuration there is a reset.

    Parameters
    ----------
    core : :class:`str`
        Module with the ports of a :class:`~hwgen.stream.design.StreamDesign`.
    parameters : :class:`~hwgen.link.device.DeviceParameters`
        Sizes and constants of the link. If programs are loaded, ``core`` is the module of their
        :class:`~hwgen.stream.programs.Loading`.
    divisor : :class:`int` or None
        Cycles of a bit of the UART; None for SPI.
    led_inverts : :class:`tuple` of :class:`bool`
        One a LED: whether a low level lights it.
    reset : :class:`int`
        Cycles of the reset, at least 1.
    pll : :class:`~hwgen.boards.pll.PllSetting` or None
        How the clock of the design is made of the board's; None if they are the same.

    Members
    -------
    clk : :py:`In(1)`
        Clock of the board.
    rx : :py:`In(1)`, tx : :py:`Out(1)`
        The UART, or
    cs, sck, copi : :py:`In(1)`, cipo : :py:`Out(1)`
        SPI (:class:`~hwgen.link.spi.SpiPeripheral`).
    led0, led1, ... : :py:`Out(1)`
        Low bits of the last word that was sent.
    """

    def __init__(
        self,
        *,
        core: str,
        parameters: DeviceParameters,
        divisor: int | None,
        led_inverts: tuple[bool, ...] = (),
        reset: int = LEAST_RESET,
        pll: PllSetting | None = None,
    ) -> None:
        self.core = core
        self.parameters = parameters
        self.divisor = divisor
        self.led_inverts = led_inverts
        self.reset = reset
        self.pll = pll
        wires = {"rx": In(1, init=1), "tx": Out(1)}
        if divisor is None:
            wires = {"cs": In(1, init=1), "sck": In(1), "copi": In(1), "cipo": Out(1)}
        super().__init__(
            {
                "clk": In(1),
                **wires,
                **{f"led{index}": Out(1) for index in range(len(led_inverts))},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.clocking = clocking = ClockGenerator(self.pll, cycles=self.reset)
        m.domains.sync = sync = ClockDomain("sync")
        m.d.comb += [
            clocking.oscillator.eq(self.clk),
            sync.clk.eq(clocking.clk),
            sync.rst.eq(clocking.rst),
        ]

        m.submodules.device = device = Device(self.parameters, leds=len(self.led_inverts))
        self._wires(m, device)
        load: dict[str, object] = {}
        if self.parameters.loading is not None:
            load = {
                "i_load__payload": device.load.payload.as_value(),
                "i_load__valid": device.load.valid,
                "o_load__ready": device.load.ready,
                "o_busy": device.busy,
            }
        m.submodules.core = Instance(
            self.core,
            **load,
            i_clk=ClockSignal(),
            i_rst=device.reset,
            i_i__payload=device.o.payload,
            i_i__valid=device.o.valid,
            o_i__ready=device.o.ready,
            o_o__payload=device.i.payload,
            o_o__valid=device.i.valid,
            i_o__ready=device.i.ready,
        )
        m.d.comb += [
            getattr(self, f"led{index}").eq(device.led[index] ^ int(invert))
            for index, invert in enumerate(self.led_inverts)
        ]
        return m

    def _wires(self, m: Module, device: Device) -> None:
        """Bytes between the pins and the device."""
        if self.divisor is None:
            m.submodules.spi = spi = SpiPeripheral()
            wiring.connect(m, spi.o, device.rx)
            wiring.connect(m, device.tx, spi.i)
            m.d.comb += [
                spi.cs.eq(self.cs),
                spi.clk.eq(self.sck),
                spi.copi.eq(self.copi),
                self.cipo.eq(spi.cipo),
            ]
            return
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        wiring.connect(m, receiver.o, device.rx)
        wiring.connect(m, device.tx, transmitter.i)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]


def link_rate(
    link: Wires, clock_hz: int, *, baud: int | None = None, fastest: float = math.inf
) -> int:
    """Bits a second of a host link: ``baud``, by default as many as suit it up to ``fastest``.

    ``fastest`` counts as ten bits a byte. Over SPI this is the greatest clock of the controller.

    Raises
    ------
    ResourceError
        If the design's clock does not give ``baud``.
    """
    if link == "uart":
        return choose_baud(clock_hz, min(BAUDS[0], fastest)) if baud is None else baud
    most = clock_hz // CLOCKS
    if baud is not None and baud > most:
        raise ResourceError(
            f"The clock of SPI must be at most an eighth of the design's, {most:,} Hz, not {baud:,}"
        )
    return max(1, int(min(most, fastest * 8 / 10))) if baud is None else baud


def core_name(design: StreamDesign) -> str:
    """Name of the module of ``design`` that the link talks to."""
    return design.name if design.loading is None else design.loading.core


def top_name(design: StreamDesign) -> str:
    """Name of the board's top module for ``design``."""
    return f"{design.name}_top"


def top_verilog(
    design: StreamDesign,
    board: Board,
    *,
    clock_mhz: float | None = None,
    baud: int | None = None,
    link: Wires = "uart",
) -> str:
    """Verilog of the top module of ``design`` on ``board``, without the design's own Verilog.

    The clock is :func:`~hwgen.boards.clocking.board_clock` for ``clock_mhz``.
    The link runs at ``baud``, by default the rate that :func:`link_rate` gives.

    Raises
    ------
    ResourceError
        If the board has no such clock, or the clock does not give this rate.
    UnsupportedError
        If an image or a result is too large for the link.
    """
    clock = board_clock(board, clock_mhz)
    baud = link_rate(link, clock.hz, baud=baud)
    divisor = divisor_of(clock.hz, baud) if link == "uart" else None
    if link == "uart" and divisor is None:
        raise ResourceError(
            f"The clock of {board.title}, {clock.hz / 1e6:g} MHz, must give the baud rate "
            f"within 0.75 % in at least {MIN_DIVISOR} cycles a bit, not {baud}"
        )
    top = BoardTop(
        core=core_name(design),
        parameters=DeviceParameters.of(design, clock.hz),
        divisor=divisor,
        led_inverts=tuple(pin.invert for pin in board.leds),
        reset=clock.reset_cycles,
        pll=clock.setting,
    )
    return component_verilog(top, name=top_name(design))


def component_verilog(top: BoardTop, *, name: str) -> str:
    """Verilog of a top as module ``name``, without its core."""
    return rtlil_to_verilog(str(rtlil.convert(top, name=name, emit_src=False)))
