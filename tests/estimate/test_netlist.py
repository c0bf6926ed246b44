"""Words counted in RTLIL, against blocks whose words can be counted by hand."""

import numpy as np
from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.estimate.memories import Memory
from hwgen.estimate.netlist import Words, count_words
from hwgen.estimate.structure import Structure, structure
from hwgen.integer.types import Conv
from hwgen.numeric import Range
from hwgen.shiftadd import csd_graph
from hwgen.stream.blocks import Stage, component
from hwgen.stream.common import lookup
from hwgen.stream.scan import Scan


class Sample(wiring.Component):
    """A registered sum, a choice that is written twice, a counter with enable, a masked word."""

    a: In(signed(8))
    b: In(signed(8))
    pick: In(1)
    total: Out(signed(9))
    chosen: Out(signed(8))
    again: Out(signed(8))
    masked: Out(8)
    count: Out(4)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.total.eq(self.a + self.b)
        m.d.comb += self.chosen.eq(Mux(self.pick, self.a, self.b))
        m.d.comb += self.again.eq(Mux(self.pick, self.a, self.b))
        masked = Signal(8, reset_less=True)
        m.d.sync += masked.eq(Mux(self.pick, self.a, 0))
        m.d.comb += self.masked.eq(masked)
        with m.If(self.pick):
            m.d.sync += self.count.eq(self.count + 1)
        return m


def words_of(block: wiring.Component) -> Words:
    return count_words(rtlil.convert(block, name="sample", emit_src=False))


def test_words_are_counted_once() -> None:
    words = words_of(Sample())
    assert words.bits == {
        "add": 9,
        "cleared": 8,
        "control": 13,
        "mux": 8,
        "odd": 1,
        "register": 21,
        "short_increment": 4,
    }
    assert words.memories == ()


def test_registers_and_memory_of_a_window() -> None:
    scan = Scan(6, 5, (3, 3), pads=(1, 1, 1, 1))
    pixel = (Range(0, 255),) * 2
    stage = Stage("w", "window", "t", "l", ("",), (2, 6, 5), (pixel,), (18, 6, 5), (), scan=scan)
    stage = Stage(**{**vars(stage), "fill": (0, 0)})
    found = structure(stage, "ecp5")
    words = words_of(component(stage))
    assert found.memories == (Memory(5, 32, False),)
    # two columns of three taps are kept, the one that enters is masked into taps of its own
    assert words.bits["register"] >= 3 * 3 * 16
    assert dict(found.words) == {**words.bits, "stage": 1}


def test_adder_graphs_are_counted_from_their_plan() -> None:
    matrix = np.array([[3], [5]])
    ranges = (Range(0, 15),) * 2
    graph = csd_graph(matrix, inputs=ranges)
    stage = Stage(
        "a", "adders", "t", "l", ("",), (2, 1, 1), (ranges,), (1, 1, 1), (), graph=graph, depth=1
    )
    found = structure(stage, "ice40")
    assert found.words["graph_adder"] == graph.bits
    doubled = structure(stage, "ecp5")
    assert doubled.words["graph_adder"] == sum(2 * -(-b // 2) for b in graph.node_bits)


def test_codes_and_frames_of_a_layer_in_memory() -> None:
    weight = np.array([[1, 2, -4], [8, 3, 0], [5, 1, 1], [2, 0, 9]]).reshape(4, 3, 1, 1)
    ranges = (Range(0, 255),) * 3
    stage = Stage(
        "d",
        "dense",
        "t",
        "l",
        ("",),
        (3, 1, 1),
        (ranges,),
        (4, 1, 1),
        (),
        op=Conv(weight, np.zeros(4)),
        lanes=2,
        scan=Scan(1, 1, (1, 1)),
    )
    found = structure(stage, "ice40")
    block = component(stage)
    codes = [memory for memory in found.memories if memory.constant]
    assert [memory.bits for memory in codes] == [6 * 2 * block.code.width]


class Tables(wiring.Component):
    """Tables of an index: a threshold, an entry in the middle, and some that need no logic."""

    index: In(6)
    plain: In(8)
    late: Out(1)
    middle: Out(3)
    parity: Out(1)
    bias: Out(8)
    total: Out(signed(10))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entries = np.arange(64)
        late = lookup(m, self.index, (entries >= 32).astype(np.int64), name="late_table")
        middle = lookup(m, self.index, np.where(entries == 21, 5, 0), name="middle_table")
        parity = lookup(m, self.index, entries & 1, name="parity_table")
        m.d.comb += [self.late.eq(late), self.middle.eq(middle), self.parity.eq(parity)]
        with m.Switch(self.index):
            for k in range(40):
                with m.Case(k):
                    m.d.comb += self.bias.eq(0)
        m.d.comb += self.total.eq(self.plain + self.bias)
        return m


def test_tables_are_counted_as_the_logic_that_they_leave() -> None:
    words = words_of(Tables())
    # two of the bits of 'middle' are one function of six bits, which takes two LUTs
    assert words.bits["lookup"] == 2
    assert "table" not in words.bits


def test_what_is_computed_from_the_same_is_the_same() -> None:
    class Twice(wiring.Component):
        a: In(8)
        b: In(8)
        first: Out(9)
        second: Out(9)

        def elaborate(self, platform: object) -> Module:
            m = Module()
            for out in (self.first, self.second):
                m.d.comb += out.eq((self.a & ~self.b) + (self.a ^ self.b))
            return m

    assert words_of(Twice()).bits == {"add": 9, "logic": 16, "odd": 1}


class Chains(wiring.Component):
    """Sums whose carries out are read or not, and comparisons of two widths."""

    a: In(8)
    b: In(8)
    inside: Out(8)
    carry: Out(1)
    low: Out(5)
    less: Out(1)
    short: Out(1)
    same: Out(1)
    last: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total, sums = Signal(9), Signal(9)
        m.d.comb += [total.eq(self.a + self.b), self.inside.eq(total[:8]), self.carry.eq(total[8])]
        m.d.comb += [sums.eq(self.a - self.b), self.low.eq(sums[:5])]
        m.d.comb += [self.less.eq(self.a < self.b), self.short.eq(self.a[:4] < self.b[:4])]
        m.d.comb += [self.same.eq(self.a == self.b), self.last.eq(self.a == 77)]
        return m


def test_carry_chains_are_as_long_as_what_is_read() -> None:
    assert words_of(Chains()).bits == {
        "add": 9 + 5,
        "compare": 8,
        "equal": 2 * 8 + 8,
        "odd": 2,
        "short_compare": 4,
    }


def test_carry_chains_of_pairs_of_bits_are_even_and_not_short() -> None:
    found = Structure(words_of(Chains()).bits)
    assert found.parts("ecp5") == {"add": 14, "compare": 8, "equal": 24, "odd": 2, "short": 4}
    assert found.parts("ice40") == {"add": 14, "compare": 12, "equal": 24}
