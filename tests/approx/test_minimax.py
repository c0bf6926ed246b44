"""Minimax approximation of any function: errors that hold, and few segments for them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.minimax import Tail, approximate_callable
from hwgen.approx.minimax_bound import least_error_bound, segments_bound
from hwgen.approx.piecewise import Grid, evaluate, fewest_segments, slope_set
from hwgen.errors import UnsupportedError
from hwgen.numeric import Dyadic, csd_weight

FUNCTIONS = {
    "exp": (np.exp, -4.0, 1.0),
    "sin": (np.sin, -3.0, 7.3),
    "sqrt": (np.sqrt, 0.25, 3.0),
    "wave": (lambda x: np.sin(3 * x) + 0.3 * x * x, -2.0, 2.0),
    "steep": (lambda x: 1000 * np.tanh(x / 100), -150.0, 400.0),
    "tiny": (lambda x: 1e-3 * np.cos(x), 0.0, 3.0),
    "log": (np.log, 0.1, 5.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("parts", [30, 150])
def test_error_holds_on_a_range(name: str, parts: int) -> None:
    function, lo, hi = FUNCTIONS[name]
    x = np.linspace(lo, hi, 100_001)
    limit = float(np.ptp(function(x))) / parts
    fit = approximate_callable(function, lo, hi, max_error=limit)
    error = float(np.abs(evaluate(fit.function, x) - function(x)).max())
    assert error <= limit
    assert fit.error == pytest.approx(error, rel=0.01)
    assert all(Dyadic.exact(float(s)).terms <= 2 for s in fit.function.slopes.ravel())
    knots = fit.function.breakpoints[0]
    assert ((lo < knots) & (knots < hi)).all()
    # no function without the dyadic grids does with fewer than bound segments
    bound = segments_bound(function, lo, hi, max_error=limit)
    assert bound <= fit.segments <= 1.5 * bound + 2


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=6),
    st.integers(1, 3),
    st.floats(-2, 1),
    st.floats(0.5, 3),
)
@settings(derandomize=True, max_examples=20, deadline=None)
def test_any_smooth_function(
    coefficients: list[float], terms: int, lo: float, width: float
) -> None:
    def function(x: np.ndarray) -> np.ndarray:
        return sum(c * np.cos(k * x + c) for k, c in enumerate(coefficients))

    fit = approximate_callable(function, lo, lo + width, max_error=0.05, terms=terms)
    assert fit.error <= 0.05
    assert all(Dyadic.exact(float(s)).terms <= terms for s in fit.function.slopes.ravel())


@pytest.mark.parametrize(("name", "segments"), [("exp", 6), ("sin", 6), ("wave", 12)])
def test_error_for_a_number_of_segments_is_near_the_bound(name: str, segments: int) -> None:
    function, lo, hi = FUNCTIONS[name]
    fit = approximate_callable(function, lo, hi, segments=segments, terms=3)
    assert fit.segments <= segments
    bound = least_error_bound(function, lo, hi, segments=segments)
    assert bound <= fit.error * 1.001
    assert fit.error <= 2 * bound


def test_bound_of_a_parabola_is_the_known_one() -> None:
    # a chord of length L, shifted, misses x**2 by L**2 / 8
    for segments in (1, 2, 5):
        bound = least_error_bound(np.square, 0.0, 1.0, segments=segments)
        assert bound == pytest.approx(1 / (8 * segments**2), rel=0.02)
        assert segments_bound(np.square, 0.0, 1.0, max_error=bound * 1.05) == segments


def _by_trying(exact: np.ndarray, slopes: np.ndarray, max_error: float, unit: float) -> int | None:
    """Fewest segments of all chains of slopes, one a cell, from all values that fit."""
    best = None
    lowest = math.ceil((exact[0] - max_error) / unit)
    starts = range(lowest, math.floor((exact[0] + max_error) / unit) + 1)
    for chain in itertools.product(slopes.tolist(), repeat=len(exact) - 1):
        path = np.concatenate([[0], np.cumsum(chain)])
        if any((np.abs((s + path) * unit - exact) <= max_error).all() for s in starts):
            count = 1 + sum(a != b for a, b in itertools.pairwise(chain))
            best = count if best is None else min(best, count)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_fewest_segments_of_all_polylines_that_rise_and_fall(seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = np.cumsum(rng.integers(-5, 6, size=6)) / 8
    slopes = slope_set(-1.0, 1.0, terms=1, slope_frac=2)
    found = fewest_segments(
        lambda x: np.interp(x, np.arange(6.0), exact),
        0,
        5,
        grid=Grid(0, 2),
        slopes=slopes,
        max_error=0.25,
    )
    expected = _by_trying(exact, slopes, 0.25, 0.25)
    assert (len(found.slopes) if found is not None else None) == expected


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_slope_set_is_all_short_sums(terms: int) -> None:
    expected = [n for n in range(-37, 101) if csd_weight(n) <= terms]
    found = slope_set(-37 / 8, 100.9 / 8, terms=terms, slope_frac=3)
    np.testing.assert_array_equal(found, expected)


def test_lines_that_cross() -> None:
    fit = approximate_callable(
        lambda x: np.maximum(x, 0), max_error=1 / 64, left=Tail(), right=Tail(slope=1.0)
    )
    assert fit.segments == 2
    assert fit.error <= 1 / 64


def test_a_tail_that_no_slope_has() -> None:
    def function(x: np.ndarray) -> np.ndarray:
        return 0.7 * x / (1 + np.exp(-x))

    fit = approximate_callable(function, max_error=0.05, left=Tail(), right=Tail(slope=0.7))
    assert math.isinf(fit.error)
    x = np.linspace(-20, 4, 1001)
    assert np.abs(evaluate(fit.function, x) - function(x)).max() <= 0.05
    bounded = approximate_callable(function, -20, 4, max_error=0.05, left=Tail())
    assert bounded.error <= 0.05


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "either max_error or segments"),
        ({"max_error": 0.1, "segments": 2}, ValueError, "either max_error or segments"),
        ({"max_error": -1.0}, ValueError, "must be positive"),
        ({"max_error": 0.1, "lo": 3.0}, ValueError, "lo < hi"),
        ({"max_error": 0.1, "terms": 0}, ValueError, "at least 1"),
        ({"max_error": 0.1, "hi": math.inf}, UnsupportedError, "must have a finite hi"),
        ({"max_error": 0.1, "lo": -1.0}, UnsupportedError, "finite on its range"),
    ],
)
def test_refusals(options: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        approximate_callable(np.sqrt, **{"lo": 0.5, "hi": 2.0, **options})


def test_large_values_cost_no_more() -> None:
    fit = approximate_callable(np.exp, hi=16.0, max_error=math.exp(16.0) / 128, left=Tail())
    small = approximate_callable(np.exp, hi=0.0, max_error=1 / 128, left=Tail())
    assert fit.error <= math.exp(16.0) / 128
    assert fit.segments == small.segments
