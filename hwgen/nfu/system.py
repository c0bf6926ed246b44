# amaranth: UnusedElaboratable=no
"""An NFU with its memory and program: images in, results out, without a processor."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from hwgen.nfu.axi import AxiMemory
from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.core import Nfu
from hwgen.nfu.frames import ImageWriter, ResultReader, pixel_words, tensor_ranges
from hwgen.nfu.layout import FeatureMap
from hwgen.nfu.ports import NetworkPorts
from hwgen.nfu.timing import LOADS
from hwgen.stream.argmax import ArgMax

__all__ = ["NfuSystem", "frame_cycles"]


def frame_cycles(config: NfuConfig, compiled: CompiledNetwork, program_cycles: int) -> int:
    """Cycles from one image to the next if neither side waits.

    The image comes, a word a cycle; then the program runs, which takes ``program_cycles`` until it
    is done, and one cycle to say so; then the result goes, in two cycles a word and one a pixel.
    """

    def pixels(fm: FeatureMap) -> int:
        return fm.shape[1] * fm.shape[2]

    into = pixels(compiled.input) * pixel_words(config, compiled.input)
    out = pixels(compiled.output) * (2 * pixel_words(config, compiled.output) + 1)
    return into + program_cycles + 1 + out


class NfuSystem(NetworkPorts):
    """Runs a compiled network on every image that comes.

    An image goes to memory, the program runs, the result goes out; :func:`frame_cycles` gives the
    cycles of it. The result has a memory of its own, whose values are as wide as the result needs.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    compiled : :class:`CompiledNetwork`
        Program, memory, and where image and result lie. The program must leave the borders of
        feature maps as they are.
    memory : :class:`BlockMemory` or :class:`AxiMemory`
        Where program and memory are.

    Members
    -------
    i, o :
        See :class:`~hwgen.nfu.ports.NetworkPorts`.
    cycles : :py:`Out(32)`
        Cycles of the program that ran last.
    axi_awaddr, ... :
        What the memory needs from outside (:attr:`AxiMemory.outside`).
    """

    def __init__(
        self,
        config: NfuConfig,
        compiled: CompiledNetwork,
        memory: BlockMemory | AxiMemory,
    ) -> None:
        self.config = config
        self.memory = memory
        outside = {f"axi_{name}": member for name, member in memory.outside.items()}
        super().__init__(compiled, {"cycles": Out(32), **outside})

    @property
    def result_width(self) -> int:
        """Bits of an element in the memory of the result."""
        return max(r.width for r in self.compiled.output.ranges)

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each memory beside the core's buffers, by what it holds."""
        return self.memory.bits | {"result": self.compiled.output.size * self.result_width}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, compiled = self.config, self.compiled
        filling, running, draining = Signal(init=1), Signal(), Signal()
        m.submodules.memory = side = self.memory
        core = Nfu(config)
        m.submodules.nfu = ResetInserter(~running)(core)
        m.submodules.writer = writer = ImageWriter(config, compiled.input)
        reader = ResultReader(config, compiled.output, width=self.result_width)
        m.submodules.reader = reader
        wiring.connect(m, wiring.flipped(self.i), writer.i)
        self._out(m, reader)

        m.d.comb += [
            writer.enable.eq(filling),
            reader.enable.eq(draining),
            side.restart.eq(~running),
        ]
        with m.If(writer.last):
            m.d.sync += [filling.eq(0), running.eq(1), self.cycles.eq(0)]
        with m.If(running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            with m.If(core.done):
                m.d.sync += [self.cycles.eq(self.cycles), running.eq(0), draining.eq(1)]
        with m.If(reader.last):
            m.d.sync += [draining.eq(0), filling.eq(1)]

        for name, member in side.outside.items():
            outer, inner = getattr(self, f"axi_{name}"), getattr(side, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        wiring.connect(m, side.instructions, core.instructions)
        for port in LOADS:
            wiring.connect(m, getattr(core, f"{port}_request"), getattr(side, f"{port}_request"))
            wiring.connect(m, getattr(side, f"{port}_words"), getattr(core, f"{port}_words"))
        self._stores(m, core, writer, filling)
        self._result(m, core, reader)
        return m

    def _out(self, m: Module, reader: ResultReader) -> None:
        """The result, or the number of its greatest channel."""
        if not self.compiled.decides:
            wiring.connect(m, reader.o, wiring.flipped(self.o))
            return
        m.submodules.decide = decide = ArgMax(tensor_ranges(self.compiled.output))
        wiring.connect(m, reader.o, decide.i)
        wiring.connect(m, decide.o, wiring.flipped(self.o))

    def _stores(self, m: Module, core: Nfu, writer: ImageWriter, filling: Signal) -> None:
        """Words for memory: the image's, then the stores'."""
        side, store = self.memory, core.store
        width = self.config.activation_width
        m.d.comb += [
            writer.o.ready.eq(side.write.ready),
            store.ready.eq(side.write.ready),
            side.write.valid.eq(Mux(filling, writer.o.valid, store.valid)),
            side.write.payload.eq(writer.o.payload),
        ]
        with m.If(~filling):
            m.d.comb += [
                side.write.payload.address.eq(store.payload.address),
                # memory keeps what it has room for
                side.write.payload.word.eq(
                    Cat(store.payload["values"][n][:width] for n in range(self.config.tn))
                ),
            ]

    def _result(self, m: Module, core: Nfu, reader: ResultReader) -> None:
        """Stores into the output feature map, as wide as the result is."""
        tn, width = self.config.tn, self.result_width
        store, fm = core.store, self.compiled.output
        first, count = fm.address // tn, fm.size // tn
        m.submodules.result = result = Memory(
            shape=unsigned(tn * width), depth=max(2, count), init=[]
        )
        read, write = result.read_port(), result.write_port()
        inside = (store.payload.address >= first) & (store.payload.address < first + count)
        m.d.comb += [
            write.addr.eq(store.payload.address - first),
            write.data.eq(Cat(store.payload["values"][n][:width] for n in range(tn))),
            write.en.eq(store.valid & store.ready & inside),
            read.addr.eq(reader.address),
            reader.word.eq(read.data),
        ]
