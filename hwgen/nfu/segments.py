"""NFU-3: the search for the segment of a piecewise-linear function."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig, Segments
from hwgen.nfu.stages import search_stages
from hwgen.stream.common import Registers

__all__ = ["SegmentSearch"]


class SegmentSearch(wiring.Component):
    """Binary search of one lane: which word of the table holds the scale of a value.

    The words of a function with S segments lie at a multiple of S; that of segment s holds the
    least value of it. A level compares with one of 1, 2, 4, ... of these, which lie in a memory of
    its own: words whose number in the function is an odd multiple of S / 2, S / 4, ... A level
    takes two cycles, and a value a cycle goes through.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters; ``config.function`` must not be None.

    Members
    -------
    address : :py:`In(range(table_depth))`
        Word of the function's first segment, a cycle before the value.
    x : :py:`In(signed(width))`
    function : :py:`In(1)`
        Whether ``address`` is that of a function and not of a scale; in the cycle of ``found``.
    found : :py:`Out(range(table_depth))`
        Word of the scale, :py:`search_stages(config)` cycles after ``address``.
    write_address : :py:`In(range(table_depth))`
    write : :py:`In(1)`
    breakpoint : :py:`In(signed(width))`
        The part of a word of the table that is written.
    """

    def __init__(self, config: NfuConfig) -> None:
        assert config.function is not None
        self.config = config
        self._segments: Segments = config.function
        width = self._segments.width
        super().__init__(
            {
                "address": In(range(config.table_depth)),
                "x": In(signed(width)),
                "function": In(1),
                "found": Out(range(config.table_depth)),
                "write_address": In(range(config.table_depth)),
                "write": In(1),
                "breakpoint": In(signed(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        registers = Registers(m, Const(1, 1))
        levels = self._segments.levels
        x, address = self.x, self.address
        bits: list[Signal] = []  # of the segment, the highest first
        for level in range(levels):
            m.submodules[f"level{level}"] = begins = memory.Memory(
                shape=signed(self._segments.width),
                depth=self.config.table_depth >> (levels - level),
                init=[],
            )
            low = levels - 1 - level
            write, read = begins.write_port(), begins.read_port()
            m.d.comb += [
                write.addr.eq(self.write_address[low + 1 :]),
                write.data.eq(self.breakpoint),
                write.en.eq(self.write & (self.write_address[: low + 1] == 1 << low)),
                read.addr.eq(Cat(*reversed(bits), address[levels:])),
            ]
            reached = registers.register(x >= read.data, 1, name=f"reached{level}")
            bits = [registers.delay(bit, 2, name=f"bit{k}_{level}") for k, bit in enumerate(bits)]
            bits.append(reached)
            x = registers.delay(x, 2, name=f"x_{level}")
            address = registers.delay(address, 2, name=f"address_{level}")
        assert 2 * levels == search_stages(self.config)
        segment = Mux(self.function, Cat(*reversed(bits)), address[:levels])
        m.d.comb += self.found.eq(Cat(segment, address[levels:]))
        return m
