"""Control of the NFU: what takes instructions apart and what begins each run."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import FIELDS, WORD_WIDTH, FieldSpec, Nfu1
from hwgen.nfu.timing import LOADS

__all__ = [
    "Dispatcher",
    "Slot",
    "UpTo2",
    "chosen",
    "flight_fields",
    "instruction_layout",
    "load_layout",
    "program_bits",
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
    needed["nfu_shift"] = (config.product_width - 1).bit_length()
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


def program_bits(config: NfuConfig) -> tuple[int, ...]:
    """Bits of an instruction that a program can use with these parameters, of all others none."""
    needed = _needed(config)
    return tuple(
        spec.offset + bit
        for spec in FIELDS
        for bit in range(min(spec.width, needed.get(spec.attribute, spec.width)))
    )


def load_layout(config: NfuConfig, port: str) -> data.StructLayout:
    """What a loader needs of an instruction."""
    layout = _fields(config, (f"{port}_{name}" for name in ("source", "target", "size")))
    return data.StructLayout(
        {name: layout[f"{port}_{name}"].shape for name in ("source", "target", "size")}
    )


def flight_fields(config: NfuConfig) -> data.StructLayout:
    """What the stages behind the sequencer need of an instruction."""
    return _fields(
        config,
        [
            *("nbin_signed", "table_address", "table_shared", "nbout_address"),
            *("nfu_combine", "nfu_in", "nfu_out"),
            *("nfu_function", "nfu_shift", "nfu_saturate", "nfu_low", "nfu_high"),
        ],
    )


def store_fields(config: NfuConfig) -> data.StructLayout:
    """What a store needs of an instruction; ``stores`` is 0 if there is none."""
    names = ("nbin_positions", "nbout_address", "nbout_groups", "nbout_target", "nbout_stride")
    fields = _fields(config, names)
    return data.StructLayout({**{name: field.shape for name, field in fields}, "stores": 1})


def run_fields(config: NfuConfig) -> data.StructLayout:
    """What the sequencer takes of an instruction, for itself and for what follows it."""
    issue = _fields(
        config, ["sb_address", "sb_rows", "nbin_address", "nbin_stride", "nbin_positions", "nfu_op"]
    )
    parts = (issue, flight_fields(config), store_fields(config))
    return data.StructLayout({name: field.shape for part in parts for name, field in part})


def token_layout() -> data.StructLayout:
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


class Slot(wiring.Component):
    """Queue of one entry, which can be taken a cycle after it came, and replaced in the next.

    A free slot takes whatever is offered, so that the enable of its entry waits for nothing.

    Members
    -------
    i : :py:`In(stream.Signature(layout))`
    o : :py:`Out(stream.Signature(layout))`
    """

    def __init__(self, layout: data.StructLayout) -> None:
        self.layout = layout
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entry = Signal(self.layout, reset_less=True)
        full = Signal()
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(full), self.o.payload.eq(entry)]
        with m.If(full):
            m.d.sync += full.eq(~self.o.ready)
        with m.Else():
            m.d.sync += [full.eq(self.i.valid), entry.eq(self.i.payload)]
        return m


class UpTo2(wiring.Component):
    """Counter from 0 to 2, each of whose bits is a register and depends on four signals alone.

    Members
    -------
    up, down : :py:`In(1)`
        Never up at 2 or down at 0, unless both.
    some, two : :py:`Out(1)`
        Whether the count is at least 1, and whether it is 2.
    """

    def __init__(self) -> None:
        super().__init__({"up": In(1), "down": In(1), "some": Out(1), "two": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        up, down = self.up & ~self.down, self.down & ~self.up
        # not as conditions, which would become enables behind a logic level of their own
        m.d.sync += [
            self.some.eq(up | (self.some & ~down) | (self.two & down)),
            self.two.eq((self.some & up) | (self.two & ~down)),
        ]
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
                "stored": In(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        one = data.View(instruction_layout(), self.i.payload)
        pending = Signal(3)  # two that wait, two that are not stored
        ended, go = Signal(), Signal()
        outputs = [*(getattr(self, port) for port in LOADS), self.run]
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
        for name, _ in self.run.payload.shape():
            if name != "stores":
                m.d.comb += self.run.payload[name].eq(one[name])
        m.d.comb += self.run.payload.stores.eq((one.nfu_op != Nfu1.NOP) & one.nbout_store)
        return m
