"""The buffers' sides to memory: loaders that run ahead, and the store."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.control import load_layout, store_fields
from hwgen.nfu.isa import Nfu1

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

    Takes a word a cycle. Between two loads lie two cycles and the latency of memory.

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
        ahead, waiting = Signal(range(3)), Signal(range(3))
        left, requested, complete = Signal.like(self.i.payload.size), Signal(), Signal()
        idle = left == 0
        m.d.comb += [
            self.i.ready.eq(idle & (ahead != 2)),
            self.request.valid.eq(~idle & ~requested),
            self.words.ready.eq(~idle & requested),
            self.write.eq(self.words.valid & self.words.ready),
            self.loaded.eq(waiting != 0),
            complete.eq(
                Mux(idle, self.i.valid & self.i.ready & (self.i.payload.size == 0),
                    self.write & (left == 1))
            ),
        ]  # fmt: skip
        m.d.sync += [
            ahead.eq(ahead + complete - self.read),
            waiting.eq(waiting + complete - self.begun),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                left.eq(self.i.payload.size),
                self.address.eq(self.i.payload.target),
                self.request.payload.address.eq(self.i.payload.source),
                self.request.payload.size.eq(self.i.payload.size),
                requested.eq(0),
            ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += requested.eq(1)
        with m.If(self.write):
            m.d.sync += [left.eq(left - 1), self.address.eq(self.address + 1)]
        return m


class StoreUnit(wiring.Component):
    """Stores what runs have written to NBout, one word a cycle.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    i : :py:`In(stream.Signature(store_fields(config)))`
    written : :py:`In(1)`
        A run has written its last word.
    stored : :py:`Out(1)`
        The instruction is complete.
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
                "i": In(stream.Signature(store_fields(config))),
                "written": In(1),
                "stored": Out(1),
                "read": Out(1),
                "address": Out(range(config.nbout_depth)),
                "values": In(values),
                "o": Out(stream.Signature(store_layout(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        one = Signal(store_fields(self.config), reset_less=True)
        finished = Signal(range(3))  # runs written and whose store has not begun
        active, unread, last = Signal(), Signal(), Signal()
        group = Signal.like(one.nbout_groups)
        position = Signal.like(one.nbin_positions)
        window = Signal(self.config.address_width)
        following = self.i.payload
        begin, nothing, sent = Signal(), Signal(), Signal()
        group_last = group == 1
        m.d.comb += [
            self.i.ready.eq(~active & (finished != 0)),
            begin.eq(self.i.valid & self.i.ready),
            nothing.eq((following.nfu_op == Nfu1.NOP) | ~following.nbout_store),
            sent.eq(self.o.valid & self.o.ready),
            self.read.eq(unread & (~self.o.valid | self.o.ready)),
            self.stored.eq((begin & nothing) | (sent & last)),
            self.o.payload["values"].eq(self.values),
        ]
        m.d.sync += finished.eq(finished + self.written - begin)
        with m.If(sent):
            m.d.sync += self.o.valid.eq(0)
            with m.If(last):
                m.d.sync += active.eq(0)
        address = Signal(self.config.address_width)  # of the word to be read, in memory
        with m.If(self.read):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.address.eq(address),
                last.eq(group_last & (position == 1)),
                self.address.eq(self.address + 1),
                address.eq(address + 1),
                group.eq(group - 1),
            ]
            with m.If(group_last):
                m.d.sync += [
                    group.eq(one.nbout_groups),
                    position.eq(position - 1),
                    address.eq(window + one.nbout_stride),
                    window.eq(window + one.nbout_stride),
                    unread.eq(position != 1),
                ]
        with m.If(begin & ~nothing):
            m.d.sync += [
                one.eq(following),
                active.eq(1),
                unread.eq(1),
                self.address.eq(following.nbout_address),
                address.eq(following.nbout_target),
                window.eq(following.nbout_target),
                group.eq(following.nbout_groups),
                position.eq(following.nbin_positions),
            ]
        return m
