"""An NFU that a host loads with programs, and around it what the network of one takes."""

from __future__ import annotations

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    ResetInserter,
    ResetSignal,
    Signal,
    ValueLike,
    signed,
    unsigned,
)
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.core import Nfu
from hwgen.nfu.elements import ElementReader, ElementWriter, pixel_elements
from hwgen.nfu.frames import pixel_words, tensor_ranges
from hwgen.nfu.loadable import (
    MEMORIES,
    LoadableMemory,
    load_layout,
    maps_layout,
    writable_memories,
)
from hwgen.nfu.ports import NetworkPorts
from hwgen.nfu.timing import LOADS
from hwgen.stream.argmax import ArgMax
from hwgen.stream.programs import PART_BITS, Loading, part_count

__all__ = ["LoadableSystem", "PixelSystem", "loadable_frame_cycles"]


def loadable_frame_cycles(config: NfuConfig, compiled: CompiledNetwork, program_cycles: int) -> int:
    """Cycles from one image to the next if neither side waits.

    The image comes, an element a cycle; then the program runs, which takes ``program_cycles``, and
    one cycle to say so; then the result goes, in a cycle a word and one an element.
    """
    (_, rows, columns), (_, out_rows, out_columns) = compiled.input.shape, compiled.output.shape
    into = rows * columns * pixel_elements(compiled.input)
    pixel = pixel_words(config, compiled.output) + pixel_elements(compiled.output)
    return into + program_cycles + 1 + out_rows * out_columns * pixel


class LoadableSystem(wiring.Component):
    """Runs the program that is loaded on every image that comes, an element at a time.

    Elements are those that memory holds: of each pixel as many as lie up to the last channel, in
    raster order (:class:`~hwgen.nfu.elements.ElementFrames`).

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    memory : :class:`LoadableMemory`
        Program and memory at the start.
    maps : int
        Word of :func:`~hwgen.nfu.loadable.maps_layout` at the start.

    Members
    -------
    i : :py:`In(stream.Signature(activation_width))`
        Elements of images.
    o : :py:`Out(stream.Signature(result_width))`
        Elements of results.
    busy : :py:`Out(1)`
        The program runs.
    load : :py:`In(stream.Signature(load_layout(config, room)))`
        Parts of words, while ``busy`` is low; all of a word for activations and maps, in order.
    """

    def __init__(self, config: NfuConfig, memory: LoadableMemory, *, maps: int) -> None:
        self.config = config
        self.memory = memory
        self.maps = maps
        room = memory.room
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(config.activation_width))),
                "o": Out(stream.Signature(unsigned(room.result_width))),
                "busy": Out(1),
                "load": In(stream.Signature(load_layout(config, room))),
            }
        )

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each memory beside the core's buffers, by what it holds."""
        room = self.memory.room
        return self.memory.bits | {"result": room.result * self.config.tn * room.result_width}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        filling, running, draining = Signal(init=1), Signal(), Signal()
        m.submodules.memory = side = self.memory
        core = Nfu(config)
        m.submodules.nfu = ResetInserter(~running)(core)
        m.submodules.writer = writer = ElementWriter(config)
        reader = ElementReader(config, width=side.room.result_width)
        m.submodules.reader = reader
        wiring.connect(m, wiring.flipped(self.i), writer.i)
        wiring.connect(m, reader.o, wiring.flipped(self.o))
        m.d.comb += [
            writer.enable.eq(filling),
            reader.enable.eq(draining),
            side.restart.eq(~running),
            self.busy.eq(running),
        ]
        with m.If(writer.last):
            m.d.sync += [filling.eq(0), running.eq(1)]
        with m.If(running & core.done):
            m.d.sync += [running.eq(0), draining.eq(1)]
        with m.If(reader.last):
            m.d.sync += [draining.eq(0), filling.eq(1)]

        wiring.connect(m, side.instructions, core.instructions)
        for port in LOADS:
            wiring.connect(m, getattr(core, f"{port}_request"), getattr(side, f"{port}_request"))
            wiring.connect(m, getattr(side, f"{port}_words"), getattr(core, f"{port}_words"))
        loaded, loaded_address, loaded_word = self._loads(m)
        layout = maps_layout(config)
        maps = Signal(layout, init=layout.from_bits(self.maps), reset_less=True)
        self._maps(m, maps)
        m.d.comb += [writer.map.eq(maps.image), reader.map.eq(maps.result)]
        self._stores(m, core, writer, running, (loaded, loaded_address, loaded_word))
        self._result(m, core, reader, maps.origin)
        return m

    def _part(self, what: str) -> tuple[ValueLike, ValueLike]:
        """Whether a part of a word of a memory comes, and whether it is its last."""
        number = MEMORIES.index(what)
        memory = writable_memories(self.config, self.memory.room)[number]
        comes = self.load.valid & self.load.ready & (self.load.payload.memory == number)
        return comes, comes & (self.load.payload.part == part_count(memory.width) - 1)

    def _loads(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """A word of activations that was loaded: whether it waits, its address, and the word."""
        width = self.config.tn * self.config.activation_width
        parts = part_count(width)
        waits = Signal()
        address = Signal(self.config.address_width, name="loaded_address", reset_less=True)
        word = Signal(parts * PART_BITS, name="loaded_word", reset_less=True)
        comes, last = self._part("activations")
        m.d.comb += [
            self.memory.load.payload.eq(self.load.payload),
            self.memory.load.valid.eq(self.load.valid & self.load.ready),
            self.load.ready.eq(~waits),
        ]
        with m.If(comes):
            m.d.sync += [
                word.eq(Cat(word, self.load.payload.data)[PART_BITS:]),
                address.eq(self.load.payload.address),
            ]
        with m.If(last):
            m.d.sync += waits.eq(1)
        with m.If(waits & self.memory.write.ready):
            m.d.sync += waits.eq(0)
        return waits, address, word

    def _maps(self, m: Module, maps: Signal) -> None:
        """Where image and result lie, as it was loaded."""
        bits = part_count(maps.shape().size) * PART_BITS
        comes, _ = self._part("maps")
        # bits above those of the registers are shifted through
        spare = Signal(bits - maps.shape().size, reset_less=True)
        whole = Cat(maps.as_value(), spare)
        with m.If(comes):
            m.d.sync += whole.eq(Cat(whole, self.load.payload.data)[PART_BITS:])

    def _stores(
        self,
        m: Module,
        core: Nfu,
        writer: ElementWriter,
        running: Signal,
        loaded: tuple[Signal, Signal, Signal],
    ) -> None:
        """Words for memory: what was loaded, the image's, then the stores'."""
        side, store = self.memory, core.store
        width = self.config.activation_width
        waits, address, word = loaded
        m.d.comb += [
            store.ready.eq(side.write.ready),
            writer.o.ready.eq(side.write.ready & ~waits),
            side.write.valid.eq(waits | Mux(running, store.valid, writer.o.valid)),
            side.write.payload.eq(writer.o.payload),
        ]
        with m.If(running):
            m.d.comb += [
                side.write.payload.address.eq(store.payload.address),
                # memory keeps what it has room for
                side.write.payload.word.eq(
                    Cat(store.payload["values"][n][:width] for n in range(self.config.tn))
                ),
            ]
        with m.Elif(waits):
            m.d.comb += [
                side.write.payload.address.eq(address),
                side.write.payload.word.eq(word),
            ]

    def _result(self, m: Module, core: Nfu, reader: ElementReader, origin: ValueLike) -> None:
        """Stores from the result's first word on, as wide as results are."""
        tn, room = self.config.tn, self.memory.room
        store = core.store
        m.submodules.result = result = Memory(
            shape=unsigned(tn * room.result_width), depth=room.result, init=[]
        )
        read, write = result.read_port(), result.write_port()
        place = Signal(self.config.address_width)
        m.d.comb += [
            place.eq(store.payload.address - origin),
            write.addr.eq(place),
            write.data.eq(Cat(store.payload["values"][n][: room.result_width] for n in range(tn))),
            write.en.eq(store.valid & store.ready & (place < room.result)),
            read.addr.eq(reader.address),
            reader.word.eq(read.data),
        ]


class PixelSystem(NetworkPorts):
    """A :class:`LoadableSystem`, the Verilog module of ``loading``, for one network alone.

    Takes and gives pixels of all channels, and nothing is loaded.

    Parameters
    ----------
    compiled : :class:`CompiledNetwork`
        What is in the module from the start.
    loading : :class:`~hwgen.stream.programs.Loading`
        The module.

    Members
    -------
    See :class:`~hwgen.nfu.ports.NetworkPorts`.
    """

    def __init__(self, compiled: CompiledNetwork, loading: Loading) -> None:
        self.loading = loading
        super().__init__(compiled)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        loading = self.loading
        elements = stream.Signature(unsigned(loading.input_width)).create(path=("elements",))
        results = stream.Signature(unsigned(loading.output_width)).create(path=("results",))
        m.submodules.core = Instance(
            loading.core,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_i__payload=elements.payload,
            i_i__valid=elements.valid,
            o_i__ready=elements.ready,
            o_o__payload=results.payload,
            o_o__valid=results.valid,
            i_o__ready=results.ready,
            i_load__valid=Const(0),
            i_load__payload=Const(
                0,
                loading.memory_width + loading.address_width + loading.part_width + PART_BITS,
            ),
        )
        self._in(m, elements)
        target = self.o
        if self.compiled.decides:
            m.submodules.decide = decide = ArgMax(tensor_ranges(self.compiled.output))
            wiring.connect(m, decide.o, wiring.flipped(self.o))
            target = decide.i
        self._out(m, results, target)
        return m

    def _in(self, m: Module, elements: stream.Interface) -> None:
        """Elements of each pixel."""
        fm, width = self.compiled.input, self.loading.input_width
        count = pixel_elements(fm)
        element = Signal(range(count))
        channels = [self.i.payload[name] for name, _ in self.i.payload.shape()]
        values: list[ValueLike] = [Const(0, width)] * count
        for number, slot in enumerate(fm.slots.tolist()):
            plane, channel = divmod(number, len(channels))
            value = channels[channel]
            if fm.numbers is not None:
                value = value[plane]
            extended = Signal(signed(width) if value.shape().signed else width)
            m.d.comb += extended.eq(value)
            values[slot - fm.span[0]] = extended
        with m.Switch(element):
            for number, found in enumerate(values):
                with m.Case(number):
                    m.d.comb += elements.payload.eq(found)
        last = element == count - 1
        m.d.comb += [elements.valid.eq(self.i.valid), self.i.ready.eq(elements.ready & last)]
        with m.If(elements.valid & elements.ready):
            m.d.sync += element.eq(Mux(last, 0, element + 1))

    def _out(self, m: Module, results: stream.Interface, target: stream.Interface) -> None:
        """Pixels of the elements, each with its last."""
        fm, width = self.compiled.output, self.loading.output_width
        count = pixel_elements(fm)
        element = Signal(range(count))
        held = Signal((count - 1) * width, reset_less=True)
        pixel = Signal(count * width)
        last = element == count - 1
        channels = zip(fm.slots, fm.shifts, fm.ranges, target.payload.shape(), strict=True)
        for slot, shift, r, (name, _) in channels:
            found = pixel[(int(slot) - fm.span[0]) * width :][: r.width]
            value = found.as_signed() if r.signed else found
            m.d.comb += target.payload[name].eq(value << int(shift))
        m.d.comb += [
            pixel.eq(Cat(held, results.payload)),
            target.valid.eq(results.valid & last),
            results.ready.eq(target.ready | ~last),
        ]
        with m.If(results.valid & results.ready):
            m.d.sync += [
                element.eq(Mux(last, 0, element + 1)),
                held.eq(Cat(held, results.payload)[width:]),
            ]
