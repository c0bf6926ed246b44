"""Control of the NFU: what takes instructions apart and what begins each run."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import FIELDS, WORD_WIDTH, FieldSpec, Nfu1, Nfu2In
from hwgen.nfu.timing import LOADS
from hwgen.stream.common import next_count

__all__ = [
    "Dispatcher",
    "Queue",
    "Sequencer",
    "chosen",
    "instruction_layout",
    "load_layout",
    "run_fields",
    "store_fields",
    "token_layout",
]


def _needed(config: NfuConfig) -> dict[str, int]:
    """Bits of each field that a program can use with these parameters, where they are fewer."""
    depths = {"sb": config.sb_depth, "nbin": config.nbin_depth, "table": config.table_depth}
    needed: dict[str, int] = {}
    for buffer, depth in depths.items():
        width = (depth - 1).bit_length()
        needed |= {f"{buffer}_{name}": width for name in ("target", "address", "stride")}
        needed |= {f"{buffer}_{name}": width + 1 for name in ("size", "rows")}
        needed[f"{buffer}_source"] = config.address_width
    width = (config.nbout_depth - 1).bit_length()
    needed |= {"nbout_address": width, "nbout_groups": width + 1, "nbin_positions": width + 1}
    needed |= {"nbout_target": config.address_width, "nbout_stride": config.address_width}
    needed |= {"nfu_low": config.accumulator_width, "nfu_high": config.accumulator_width}
    return needed


def _shape(spec: FieldSpec, width: int) -> Shape:
    return signed(width) if spec.signed else unsigned(width)


def _fields(config: NfuConfig, names: Iterable[str]) -> data.StructLayout:
    """Fields no wider than a program needs."""
    by_name = {spec.attribute: spec for spec in FIELDS}
    needed = _needed(config)
    return data.StructLayout(
        {
            name: _shape(by_name[name], min(by_name[name].width, needed.get(name, 64)))
            for name in names
        }
    )


def instruction_layout() -> data.StructLayout:
    """An instruction, a field each of :data:`hwgen.nfu.isa.FIELDS`."""
    return data.StructLayout({spec.attribute: _shape(spec, spec.width) for spec in FIELDS})


def load_layout(config: NfuConfig, port: str) -> data.StructLayout:
    """What a loader needs of an instruction."""
    layout = _fields(config, (f"{port}_{name}" for name in ("source", "target", "size")))
    return data.StructLayout(
        {name: layout[f"{port}_{name}"].shape for name in ("source", "target", "size")}
    )


def run_fields(config: NfuConfig) -> data.StructLayout:
    """What a run needs of an instruction."""
    return _fields(
        config,
        [
            *("sb_address", "sb_rows", "table_address", "nbout_address"),
            *("nbin_address", "nbin_stride", "nbin_positions", "nbin_signed"),
            *(
                "nfu_op",
                "nfu_combine",
                "nfu_in",
                "nfu_out",
                "nfu_shift",
                "nfu_saturate",
                "nfu_low",
                "nfu_high",
            ),
        ],
    )


def store_fields(config: NfuConfig) -> data.StructLayout:
    """What a store needs of an instruction."""
    return _fields(
        config,
        [
            *("nbout_address", "nbout_groups", "nbout_store", "nbout_target", "nbout_stride"),
            *("nbin_positions", "nfu_op"),
        ],
    )


def token_layout(config: NfuConfig) -> data.StructLayout:
    """What the sequencer says of the row that it issues."""
    return data.StructLayout(
        {
            "valid": 1,  # there is a row
            "end": 1,  # last cycle of the run
            "run_first": 1,  # first row of the run
            "window_first": 1,  # first row of a window
            "run": 1,  # which of the two runs in the pipeline
        }
    )


def chosen(pair: data.View, which: Value) -> data.View:
    """One of two entries; an index that is a signal would become a multiplication."""
    first, second = pair[0], pair[1]
    return data.View(first.shape(), Mux(which, second.as_value(), first.as_value()))


class Queue(wiring.Component):
    """First in, first out, ``depth`` entries; an entry can be taken a cycle after it came.

    Members
    -------
    i : :py:`In(stream.Signature(layout))`
    o : :py:`Out(stream.Signature(layout))`
    """

    def __init__(self, layout: data.StructLayout, *, depth: int) -> None:
        self.layout = layout
        self.depth = depth
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entries = [
            Signal(self.layout, name=f"entry{k}", reset_less=True) for k in range(self.depth)
        ]
        head, tail = Signal(range(self.depth)), Signal(range(self.depth))
        level, after = Signal(range(self.depth + 1)), Signal(range(self.depth + 1))
        full, push, pop = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.valid.eq(level != 0),
            push.eq(self.i.valid & ~full),
            pop.eq(self.o.valid & self.o.ready),
            after.eq(level + push - pop),
        ]
        m.d.sync += [level.eq(after), full.eq(after == self.depth)]
        with m.If(push):
            m.d.sync += tail.eq(next_count(tail, self.depth))
        with m.If(pop):
            m.d.sync += head.eq(next_count(head, self.depth))
        for k, entry in enumerate(entries):
            # a free entry takes whatever is offered, so that its enable does not wait for valid
            with m.If(~full & (tail == k)):
                m.d.sync += entry.eq(self.i.payload)
            with m.If(head == k):
                m.d.comb += self.o.payload.eq(entry)
        return m


class Dispatcher(wiring.Component):
    """Gives every instruction to all units at once, and waits for stores at a fence.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    i : :py:`In(stream.Signature(WORD_WIDTH))`
        Instructions; none is taken after the end.
    sb, nbin, table : :py:`Out(stream.Signature(load_layout(config, port)))`
    run : :py:`Out(stream.Signature(run_fields(config)))`
    store : :py:`Out(stream.Signature(store_fields(config)))`
    stored : :py:`In(1)`
        An instruction is complete.
    done : :py:`Out(1)`
        All instructions up to the end are complete.
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(WORD_WIDTH))),
                **{port: Out(stream.Signature(load_layout(config, port))) for port in LOADS},
                "run": Out(stream.Signature(run_fields(config))),
                "store": Out(stream.Signature(store_fields(config))),
                "stored": In(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        one = data.View(instruction_layout(), self.i.payload)
        pending = Signal(range(self.config.queue_depth + 2))
        ended, go = Signal(), Signal()
        outputs = [*(getattr(self, port) for port in LOADS), self.run, self.store]
        ready = ~ended & ~(one.cp_fence & (pending != 0))
        for output in outputs:
            ready &= output.ready
        m.d.comb += [
            self.i.ready.eq(ready),
            go.eq(self.i.valid & ready),
            self.done.eq(ended & (pending == 0)),
        ]
        m.d.sync += pending.eq(pending + go - self.stored)
        with m.If(go):
            m.d.sync += ended.eq(one.cp_end)
        for output in outputs:
            m.d.comb += output.valid.eq(go)
        for port in LOADS:
            for name in ("source", "target", "size"):
                target = getattr(self, port).payload[name]
                m.d.comb += target.eq(one[f"{port}_{name}"])
        for output in (self.run, self.store):
            for name, _ in output.payload.shape():
                m.d.comb += output.payload[name].eq(one[name])
        return m


class Sequencer(wiring.Component):
    """Issues the rows of run after run, one a cycle.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    i : :py:`In(stream.Signature(run_fields(config)))`
    loaded : :py:`In(1)`
        The loads of the next run are complete.
    stored, written : :py:`In(1)`
        A run is stored; a run has left the pipeline.
    begun : :py:`Out(1)`
        A run begins: its first row is issued in the next cycle.
    runs : :py:`Out(ArrayLayout(run_fields(config), 2))`
        The two runs that may be in the pipeline.
    row : :py:`Out(range(sb_depth))`
        SB row that is issued.
    base : :py:`Out(range(nbin_depth))`
        Origin of the window.
    token : :py:`Out(token_layout(config))`
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(run_fields(config))),
                "loaded": In(1),
                "stored": In(1),
                "written": In(1),
                "begun": Out(1),
                "runs": Out(data.ArrayLayout(run_fields(config), 2)),
                "row": Out(range(config.sb_depth)),
                "base": Out(range(config.nbin_depth)),
                "token": Out(token_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        run = Signal()
        position = Signal.like(self.i.payload.nbin_positions)
        rows_left = Signal.like(self.i.payload.sb_rows)
        busy, run_first, window_first = Signal(), Signal(), Signal()
        unstored, flying = Signal(range(3)), Signal(range(3))
        one, following = chosen(self.runs, run), self.i.payload
        # what ends a run is compared a cycle ahead, since the next may begin in its last cycle
        nop, window_last, position_last = Signal(), Signal(), Signal()
        end = busy & (nop | (window_last & position_last))

        drained = (following.nfu_in == Nfu2In.RESET) | (flying == 0)
        m.d.comb += [
            self.i.ready.eq((~busy | end) & self.loaded & (unstored != 2) & drained),
            self.begun.eq(self.i.valid & self.i.ready),
            self.token.valid.eq(busy & ~nop),
            self.token.end.eq(end),
            self.token.run_first.eq(run_first),
            self.token.window_first.eq(window_first),
            self.token.run.eq(run),
        ]
        m.d.sync += [
            unstored.eq(unstored + self.begun - self.stored),
            flying.eq(flying + self.begun - self.written),
        ]
        with m.If(busy):
            m.d.sync += [
                self.row.eq(Mux(window_last, one.sb_address, self.row + 1)),
                rows_left.eq(Mux(window_last, one.sb_rows, rows_left - 1)),
                window_first.eq(window_last),
                window_last.eq(Mux(window_last, one.sb_rows == 1, rows_left == 2)),
                run_first.eq(0),
            ]
            with m.If(window_last):
                m.d.sync += [
                    position.eq(position - 1),
                    position_last.eq(position == 2),
                    self.base.eq(self.base + one.nbin_stride),
                ]
        with m.If(end):
            m.d.sync += busy.eq(0)
        with m.If(self.begun):
            m.d.sync += [
                busy.eq(1),
                run.eq(~run),
                run_first.eq(1),
                window_first.eq(1),
                self.row.eq(following.sb_address),
                self.base.eq(following.nbin_address),
                rows_left.eq(following.sb_rows),
                position.eq(following.nbin_positions),
                nop.eq(following.nfu_op == Nfu1.NOP),
                window_last.eq(following.sb_rows == 1),
                position_last.eq(following.nbin_positions == 1),
            ]
            for k in range(2):
                with m.If(run != k):
                    m.d.sync += self.runs[k].eq(following)
        return m
