"""Memory of an NFU whose program, weights and scales a host writes, and the room that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Value, ValueLike, unsigned
from amaranth.lib import data, memory, stream
from amaranth.lib.wiring import In

from hwgen.errors import ResourceError
from hwgen.nfu.blockram import BlockMemory, HeldWords
from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.control import program_bits
from hwgen.nfu.elements import ElementFrames, map_layout, map_values
from hwgen.nfu.isa import Instruction, encode
from hwgen.nfu.memory import MemoryImage, pack_activations
from hwgen.nfu.spram import SpramMemory
from hwgen.stream.programs import PART_BITS, Program, WritableMemory, part_count

__all__ = [
    "MEMORIES",
    "LoadableMemory",
    "LoadableSpram",
    "Room",
    "load_layout",
    "maps_layout",
    "program_of",
    "room_for",
    "writable_memories",
]

MEMORIES = ("program", "weights", "scales", "activations", "maps")
"""What can be written, by its number."""

_BLOCK = 256  # words of the shallowest block of memory at its full width


@dataclass(frozen=True)
class Room:
    """Words of each memory, of activations as wide as both sides of the NFU, of results Tn.

    ``result_width`` are the bits of an element of a result.
    """

    program: int
    weights: int
    scales: int
    activations: int
    result: int
    result_width: int


def room_for(config: NfuConfig, networks: Iterable[CompiledNetwork]) -> Room:
    """Room for each of ``networks``, and what is left of the last block of each memory."""
    both = max(config.tn, config.ti)
    needs = []
    for one in networks:
        words = (
            *(len(one.program), len(one.memory.rows), len(one.memory.tables)),
            *(len(one.memory.activations) // both, one.output.size // config.tn),
        )
        width = max(r.width for r in one.output.ranges)
        needs.append((*(-(-count // _BLOCK) * _BLOCK for count in words), width))
    return Room(*(max(column) for column in zip(*needs, strict=True)))


def maps_layout(config: NfuConfig) -> data.StructLayout:
    """Where image and result lie; the memory of the result begins at word ``origin``."""
    one = map_layout(config)
    return data.StructLayout(
        {"image": one, "result": one, "origin": unsigned(config.address_width)}
    )


def writable_memories(config: NfuConfig, room: Room) -> tuple[WritableMemory, ...]:
    """The memories of :data:`MEMORIES`; activations in words of Tn."""
    both = max(config.tn, config.ti)
    sizes = (
        (len(program_bits(config)), room.program),
        (config.row_width, room.weights),
        (config.table_width, room.scales),
        (config.tn * config.activation_width, room.activations * (both // config.tn)),
        (maps_layout(config).size, 1),
    )
    return tuple(WritableMemory(name, *size) for name, size in zip(MEMORIES, sizes, strict=True))


def program_of(config: NfuConfig, room: Room, compiled: CompiledNetwork) -> Program:
    """What makes hardware with ``config`` and ``room`` run a network that was compiled for it.

    Raises
    ------
    ResourceError
        If there is no room for it.
    UnsupportedError
        If an image or a result is larger than its registers count.
    """
    bits = program_bits(config)
    layout = maps_layout(config)
    origin = compiled.output.address
    maps = layout.const(
        {
            "image": map_values(config, compiled.input, origin=0),
            "result": map_values(config, compiled.output, origin=origin),
            "origin": origin // config.tn,
        }
    )
    contents = (
        tuple(_chosen(encode(instruction), bits) for instruction in compiled.program),
        compiled.memory.rows,
        compiled.memory.tables,
        pack_activations(config, compiled.memory.activations, config.tn),
        (maps.as_value().value,),
    )
    for one, words in zip(writable_memories(config, room), contents, strict=True):
        _check_room(one.name, len(words), one.depth)
    _check_room("result", compiled.output.size // config.tn, room.result)
    width = max(r.width for r in compiled.output.ranges)
    if width > room.result_width:
        raise ResourceError(
            f"Results have {width} bits, and the hardware keeps {room.result_width}: generate it "
            "with room for this network"
        )
    frames = ElementFrames(compiled, config.activation_width, room.result_width)
    return Program(contents, frames.image_beats, frames.result_beats)


def _check_room(name: str, words: int, room: int) -> None:
    if words > room:
        raise ResourceError(
            f"The memory of the {name} must hold {words:,} words, and has room for {room:,}: "
            "generate the hardware with room for this network"
        )


def _chosen(word: int, bits: Sequence[int]) -> int:
    return sum((word >> bit & 1) << k for k, bit in enumerate(bits))


def load_layout(config: NfuConfig, room: Room) -> data.StructLayout:
    """A part of a word for one of :data:`MEMORIES`."""
    memories = writable_memories(config, room)
    return data.StructLayout(
        {
            "memory": unsigned((len(memories) - 1).bit_length()),
            "address": unsigned(max(1, max((m.depth - 1).bit_length() for m in memories))),
            "part": unsigned(max(1, max((part_count(m.width) - 1).bit_length() for m in memories))),
            "data": unsigned(PART_BITS),
        }
    )


class _Written:
    """A memory of words that are written in parts; of a word it holds the ``bits`` alone."""

    def __init__(
        self,
        load: Any,
        number: int,
        words: Sequence[int],
        depth: int,
        bits: Sequence[int],
        width: int,
    ) -> None:
        self.load = load
        self.number = number
        self.words = words
        self.depth = depth
        self.kept = bits
        self.width = width

    @property
    def bits(self) -> int:
        """Bits that it holds."""
        return self.depth * len(self.kept)

    def read(self, m: Module, address: Value, enable: ValueLike, *, name: str) -> Value:
        """The word that was read last."""
        parts = part_count(len(self.kept))
        m.submodules[name] = held = memory.Memory(
            shape=unsigned(parts * PART_BITS),
            depth=self.depth,
            init=[_chosen(word, self.kept) for word in self.words],
        )
        port, write = held.read_port(), held.write_port(granularity=PART_BITS)
        m.d.comb += [
            port.addr.eq(address),
            port.en.eq(enable),
            write.addr.eq(self.load.payload.address),
            write.data.eq(self.load.payload.data.replicate(parts)),
        ]
        with m.If(self.load.valid & (self.load.payload.memory == self.number)):
            for part in range(parts):
                m.d.comb += write.en[part].eq(self.load.payload.part == part)
        place = {bit: k for k, bit in enumerate(self.kept)}
        return Cat(
            port.data[place[bit]] if bit in place else Const(0, 1) for bit in range(self.width)
        )


class LoadableMemory(BlockMemory):
    """Like :class:`BlockMemory`, but with room for other programs, which a host writes.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    program, image
        What is there from the start.
    room : :class:`Room`
        Words of each memory.

    Members
    -------
    load : :py:`In(stream.Signature(load_layout(config, room), always_ready=True))`
        Parts of words of program, weights and scales; those for other memories are passed over.
    restart, ... :
        See :func:`~hwgen.nfu.blockram.memory_members`. Activations are written like those of an
        image.
    """

    def __init__(
        self, config: NfuConfig, program: Sequence[Instruction], image: MemoryImage, *, room: Room
    ) -> None:
        self.room = room
        super().__init__(config, program, image)

    @property
    def members(self) -> dict[str, Any]:
        """Members of the component."""
        layout = load_layout(self.config, self.room)
        load = In(stream.Signature(layout, always_ready=True))
        return super().members | {"load": load}

    @property
    def activation_words(self) -> int:
        """Words of activations, each as wide as the wider of both sides."""
        return self.room.activations

    def holds(self, what: str, words: Sequence[int], width: int) -> HeldWords:
        """The memory of the ``program``, or of a port's words."""
        number = {"program": 0, "sb": 1, "table": 2}[what]
        bits = program_bits(self.config) if what == "program" else range(width)
        depth = (self.room.program, self.room.weights, self.room.scales)[number]
        return _Written(self.load, number, words, depth, bits, width)


class LoadableSpram(LoadableMemory, SpramMemory):
    """Like :class:`LoadableMemory`, with activations in single-port RAM."""
