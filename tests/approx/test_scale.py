"""The scale search: against every choice of codes, against a grid, and on degenerate filters."""

from fractions import Fraction
from itertools import pairwise, product
from operator import le, lt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwgen.approx.scale import (
    best_dyadic_scale,
    best_scale,
    magnitudes,
    nearest_codes,
    nearest_dyadic,
    rows_by_scale,
)
from hwgen.approx.sets import LADDER, DyadicSet, parse_set
from hwgen.numeric import csd_weight

SMALL_SETS = [parse_set(name) for name in ("P1", "P3", "P4", "P5", "{1,3}", "{3/4,2}")]


def _energy(weights: np.ndarray) -> np.ndarray:
    return (weights**2).sum(axis=1)


def _errors_of_all_codes(weights: np.ndarray, dyadic_set: DyadicSet) -> np.ndarray:
    """Rows (<W,T>, <T,T>) of every T other than 0."""
    every = np.array(list(product(dyadic_set.values, repeat=len(weights))))
    every = every[every.any(axis=1)]
    return np.stack([every @ weights, (every**2).sum(axis=1)])


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("P1", 0.176),
        ("P2", 0.069),
        ("P3", 0.034),
        ("P4", 0.034),
        ("P5", 0.0222),
        ("P6", 0.0254),
        ("P7", 0.0060),
        ("P8", 0.0014),
    ],
)
def test_mean_error_of_gaussian_filters(name: str, error: float) -> None:
    weights = np.random.default_rng(5).standard_normal((2000, 25))
    found = best_scale(weights, parse_set(name))
    assert np.mean(found.error / _energy(weights)) == pytest.approx(error, rel=0.06)
    # scales of three terms are almost as good
    dyadic = best_dyadic_scale(weights, parse_set(name))
    assert np.mean(dyadic.error / found.error) < 1.06


@pytest.mark.parametrize("dyadic_set", LADDER[:8], ids=lambda s: s.name)
def test_never_worse_than_a_grid_of_scales(dyadic_set: DyadicSet) -> None:
    weights = np.random.default_rng(6).standard_normal((60, 25))
    found = best_scale(weights, dyadic_set)
    for factor in np.linspace(0.02, 4.0, 400):
        scale = factor * np.abs(weights).max(axis=1) / float(dyadic_set.values[-1])
        codes = np.ldexp(nearest_codes(weights, scale, dyadic_set), -dyadic_set.frac)
        error = ((weights - scale[:, None] * codes) ** 2).sum(axis=1)
        assert (found.error <= error + 1e-12).all()


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=4).filter(any),
    st.sampled_from(SMALL_SETS),
)
@example([1, 1, 1], SMALL_SETS[0])
@example([4, 2, 2], SMALL_SETS[0])
@example([0, 0, 7], SMALL_SETS[4])
@settings(derandomize=True, max_examples=150, deadline=None)
def test_no_choice_of_codes_is_better(numbers: list[int], dyadic_set: DyadicSet) -> None:
    weights = np.array(numbers, dtype=np.float64) / 8
    product_, norm = _errors_of_all_codes(weights, dyadic_set)
    least = (weights**2).sum() - (product_**2 / norm).max()
    found = best_scale(weights[None], dyadic_set)
    assert found.error[0] == pytest.approx(least, abs=1e-9)
    assert set(found.codes.ravel()) <= set(dyadic_set.numerators)
    approximation = found.scale[0] * np.ldexp(found.codes[0], -found.frac)
    assert ((weights - approximation) ** 2).sum() == pytest.approx(found.error[0], abs=1e-12)


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=3).filter(any),
    st.sampled_from(SMALL_SETS),
    st.integers(1, 3),
    st.integers(2, 5),
)
@settings(derandomize=True, max_examples=150, deadline=None)
def test_no_pair_of_codes_and_dyadic_scale_is_better(
    numbers: list[int], dyadic_set: DyadicSet, terms: int, bits: int
) -> None:
    weights = np.array(numbers, dtype=np.float64) / 8
    scales = np.array(
        [
            mantissa * 2.0**exponent
            for mantissa in range(1 << bits, 2 << bits)
            if csd_weight(mantissa) <= terms
            for exponent in range(-16, 8)
        ]
    )
    product_, norm = _errors_of_all_codes(weights, dyadic_set)
    energy = float((weights**2).sum())
    errors = energy - 2 * scales[:, None] * product_ + scales[:, None] ** 2 * norm
    found = best_dyadic_scale(weights[None], dyadic_set, terms=terms, bits=bits)
    assert found.error[0] == pytest.approx(errors.min(), abs=1e-9)
    assert found.scale[0] in scales


def test_layers_of_filters_agree_with_single_filters() -> None:
    weights = np.random.default_rng(7).standard_normal((5, 30))
    weights[2] = 0
    together = best_dyadic_scale(weights, parse_set("P7"))
    for row in range(5):
        alone = best_dyadic_scale(weights[row : row + 1], parse_set("P7"))
        assert alone.scale[0] == together.scale[row]
        np.testing.assert_array_equal(alone.codes[0], together.codes[row])


def _exact_gains(weights: list[Fraction], dyadic_set: DyadicSet) -> list[Fraction]:
    """``<W,T>**2 / <T,T>`` of the nearest T on both sides of every break-point."""
    values = [Fraction(n, 1 << dyadic_set.frac) for n in magnitudes(dyadic_set).tolist()]
    midpoints = [(low + high) / 2 for low, high in pairwise(values)]
    found = []
    for beta in {m / abs(w) for m in midpoints for w in weights if w}:
        for reached in (le, lt):
            nearest = [values[sum(reached(m, beta * abs(w)) for m in midpoints)] for w in weights]
            if norm := sum(t * t for t in nearest):
                product_ = sum(abs(w) * t for w, t in zip(weights, nearest, strict=True))
                found.append(product_ * product_ / norm)
    return found


@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=9).filter(any),
    st.sampled_from([*LADDER[:9], parse_set("terms(2,-3,1)"), parse_set("{3/4,2}")]),
)
@example([8, 4, 4, 2, 2, 1], LADDER[5])
@settings(derandomize=True, max_examples=150, deadline=None)
def test_no_break_point_is_better_exactly(numbers: list[int], dyadic_set: DyadicSet) -> None:
    found = best_scale(np.array([numbers], dtype=np.float64), dyadic_set)
    codes = [Fraction(int(c), 1 << dyadic_set.frac) for c in found.codes[0]]
    product_ = sum(w * t for w, t in zip(numbers, codes, strict=True))
    norm = sum(t * t for t in codes)
    assert product_ * product_ / norm == max(_exact_gains(list(map(Fraction, numbers)), dyadic_set))
    assert found.scale[0] == pytest.approx(float(product_ / norm), rel=1e-14)
    error = sum(w * w for w in numbers) - product_ * product_ / norm
    assert found.error[0] == pytest.approx(float(error), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", ["P1", "P6", "P8", "terms(2,-5,0)"])
@pytest.mark.parametrize("entries", [64, 65, 150])
def test_long_rows(name: str, entries: int) -> None:
    dyadic_set = parse_set(name)
    weights = np.random.default_rng(entries).laplace(size=entries)
    levels = np.ldexp(magnitudes(dyadic_set).astype(float), -dyadic_set.frac)
    midpoints = (levels[1:] + levels[:-1]) / 2
    scales = (np.abs(weights)[:, None] / midpoints).ravel() * (1 - 1e-12)
    codes = nearest_codes(np.tile(weights, (len(scales), 1)), scales, dyadic_set)
    nearest = np.ldexp(codes.astype(float), -dyadic_set.frac)
    gain = ((nearest @ weights) ** 2 / (nearest**2).sum(axis=1)).max()
    found = best_scale(weights[None], dyadic_set)
    assert found.error[0] == pytest.approx((weights**2).sum() - gain, rel=1e-12)


def test_rows_of_each_granularity() -> None:
    weight = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(rows_by_scale(weight, "kernel")[4], weight[1, 1].ravel())
    np.testing.assert_array_equal(rows_by_scale(weight, "filter")[1], weight[1].ravel())
    np.testing.assert_array_equal(rows_by_scale(weight, "layer")[0], weight.ravel())
    assert rows_by_scale(weight, "layer").base is weight.base


def test_finer_scales_leave_less_error() -> None:
    weight = np.random.default_rng(8).standard_normal((4, 3, 5, 5))
    errors = [
        best_scale(rows_by_scale(weight, shared), LADDER[5]).error.sum()
        for shared in ("kernel", "filter", "layer")
    ]
    assert errors == sorted(errors)


@pytest.mark.parametrize("search", [best_scale, best_dyadic_scale])
class TestDegenerateFilters:
    def test_zeros(self, search) -> None:
        found = search(np.zeros((3, 4)), parse_set("P4"))
        np.testing.assert_array_equal(found.codes, np.zeros((3, 4)))
        np.testing.assert_array_equal(found.scale, 1)
        np.testing.assert_array_equal(found.error, 0)

    def test_no_filters_and_no_entries(self, search) -> None:
        assert search(np.zeros((0, 4)), parse_set("P4")).codes.shape == (0, 4)
        assert search(np.zeros((2, 0)), parse_set("P4")).codes.shape == (2, 0)

    @pytest.mark.parametrize("weight", [3.0, -0.75, 2.0**-1060, -(2.0**500)])
    def test_one_weight(self, search, weight: float) -> None:
        found = search(np.array([[0.0, weight, 0.0]]), parse_set("P5"))
        assert found.error[0] <= 1e-30 * weight * weight
        assert found.scale[0] > 0
        assert np.sign(found.codes[0]).tolist() == [0, np.sign(weight), 0]

    def test_constant_filter(self, search) -> None:
        found = search(np.full((1, 9), -0.625), parse_set("P4"))
        assert found.error[0] == pytest.approx(0, abs=1e-30)
        assert len(np.unique(found.codes)) == 1

    def test_far_smaller_weights_become_zero(self, search) -> None:
        found = search(np.array([[1.0, 1e-200, -1e-300, 5e-324]]), parse_set("P4"))
        np.testing.assert_array_equal(found.codes[0, 1:], 0)
        assert found.error[0] <= 1e-30

    def test_powers_of_two_scale_exactly(self, search) -> None:
        weights = np.random.default_rng(9).standard_normal((4, 9))
        first = search(weights, parse_set("P7"))
        second = search(np.ldexp(weights, -40), parse_set("P7"))
        np.testing.assert_array_equal(first.codes, second.codes)
        np.testing.assert_array_equal(np.ldexp(first.scale, -40), second.scale)

    def test_negated_filter_has_negated_codes(self, search) -> None:
        weights = np.random.default_rng(10).standard_normal((4, 9))
        first, second = search(weights, LADDER[6]), search(-weights, LADDER[6])
        np.testing.assert_array_equal(first.codes, -second.codes)
        np.testing.assert_array_equal(first.scale, second.scale)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, search, bad: float) -> None:
        with pytest.raises(ValueError, match="Weights must be finite"):
            search(np.array([[1.0, bad]]), parse_set("P4"))

    def test_wrong_axes(self, search) -> None:
        with pytest.raises(ValueError, match="two axes"):
            search(np.zeros(3), parse_set("P4"))


@given(st.floats(1e-6, 1e6), st.integers(1, 4), st.integers(0, 8), st.sampled_from([1, -1]))
@settings(derandomize=True, max_examples=200)
def test_nearest_dyadic_is_nearest(x: float, terms: int, bits: int, sign: int) -> None:
    found = nearest_dyadic(sign * x, terms=terms, bits=bits)
    assert found.terms <= terms
    assert abs(found.mantissa).bit_length() <= bits + 1
    assert float(found) * sign > 0
    exponent = int(np.frexp(x)[1])
    allowed = [
        np.ldexp(float(m), exponent - 1 - bits)
        for m in range(1 << bits, (2 << bits) + 1)
        if csd_weight(m) <= terms
    ]
    assert abs(float(found) - sign * x) == min(abs(a - x) for a in allowed)


def test_nearest_dyadic_of_zero_and_of_what_is_no_number() -> None:
    assert float(nearest_dyadic(0.0, terms=2)) == 0
    with pytest.raises(ValueError, match="finite"):
        nearest_dyadic(np.inf, terms=2)
    with pytest.raises(ValueError, match="at least 1"):
        nearest_dyadic(1.0, terms=0)
    with pytest.raises(ValueError, match="0 to 16"):
        nearest_dyadic(1.0, terms=1, bits=17)
