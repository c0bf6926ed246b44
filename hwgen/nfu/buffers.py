"""The buffers' sides to memory: loaders that run ahead, and the store."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.control import UpTo2, load_layout, store_fields

__all__ = ["Loader", "StoreUnit", "request_layout", "store_layout"]


def request_layout(config: NfuConfig) -> data.StructLayout:
    """A request for ``size`` words of memory from ``address`` on."""
    return data.StructLayout({"address": unsigned(config.address_width), "size": unsigned(13)})


def store_layout(config: NfuConfig) -> data.StructLayout:
    """A word of Tn values for memory."""
    values = data.ArrayLayout(signed(config.accumulator_width), config.tn)
    return data.StructLayout({"address": unsigned(config.address_width), "values": values})


class Loader(wiring.Component):
    """Loads of one buffer, at most one instruction ahead of the run that reads it.

    Takes a word a cycle. Between two loads lie two cycles and the latency of memory; no load takes
    two cycles.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    port : str
        Name of the buffer's slot.
    width : int
        Bits of a word.
    depth : int
        Words of the buffer.

    Members
    -------
    i : :py:`In(stream.Signature(load_layout(config, port)))`
    request : :py:`Out(stream.Signature(request_layout(config)))`
    words : :py:`In(stream.Signature(width))`
        Words of the requests, in order.
    begun, read : :py:`In(1)`
        A run begins; a run has read its last word of the buffer.
    loaded : :py:`Out(1)`
        The loads of the next run to begin are complete.
    write : :py:`Out(1)`
    address : :py:`Out(range(depth))`
    """

    def __init__(self, config: NfuConfig, port: str, *, width: int, depth: int) -> None:
        self.config = config
        self.port = port
        self.width = width
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(load_layout(config, port))),
                "request": Out(stream.Signature(request_layout(config))),
                "words": In(stream.Signature(unsigned(width))),
                "begun": In(1),
                "read": In(1),
                "loaded": Out(1),
                "write": Out(1),
                "address": Out(range(depth)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ahead = ahead = UpTo2()
        m.submodules.waiting = waiting = UpTo2()
        size = self.i.payload.size
        left = Signal.like(size)
        active, requested, last, nothing = Signal(), Signal(), Signal(), Signal()
        taken, complete = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~active & ~nothing & ~ahead.two),
            taken.eq(self.i.valid & self.i.ready),
            self.request.valid.eq(active & ~requested),
            self.words.ready.eq(requested),
            self.write.eq(self.words.valid & requested),
            complete.eq(nothing | (self.write & last)),
            ahead.up.eq(complete),
            ahead.down.eq(self.read),
            waiting.up.eq(complete),
            waiting.down.eq(self.begun),
            self.loaded.eq(waiting.some),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += requested.eq(1)
        with m.If(self.write):
            m.d.sync += [
                left.eq(left - 1),
                last.eq(left == 2),
                self.address.eq(self.address + 1),
            ]
            with m.If(last):
                m.d.sync += [active.eq(0), requested.eq(0)]
        m.d.sync += nothing.eq(taken & (size == 0))
        with m.If(~active):  # takes whatever is offered, so that the enables wait for nothing
            m.d.sync += [
                active.eq(taken & (size != 0)),
                left.eq(size),
                last.eq(size == 1),
                self.address.eq(self.i.payload.target),
                self.request.payload.address.eq(self.i.payload.source),
                self.request.payload.size.eq(size),
            ]
        return m


class StoreUnit(wiring.Component):
    """Stores what runs have written to NBout, one word a cycle.

    Holds two runs: one to store, and one behind it.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    begun : :py:`In(1)`
        A run begins, for which there must be room.
    i : :py:`In(store_fields(config))`
        What it stores.
    room : :py:`Out(1)`
        There is room for another run.
    storing : :py:`Out(1)`
        There are runs with a store that is not complete.
    written : :py:`In(1)`
        A run has written its last word.
    stored : :py:`Out(1)`
        An instruction is complete.
    active : :py:`Out(1)`
        Words are read from NBout.
    read : :py:`Out(1)`
    address : :py:`Out(range(nbout_depth))`
        Port of NBout; the word comes a cycle after ``read`` and stays until the next.
    values : :py:`In(ArrayLayout(signed(accumulator_width), tn))`
    o : :py:`Out(stream.Signature(store_layout(config)))`
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        values = data.ArrayLayout(signed(config.accumulator_width), config.tn)
        super().__init__(
            {
                "begun": In(1),
                "i": In(store_fields(config)),
                "room": Out(1),
                "storing": Out(1),
                "written": In(1),
                "stored": Out(1),
                "active": Out(1),
                "read": Out(1),
                "address": Out(range(config.nbout_depth)),
                "values": In(values),
                "o": Out(stream.Signature(store_layout(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.finished = finished = UpTo2()  # runs written and whose store has not begun
        behind = Signal(store_fields(self.config), reset_less=True)
        one = Signal(store_fields(self.config), reset_less=True)
        waits, held = Signal(), Signal()  # whether there is a run in each
        group = Signal.like(one.nbout_groups)
        groups_left = Signal.like(group)  # a constant is faster to compare with than a register
        one_group = Signal()
        position = Signal.like(one.nbin_positions)
        window = Signal(self.config.address_width)
        begin, sent, last = Signal(), Signal(), Signal()
        last_group, last_position = Signal(), Signal()
        m.d.comb += [
            self.room.eq(~(waits & held)),
            self.storing.eq((waits & behind.stores) | (held & one.stores)),
            begin.eq(held & ~self.active & ~self.o.valid & finished.some),
            finished.up.eq(self.written),
            finished.down.eq(begin),
            sent.eq(self.o.valid & self.o.ready),
            self.read.eq(self.active & (~self.o.valid | self.o.ready)),
            self.stored.eq((begin & ~one.stores) | (sent & last)),
            self.o.payload["values"].eq(self.values),
        ]
        with m.If(~held):  # takes what is behind, whether there is a run or not
            m.d.sync += [
                waits.eq(0),
                held.eq(waits),
                one.eq(behind),
                self.address.eq(behind.nbout_address),
                window.eq(behind.nbout_target),
                group.eq(0),
                groups_left.eq(behind.nbout_groups),
                one_group.eq(behind.nbout_groups == 1),
                last_group.eq(behind.nbout_groups == 1),
                position.eq(behind.nbin_positions),
                last_position.eq(behind.nbin_positions == 1),
            ]
        with m.If(self.begun):
            m.d.sync += [waits.eq(1), behind.eq(self.i)]
        with m.If(begin):
            m.d.sync += self.active.eq(one.stores)
        with m.If(self.stored):
            m.d.sync += held.eq(0)
        with m.If(sent):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.address.eq(window + group),
                last.eq(last_group & last_position),
                self.address.eq(self.address + 1),
                group.eq(group + 1),
                groups_left.eq(groups_left - 1),
                last_group.eq(groups_left == 2),
            ]
            with m.If(last_group):
                m.d.sync += [
                    group.eq(0),
                    groups_left.eq(one.nbout_groups),
                    last_group.eq(one_group),
                    position.eq(position - 1),
                    last_position.eq(position == 2),
                    window.eq(window + one.nbout_stride),
                    self.active.eq(~last_position),
                ]
        return m
