"""A streaming datapath whose results an NFU takes as its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import Range
from hwgen.stream.common import pixel_signature

__all__ = ["Hybrid", "VerilogPart"]


class Hybrid(wiring.Component):
    """Two parts, the second behind the first.

    Neither knows of the other: the second takes a pixel when it likes, and the first waits until it
    does. No logic lies between them; a channel is extended to what the second has room for.

    Parameters
    ----------
    front, back : :class:`wiring.Component`
        With members ``i`` and ``o``, streams of pixels. ``back.i`` has the channels of ``front.o``
        and room for all of their values.

    Members
    -------
    i : as that of ``front``
    o : as that of ``back``
    """

    def __init__(self, front: wiring.Component, back: wiring.Component) -> None:
        self.front: Any = front
        self.back: Any = back
        super().__init__(
            {"i": front.signature.members["i"], "o": back.signature.members["o"]},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.front = front = self.front
        m.submodules.back = back = self.back
        wiring.connect(m, wiring.flipped(self.i), front.i)
        wiring.connect(m, back.o, wiring.flipped(self.o))
        m.d.comb += [back.i.valid.eq(front.o.valid), front.o.ready.eq(back.i.ready)]
        for name, _ in back.i.payload.shape():
            m.d.comb += back.i.payload[name].eq(front.o.payload[name])
        return m


class VerilogPart(wiring.Component):
    """A module of Verilog with the ports of a :class:`~hwgen.stream.design.StreamDesign`.

    Parameters
    ----------
    name : str
        Name of the module.
    input_ranges, output_ranges : sequence of Range
        Range of each channel.

    Members
    -------
    i : :py:`In(pixel_signature(input_ranges))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(
        self, name: str, input_ranges: Sequence[Range], output_ranges: Sequence[Range]
    ) -> None:
        self.name = name
        super().__init__(
            {"i": In(pixel_signature(input_ranges)), "o": Out(pixel_signature(output_ranges))}
        )

    def elaborate(self, platform: object) -> Instance:
        return Instance(
            self.name,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_i__payload=self.i.payload.as_value(),
            i_i__valid=self.i.valid,
            o_i__ready=self.i.ready,
            o_o__payload=self.o.payload.as_value(),
            o_o__valid=self.o.valid,
            i_o__ready=self.o.ready,
        )
