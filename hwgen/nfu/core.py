"""The NFU: buffers, control and the three stages of arithmetic, wired up."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.buffers import Loader, StoreUnit, request_layout, store_layout
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.control import Dispatcher, Slot, chosen, token_layout
from hwgen.nfu.isa import WORD_WIDTH, Nfu2In, Nfu2Out
from hwgen.nfu.lanes import Lanes
from hwgen.nfu.memory import word_width
from hwgen.nfu.post import Nfu3, scale_layout
from hwgen.nfu.sequencer import Sequencer
from hwgen.nfu.stages import drain_stage, read_stage, tree_levels, write_stage
from hwgen.nfu.timing import LOADS
from hwgen.nfu.tree import Nfu2
from hwgen.stream.common import Registers

__all__ = ["Nfu"]


class Nfu(wiring.Component):
    """A programmable NFU that runs a program of :mod:`hwgen.nfu.isa`.

    One SB row a cycle; :func:`hwgen.nfu.cycles.count_cycles` gives the cycles of a program. After
    the program a reset makes it ready for the next.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    instructions : :py:`In(stream.Signature(WORD_WIDTH))`
    sb_request, nbin_request, table_request : :py:`Out(stream.Signature(request_layout(config)))`
    sb_words, nbin_words, table_words : :py:`In(stream.Signature(width))`
        What was requested: SB rows, NBin words, words of the table.
    store : :py:`Out(stream.Signature(store_layout(config)))`
    begun : :py:`Out(1)`
        A run begins.
    done : :py:`Out(1)`
        The program has ended and all is stored.
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        members: dict[str, Any] = {"instructions": In(stream.Signature(unsigned(WORD_WIDTH)))}
        for port in LOADS:
            members[f"{port}_request"] = Out(stream.Signature(request_layout(config)))
            width = word_width(config, port)
            members[f"{port}_words"] = In(stream.Signature(unsigned(width)))
        members["store"] = Out(stream.Signature(store_layout(config)))
        members["begun"] = members["done"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.dispatcher = dispatcher = Dispatcher(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.store_unit = store = StoreUnit(config)
        wiring.connect(m, wiring.flipped(self.instructions), dispatcher.i)
        tokens = self._tokens(m, sequencer)
        released, written = tokens[read_stage()].end, tokens[write_stage(config)].end

        loaded: Value = Const(1, 1)
        loaders = {}
        depths = {"sb": config.sb_depth, "nbin": config.nbin_depth, "table": config.table_depth}
        for port in LOADS:
            width = word_width(config, port)
            loader = Loader(config, port, width=width, depth=depths[port])
            loaders[port] = m.submodules[f"{port}_loader"] = loader
            self._slot(m, getattr(dispatcher, port), loader.i, name=port)
            wiring.connect(m, loader.request, wiring.flipped(getattr(self, f"{port}_request")))
            wiring.connect(m, wiring.flipped(getattr(self, f"{port}_words")), loader.words)
            m.d.comb += [
                loader.begun.eq(sequencer.begun),
                loader.read.eq(written if port == "table" else released),
            ]
            loaded &= loader.loaded
        self._slot(m, dispatcher.run, sequencer.i, name="run")
        wiring.connect(m, store.o, wiring.flipped(self.store))
        m.d.comb += [
            sequencer.loaded.eq(loaded),
            sequencer.room.eq(store.room),
            sequencer.storing.eq(store.storing),
            sequencer.drained.eq(tokens[drain_stage(config)].end),
            store.begun.eq(sequencer.begun),
            store.written.eq(written),
            dispatcher.stored.eq(store.stored),
            self.begun.eq(sequencer.begun),
            self.done.eq(dispatcher.done),
        ]
        for name, _ in store.i.shape():
            m.d.comb += store.i[name].eq(sequencer.following[name])
        self._datapath(m, sequencer, loaders, store, tokens)
        return m

    def _slot(self, m: Module, source: Any, sink: Any, *, name: str) -> None:
        m.submodules[f"{name}_slot"] = slot = Slot(sink.payload.shape())
        wiring.connect(m, source, slot.i)
        wiring.connect(m, slot.o, sink)

    def _tokens(self, m: Module, sequencer: Sequencer) -> list[Any]:
        """The token of the row in each stage, reset to none."""
        tokens: list[Any] = [sequencer.token]
        for stage in range(write_stage(self.config)):
            token = Signal(token_layout(), name=f"token{stage + 1}")
            m.d.sync += token.eq(tokens[-1])
            tokens.append(token)
        return tokens

    def _memory(
        self, m: Module, loader: Loader, shape: Any, value: Value, *, name: str
    ) -> memory.ReadPort:
        """A buffer, or part of one, that a loader writes."""
        m.submodules[name] = words = memory.Memory(shape=shape, depth=loader.depth, init=[])
        write = words.write_port()
        m.d.comb += [
            write.addr.eq(loader.address),
            Value.cast(write.data).eq(value),
            write.en.eq(loader.write),
        ]
        return words.read_port()

    def _datapath(
        self,
        m: Module,
        sequencer: Sequencer,
        loaders: dict[str, Loader],
        store: StoreUnit,
        tokens: list[Any],
    ) -> None:
        config = self.config
        registers = Registers(m, Const(1, 1))
        m.submodules.lanes = lanes = Lanes(config)
        last = self._read_rows(m, registers, sequencer, loaders, tokens, lanes)

        accumulate = 5 + tree_levels(config)
        at = accumulate - 1  # whence NFU-2 is told what comes
        m.submodules.nfu2 = nfu2 = Nfu2(config, term_width=lanes.term_width)
        m.submodules.nfu3 = nfu3 = Nfu3(config)
        m.d.comb += [
            nfu2.terms.eq(lanes.terms),
            nfu2.negative.eq(lanes.negative),
            nfu2.valid.eq(tokens[at].valid),
        ]
        if config.lane.shift_width:
            m.d.comb += nfu2.shift.eq(lanes.shift)
        if config.maximum:
            combine = chosen(sequencer.runs, tokens[at - 1].run).nfu_combine
            m.d.comb += [
                nfu2.present.eq(lanes.present),
                nfu2.maximum.eq(registers.register(combine, 1, name="maximum")),
            ]
        lasts = [last]  # of stage 1 and on
        for stage in range(1, write_stage(config)):
            lasts.append(registers.register(lasts[-1], 1, name=f"last_d{stage + 1}"))

        def ends(stage: int) -> Value:
            return tokens[stage].valid & lasts[stage - 1]

        first = Signal(init=1)
        with m.If(tokens[at].valid):
            m.d.sync += first.eq(lasts[at - 1])
        m.d.comb += nfu2.first.eq(first)

        m.submodules.nbout = nbout = memory.Memory(
            shape=data.ArrayLayout(signed(config.accumulator_width), config.tn),
            depth=config.nbout_depth,
            init=[],
        )
        # while a store reads, no run is in the pipeline that continues partial sums
        read, write = nbout.read_port(), nbout.write_port()
        word = self._group_address(m, sequencer, tokens[at - 1], ends(at - 1), name="partial")
        continued = chosen(sequencer.runs, tokens[at - 1].run).nfu_in == Nfu2In.NBOUT
        m.d.comb += [
            read.addr.eq(Mux(store.active, store.address, word)),
            read.en.eq(store.read | (tokens[at - 1].valid & continued)),
        ]
        continued = registers.register(continued, 1, name="continued")
        for n in range(config.tn):
            m.d.comb += nfu2.partial[n].eq(Mux(continued, read.data[n], 0))

        word = self._scale_address(m, sequencer, tokens[at], ends(at))
        self._tables(m, loaders["table"], nfu3, word)
        m.d.comb += [
            nfu3.sums.eq(nfu2.sums),
            nfu3.valid.eq(ends(accumulate)),
            nfu3.run.eq(tokens[accumulate].run),
        ]
        for k in range(2):
            scale = sequencer.runs[k].nfu_out == Nfu2Out.NFU3
            m.d.comb += [
                nfu3.runs[k].scale.eq(scale),
                nfu3.runs[k].function.eq(sequencer.runs[k].nfu_function),
                nfu3.runs[k].saturate.eq(scale & sequencer.runs[k].nfu_saturate),
            ]
            for name in ("shift", "low", "high"):
                m.d.comb += nfu3.runs[k][name].eq(sequencer.runs[k][f"nfu_{name}"])

        at = write_stage(config)
        word = self._group_address(m, sequencer, tokens[at], ends(at), name="output")
        m.d.comb += [
            write.addr.eq(word),
            write.en.eq(ends(at)),
            write.data.eq(nfu3.o),
            store.values.eq(read.data),
        ]

    def _read_rows(
        self,
        m: Module,
        registers: Registers,
        sequencer: Sequencer,
        loaders: dict[str, Loader],
        tokens: list[Any],
        lanes: Lanes,
    ) -> Value:
        """Stages 0 to 4: rows, their NBin words and their terms; the last flag of stage 1."""
        config = self.config
        payload = loaders["sb"].words.payload
        offset, last = self.index_words(m, sequencer, loaders["sb"], tokens)
        codes = self._memory(
            m, loaders["sb"], unsigned(config.codes_width), payload[config.index_width :], name="sb"
        )
        words = self._memory(
            m,
            loaders["nbin"],
            unsigned(config.ti * config.activation_width),
            loaders["nbin"].words.payload,
            name="nbin",
        )
        base = registers.register(sequencer.base, config.offset_width, name="base")
        m.d.comb += [
            codes.addr.eq(registers.delay(sequencer.row, 2, name="row")),
            words.addr.eq(registers.register(base + offset, config.offset_width, name="input")),
        ]
        is_signed = chosen(sequencer.runs, tokens[3].run).nbin_signed
        m.d.comb += lanes.codes.eq(codes.data)
        for i in range(config.ti):
            x = words.data.word_select(i, config.activation_width)
            extended = Value.cast(lanes.x[i])
            m.d.comb += [
                extended[: config.activation_width].eq(x),
                extended[config.activation_width].eq(x[-1] & is_signed),
            ]
        return last

    def index_words(
        self, m: Module, sequencer: Sequencer, loader: Loader, tokens: list[Any]
    ) -> tuple[Value, Value]:
        """NBin offset and last flag of the row in stage 1; one without skipping would count."""
        width = self.config.index_width
        payload = loader.words.payload
        index = self._memory(m, loader, unsigned(width), payload[:width], name="index_words")
        m.d.comb += index.addr.eq(sequencer.row)
        return index.data[:-1], index.data[-1]

    def _tables(self, m: Module, loader: Loader, nfu3: Nfu3, word: Value) -> None:
        """The table: a memory, or one a lane of NFU-3 where each lane finds its own word."""
        layout, payload = scale_layout(self.config), loader.words.payload
        if self.config.function is None:
            scales = data.ArrayLayout(layout, self.config.nfu3_lanes)
            table = self._memory(m, loader, scales, payload, name="table")
            m.d.comb += [table.addr.eq(word), nfu3.scales.eq(table.data)]
            return
        m.d.comb += [
            nfu3.address.eq(word),
            nfu3.write_address.eq(loader.address),
            nfu3.write.eq(loader.write),
        ]
        for n in range(self.config.nfu3_lanes):
            scale = payload.word_select(n, self.config.scale_width)
            table = self._memory(m, loader, layout, scale[: layout.size], name=f"table{n}")
            m.d.comb += [
                table.addr.eq(nfu3.found[n]),
                Value.cast(nfu3.scales[n]).eq(Value.cast(table.data)),
                nfu3.breakpoints[n].eq(scale[layout.size :].as_signed()),
            ]

    def _group_address(
        self, m: Module, sequencer: Sequencer, token: Any, ends: Value, *, name: str
    ) -> Value:
        """Address in NBout of the group that a row belongs to."""
        origin = chosen(sequencer.runs, token.run).nbout_address
        following = Signal.like(origin, name=f"{name}_following")
        current = Signal.like(origin, name=f"{name}_current")
        m.d.comb += current.eq(Mux(token.run_first, origin, following))
        with m.If(token.valid):
            m.d.sync += following.eq(current + ends)
        return current

    def _scale_address(self, m: Module, sequencer: Sequencer, token: Any, ends: Value) -> Value:
        """Address in the table: from a window's first on, ``turns`` words or functions a group.

        That of a group comes a cycle after its last ``token``, those of its other turns follow.
        """
        run = chosen(sequencer.runs, token.run)
        function = self.config.function
        size: Value = Const(1)
        if function is not None:
            size = Mux(run.nfu_function, function.count, 1)
        size = Mux(run.table_shared, 0, size)
        held = Signal(size.shape(), name="scale_size", reset_less=True)
        origin = Signal.like(run.table_address, name="scale_origin", reset_less=True)
        following, current = Signal.like(origin, name="scale"), Signal.like(origin, name="scale_at")
        left = Signal(range(self.config.turns))
        first, restart = Signal(), Signal()
        now, reload = Signal(), Signal()
        m.d.comb += [
            restart.eq(token.window_first | first),
            current.eq(Mux(reload, origin, following)),
        ]
        m.d.sync += [now.eq(ends), reload.eq(ends & restart)]
        with m.If(token.valid):
            m.d.sync += first.eq(restart & ~ends)
        with m.If(ends):
            m.d.sync += [held.eq(size), origin.eq(run.table_address)]
        with m.If(now | (left != 0)):
            m.d.sync += [
                following.eq(current + held),
                left.eq(Mux(now, self.config.turns - 1, left - 1)),
            ]
        return current
