"""The six activations of Cintra et al.: their errors, as recomputed from the definitions."""

import numpy as np
import pytest

from hwgen.approx.activations import activation_error
from hwgen.approx.approximate import Settings, assemble
from hwgen.approx.paper_activations import (
    PAPER_ACTIVATIONS,
    PLAN_CONTINUOUS,
    PaperActivation,
    plan,
    substitute,
    to_piecewise,
)
from hwgen.approx.piecewise import evaluate
from hwgen.errors import UnsupportedError
from hwgen.network.types import Activation, Network, Node
from hwgen.numeric import Dyadic

BY_NAME = {activation.name: activation for activation in PAPER_ACTIVATIONS}
MULTIPLIERLESS = [a for a in PAPER_ACTIVATIONS if a.multiplierless]


@pytest.mark.parametrize(
    ("name", "half", "two_thirds", "one"),
    [
        ("asg", 0.038, 0.138, 0.287),
        ("plan", 0.038, 0.138, 0.287),
        ("linear-1", 0.266, 0.388, 0.537),
        ("linear-2", 0.238, 0.130, 0.266),
        ("quadratic-1", 0.043, 0.155, 0.326),
        ("quadratic-2", 0.306, 0.178, 0.043),
    ],
)
def test_errors_against_tanh(name: str, half: float, two_thirds: float, one: float) -> None:
    x = np.linspace(-30, 30, 600_001)
    for slope, expected in ((1 / 2, half), (2 / 3, two_thirds), (1.0, one)):
        error = np.abs(BY_NAME[name](x) - np.tanh(slope * x)).max()
        assert error == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("activation", PAPER_ACTIVATIONS, ids=lambda a: a.name)
def test_odd_bounded_and_rising(activation: PaperActivation) -> None:
    x = np.linspace(0, 12, 12 * 1024 + 1)
    y = activation(x)
    np.testing.assert_array_equal(activation(-x), -y)
    assert y[0] == 0
    assert 0.99 < y[-1] <= 1
    # PLAN falls once, see below
    assert (np.diff(y) >= (-1 / 128 if activation.name == "plan" else 0)).all()


def test_plan_jumps_once_by_one_part_in_128() -> None:
    for constant, place in ((11 / 16, 19 / 8), (PLAN_CONTINUOUS, 5.0)):
        before, after = plan(np.array([np.nextafter(place, 0), place]), constant=constant)
        assert abs(after - before) == pytest.approx(1 / 128)
        other = 5.0 if place < 5 else 19 / 8
        before, after = plan(np.array([np.nextafter(other, 0), other]), constant=constant)
        assert after == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize("activation", MULTIPLIERLESS, ids=lambda a: a.name)
def test_piecewise_form_is_the_function(activation: PaperActivation) -> None:
    x = np.linspace(-7.9, 7.9, 4001)
    pre, post = 1.25, 1.75
    form = to_piecewise(activation, pre=pre, post=post)
    np.testing.assert_allclose(evaluate(form, x / pre), post * activation(x), rtol=0, atol=1e-12)
    slopes = np.ldexp(form.slopes, 12)
    np.testing.assert_array_equal(slopes, np.rint(slopes))


def test_asg_is_cut_close_to_one() -> None:
    form = to_piecewise(BY_NAME["asg"])
    x = np.linspace(8, 60, 101)
    assert np.abs(evaluate(form, x) - BY_NAME["asg"](x)).max() <= 1 / 256


def test_quadratics_have_no_piecewise_form() -> None:
    with pytest.raises(ValueError, match="quadratic-1 is quadratic, not piecewise linear"):
        to_piecewise(BY_NAME["quadratic-1"])
    with pytest.raises(ValueError, match="must be positive, not 0"):
        to_piecewise(BY_NAME["plan"], pre=0)


@pytest.mark.parametrize("activation", PAPER_ACTIVATIONS, ids=lambda a: a.name)
def test_steepness_is_the_nearest(activation: PaperActivation) -> None:
    x = np.linspace(0, 20, 20_001)
    errors = {
        s: np.abs(activation(x) - np.tanh(s * x)).max()
        for s in activation.steepness * np.array([0.9, 1.0, 1.1])
    }
    assert min(errors, key=lambda s: errors[s]) == activation.steepness


@pytest.mark.parametrize(
    ("name", "matched", "unmatched"),
    [
        ("asg", 0.071, 0.215),
        ("plan", 0.071, 0.215),
        ("linear1", 0.227, 0.652),
        ("linear2", 0.227, 0.257),
    ],
)
def test_trained_function_with_and_without_prescale(
    name: str, matched: float, unmatched: float
) -> None:
    op = Activation("tanh", pre=2 / 3, post=1.7159)
    x = np.linspace(-8, 8, 100_001)
    exact = 1.7159 * np.tanh(2 * x / 3)
    for prescale, expected in (("match", matched), ("none", unmatched)):
        form = substitute(op, name, prescale=prescale)
        error = np.abs(evaluate(form, x) - exact).max()
        assert error == pytest.approx(expected, abs=6e-4)
    if name == "plan":
        # 4/3 is 1 + 1/4 + 1/16, 1.7159 is 7/4
        form = substitute(op, name)
        assert form.slopes[0, 3] == 21 / 16 * 7 / 4 / 2
        assert form.offsets[0, -1] == 7 / 4


@pytest.mark.parametrize(("pre", "post"), [(1.0, 1.0), (-0.5, 3.0)])
def test_sigmoid_by_plan(pre: float, post: float) -> None:
    op = Activation("sigmoid", pre=pre, post=post)
    form = substitute(op, "plan")
    assert activation_error(form, op) <= 0.02 * post
    for slope in form.slopes.ravel():
        assert Dyadic.exact(float(slope)).terms <= 3


def test_constants() -> None:
    assert substitute(Activation("tanh", pre=0.0), "plan").offsets.tolist() == [[0.0]]
    assert substitute(Activation("sigmoid", pre=0.0), "plan").offsets.tolist() == [[0.5]]


@pytest.mark.parametrize("name", ["quadratic1", "quadratic2"])
def test_quadratics_are_refused_in_hardware(name: str) -> None:
    shape = (2, 3, 3)
    network = Network("n", "x", shape, (Node("act", Activation("tanh"), ("x",), shape),), "act")
    with pytest.raises(UnsupportedError, match=f"'act': {name.capitalize()} needs a squarer"):
        assemble(network, {}, settings=Settings(activation=name))


def test_style_is_for_tanh_and_sigmoid_alone() -> None:
    shape = (2, 3, 3)
    nodes = (
        Node("a", Activation("tanh", pre=2 / 3, post=1.7159), ("x",), shape),
        Node("b", Activation("silu"), ("a",), shape),
    )
    approx = assemble(
        Network("n", "x", shape, nodes, "b"), {}, settings=Settings(activation="plan")
    )
    first, second = (function for _, function in approx.activations)
    np.testing.assert_array_equal(first.slopes, substitute(nodes[0].op, "plan").slopes)
    assert activation_error(second, nodes[1].op) <= 1 / 128
    with pytest.raises(UnsupportedError, match="Only tanh and sigmoid can become plan, not silu"):
        substitute(nodes[1].op, "plan")
