"""Dyadic combinations of maps, and counts against the formulas of the paper's reading."""

from itertools import product

import numpy as np
import pytest
from approx_networks import chain
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.network.types import Activation, Conv, Network
from hwgen.numeric import Dyadic
from hwgen.slim.channels import channel_moments
from hwgen.slim.combination_costs import (
    Form,
    combination_cost,
    combination_terms,
    dyadic_combination,
)
from hwgen.slim.features import Combination, combination_errors, fit_combination, materialise


def maps(seed: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((channels, channels))
    x = rng.standard_normal((80, channels)) @ mix + rng.standard_normal(channels)
    return x.T[None, :, :, None]


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([None, 1, 3]), st.booleans())
def test_coefficients_have_few_terms_and_no_new_sources(
    seed: int, terms: int, sources: int | None, constant: bool
) -> None:
    moments = channel_moments(maps(seed, 6))
    made = fit_combination(moments, [1, 4], sources=sources, constant=constant)
    near = dyadic_combination(made, terms)
    fitted = dyadic_combination(made, terms, moments=moments)
    for each in (near, fitted):
        counts = np.vectorize(lambda c: Dyadic.exact(c).terms)(each.coefficients)
        assert counts.max() <= terms
        assert not each.coefficients[made.coefficients == 0].any()
        assert (each.constant != 0).tolist() == [constant] * 2
        assert (combination_terms(each) == counts.sum(axis=0) + constant).all()
        assert (combination_errors(moments, each) >= combination_errors(moments, made) - 1e-6).all()
    slack = 1e-3 * moments.output_variance[[1, 4]].sum()  # damping
    errors = [combination_errors(moments, each).sum() for each in (fitted, near)]
    assert errors[0] <= errors[1] + slack


def test_fitting_the_coefficients_again_pays() -> None:
    sums = np.zeros(2)
    for seed in range(10):
        moments = channel_moments(maps(seed, 7))
        made = fit_combination(moments, [1, 4])
        for k, known in enumerate((None, moments)):
            found = dyadic_combination(made, 1, moments=known)
            sums[k] += combination_errors(moments, found).sum()
    assert sums[1] < sums[0]


def test_one_source_gets_the_best_power_of_two() -> None:
    moments = channel_moments(maps(1, 4))
    made = fit_combination(moments, [0], sources=1)
    found = dyadic_combination(made, 1, moments=moments)
    at = int(np.flatnonzero(made.coefficients)[0])
    errors = {}
    for exponent, sign in product(range(-8, 8), (-1, 1)):
        c = np.zeros_like(made.coefficients)
        c[at] = sign * 2.0**exponent
        one = Combination(made.dropped, made.kept, c, made.constant)
        errors[float(c[at, 0])] = float(combination_errors(moments, one)[0])
    assert found.coefficients[at, 0] == min(errors, key=errors.__getitem__)


@pytest.mark.parametrize(("terms", "recipe"), [(1, "P1"), (1, "P4@0.5"), (2, "terms(2,-6,0)")])
def test_dyadic_combinations_stay_what_they_are_when_layers_become_dyadic(
    terms: int, recipe: str
) -> None:
    moments = channel_moments(maps(2, 5))
    made = dyadic_combination(fit_combination(moments, [0, 3]), terms, moments=moments)
    built = materialise(network(5, 1, 3, 2, 3), "r", made)
    op = built.node("r_combined").op
    assert isinstance(op, Conv)
    filters = approximate_filters(op, parse_recipe(recipe))
    np.testing.assert_array_equal(filters.weight, op.weight)


def test_zero_maps_and_dyadic_ones_stay_what_they_are() -> None:
    made = Combination((0, 2), (1, 3), np.array([[0.0, 0.5], [0.0, -0.25]]), np.array([0.0, 0.75]))
    found = dyadic_combination(made, 1)
    np.testing.assert_array_equal(found.coefficients, made.coefficients)
    np.testing.assert_array_equal(found.constant, made.constant)
    assert combination_terms(found).tolist() == [0, 3]
    nothing = Combination((0, 1), (), np.zeros((0, 2)), np.array([1.0, 0.0]))
    assert combination_terms(dyadic_combination(nothing, 2)).tolist() == [1, 0]


def network(n: int, cin: int, k: int, after: int, k2: int) -> Network:
    rng = np.random.default_rng(n)

    def conv(*shape: int) -> Conv:
        return Conv(rng.standard_normal(shape), rng.standard_normal(shape[0]))

    relu = Activation("relu")
    return chain(
        (cin, 9, 8),
        [("a", conv(n, cin, k, k)), ("r", relu), ("b", conv(after, n, k2, k2))],
    )


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    *(st.integers(2, 6), st.integers(1, 3), st.sampled_from([1, 3])),
    *(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 4)),
)
def test_counts_are_those_of_the_formulas(
    n: int, cin: int, k: int, after: int, k2: int, dropped: int, s: int
) -> None:
    dropped = min(dropped, n - 1)
    kept, s = n - dropped, min(s, n - dropped)
    made = network(n, cin, k, after, k2)
    coefficients = np.zeros((kept, dropped))
    coefficients[:s] = 0.75  # two terms
    combination = Combination(
        tuple(range(kept, n)), tuple(range(kept)), coefficients, np.zeros(dropped)
    )
    pixels, next_pixels = (10 - k) * (9 - k), (11 - k - k2) * (10 - k - k2)
    old = n * cin * k * k * pixels + after * n * k2 * k2 * next_pixels
    first = kept * cin * k * k * pixels
    costs = {
        form: combination_cost(made, "r", combination, form) for form in ("folded", "materialised")
    }
    folded, built = costs["folded"], costs["materialised"]
    assert folded.before == built.before == old
    assert (folded.macs, folded.additions) == (0, 0)
    assert folded.after == first + after * kept * k2 * k2 * next_pixels
    assert built.macs == dropped * s * pixels
    assert built.additions == dropped * (2 * s - 1) * pixels
    assert built.after == first + built.macs + after * n * k2 * k2 * next_pixels


def test_what_cannot_be_folded_has_no_cost() -> None:
    made = network(3, 1, 3, 2, 3)
    one = Combination((0,), (1, 2), np.ones((2, 1)), np.zeros(1))
    form: Form = "folded"
    with pytest.raises(ValueError, match="cannot be folded: 'b' is the output"):
        combination_cost(made, "b", Combination((0,), (1,), np.ones((1, 1)), np.zeros(1)), form)
    assert combination_cost(made, "r", one, form).additions == 0
