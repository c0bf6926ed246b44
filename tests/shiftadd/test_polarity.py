"""Complements in the registers of adder graphs: consistent, few inverters, as counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from constant_matrices import problems
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, csd_graph, optimize
from hwgen.shiftadd.build import with_bias
from hwgen.shiftadd.polarity import Polarities, plus_and_other, polarities, wired_bits
from hwgen.shiftadd.schedule import Schedule, schedule


def inverters(graph: AdderGraph, plan: Schedule, forms: Polarities) -> int:
    """Inverted bits, counted from the definition."""
    count = len(graph.inputs)
    turned = {}
    for value, (span, kept) in enumerate(zip(graph.ranges, forms.kept, strict=True)):
        assert len(kept) == max(0, plan.read[value] - plan.made[value]) + 1
        assert value >= count or not kept[0]
        for step in range(1, len(kept)):
            if kept[step] != kept[step - 1]:
                turned[value, step, "register"] = span.width
    for index, (node, mode) in enumerate(zip(graph.nodes, forms.modes, strict=True)):
        plus, other, negated = plus_and_other(node)
        for operand, form in ((plus, mode), (other, mode ^ negated)):
            step = plan.made[count + index] - plan.made[operand.source]
            if forms.kept[operand.source][step] != form:
                turned[operand.source, step, "read"] = graph.ranges[operand.source].width
        if forms.kept[count + index][0] != mode:
            turned[count + index, 0, "wires"] = wired_bits(graph, index)
    for output in graph.outputs:
        if output is not None and forms.kept[output.source][-1]:
            step = len(forms.kept[output.source]) - 1
            turned[output.source, step, "read"] = graph.ranges[output.source].width
    constant = {v for v, span in enumerate(graph.ranges) if span.lo == span.hi}
    return sum(bits for (value, _, _), bits in turned.items() if value not in constant)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.integers(1, 3))
def test_inverters_are_as_counted(
    problem: tuple[Any, tuple[Range, ...]], adders_per_stage: int
) -> None:
    matrix, inputs = problem
    graph = with_bias(optimize(matrix, inputs=inputs), [3] * matrix.shape[1])
    plan = schedule(graph, adders_per_stage=adders_per_stage)
    forms = polarities(graph, plan)
    assert forms.inverters == inverters(graph, plan, forms)
    assert forms == polarities(graph, plan)


@pytest.mark.parametrize("make", [csd_graph, optimize])
def test_inverters_of_deep_graphs_are_as_counted(make: Callable[[Any], AdderGraph]) -> None:
    graph = make(np.random.default_rng(5).integers(-128, 128, (6, 6)))
    plan = schedule(graph)
    forms = polarities(graph, plan)
    assert 0 < forms.inverters == inverters(graph, plan, forms)


def fewest(graph: AdderGraph, plan: Schedule) -> int:
    """Fewest inverters of any forms, by trying all of them."""
    steps = [max(0, read - made) for read, made in zip(plan.read, plan.made, strict=True)]
    places = [
        (value, step)
        for value, most in enumerate(steps)
        for step in range(most + 1)
        if step or value >= len(graph.inputs)
    ]
    best = 1 << 30
    for modes in itertools.product((False, True), repeat=len(graph.nodes)):
        for choice in itertools.product((False, True), repeat=len(places)):
            chosen = dict(zip(places, choice, strict=True))
            kept = tuple(
                tuple(chosen.get((value, step), False) for step in range(most + 1))
                for value, most in enumerate(steps)
            )
            best = min(best, inverters(graph, plan, Polarities(modes, kept, 0)))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_inverters_are_the_fewest_on_small_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = tuple(Range(-(1 << int(w)), (1 << int(w)) - 1) for w in rng.integers(1, 6, 2))
    graph = csd_graph([[3, -5], [int(rng.choice([-1, 1, 2])), int(rng.choice([-4, 1, 2]))]], inputs)
    plan = schedule(graph, adders_per_stage=2)
    assert polarities(graph, plan).inverters == fewest(graph, plan)


def test_a_chain_of_differences_needs_none() -> None:
    inputs = (Range(-8, 7), Range(-8, 7))
    nodes = (
        Adder(Operand(0), Operand(1)),
        Adder(Operand(1), Operand(0)),
        Adder(Operand(2), Operand(3, 0, True)),
    )
    graph = AdderGraph(inputs, nodes, (Operand(4),))
    assert polarities(graph, schedule(graph)).inverters == 0


def test_an_input_that_is_added_and_subtracted_is_inverted_once() -> None:
    inputs = (Range(-8, 7), Range(-8, 7), Range(-8, 7))
    minus = Operand(0, 0, True)
    nodes = (
        Adder(Operand(1), Operand(0)),
        Adder(Operand(1), minus),
        Adder(Operand(2), Operand(0)),
        Adder(Operand(2), minus),
    )
    graph = AdderGraph(inputs, nodes, tuple(Operand(3 + k) for k in range(4)))
    assert polarities(graph, schedule(graph)).inverters == 4


def test_an_input_is_turned_in_its_first_register_if_only_later_readers_subtract_it() -> None:
    inputs = (Range(-8, 7), Range(-8, 7))
    minus = Operand(0, 0, True)
    nodes = (
        Adder(Operand(0), Operand(1)),
        Adder(Operand(2), minus),
        Adder(Operand(3, 1), minus),
    )
    graph = AdderGraph(inputs, nodes, (Operand(2), Operand(3), Operand(4)))
    forms = polarities(graph, schedule(graph))
    assert forms.inverters == 4
    assert forms.kept[0] == (False, True, True)


def test_wires() -> None:
    inputs = (Range(-8, 7), Range(0, 3))
    nodes = (
        Adder(Operand(0), Operand(0, 3)),
        Adder(Operand(0, 3), Operand(0, 0, True)),
        Adder(Operand(0, 2), Operand(1)),
        Adder(Operand(0, 2, True), Operand(1)),
    )
    graph = AdderGraph(inputs, nodes, tuple(Operand(2 + k) for k in range(4)))
    assert [wired_bits(graph, k) for k in range(4)] == [3, 0, 6, 2]
    assert plus_and_other(nodes[1]) == (Operand(0, 3), Operand(0, 0, True), True)
    assert plus_and_other(nodes[3]) == (Operand(1), Operand(0, 2, True), True)
