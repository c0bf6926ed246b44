"""Memory of an NFU in block RAM: one for each port, so that no port waits for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.buffers import request_layout
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.frames import write_layout
from hwgen.nfu.isa import WORD_WIDTH, Instruction, encode
from hwgen.nfu.memory import MemoryImage, pack_activations, word_width
from hwgen.nfu.timing import LOADS, Timing

__all__ = [
    "BlockMemory",
    "HeldWords",
    "WordServer",
    "distinct_columns",
    "memory_members",
    "word_part",
]


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


def distinct_columns(words: Sequence[int], width: int) -> tuple[list[int], list[int | None]]:
    """Bits that differ between words and from each other, and which of them each bit is.

    Parameters
    ----------
    words : sequence of int
        Words of ``width`` bits.

    Returns
    -------
    kept : list of int
        Numbers of the bits that a memory has to hold.
    source : list of int or None
        For each bit its place in ``kept``, or None if it is the same in all words.
    """
    columns = [sum((word >> bit & 1) << k for k, word in enumerate(words)) for bit in range(width)]
    constant = (0, (1 << len(words)) - 1)
    first: dict[int, int] = {}
    for bit, column in enumerate(columns):
        if column not in constant:
            first.setdefault(column, bit)
    place = {column: k for k, column in enumerate(first)}
    return list(first.values()), [place.get(column) for column in columns]


class HeldWords(Protocol):
    """A memory of words that an NFU reads."""

    @property
    def depth(self) -> int:
        """Words that it has room for."""
        ...

    @property
    def bits(self) -> int:
        """Bits that it holds."""
        ...

    def read(self, m: Module, address: Value, enable: ValueLike, *, name: str) -> Value:
        """The word that was read last."""
        ...


class _Constants:
    """A memory of constant words that holds no bit twice, and none that never changes."""

    def __init__(self, words: Sequence[int], width: int) -> None:
        self.words = words
        self.kept, self.source = distinct_columns(words, width)

    @property
    def depth(self) -> int:
        """Words that it has room for."""
        return len(self.words)

    @property
    def bits(self) -> int:
        """Bits that it holds."""
        return len(self.words) * len(self.kept)

    def read(self, m: Module, address: Value, enable: ValueLike, *, name: str) -> Value:
        """The word that was read last."""
        narrow = [
            sum((word >> bit & 1) << k for k, bit in enumerate(self.kept)) for word in self.words
        ]
        # an empty memory would have no address
        m.submodules[name] = held = memory.Memory(
            shape=unsigned(max(1, len(self.kept))), depth=max(2, len(narrow)), init=narrow
        )
        port = held.read_port()
        m.d.comb += [port.addr.eq(address), port.en.eq(enable)]
        first = self.words[0] if self.words else 0
        return Cat(
            Const(first >> bit & 1, 1) if place is None else port.data[place]
            for bit, place in enumerate(self.source)
        )


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

    What is constant holds no bit column twice, and none in which all words agree: of the 320 bits
    of an instruction few are left.

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
        super().__init__(self.members)

    @property
    def members(self) -> dict[str, Any]:
        """Members of the component."""
        return memory_members(self.config)

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
            "program": self.instructions_held.bits,
            "weights": self.holds("sb", image.rows, config.row_width).bits,
            "scales": self.holds("table", image.tables, config.table_width).bits,
            "activations": self.activation_words
            * max(config.tn, config.ti)
            * config.activation_width,
        }

    @property
    def activation_words(self) -> int:
        """Words of activations, each as wide as the wider of both sides."""
        return len(self.image.activations) // max(self.config.tn, self.config.ti)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._program(m)
        self._constants(m, "sb", self.image.rows)
        self._constants(m, "table", self.image.tables)
        self._activations(m)
        return m

    def holds(self, what: str, words: Sequence[int], width: int) -> HeldWords:
        """The memory of the ``program``, or of a port's words."""
        return _Constants(words, width)

    @property
    def instructions_held(self) -> HeldWords:
        """The memory of the program."""
        words = [encode(instruction) for instruction in self.program]
        return self.holds("program", words, WORD_WIDTH)

    def _program(self, m: Module) -> None:
        held = self.instructions_held
        address, ahead = (Signal(range(max(2, held.depth)), name=n) for n in ("pc", "ahead"))
        enable = Signal()
        word = held.read(m, address, enable, name="program")
        m.d.comb += [
            self.instructions.payload.eq(word),
            self.instructions.valid.eq(~self.restart),
            enable.eq(self.restart | self.instructions.ready),
            address.eq(Mux(self.restart, 0, ahead)),
        ]
        with m.If(enable):
            m.d.sync += ahead.eq(address + 1)

    def _server(self, m: Module, port: str) -> WordServer:
        server = WordServer(self.config, width=word_width(self.config, port))
        m.submodules[f"{port}_server"] = server
        wiring.connect(m, wiring.flipped(getattr(self, f"{port}_request")), server.request)
        wiring.connect(m, server.words, wiring.flipped(getattr(self, f"{port}_words")))
        return server

    def _constants(self, m: Module, port: str, words: Sequence[int]) -> None:
        server = self._server(m, port)
        held = self.holds(port, words, server.width)
        word = held.read(m, server.address, server.read, name=f"{port}_memory")
        m.d.comb += [server.open.eq(1), server.word.eq(word)]

    def _activations(self, m: Module) -> None:
        """Words of the wider of both sides, written and read in parts."""
        tn, ti, width = self.config.tn, self.config.ti, self.config.activation_width
        both = max(tn, ti)
        server = self._server(m, "nbin")
        words = pack_activations(self.config, self.image.activations, both)
        m.submodules.activations = held = memory.Memory(
            shape=unsigned(both * width), depth=max(2, self.activation_words), init=words
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
        inside = address < self.activation_words * (both // tn)
        with m.If(self.write.valid & inside):
            m.d.comb += write.en.eq(1 << address[:part] if part else 1)
