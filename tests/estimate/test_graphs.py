"""What is expected of adder graphs, against graphs that are there."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.estimate.design import stage_cost
from hwgen.estimate.graphs import (
    expected_digits,
    expected_parts,
    matrix_terms,
    sampled_adders,
    spread_sample,
)
from hwgen.estimate.model import model_of
from hwgen.integer.types import Conv, IntegerNetwork, IntNode
from hwgen.numeric import FixedFormat, IntArray, Range, csd_weight
from hwgen.shiftadd.optimise import optimize
from hwgen.stream.forms import parse_folding
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.plan import plan_stages
from hwgen.stream.planner import Planner


def network(outputs: int, inputs: int) -> IntegerNetwork:
    """One convolution of signed powers of two, a third of them zero."""
    rng = np.random.default_rng(3)
    weight = rng.choice([-4, -2, -1, 0, 0, 0, 1, 2, 4], size=(outputs, inputs, 3, 3))
    op = Conv(weight, np.zeros(outputs, dtype=np.int64))
    span = (Range(-128 * int(np.abs(weight).sum()), 128 * int(np.abs(weight).sum())),)
    node = IntNode("sum", op, ("x",), (outputs, 6, 6), span * outputs, (1.0,) * outputs, "layer")
    return IntegerNetwork(
        name="one",
        input_name="x",
        input_shape=(inputs, 8, 8),
        input_format=FixedFormat(8, 0, signed=True),
        nodes=(node,),
        output="sum",
    )


def test_digits_of_a_matrix_are_counted() -> None:
    matrix = np.array([[7, -3], [0, 5]])
    assert matrix_terms(matrix) == sum(csd_weight(abs(int(v))) for v in matrix.ravel()) == 6


def test_a_sample_has_about_as_many_digits_as_asked_for() -> None:
    matrix = conv_matrix(next(op for _, op in network(16, 8).convs()))
    assert spread_sample(matrix, 10**6) is matrix
    assert 100 < matrix_terms(spread_sample(matrix, 200)) < 400
    assert len(spread_sample(matrix, 1)) >= 1
    assert sampled_adders(np.zeros((2, 2), dtype=np.int64)) == 0


def test_adders_are_near_those_of_the_graph() -> None:
    matrix = conv_matrix(next(op for _, op in network(12, 6).convs()))
    real = optimize(matrix, effort=10).adders
    assert sampled_adders(matrix) == pytest.approx(real, rel=0.15)
    assert sampled_adders(matrix, most=150) == pytest.approx(real, rel=0.3)


@pytest.mark.parametrize(("form", "family"), [("parallel", "ecp5"), ("serial:2", "ice40")])
def test_cost_is_near_that_of_the_stage(form: str, family: str) -> None:
    one = network(8, 4)
    folding = parse_folding(f"*={form}")
    stages, _ = plan_stages(one, family=family, folding=folding)
    planner = Planner(one, folding)
    planner.run()
    name, matrix = next(iter(planner.matrices.items()))
    built = next(stage for stage in stages if stage.name == name)
    bare = next(stage for stage in planner.stages if stage.name == name)
    real = stage_cost(built, family)
    found = model_of(family).cost(expected_parts(bare, matrix, family), bare.form)
    assert found.luts == pytest.approx(real.luts, rel=0.3)
    assert found.ffs == pytest.approx(real.ffs, rel=0.3)
    if built.digit:
        assert abs(expected_digits(bare, matrix) - built.digits) <= 1


def test_nothing_is_expected_of_zeros() -> None:
    one = network(2, 1)
    planner = Planner(one, parse_folding("*=parallel"))
    planner.run()
    name = next(iter(planner.matrices))
    stage = next(stage for stage in planner.stages if stage.name == name)
    none: IntArray = np.zeros_like(planner.matrices[name])
    assert expected_parts(stage, none, "ecp5").words["graph_adder"] == 0
