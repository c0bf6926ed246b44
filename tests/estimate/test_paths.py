"""Longest paths of blocks that can be followed by hand, and of pipelines of them."""

from dataclasses import replace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.estimate.critical import critical_path
from hwgen.estimate.paths import TIMINGS, longest_paths
from hwgen.numeric import Range
from hwgen.stream.blocks import Stage

ICE40 = TIMINGS["ice40"]


class Sum(wiring.Component):
    """A register that takes the sum of two others, while it may."""

    def __init__(self, width: int) -> None:
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(self.i.payload)
        a, b, total = Signal(width), Signal(width), Signal(width + 1, reset_less=True)
        m.d.comb += [self.o.payload.eq(total), self.i.ready.eq(self.o.ready)]
        m.d.sync += [a.eq(self.i.payload), b.eq(a), self.o.valid.eq(self.i.valid)]
        m.d.sync += total.eq(a + b)
        return m


class Around(wiring.Component):
    """The same in a module within."""

    def __init__(self, width: int) -> None:
        self.within = Sum(width)
        super().__init__(dict(self.within.signature.members))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.within = self.within
        wiring.connect(m, wiring.flipped(self), self.within)
        return m


class Chosen(wiring.Component):
    """One bit that chooses for ``readers`` registers."""

    def __init__(self, readers: int) -> None:
        self.readers = readers
        super().__init__({"o": Out(signed(readers))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pick, word = Signal(), Signal(self.readers, reset_less=True)
        m.d.sync += [pick.eq(~pick), word.eq(Mux(pick, ~word, word)), self.o.eq(word)]
        return m


class Looked(wiring.Component):
    """What a memory of ``depth`` words holds."""

    o: Out(8)

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = held = memory.Memory(shape=8, depth=self.depth, init=[])
        read, write = held.read_port(), held.write_port()
        m.d.sync += [read.addr.eq(read.addr + 1), self.o.eq(~read.data)]
        m.d.comb += [write.en.eq(1), write.addr.eq(read.addr), write.data.eq(self.o)]
        return m


def paths(block: wiring.Component) -> dict[tuple[str, str], float]:
    return longest_paths(rtlil.convert(block, name="block", emit_src=False), "ice40")


def test_ends_are_registers_and_streams() -> None:
    found = paths(Sum(8))
    assert set(found) == {
        ("register", "register"),
        ("register", "o"),
        ("i", "register"),
        ("o__ready", "i__ready"),
    }
    assert found["o__ready", "i__ready"] == found["register", "o"] == 0
    assert found["i", "register"] == ICE40.wire(1)


@pytest.mark.parametrize("width", [2, 8, 20])
def test_a_sum_is_as_slow_as_its_carry_chain(width: int) -> None:
    wire = ICE40.wire(2)  # a bit goes to the chain and to the sum's own bit
    carried = ICE40.into + (width - 1) * ICE40.carry + ICE40.out
    assert paths(Sum(width))["register", "register"] == pytest.approx(wire + carried, abs=0.2)
    narrow = paths(Sum(width - 1))["register", "register"] if width > 2 else 0.0
    if narrow:
        assert paths(Sum(width))["register", "register"] - narrow == pytest.approx(ICE40.carry)


def test_modules_within_make_no_difference() -> None:
    assert paths(Around(8)) == paths(Sum(8))


def test_many_readers_make_a_wire_slow() -> None:
    few, many = (paths(Chosen(n))["register", "register"] for n in (2, 60))
    assert many - few == pytest.approx(ICE40.wire(61) - ICE40.wire(3), abs=0.05)


def test_blocks_of_memory_answer_late() -> None:
    small, large = (paths(Looked(depth))["register", "register"] for depth in (4, 400))
    assert large - small >= ICE40.memory - ICE40.level


def stage(name: str, form: str, source: str, **more: object) -> Stage:
    ranges = (Range(0, 15), Range(-20, 20))
    frame = (2, 4, 4)
    fields = {"shape": frame, "ranges": (ranges,), "output_shape": frame, "output_ranges": ranges}
    return Stage(name, form, "t", "layer", (source,), **{**fields, **more})  # type: ignore[arg-type]


def test_queues_cut_the_way_of_ready() -> None:
    values = (Range(-20, 20),) * 4
    turns = {"shape": (1, 64, 1), "ranges": ((Range(-20, 20),),), "values": values}
    first = stage("a", "gather", "", **turns, output_shape=(4, 4, 4), output_ranges=values)
    pixels = {"shape": (4, 4, 4), "ranges": (values,)}
    pixels |= {"output_shape": (4, 4, 4), "output_ranges": values}
    queue = stage("q", "buffer", "a", **pixels, depth=2)
    last = stage("z", "argmax", "a", **pixels)
    joined = critical_path([first, last], "ice40")
    parted = critical_path([first, queue, replace(last, sources=("q",))], "ice40")
    assert joined.delay > parted.delay
