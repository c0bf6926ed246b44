"""What turns requests of an NFU's ports into beats of one bus, and beats into words.

A command asks for so many beats of the bus from a byte address on; beats come in order.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.blockram import word_part
from hwgen.nfu.buffers import request_layout
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.image import Region
from hwgen.nfu.isa import WORD_WIDTH
from hwgen.nfu.memory import word_width

__all__ = ["InstructionClient", "LoadClient", "command_layout"]

_BEATS = 20
"""Bits of a number of beats: 8191 words of at most 128 of them."""


def command_layout(address_width: int) -> data.StructLayout:
    """A request for ``beats`` beats from byte ``address`` on, which lies at a beat."""
    return data.StructLayout({"address": unsigned(address_width), "beats": unsigned(_BEATS)})


class LoadClient(wiring.Component):
    """Serves a load port from a bus; takes a beat a cycle, gives at most a word a cycle.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    port : str
        Name of the port.
    region : :class:`Region`
        Where its words lie; for activations, words of one activation.
    bus_bytes, address_width : int
        Bytes of a beat; bits of a byte address.

    Members
    -------
    request : :py:`In(stream.Signature(request_layout(config)))`
    words : :py:`Out(stream.Signature(word_width(config, port)))`
    command : :py:`Out(stream.Signature(command_layout(address_width)))`
    beats : :py:`In(stream.Signature(8 * bus_bytes))`
    """

    def __init__(
        self, config: NfuConfig, port: str, region: Region, *, bus_bytes: int, address_width: int
    ) -> None:
        self.config = config
        self.port = port
        self.region = region
        self.bus_bytes = bus_bytes
        self.address_width = address_width
        super().__init__(
            {
                "request": In(stream.Signature(request_layout(config))),
                "words": Out(stream.Signature(unsigned(word_width(config, port)))),
                "command": Out(stream.Signature(command_layout(address_width))),
                "beats": In(stream.Signature(unsigned(8 * bus_bytes))),
            }
        )

    @property
    def stride(self) -> int:
        """Bytes from one word to the next."""
        return self.region.stride * (self.config.ti if self.port == "nbin" else 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy = Signal()
        left = Signal.like(self.request.payload.size)
        shift = self.stride.bit_length() - 1
        address = Signal(self.address_width)
        m.d.comb += [
            address.eq(self.region.address + (self.request.payload.address << shift)),
            self.command.valid.eq(self.request.valid & ~busy),
            self.request.ready.eq(self.command.ready & ~busy),
            self.words.payload.eq(self._word(m, self.beats.payload, address, busy, left)),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [busy.eq(1), left.eq(self.request.payload.size)]
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += [left.eq(left - 1), busy.eq(left != 1)]
        return m

    def _word(self, m: Module, beat: Value, address: Value, busy: Value, left: Value) -> Value:
        """The word that is offered; drives the handshakes of beats and words, and the command."""
        command, size = self.command.payload, self.request.payload.size
        ratio = max(self.stride, self.bus_bytes) // min(self.stride, self.bus_bytes)
        bits = ratio.bit_length() - 1
        part = Signal(range(ratio))
        part_last = Signal()
        m.d.comb += part_last.eq(part == ratio - 1)
        if self.stride >= self.bus_bytes:  # a word is several beats
            held = Signal(8 * (self.stride - self.bus_bytes), reset_less=True)
            m.d.comb += [
                command.address.eq(address),
                command.beats.eq(size << bits),
                self.words.valid.eq(busy & self.beats.valid & part_last),
                self.beats.ready.eq(busy & (~part_last | self.words.ready)),
            ]
            with m.If(self.beats.valid & self.beats.ready):
                m.d.sync += [held.eq(Cat(held, beat)[len(beat) :]), part.eq(part + 1)]
            with m.If(~busy):
                m.d.sync += part.eq(0)
            return self._unpadded(Cat(held, beat))
        low = (self.bus_bytes - 1).bit_length()
        first = address[low - bits : low]
        m.d.comb += [
            command.address.eq(address[low:] << low),
            command.beats.eq((first + size + ratio - 1) >> bits),
            self.words.valid.eq(busy & self.beats.valid),
            self.beats.ready.eq(busy & self.words.ready & (part_last | (left == 1))),
        ]
        with m.If(~busy):
            m.d.sync += part.eq(first)
        with m.Elif(self.words.valid & self.words.ready):
            m.d.sync += part.eq(part + 1)
        return self._unpadded(word_part(m, beat, part, 8 * self.stride))

    def _unpadded(self, word: Value) -> Value:
        """The bits that a word has, without those that fill its bytes."""
        if self.port != "nbin":
            return word[: word_width(self.config, self.port)]
        width, step = self.config.activation_width, 8 * self.region.stride
        return Cat(word[k * step :][:width] for k in range(self.config.ti))


class InstructionClient(wiring.Component):
    """Reads instructions ahead, one at a time, so that none ever waits on the bus.

    Parameters
    ----------
    region : :class:`Region`
        Where the program lies.
    bus_bytes, address_width : int
        Bytes of a beat; bits of a byte address.

    Members
    -------
    restart : :py:`In(1)`
        Begin with the first instruction when this falls.
    instructions : :py:`Out(stream.Signature(WORD_WIDTH))`
    command : :py:`Out(stream.Signature(command_layout(address_width)))`
    beats : :py:`In(stream.Signature(8 * bus_bytes))`
    """

    def __init__(self, region: Region, *, bus_bytes: int, address_width: int) -> None:
        self.region = region
        self.bus_bytes = bus_bytes
        self.address_width = address_width
        super().__init__(
            {
                "restart": In(1),
                "instructions": Out(stream.Signature(unsigned(WORD_WIDTH))),
                "command": Out(stream.Signature(command_layout(address_width))),
                "beats": In(stream.Signature(unsigned(8 * bus_bytes))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = -(-WORD_WIDTH // (8 * self.bus_bytes))  # beats that hold an instruction
        word = Signal(count * 8 * self.bus_bytes, reset_less=True)
        left, full, asked = Signal(range(count + 1)), Signal(), Signal()
        number = Signal(range(self.region.count + 1))
        shift = self.region.stride.bit_length() - 1
        m.d.comb += [
            self.command.valid.eq(~self.restart & ~asked & ~full & (number != self.region.count)),
            self.command.payload.address.eq(self.region.address + (number << shift)),
            self.command.payload.beats.eq(count),
            self.beats.ready.eq(1),
            self.instructions.valid.eq(full & ~self.restart),
            self.instructions.payload.eq(word[:WORD_WIDTH]),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [asked.eq(1), left.eq(count), number.eq(number + 1)]
        with m.If(self.beats.valid):
            m.d.sync += [word.eq(Cat(word, self.beats.payload)[8 * self.bus_bytes :])]
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += [full.eq(1), asked.eq(0)]
        with m.If(self.instructions.valid & self.instructions.ready):
            m.d.sync += full.eq(0)
        with m.If(self.restart):
            m.d.sync += [number.eq(0), full.eq(0)]
        return m
