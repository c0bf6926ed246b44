"""Memory of an NFU in block RAM: one for each port, so that no port waits for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.buffers import request_layout
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.frames import write_layout
from hwgen.nfu.isa import WORD_WIDTH, Instruction, encode
from hwgen.nfu.memory import MemoryImage, pack_activations
from hwgen.nfu.timing import LOADS, Timing

__all__ = ["BlockMemory", "WordServer", "memory_members", "word_part", "word_width"]


def word_width(config: NfuConfig, port: str) -> int:
    """Bits of a word of a load port."""
    activations = config.ti * config.activation_width
    return {"sb": config.row_width, "nbin": activations, "table": config.table_width}[port]


def word_part(m: Module, word: Value, index: Value, width: int) -> Value:
    """Part ``index`` of ``width`` bits; ``word_select`` would multiply the index by the width."""
    if len(index) == 0:
        return word
    part = Signal(width, name="part")
    with m.Switch(index):
        for k in range(1 << len(index)):
            with m.Case(k):
                m.d.comb += part.eq(word[k * width :][:width])
    return part


def memory_members(config: NfuConfig) -> dict[str, Any]:
    """Members of any memory side of an NFU.

    ``restart`` holds the program at its first instruction; ``instructions`` gives one after the
    other; ``PORT_request`` and ``PORT_words`` serve a load port; ``write`` takes words of Tn
    activations.
    """
    members: dict[str, Any] = {
        "restart": In(1),
        "instructions": Out(stream.Signature(unsigned(WORD_WIDTH))),
        "write": In(stream.Signature(write_layout(config))),
    }
    for port in LOADS:
        members[f"{port}_request"] = In(stream.Signature(request_layout(config)))
        width = word_width(config, port)
        members[f"{port}_words"] = Out(stream.Signature(unsigned(width)))
    return members


class WordServer(wiring.Component):
    """Answers requests from a memory that gives a word a cycle after its address.

    If the memory is always open, the first word comes a cycle after the request, then a word a
    cycle.

    Members
    -------
    request : :py:`In(stream.Signature(request_layout(config)))`
    words : :py:`Out(stream.Signature(width))`
    open : :py:`In(1)`
        The memory can be read in this cycle.
    read : :py:`Out(1)`
        It is read, and keeps the word until it is read again.
    address : :py:`Out(address_width)`
        What is read.
    word_address : :py:`Out(address_width)`
        What was read last.
    word : :py:`In(width)`
        The word at ``word_address``.
    """

    def __init__(self, config: NfuConfig, *, width: int) -> None:
        self.config = config
        self.width = width
        super().__init__(
            {
                "request": In(stream.Signature(request_layout(config))),
                "words": Out(stream.Signature(unsigned(width))),
                "open": In(1),
                "read": Out(1),
                "address": Out(config.address_width),
                "word_address": Out(config.address_width),
                "word": In(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy, last, held, taken = Signal(), Signal(), Signal(), Signal()
        left = Signal.like(self.request.payload.size)
        following = Signal(self.config.address_width)
        m.d.comb += [
            self.request.ready.eq(~busy),
            self.words.valid.eq(held),
            self.words.payload.eq(self.word),
            taken.eq(held & self.words.ready),
            self.address.eq(Mux(busy, following, self.request.payload.address)),
            self.read.eq(
                self.open & Mux(busy, ~held | (taken & ~last), self.request.valid),
            ),
        ]
        m.d.sync += following.eq(self.address)
        with m.If(self.read):
            m.d.sync += [
                held.eq(1),
                self.word_address.eq(self.address),
                following.eq(self.address + 1),
            ]
        with m.Elif(taken):
            m.d.sync += held.eq(0)
        with m.If(~busy):
            m.d.sync += [
                busy.eq(self.request.valid),
                left.eq(self.request.payload.size),
                last.eq(self.request.payload.size == 1),
            ]
        with m.Elif(taken):
            m.d.sync += [left.eq(left - 1), last.eq(left == 2), busy.eq(~last)]
        return m


class BlockMemory(wiring.Component):
    """A memory of exactly the needed width and depth a port, with its contents from the start.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    program : sequence of :class:`Instruction`
        Instructions up to the end.
    image : :class:`MemoryImage`
        Contents. Activations behind those that are given can be written, but are not kept.

    Members
    -------
    See :func:`memory_members`.
    """

    def __init__(
        self, config: NfuConfig, program: Sequence[Instruction], image: MemoryImage
    ) -> None:
        self.config = config
        self.program = tuple(program)
        self.image = image
        super().__init__(memory_members(config))

    @property
    def outside(self) -> dict[str, Any]:
        """Members for what is outside of the chip, of which there are none."""
        return {}

    @property
    def timing(self) -> Timing:
        """When each port works."""
        return Timing()

    @property
    def single_port_bits(self) -> int:
        """Bits in single-port RAM."""
        return 0

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each memory in block RAM, by what it holds."""
        config, image = self.config, self.image
        return {
            "program": len(self.program) * WORD_WIDTH,
            "weights": len(image.rows) * config.row_width,
            "scales": len(image.tables) * config.table_width,
            "activations": len(image.activations) * config.activation_width,
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._program(m)
        self._constants(m, "sb", self.image.rows)
        self._constants(m, "table", self.image.tables)
        self._activations(m)
        return m

    def _program(self, m: Module) -> None:
        words = [encode(instruction) for instruction in self.program]
        m.submodules.program = held = memory.Memory(
            shape=unsigned(WORD_WIDTH), depth=len(words), init=words
        )
        read = held.read_port()
        ahead = Signal.like(read.addr)
        m.d.comb += [
            self.instructions.payload.eq(read.data),
            self.instructions.valid.eq(~self.restart),
            read.en.eq(self.restart | self.instructions.ready),
            read.addr.eq(Mux(self.restart, 0, ahead)),
        ]
        with m.If(read.en):
            m.d.sync += ahead.eq(read.addr + 1)

    def _server(self, m: Module, port: str) -> WordServer:
        server = WordServer(self.config, width=word_width(self.config, port))
        m.submodules[f"{port}_server"] = server
        wiring.connect(m, wiring.flipped(getattr(self, f"{port}_request")), server.request)
        wiring.connect(m, server.words, wiring.flipped(getattr(self, f"{port}_words")))
        return server

    def _constants(self, m: Module, port: str, words: Sequence[int]) -> None:
        server = self._server(m, port)
        # an empty memory would have no address
        m.submodules[f"{port}_memory"] = held = memory.Memory(
            shape=unsigned(server.width), depth=max(2, len(words)), init=words
        )
        read = held.read_port()
        m.d.comb += [
            server.open.eq(1),
            read.en.eq(server.read),
            read.addr.eq(server.address),
            server.word.eq(read.data),
        ]

    def _activations(self, m: Module) -> None:
        """Words of the wider of both sides, written and read in parts."""
        tn, ti, width = self.config.tn, self.config.ti, self.config.activation_width
        both = max(tn, ti)
        server = self._server(m, "nbin")
        words = pack_activations(self.config, self.image.activations, both)
        m.submodules.activations = held = memory.Memory(
            shape=unsigned(both * width), depth=max(2, len(words)), init=words
        )
        read, write = held.read_port(), held.write_port(granularity=tn * width)
        part = (both // ti - 1).bit_length()
        word = word_part(m, read.data, server.word_address[:part], ti * width)
        m.d.comb += [
            server.open.eq(1),
            read.en.eq(server.read),
            read.addr.eq(server.address[part:]),
            server.word.eq(word),
        ]

        part = (both // tn - 1).bit_length()
        address = self.write.payload.address
        m.d.comb += [
            self.write.ready.eq(1),
            write.addr.eq(address[part:]),
            write.data.eq(self.write.payload.word.replicate(both // tn)),
        ]
        inside = address < len(words) * (both // tn)
        with m.If(self.write.valid & inside):
            m.d.comb += write.en.eq(1 << address[:part] if part else 1)
