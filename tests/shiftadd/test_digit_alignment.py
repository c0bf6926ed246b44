"""Words of digits: every digit is where the alignment says, and no alignment needs fewer bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from constant_matrices import problems
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.numeric import IntArray, Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, csd_graph, optimize
from hwgen.shiftadd.build import scaled, with_bias
from hwgen.shiftadd.digit_serial import Alignment, Field, align, without_right_shifts
from hwgen.shiftadd.digit_zeros import Zeros, zeros_of


def fields_of(graph: AdderGraph) -> list[Field]:
    """All bits of every output that is no constant."""
    return [
        Field(o.source, max(-o.shift, 0), max(r.width - max(o.shift, 0), 1))
        for o, r in zip(graph.outputs, graph.output_ranges, strict=True)
        if o is not None and r.lo != r.hi
    ]


def simulate(
    graph: AdderGraph,
    plan: Alignment,
    fields: list[Field],
    x: IntArray,
    gaps: list[int],
    zeros: Zeros,
) -> IntArray:
    """Fields (words, fields) of words (words, inputs), digit by digit, with junk between words."""
    digit, digits = plan.digit, plan.digits
    starts = np.cumsum([0, *(digits + gap for gap in gaps)])[: len(x)] + digits + 1
    cycles = int(starts[-1]) + plan.latency + digits + 2
    rng = np.random.default_rng(0)
    streams = rng.integers(0, 2, (len(graph.ranges), cycles + 1, digit))

    def digits_of(value: int) -> list[list[int]]:
        return [[(value >> (j * digit + b)) & 1 for b in range(digit)] for j in range(digits)]

    for value in range(len(graph.inputs)):
        for start, word in zip(starts, x[:, value].tolist(), strict=True):
            streams[value, start : start + digits] = digits_of(word)

    def register(value: int, bit: int, number: int, time: int) -> int:
        """What a register holds: what came there, unless one on its way was cleared."""
        for passed in range(number + 1):
            clear = zeros.clears.get((value, bit, passed))
            if clear is not None and time - (number - passed) - clear - 1 in starts:
                return 0
        return int(streams[value, time - number, bit])

    def operand(index: int, o: Operand, time: int, place: int) -> list[int]:
        span = graph.ranges[o.source]
        if span.lo == span.hi:
            return digits_of(span.lo << o.shift)[place]
        bits = []
        for b, (source, number, late) in enumerate(plan.bits(graph, index, o)):
            assert 0 <= number <= plan.depth[o.source][source]
            if late >= digits or ((index, o, b) in zeros.masks and place < late):
                bits.append(0)
            else:
                bits.append(register(o.source, source, number, time))
        return bits

    for index, node in enumerate(graph.nodes):
        value = len(graph.inputs) + index
        if graph.ranges[value].lo == graph.ranges[value].hi:
            continue
        negated = [o.negate for o in node.operands]
        assert plan.begin[value] >= 2
        for start in starts:
            carry = int(any(negated))
            for place in range(digits):
                time = int(start) + plan.begin[value] - 1 + place
                a, b = (operand(index, o, time, place) for o in node.operands)
                for k, (p, q) in enumerate(zip(a, b, strict=True)):
                    total = (p ^ negated[0]) + (q ^ negated[1]) + carry
                    streams[value, time + 1, k] = total & 1
                    carry = total >> 1
    found = np.zeros((len(x), len(fields)), dtype=object)
    for k, field in enumerate(fields):
        for place, (bit, delay) in enumerate(plan.places(field)):
            assert 0 <= delay <= plan.depth[field.source][bit]
            assert delay > 0 or field.source >= len(graph.inputs)
            for word, start in enumerate(starts.tolist()):
                found[word, k] += register(field.source, bit, delay, start + plan.latency) << place
    return found


def check(
    graph: AdderGraph, digit: int, gaps: list[int], fields: list[Field] | None = None
) -> Alignment:
    rng = np.random.default_rng(1)
    fields = fields_of(graph) if fields is None else fields
    least = max(r.width for r in graph.inputs)
    plan = align(graph, fields, digit, digits=-(-least // digit))
    ends = np.array([[r.lo, r.hi] for r in graph.inputs])
    x = np.concatenate([ends.T, rng.integers(ends[:, 0], ends[:, 1] + 1, (4, len(ends)))])
    found = simulate(graph, plan, fields, x, gaps, zeros_of(graph, plan, fields))
    sources = AdderGraph(graph.inputs, graph.nodes, tuple(Operand(f.source) for f in fields))
    expected = sources.evaluate(x) if fields else np.zeros((len(x), 0), dtype=int)
    for k, field in enumerate(fields):
        kept = [(int(v) >> field.low) & ((1 << field.width) - 1) for v in expected[:, k]]
        assert found[:, k].tolist() == kept
    return plan


@settings(derandomize=True, max_examples=25, deadline=None)
@given(problems(), st.integers(1, 9), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_every_bit_is_in_its_place(problem: tuple, digit: int, gaps: list[int]) -> None:
    matrix, inputs = problem
    graph = with_bias(optimize(matrix, inputs=inputs), [-5, *[9] * (matrix.shape[1] - 1)])
    graph = without_right_shifts(graph)
    check(graph, digit, gaps)
    middle = [Field(f.source, f.low + f.width // 4, f.width // 2) for f in fields_of(graph)]
    check(graph, digit, gaps, [field for field in middle if field.width])


@pytest.mark.parametrize(("lo", "digits", "masks"), [(-8, 1, 1), (-8, 8, 0), (0, 1, 0)])
def test_masks_are_left_where_all_digits_are_read(lo: int, digits: int, masks: int) -> None:
    """A sum whose double is added first, from the register from which it is then added itself.

    With digits to spare, those that are cleared are not read, or they are zero.
    """
    inputs = (Range(lo, 7), Range(lo, 7))
    nodes = (
        Adder(Operand(0), Operand(1)),
        Adder(Operand(2, 1), Operand(1)),
        Adder(Operand(2), Operand(3)),
    )
    graph = AdderGraph(inputs, nodes, (Operand(4),))
    fields = [Field(4, 0, 4)] if lo else fields_of(graph)
    plan = align(graph, fields, 1, digits=digits)
    zeros = zeros_of(graph, plan, fields)
    assert len(zeros.masks) == masks
    assert bool(zeros.clears) != bool(masks)
    check(graph, 1, [0, 0, 2, 0, 1], fields)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(problems())
def test_right_shifts_move_to_the_outputs(problem: tuple) -> None:
    matrix, inputs = problem
    """Inputs are replaced by their quadruples, and halved twice where they are read."""
    quadruples = [Adder(Operand(k, 1), Operand(k, 1)) for k in range(len(inputs))]
    graph = csd_graph(matrix, inputs)
    count = len(inputs)

    def halved(o: Operand) -> Operand:
        if o.source < count:
            return Operand(o.source + count, o.shift - 2, o.negate)
        return Operand(o.source + count, o.shift, o.negate)

    nodes = (
        *quadruples,
        *(Adder(halved(n.left), halved(n.right)) for n in graph.nodes),
    )
    whole = AdderGraph(inputs, nodes, tuple(o and halved(o) for o in graph.outputs))
    plain = without_right_shifts(whole)
    assert all(o.shift >= 0 for n in plain.nodes for o in n.operands)
    np.testing.assert_array_equal(plain.matrix, whole.matrix)


@pytest.mark.parametrize("digit", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_registers_are_the_fewest(seed: int, digit: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-9, 10, (2, 2))
    graph = csd_graph(matrix, [Range(0, 7)] * 2)
    graph = AdderGraph(graph.inputs, graph.nodes[:3], (Operand(2 + min(2, graph.adders - 1)),))
    fields = fields_of(graph)
    plan = align(graph, fields, digit)

    def cost(begin: tuple[int, ...], latency: int) -> int | None:
        """Bits of delay, and the cycles; None if something is not there in time."""
        depth = np.zeros((len(begin), digit), dtype=int)
        trial = Alignment(digit, plan.digits, begin, (), latency)
        for index, node in enumerate(graph.nodes):
            for o in node.operands:
                delay, rest = trial.delay(graph, index, o), o.shift % digit
                if delay < 0:
                    return None
                for b in range(digit):
                    need = delay + (b >= digit - rest)
                    depth[o.source, b] = max(depth[o.source, b], need)
        for field in fields:
            for bit, delay in trial.places(field):
                if delay < (field.source < 2):
                    return None
                depth[field.source, bit] = max(depth[field.source, bit], delay)
        return int(depth.sum()) + latency

    found = cost(plan.begin, plan.latency)
    assert found == sum(map(sum, plan.depth)) + plan.latency
    most = plan.latency + 2
    trials = itertools.product(range(2, 9), repeat=len(graph.nodes))
    best = min(
        filter(None, (cost((0, 0, *b), e) for b in trials for e in range(1, most))), default=None
    )
    assert found == best


def test_scaled_outputs() -> None:
    graph = optimize([[3, -5, 0], [1, 4, 0]])
    np.testing.assert_array_equal(scaled(graph, [7, -3, 5]).matrix, graph.matrix * [7, -3, 5])


def test_bad_arguments() -> None:
    graph = AdderGraph((Range(0, 7),), (Adder(Operand(0, 1), Operand(0, 1)),), (Operand(1, -1),))
    with pytest.raises(ValueError, match="at least 1 bit, not 0"):
        align(graph, [], 0)
    right = AdderGraph(graph.inputs, (*graph.nodes, Adder(Operand(1, -1), Operand(0))), ())
    with pytest.raises(ValueError, match="to the right"):
        align(right, [], 1)
