"""Reads and writes of an AXI4 master: reads in bursts, writes as they come.

All reads have the same ID, so their data come in the order of their addresses; so do writes. Bursts
are of full beats, incrementing, of at most 256 beats, and cross no boundary of 4 KiB (ARM IHI 0022,
A3.4.1).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.clients import command_layout
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.frames import write_layout

__all__ = ["BOUNDARY", "AxiReader", "AxiWriter", "axi_members", "read_members", "write_members"]

BOUNDARY = 4096
"""Bytes that no burst crosses a multiple of."""

_BURST = 256
_INCREMENTING = 1
_OUTSTANDING = 4


def read_members(bus_bytes: int, address_width: int) -> dict[str, Any]:
    """Members of the two channels that read."""
    return {
        "arid": Out(1),
        "araddr": Out(address_width),
        "arlen": Out(8),
        "arsize": Out(3),
        "arburst": Out(2),
        "arvalid": Out(1),
        "arready": In(1),
        "rid": In(1),
        "rdata": In(8 * bus_bytes),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }


def write_members(bus_bytes: int, address_width: int) -> dict[str, Any]:
    """Members of the three channels that write."""
    return {
        "awid": Out(1),
        "awaddr": Out(address_width),
        "awlen": Out(8),
        "awsize": Out(3),
        "awburst": Out(2),
        "awvalid": Out(1),
        "awready": In(1),
        "wdata": Out(8 * bus_bytes),
        "wstrb": Out(bus_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }


def axi_members(bus_bytes: int, address_width: int) -> dict[str, Any]:
    """Members of an AXI4 master, by the names of the standard."""
    return write_members(bus_bytes, address_width) | read_members(bus_bytes, address_width)


class AxiReader(wiring.Component):
    """Serves the commands of several clients; the one with the lowest number goes first.

    Up to four commands are under way. Every client takes its beats without ever waiting for
    another client.

    Parameters
    ----------
    clients : int
        Number of clients.
    bus_bytes, address_width : int
        Bytes of a beat, a power of two; bits of a byte address.

    Members
    -------
    command0, ... : :py:`In(stream.Signature(command_layout(address_width)))`
    beats0, ... : :py:`Out(stream.Signature(8 * bus_bytes))`
    failed : :py:`Out(1)`
        A beat has come with an error.
    araddr, ... : as in AXI4
    """

    def __init__(self, clients: int, *, bus_bytes: int, address_width: int) -> None:
        self.clients = clients
        self.bus_bytes = bus_bytes
        self.address_width = address_width
        members = read_members(bus_bytes, address_width) | {"failed": Out(1)}
        for k in range(clients):
            members[f"command{k}"] = In(stream.Signature(command_layout(address_width)))
            members[f"beats{k}"] = Out(stream.Signature(unsigned(8 * bus_bytes)))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # the client of each command under way, and how many beats it still gets
        number = unsigned(max(1, (self.clients - 1).bit_length()))
        beats = command_layout(self.address_width)["beats"].shape
        layout = data.StructLayout({"client": number, "beats": beats})
        m.submodules.order = order = fifo.SyncFIFOBuffered(width=layout.size, depth=_OUTSTANDING)
        given, oldest = Signal(layout), Signal(layout)
        m.d.comb += [order.w_data.eq(given), oldest.eq(order.r_data)]
        self._addresses(m, order, given)
        self._data(m, order, oldest)
        with m.If(self.rvalid & self.rready & (self.rresp != 0)):
            m.d.sync += self.failed.eq(1)
        return m

    def _addresses(self, m: Module, order: fifo.SyncFIFOBuffered, given: Any) -> None:
        """Take a command and offer its bursts, one after the other."""
        low = (self.bus_bytes - 1).bit_length()
        to_boundary = (BOUNDARY // self.bus_bytes).bit_length() - 1
        address = Signal(self.address_width)
        left = Signal.like(given.beats)
        beats, room = Signal(range(_BURST + 1)), Signal(range(BOUNDARY // self.bus_bytes + 1))
        free = left == 0
        m.d.comb += [
            room.eq((1 << to_boundary) - address[low : low + to_boundary]),
            beats.eq(_least(left, _least(room, Const(_BURST)))),
            self.araddr.eq(address),
            self.arlen.eq(beats - 1),
            self.arsize.eq(low),
            self.arburst.eq(_INCREMENTING),
            self.arvalid.eq(~free),
        ]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [left.eq(left - beats), address.eq(address + (beats << low))]
        earlier = Const(0, 1)
        for k in range(self.clients):
            command = getattr(self, f"command{k}")
            chosen = Signal(name=f"chosen{k}")
            m.d.comb += [
                chosen.eq(command.valid & ~earlier),
                command.ready.eq(chosen & free & order.w_rdy),
            ]
            with m.If(chosen):
                m.d.comb += [
                    given.client.eq(k),
                    given.beats.eq(command.payload.beats),
                    order.w_en.eq(free),
                ]
            with m.If(command.valid & command.ready):
                m.d.sync += [
                    address.eq(command.payload.address),
                    left.eq(command.payload.beats),
                ]
            earlier = earlier | command.valid

    def _data(self, m: Module, order: fifo.SyncFIFOBuffered, oldest: Any) -> None:
        """Give each beat to the client whose command is the oldest."""
        seen = Signal.like(oldest.beats)
        taken = Signal()
        m.d.comb += [
            taken.eq(self.rvalid & self.rready),
            order.r_en.eq(taken & (seen == oldest.beats - 1)),
        ]
        with m.If(taken):
            m.d.sync += seen.eq(Mux(order.r_en, 0, seen + 1))
        for k in range(self.clients):
            beats = getattr(self, f"beats{k}")
            m.d.comb += beats.payload.eq(self.rdata)
            with m.If(order.r_rdy & (oldest.client == k)):
                m.d.comb += [beats.valid.eq(self.rvalid), self.rready.eq(beats.ready)]


class AxiWriter(wiring.Component):
    """Writes words of Tn activations, a burst each.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    address, stride : int
        Byte where activations begin; bytes of one.
    bus_bytes, address_width : int
        Bytes of a beat, a power of two; bits of a byte address.

    Members
    -------
    i : :py:`In(stream.Signature(write_layout(config)))`
    pending : :py:`Out(1)`
        A write has no response yet.
    failed : :py:`Out(1)`
        A response was an error.
    awaddr, ... : as in AXI4
    """

    def __init__(
        self, config: NfuConfig, *, address: int, stride: int, bus_bytes: int, address_width: int
    ) -> None:
        self.config = config
        self.address = address
        self.stride = stride
        self.bus_bytes = bus_bytes
        self.address_width = address_width
        super().__init__(
            write_members(bus_bytes, address_width)
            | {
                "i": In(stream.Signature(write_layout(config))),
                "pending": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tn, width = self.config.tn, self.config.activation_width
        size, bus = tn * self.stride, self.bus_bytes
        beats = max(1, size // bus)
        low = (bus - 1).bit_length()
        word, strobe = Signal(8 * max(size, bus)), Signal(bus)
        left, outstanding = Signal(range(beats + 1)), Signal(range(_OUTSTANDING + 1))
        item = self.i.payload
        padded = Cat(
            Cat(item.word.word_select(k, width), Const(0, 8 * self.stride - width))
            for k in range(tn)
        )
        address = Signal(self.address_width)
        sent, answered = Signal(), Signal()
        m.d.comb += [
            address.eq(self.address + (item.address << (size.bit_length() - 1))),
            self.i.ready.eq(~self.awvalid & ~self.wvalid & (outstanding != _OUTSTANDING)),
            sent.eq(self.i.valid & self.i.ready),
            answered.eq(self.bvalid & self.bready),
            self.awlen.eq(beats - 1),
            self.awsize.eq(low),
            self.awburst.eq(_INCREMENTING),
            self.wdata.eq(word[: 8 * bus]),
            self.wstrb.eq(strobe),
            self.wlast.eq(left == 1),
            self.wvalid.eq(left != 0),
            self.bready.eq(1),
            self.pending.eq(outstanding != 0),
        ]
        m.d.sync += outstanding.eq(outstanding + sent - answered)
        with m.If(answered & (self.bresp != 0)):
            m.d.sync += self.failed.eq(1)
        with m.If(self.awvalid & self.awready):
            m.d.sync += self.awvalid.eq(0)
        with m.If(self.wvalid & self.wready):
            m.d.sync += [left.eq(left - 1), word.eq(word >> (8 * bus))]
        with m.If(sent):
            m.d.sync += [
                self.awvalid.eq(1),
                self.awaddr.eq(address[low:] << low),
                left.eq(beats),
            ]
            if size >= bus:
                m.d.sync += [word.eq(padded), strobe.eq(-1)]
            else:
                lane = address[size.bit_length() - 1 : low]
                m.d.sync += [
                    word.eq(padded.replicate(bus // size)),
                    strobe.eq(Const((1 << size) - 1, bus) << (lane << (size.bit_length() - 1))),
                ]
        return m


def _least(a: Any, b: Any) -> Any:
    """The lesser of two unsigned values."""
    return Mux(a < b, a, b)
