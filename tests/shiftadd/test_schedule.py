"""Pipeline stages: valid, as few registers as any schedule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from constant_matrices import problems
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.numeric import Range
from hwgen.shiftadd import AdderGraph, csd_graph, optimize
from hwgen.shiftadd.build import with_bias
from hwgen.shiftadd.schedule import Schedule, pipeline_stages, schedule


def check(graph: AdderGraph, plan: Schedule, adders_per_stage: int) -> None:
    count = len(graph.inputs)
    depth = [0] * len(plan.made)
    for index, node in enumerate(graph.nodes, start=count):
        assert 1 <= plan.made[index] <= plan.stages
        for operand in (node.left, node.right):
            source = operand.source
            assert plan.made[source] <= plan.made[index] <= plan.read[source]
            if plan.made[source] == plan.made[index]:
                depth[index] = max(depth[index], depth[source] + 1)
            else:
                depth[index] = max(depth[index], 1)
        assert depth[index] <= adders_per_stage
    for output in graph.outputs:
        assert output is None or plan.read[output.source] == plan.stages + 1


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.integers(1, 4))
def test_schedule_is_valid(problem: tuple, adders_per_stage: int) -> None:
    matrix, inputs = problem
    graph = with_bias(optimize(matrix, inputs=inputs), [3] * matrix.shape[1])
    plan = schedule(graph, adders_per_stage=adders_per_stage)
    assert plan.stages == pipeline_stages(graph, adders_per_stage=adders_per_stage)
    check(graph, plan, adders_per_stage)


@pytest.mark.parametrize("adders_per_stage", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_registers_are_the_fewest(seed: int, adders_per_stage: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-9, 10, (3, 2)) * (rng.random((3, 2)) < 0.7)
    inputs = tuple(Range(0, (1 << int(w)) - 1) for w in rng.integers(1, 9, 3))
    graph = csd_graph(matrix, inputs)
    plan = schedule(graph, adders_per_stage=adders_per_stage)
    check(graph, plan, adders_per_stage)
    count, best = len(inputs), None
    assert len(graph.nodes) <= 8
    for stages in itertools.product(range(1, plan.stages + 1), repeat=len(graph.nodes)):
        made = [1] * count + list(stages)
        chain = [0] * len(made)
        read = [0] * len(made)
        valid = True
        for index, node in enumerate(graph.nodes, start=count):
            for operand in (node.left, node.right):
                source = operand.source
                valid &= made[index] >= made[source]
                chain[index] = max(chain[index], 1 + chain[source] * (made[index] == made[source]))
                read[source] = max(read[source], made[index])
            valid &= chain[index] <= adders_per_stage
        for output in graph.outputs:
            if output is not None:
                read[output.source] = plan.stages + 1
        if valid:
            bits = Schedule(plan.stages, tuple(made), tuple(read)).registers(graph)
            best = bits if best is None else min(best, bits)
    assert plan.registers(graph) == best


def test_bias_becomes_constant_inputs() -> None:
    graph = optimize([[3, -1, 0, 0], [1, 0, 0, 4]])
    biased = with_bias(graph, [5, 0, -7, 0])
    assert biased.inputs[2:] == (Range(5, 5), Range(0, 0), Range(-7, -7))
    x = np.array([[1, 2, 5, 0, -7], [-128, 127, 5, 0, -7]])
    expected = x[:, :2] @ graph.matrix + [5, 0, -7, 0]
    np.testing.assert_array_equal(biased.evaluate(x), expected)
    assert not any(o is not None and o.negate for o in biased.outputs)
    assert with_bias(graph, [0, 0, 0, 0]).adders == graph.adders + 1
