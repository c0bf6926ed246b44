"""The module that a board is configured with: a streaming core behind the serial port."""

from __future__ import annotations

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.boards.serial_port import SerialPort
from hwgen.boards.types import Board
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.yosys import rtlil_to_verilog

__all__ = ["RESET_CYCLES", "BoardTop", "top_name", "top_verilog"]

RESET_CYCLES = 64
"""Cycles of reset after configuration; iCE40 memories need 3 us, 36 cycles at 12 MHz."""


class BoardTop(wiring.Component):
    """A streaming core, the Verilog module ``core``, with a bit-serial port and LEDs.

    All is synchronous to ``clk``, which ``sclk`` gives back to whoever is at the other end: it
    should change ``sdi``, ``sdi_valid`` and ``sdo_ready`` at falling edges of ``sclk``, and look at
    ``sdi_ready``, ``sdo`` and ``sdo_valid`` at rising ones. :class:`SerialPort` tells how bits and
    words pass. The first :data:`RESET_CYCLES` cycles after configuration are a reset, in which
    ``sdi_ready`` and ``sdo_valid`` are low.

    Parameters
    ----------
    core : :class:`str`
        Module with the ports of a :class:`~hwgen.stream.design.StreamDesign`.
    input_width, output_width : :class:`int`
        Bits of its payloads.
    led_inverts : :class:`tuple` of :class:`bool`
        One a LED: whether a low level lights it.

    Members
    -------
    clk : :py:`In(1)`
        Clock of the board.
    sclk : :py:`Out(1)`
        The same clock.
    sdi, sdi_valid, sdi_ready, sdo, sdo_valid, sdo_ready
        As in :class:`SerialPort`.
    led0, led1, ... : :py:`Out(1)`
        Low bits of the last word from the core.
    """

    def __init__(
        self, *, core: str, input_width: int, output_width: int, led_inverts: tuple[bool, ...]
    ) -> None:
        self.core = core
        self.input_width = input_width
        self.output_width = output_width
        self.led_inverts = led_inverts
        super().__init__(
            {
                "clk": In(1),
                "sclk": Out(1),
                "sdi": In(1),
                "sdi_valid": In(1),
                "sdi_ready": Out(1),
                "sdo": Out(1),
                "sdo_valid": Out(1),
                "sdo_ready": In(1),
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
        m.d.comb += [
            por.clk.eq(self.clk),
            sync.clk.eq(self.clk),
            sync.rst.eq(~running),
            self.sclk.eq(self.clk),
        ]

        m.submodules.port = port = SerialPort(
            input_width=self.input_width,
            output_width=self.output_width,
            leds=len(self.led_inverts),
        )
        m.submodules.core = Instance(
            self.core,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_i__payload=port.o.payload,
            i_i__valid=port.o.valid,
            o_i__ready=port.o.ready,
            o_o__payload=port.i.payload,
            o_o__valid=port.i.valid,
            i_o__ready=port.i.ready,
        )
        m.d.comb += [
            port.sdi.eq(self.sdi),
            port.sdi_valid.eq(self.sdi_valid),
            self.sdi_ready.eq(port.sdi_ready & running),
            self.sdo.eq(port.sdo),
            self.sdo_valid.eq(port.sdo_valid),
            port.sdo_ready.eq(self.sdo_ready),
        ]
        m.d.comb += [
            getattr(self, f"led{index}").eq(port.led[index] ^ int(invert))
            for index, invert in enumerate(self.led_inverts)
        ]
        return m


def top_name(design: StreamDesign) -> str:
    """Name of the board's top module for ``design``."""
    return f"{design.name}_top"


def top_verilog(design: StreamDesign, board: Board) -> str:
    """Verilog of the top module of ``design`` on ``board``, without the design's own Verilog."""
    top = BoardTop(
        core=design.name,
        input_width=design.input_layout.width,
        output_width=design.output_layout.width,
        led_inverts=tuple(pin.invert for pin in board.leds),
    )
    return rtlil_to_verilog(str(rtlil.convert(top, name=top_name(design), emit_src=False)))
