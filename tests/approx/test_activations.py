"""Piecewise-linear activations: dyadic, continuous, monotone, and within the error they promise."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.activations import (
    activation_error,
    amplitude,
    approximate_activation,
    is_saturation,
)
from hwgen.approx.piecewise import Grid, evaluate, fewest_segments
from hwgen.errors import UnsupportedError
from hwgen.network.execute import apply
from hwgen.network.types import Activation, PiecewiseLinear
from hwgen.numeric import Dyadic

CURVED = [
    Activation("tanh"),
    Activation("tanh", pre=2 / 3, post=1.7159),
    Activation("tanh", pre=-1.5, post=0.3),
    Activation("sigmoid"),
    Activation("sigmoid", pre=0.5, post=-3.0),
    Activation("hard_sigmoid", (np.array([0.2]), np.array([0.5]))),
    Activation("hard_sigmoid", (np.array([1 / 6]), np.array([0.5])), pre=-1.3),
]


def _name(op: Activation) -> str:
    return f"{op.kind}-{op.pre:.2f}-{op.post:.2f}"


def _direction(op: Activation) -> float:
    return float(np.sign(op.pre * op.post))


def _jumps(op: PiecewiseLinear) -> np.ndarray:
    """Exact difference of neighbouring segments at their breakpoints."""
    jumps = []
    for knots, slopes, offsets in zip(op.breakpoints, op.slopes, op.offsets, strict=True):
        exact = [[Fraction(v) for v in values] for values in (knots, slopes, offsets)]
        for s, knot in enumerate(exact[0]):
            left = exact[1][s] * knot + exact[2][s]
            jumps.append(exact[1][s + 1] * knot + exact[2][s + 1] - left)
    return np.array(jumps)


def _check_form(form: PiecewiseLinear, terms: int) -> None:
    assert not _jumps(form).any()
    assert all(Dyadic.exact(float(s)).terms <= terms for s in form.slopes.ravel())
    assert (np.diff(form.breakpoints, axis=1) > 0).all()
    for numbers in (form.breakpoints, form.slopes, form.offsets):
        fine = np.ldexp(numbers, 20)
        np.testing.assert_array_equal(fine, np.rint(fine))


@pytest.mark.parametrize("op", CURVED, ids=_name)
@pytest.mark.parametrize("relative", [1 / 32, 1 / 128, 1 / 256])
def test_keeps_the_error_on_the_whole_line(op: Activation, relative: float) -> None:
    limit = relative * abs(op.post)
    form = approximate_activation(op, max_error=limit)
    _check_form(form, terms=2)
    x = np.concatenate([np.linspace(-12, 12, 50_001), [-1e6, 1e6]])
    exact = apply(op, [x.reshape(1, 1, 1, -1)]).ravel()
    error = np.abs(evaluate(form, x) - exact).max()
    assert error <= limit
    assert activation_error(form, op) == pytest.approx(error, rel=0.01)
    assert (form.slopes * _direction(op) >= 0).all()
    assert form.slopes[0, 0] == form.slopes[0, -1] == 0


@pytest.mark.parametrize("post", np.linspace(0.5, 1.5, 23))
def test_centre_off_the_grid(post: float) -> None:
    op = Activation("sigmoid", post=post)
    form = approximate_activation(op, max_error=post / 20)
    _check_form(form, terms=2)
    assert activation_error(form, op) <= post / 20


@pytest.mark.parametrize("op", CURVED[:5], ids=_name)
def test_symmetric_functions_stay_symmetric(op: Activation) -> None:
    form = approximate_activation(op, max_error=abs(op.post) / 100)
    x = np.linspace(0, 10, 1001)
    total = evaluate(form, x) + evaluate(form, -x)
    assert np.ptp(total) == pytest.approx(0, abs=1e-12)
    if op.kind == "tanh":
        assert total[0] == 0


@pytest.mark.parametrize("op", [CURVED[0], CURVED[3], CURVED[5]], ids=_name)
def test_more_segments_never_hurt(op: Activation) -> None:
    errors = []
    for segments in (3, 5, 7, 11, 15):
        form = approximate_activation(op, segments=segments)
        assert form.slopes.shape[1] <= segments
        errors.append(activation_error(form, op))
    assert (np.diff(errors) <= 1e-12).all()
    assert errors[-1] < errors[0] / 10


def test_tanh_in_few_segments_beats_plan_at_equal_number() -> None:
    # PLAN, which is near tanh(x / 2), has 7 segments and an error of 0.0379
    form = approximate_activation(Activation("tanh", pre=0.5), segments=7)
    assert activation_error(form, Activation("tanh", pre=0.5)) < 0.025


@given(st.floats(-6, 5), st.floats(0.1, 8), st.sampled_from(CURVED))
@settings(derandomize=True, max_examples=12, deadline=None)
def test_a_range_needs_no_segments_elsewhere(lo: float, width: float, op: Activation) -> None:
    limit = abs(op.post) / 64
    hi = lo + width
    form = approximate_activation(op, lo, hi, max_error=limit)
    _check_form(form, terms=2)
    assert activation_error(form, op, lo, hi) <= limit
    assert ((form.breakpoints > lo) & (form.breakpoints < hi)).all()
    assert form.slopes.shape[1] <= approximate_activation(op, max_error=limit).slopes.shape[1]


@pytest.mark.parametrize(
    ("op", "slopes"),
    [
        (Activation("leaky_relu", (np.array([0.25]),)), [[0.25, 1]]),
        (Activation("leaky_relu", (np.array([0.1]),)), [[0.09375, 1]]),
        (Activation("leaky_relu", (np.array([0.25]),), pre=-2.0), [[-2, -0.5]]),
        (Activation("prelu", (np.array([0.5, -0.25, 0.0]),)), [[0.5, 1], [-0.25, 1], [0, 1]]),
        (Activation("relu", pre=-1.0), [[-1, 0]]),
        (Activation("relu", post=-0.5), [[0, -0.5]]),
    ],
)
def test_two_sided_kinds(op: Activation, slopes: list[list[float]]) -> None:
    form = approximate_activation(op)
    np.testing.assert_array_equal(form.slopes, slopes)
    np.testing.assert_array_equal(form.breakpoints, np.zeros((len(slopes), 1)))
    np.testing.assert_array_equal(form.offsets, 0)
    inexact = op.kind == "leaky_relu" and op.parameters[0][0] == 0.1
    assert activation_error(form, op) == (math.inf if inexact else 0)
    if inexact:
        assert activation_error(form, op, -4, 4) == pytest.approx(4 * 0.00625)


def test_clip_with_negative_factor_or_a_bound_for_each_channel() -> None:
    op = Activation("clip", (np.array([-1.0, 0.0]), np.array([1.0, 6.0])), pre=-2.0)
    form = approximate_activation(op)
    np.testing.assert_array_equal(form.breakpoints, [[-0.5, 0.5], [-3.0, 0.0]])
    assert not _jumps(form).any()
    assert activation_error(form, op) == 0
    with pytest.raises(UnsupportedError, match="infinite bound"):
        approximate_activation(Activation("clip", (np.array([0.0]), np.array([np.inf])), pre=-1.0))


@pytest.mark.parametrize(
    ("op", "saturates"),
    [
        (Activation("relu"), True),
        (Activation("relu", pre=-1.0), False),
        (Activation("clip", (np.array([0.0]), np.array([6.0]))), True),
        (Activation("clip", (np.array([0.0, 1.0]), np.array([6.0]))), False),
        (Activation("tanh"), False),
        (Activation("leaky_relu", (np.array([0.1]),)), False),
    ],
)
def test_what_two_bounds_compute(op: Activation, saturates: bool) -> None:
    assert is_saturation(op) is saturates


@pytest.mark.parametrize(("pre", "post", "value"), [(0.0, 4.0, 2.0), (1.0, 0.0, 0.0)])
def test_factor_of_zero_makes_a_constant(pre: float, post: float, value: float) -> None:
    form = approximate_activation(Activation("sigmoid", pre=pre, post=post))
    assert form.slopes.tolist() == [[0.0]]
    assert form.offsets.tolist() == [[value]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_error": 0.1, "segments": 3}, "not both"),
        ({"max_error": 0.0}, "must be positive"),
        ({"lo": 1.0, "hi": 1.0}, "lo < hi"),
        ({"terms": 0}, "Number of terms must be at least 1"),
    ],
)
def test_arguments_are_checked(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        approximate_activation(Activation("tanh"), **options)


def test_one_segment_does_not_bend() -> None:
    with pytest.raises(ValueError, match="1 segments are too few for silu"):
        approximate_activation(Activation("silu"), segments=1)


def test_unknown_kind() -> None:
    with pytest.raises(UnsupportedError, match="'sine' has no piecewise-linear form"):
        approximate_activation(Activation("sine"))


BENT = [
    Activation("erf", pre=0.7, post=2.0),
    Activation("silu"),
    Activation("silu", pre=1.702, post=1 / 1.702),
    Activation("silu", pre=-1.0, post=0.75),
    Activation("gelu"),
    Activation("gelu_tanh"),
    Activation("hard_swish"),
    Activation("mish"),
    Activation("softplus"),
    Activation("elu", (np.array([0.5]),)),
    Activation("hard_sigmoid", (np.array([-0.25]), np.array([0.5]))),
]


@pytest.mark.parametrize("op", BENT, ids=_name)
@pytest.mark.parametrize("relative", [1 / 64, 1 / 256])
def test_kinds_with_tails_on_the_whole_line(op: Activation, relative: float) -> None:
    limit = relative * abs(op.post)
    form = approximate_activation(op, max_error=limit)
    _check_form(form, terms=2)
    x = np.concatenate([np.linspace(-30, 30, 100_001), [-1e6, 1e6]])
    exact = apply(op, [x.reshape(1, 1, 1, -1)]).ravel()
    assert np.abs(evaluate(form, x) - exact).max() <= limit
    assert activation_error(form, op) <= limit


def test_exp_needs_an_end() -> None:
    op = Activation("exp", pre=-0.5, post=3.0)
    form = approximate_activation(op, lo=-4.0)
    _check_form(form, terms=2)
    peak = 3 * math.exp(2)
    assert amplitude(op, -4.0) == pytest.approx(peak)
    assert activation_error(form, op, lo=-4.0) <= peak / 128
    for bounds in ({}, {"hi": 3.0}):
        with pytest.raises(UnsupportedError, match="needs a bounded range"):
            approximate_activation(op, **bounds)


def _fewest_by_trying(
    target: list[float], slopes: list[int], max_error: float, unit: float
) -> int | None:
    """Fewest segments of a chain of slopes, one a knot cell, by trying all of them."""
    lowest = math.ceil((target[0] - max_error) / unit)
    highest = math.floor((target[0] + max_error) / unit)
    states = {(v, s, 1) for v in range(lowest, highest + 1) for s in slopes}
    for exact in target[1:]:
        states = {
            (value + slope, following, count + (following != slope))
            for value, slope, count in states
            for following in slopes
            if abs((value + slope) * unit - exact) <= max_error
        }
    return min((count for _, _, count in states), default=None)


@pytest.mark.parametrize("seed", range(12))
def test_no_polyline_on_the_grid_has_fewer_segments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.integers(0, 5, size=9)) / 8
    cells = np.arange(9.0)
    grid, slopes = Grid(0, 2), np.array([0, 1, 2, 4])
    found = fewest_segments(
        lambda x: np.interp(x, cells, values), 0, 8, grid=grid, slopes=slopes, max_error=0.25
    )
    expected = _fewest_by_trying(values.tolist(), slopes.tolist(), 0.25, 0.25)
    assert (found is None) == (expected is None)
    if found is not None:
        assert len(found.slopes) == expected
        assert np.abs(np.ldexp(np.array(found.values), -2)[[0, -1]] - values[[0, -1]]).max() <= 0.25
