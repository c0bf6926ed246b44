"""Frames in hardware: taken apart as they come, put together as they go."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from hwgen.link.protocol import SYNC

__all__ = ["Framer"]

# where in a frame the next byte is
_SYNC, _COMMAND, _SEQUENCE, _LOW, _MIDDLE, _HIGH, _PAYLOAD, _CRC, _CRC_LOW, _END = range(10)


class Framer(wiring.Component):
    """Takes frames of :mod:`hwgen.link.protocol` apart, and sends answers with their sequence.

    One frame at a time, in or out: what arrives while an answer goes out is lost. A frame that
    stops for ``timeout`` cycles is forgotten. A byte of either direction stays in a register for a
    cycle before it counts, so that no path goes through from what brings bytes to what takes them.

    Parameters
    ----------
    timeout : :class:`int`
        Cycles without a byte, a power of two.

    Members
    -------
    rx : :py:`In(stream.Signature(8, always_ready=True))`
        Bytes from the host.
    tx : :py:`Out(stream.Signature(8))`
        Bytes to the host.
    command : :py:`Out(8)`
        Command of the frame that came last.
    left : :py:`Out(24)`
        Bytes of the payload that are still to come or go; when ``opened``, all of them.
    opened : :py:`Out(1)`
        High for a cycle after the header of a frame.
    data : :py:`Out(stream.Signature(8, always_ready=True))`
        The payload as it comes, before it is known to be right.
    closed, good : :py:`Out(1)`
        High for a cycle after the last byte of a frame; then ``good`` tells if its CRC is right.
    busy : :py:`Out(1)`
        Whether a frame is coming or going.
    start : :py:`In(1)`
        Begins an answer; may be high when ``busy`` is low.
    answer : :py:`In(8)`, size : :py:`In(24)`
        Command of the answer and bytes of its payload, both held until it is sent.
    payload : :py:`In(stream.Signature(8))`
        Payload of the answer.
    """

    def __init__(self, timeout: int) -> None:
        if timeout < 2 or timeout & (timeout - 1):
            raise ValueError(f"Timeout must be a power of two, at least 2 cycles, not {timeout}")
        self.timeout = timeout
        super().__init__(
            {
                "rx": In(stream.Signature(8, always_ready=True)),
                "tx": Out(stream.Signature(8)),
                "command": Out(8),
                "left": Out(24),
                "opened": Out(1),
                "data": Out(stream.Signature(8, always_ready=True)),
                "closed": Out(1),
                "good": Out(1),
                "busy": Out(1),
                "start": In(1),
                "answer": In(8),
                "size": In(24),
                "payload": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = Signal(range(_END + 1))
        sending = Signal()
        sequence = Signal(8, reset_less=True)
        idle = Signal(range(self.timeout + 1))
        # the byte that came, or that goes and waits until it is taken; and whether it is new
        byte, event, waits = Signal(8, reset_less=True), Signal(), Signal()
        following, offered = Signal(8), Signal()  # the next byte of an answer
        crc = CRC16_IBM_3740().create()
        m.submodules.crc = ResetInserter(step == _SYNC)(crc)

        m.d.comb += [
            self.busy.eq(sending | event | (step != _SYNC)),
            crc.valid.eq(event),
            crc.data.eq(byte),
            self.good.eq(crc.match_detected),
            self.data.payload.eq(byte),
            self.data.valid.eq(event & ~sending & (step == _PAYLOAD)),
            self.tx.payload.eq(byte),
            self.tx.valid.eq(waits),
        ]
        m.d.sync += [
            event.eq(0),
            self.opened.eq(event & ~sending & (step == _HIGH)),
            self.closed.eq(event & ~sending & (step == _CRC_LOW)),
        ]
        with m.If(~sending):
            m.d.sync += [byte.eq(self.rx.payload), event.eq(self.rx.valid & ~self.start)]
        with m.Elif(offered & ~waits):
            m.d.sync += [byte.eq(following), event.eq(1), waits.eq(1)]
        with m.If(waits & self.tx.ready):
            m.d.sync += waits.eq(0)
        # an answer goes the same way: it reads its own header, and so the size of its payload
        with m.If(event):
            m.d.sync += step.eq(step + 1)
            with m.Switch(step):
                with m.Case(_SYNC):
                    with m.If(byte != SYNC):
                        m.d.sync += step.eq(_SYNC)
                with m.Case(_COMMAND):
                    m.d.sync += self.command.eq(byte)
                with m.Case(_SEQUENCE):
                    m.d.sync += sequence.eq(byte)
                with m.Case(_LOW):
                    m.d.sync += self.left[:8].eq(byte)
                with m.Case(_MIDDLE):
                    m.d.sync += self.left[8:16].eq(byte)
                with m.Case(_HIGH):
                    m.d.sync += self.left[16:].eq(byte)
                    with m.If((self.left[:16] == 0) & (byte == 0)):
                        m.d.sync += step.eq(_CRC)
                with m.Case(_PAYLOAD):
                    m.d.sync += self.left.eq(self.left - 1)
                    with m.If(self.left[1:] != 0):
                        m.d.sync += step.eq(_PAYLOAD)
                with m.Case(_CRC_LOW):
                    with m.If(~sending):
                        m.d.sync += step.eq(_SYNC)
        with m.If((step == _END) & ~waits):
            m.d.sync += [sending.eq(0), step.eq(_SYNC)]
        with m.If(self.start):
            m.d.sync += sending.eq(1)

        m.d.sync += idle.eq(idle + 1)
        with m.If(event | ~self.busy | sending):
            m.d.sync += idle.eq(0)
        with m.Elif(idle[-1]):
            m.d.sync += step.eq(_SYNC)

        m.d.comb += [
            offered.eq(1),
            # each byte of the CRC is at its top when it goes: the first shifts the second up
            following.eq(crc.crc[8:]),
        ]
        with m.Switch(step):
            with m.Case(_SYNC):
                m.d.comb += following.eq(SYNC)
            with m.Case(_COMMAND):
                m.d.comb += following.eq(self.answer)
            with m.Case(_SEQUENCE):
                m.d.comb += following.eq(sequence)
            with m.Case(_LOW):
                m.d.comb += following.eq(self.size[:8])
            with m.Case(_MIDDLE):
                m.d.comb += following.eq(self.size[8:16])
            with m.Case(_HIGH):
                m.d.comb += following.eq(self.size[16:])
            with m.Case(_PAYLOAD):
                m.d.comb += [
                    following.eq(self.payload.payload),
                    offered.eq(self.payload.valid),
                    self.payload.ready.eq(sending & ~waits),
                ]
            with m.Case(_END):
                m.d.comb += offered.eq(0)
        return m
