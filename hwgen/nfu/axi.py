"""Memory of an NFU behind one AXI4 master.

A load into NBin waits until every write has its response, since it may read what an instruction
before its fence has stored.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hwgen.nfu.axi_bus import (
    BOUNDARY,
    AxiReader,
    AxiWriter,
    axi_members,
    read_members,
    write_members,
)
from hwgen.nfu.blockram import memory_members
from hwgen.nfu.clients import InstructionClient, LoadClient
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.image import MemoryMap
from hwgen.nfu.timing import LOADS

__all__ = ["AxiMemory"]


class AxiMemory(wiring.Component):
    """All that an NFU reads and writes, in one memory behind an AXI4 master.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    where : :class:`MemoryMap`
        Where everything lies; :func:`hwgen.nfu.image.memory_bytes` gives the contents.
    base : int
        Byte address of the memory's byte 0, a multiple of 4096.
    bus_bytes : int
        Bytes of a beat: 4, 8, 16 or 32.
    address_width : int
        Bits of a byte address.

    Members
    -------
    failed : :py:`Out(1)`
        The memory has reported an error.
    awaddr, ... : as in AXI4
        See :func:`axi_members`.
    restart, ... :
        See :func:`memory_members`.

    Raises
    ------
    ValueError
        If a parameter is out of its bounds.
    """

    def __init__(
        self,
        config: NfuConfig,
        where: MemoryMap,
        *,
        base: int = 0,
        bus_bytes: int = 8,
        address_width: int = 32,
    ) -> None:
        if bus_bytes not in (4, 8, 16, 32):
            raise ValueError(f"Beats must be of 4, 8, 16 or 32 bytes, not {bus_bytes!r}")
        if base % BOUNDARY or not 0 <= base <= (1 << address_width) - where.size:
            raise ValueError(
                f"Memory of {where.size} bytes must begin at a multiple of {BOUNDARY} and end "
                f"within {address_width} bits of address, not begin at {base!r}"
            )
        self.config = config
        self.where = where.moved(base)
        self.base = base
        self.bus_bytes = bus_bytes
        self.address_width = address_width
        super().__init__(memory_members(config) | self.outside)

    @property
    def outside(self) -> dict[str, Any]:
        """Members for what is outside of the chip: the AXI4 master, and ``failed``."""
        return axi_members(self.bus_bytes, self.address_width) | {"failed": Out(1)}

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each memory on the chip, of which there are none."""
        return {}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = {"bus_bytes": self.bus_bytes, "address_width": self.address_width}
        where = self.where
        m.submodules.reader = reader = AxiReader(1 + len(LOADS), **bus)
        m.submodules.writer = writer = AxiWriter(
            self.config,
            address=where.activations.address,
            stride=where.activations.stride,
            **bus,
        )
        for unit, names in (
            (reader, read_members(**bus)),
            (writer, write_members(**bus)),
        ):
            for name, member in names.items():
                outer, inner = getattr(self, name), getattr(unit, name)
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        m.d.comb += self.failed.eq(reader.failed | writer.failed)
        wiring.connect(m, wiring.flipped(self.write), writer.i)

        # loads first: what they wait for is what a run waits for
        regions = {"sb": where.weights, "nbin": where.activations, "table": where.scales}
        for k, port in enumerate(LOADS):
            client = LoadClient(self.config, port, regions[port], **bus)
            m.submodules[port] = client
            wiring.connect(m, wiring.flipped(getattr(self, f"{port}_request")), client.request)
            wiring.connect(m, client.words, wiring.flipped(getattr(self, f"{port}_words")))
            wiring.connect(m, getattr(reader, f"beats{k}"), client.beats)
            held = writer.pending if port == "nbin" else Const(0, 1)
            command = getattr(reader, f"command{k}")
            m.d.comb += [
                command.payload.eq(client.command.payload),
                command.valid.eq(client.command.valid & ~held),
                client.command.ready.eq(command.ready & ~held),
            ]
        m.submodules.program = program = InstructionClient(where.program, **bus)
        last = len(LOADS)
        m.d.comb += program.restart.eq(self.restart)
        wiring.connect(m, program.instructions, wiring.flipped(self.instructions))
        wiring.connect(m, program.command, getattr(reader, f"command{last}"))
        wiring.connect(m, getattr(reader, f"beats{last}"), program.beats)
        return m
