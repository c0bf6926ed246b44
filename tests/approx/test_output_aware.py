"""Output-aware filters: never worse than their start, within the limit, and near the optimum."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx import output_aware
from hwgen.approx.filters import approximate_filters, output_aware_filters
from hwgen.approx.moments import Accumulator, Moments, patch_moments
from hwgen.approx.output_aware import output_objective, refine
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.scale import scale_mantissas
from hwgen.approx.types import DyadicFilters
from hwgen.network.execute import apply
from hwgen.network.types import Conv
from hwgen.numeric import Dyadic, csd_weight


def _correlated(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Images whose neighbouring pixels and channels are alike, not negative."""
    x = rng.standard_normal(shape)
    x += 2 * rng.standard_normal((shape[0], 1, *shape[2:])) + rng.standard_normal(
        (*shape[:2], 1, 1)
    )
    return np.maximum(x, 0)


def _layer(seed: int, groups: int = 1, **options: object) -> tuple[Conv, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((4 * groups, 3, 3, 2)) * rng.uniform(0.1, 2, (4 * groups, 1, 1, 1))
    op = Conv(weight, rng.standard_normal(4 * groups), groups=groups, **options)
    exact = _correlated(rng, (6, 3 * groups, 6, 6))
    return op, exact, exact + 0.1 * rng.standard_normal(exact.shape)


def _terms(filters: DyadicFilters) -> int:
    return sum(csd_weight(int(code)) for code in filters.codes.ravel())


def _numbers(filters: DyadicFilters) -> np.ndarray:
    factors = 1 if filters.factors is None else filters.factors[:, :, None, None]
    return filters.codes // factors


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2]),
    st.sampled_from(["P1", "P4", "P7", "terms(2,-5,0)"]),
    st.sampled_from([None, 0.3, 0.8, 1.2]),
    st.sampled_from(["filter", "layer", "kernel"]),
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_refined_is_never_worse_and_keeps_set_limit_and_scales(
    seed: int, groups: int, name: str, limit: float | None, scale: str
) -> None:
    op, exact, seen = _layer(seed, groups)
    moments = patch_moments(op, exact, seen)
    recipe = replace(parse_recipe(name), mean_terms=limit, scale=scale)
    nearest = approximate_filters(op, recipe)
    found = refine(op, nearest, recipe, moments)
    assert set(np.unique(_numbers(found))) <= set(recipe.dyadic_set.numerators)
    assert all(s.terms <= 3 and s.mantissa > 0 for s in found.scale)
    if scale == "layer":
        assert len(set(found.scale)) == 1
    if found.factors is not None:
        np.testing.assert_array_equal(found.codes % found.factors[:, :, None, None], 0)
        np.testing.assert_array_equal(found.factors, nearest.factors)
    if limit is not None:
        assert _terms(found) <= limit * op.weight.size
    assert output_objective(op, found, moments) <= output_objective(op, nearest, moments)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["P1", "P4", "P8", "terms(2,-5,0)"]),
    st.sampled_from([None, 0.3, 1.2]),
    st.sampled_from(["filter", "layer", "kernel"]),
)
@settings(derandomize=True, max_examples=40, deadline=None)
def test_weights_that_were_removed_stay_removed(
    seed: int, name: str, limit: float | None, scale: str
) -> None:
    original, exact, seen = _layer(seed, groups=2)
    rng = np.random.default_rng(seed + 1)
    weight = original.weight * (rng.random(original.weight.shape) < 0.5)
    weight[:, 1] = 0  # a channel that nothing reads
    weight[[3, 4]] = 0
    bias = original.bias.copy()
    bias[3] = 0
    op = replace(original, weight=weight, bias=bias)
    seen[:, 1] = 0
    moments = patch_moments(original, exact, seen)
    recipe = replace(parse_recipe(name), mean_terms=limit, scale=scale)
    nearest = approximate_filters(op, recipe)
    found = approximate_filters(op, recipe, moments=moments)
    for filters in (nearest, found):
        assert not filters.codes[weight == 0].any()
    if limit is not None:
        assert _terms(found) <= limit * np.count_nonzero(weight)
    assert output_objective(op, found, moments) <= output_objective(op, nearest, moments)
    assert found.bias[3] == 0
    mean = apply(original, [exact]).mean(axis=(0, 2, 3))[4]
    np.testing.assert_allclose(found.bias[4], mean, rtol=1e-4)


def test_zeros_do_not_loosen_a_limit() -> None:
    """Zeros in the weights and the same weights without them have the same number of terms."""
    op, exact, _ = _layer(8)
    wide = replace(op, weight=np.pad(op.weight, [(0, 0), (0, 2), (1, 1), (0, 1)]))
    pads = (1, 0, 1, 1)
    padded = np.pad(exact, [(0, 0), (0, 2), (0, 0), (0, 0)])
    wide = replace(wide, pads=pads)
    for recipe in map(parse_recipe, ("P8@0.4", "terms(2,-6,0)@0.8/layer", "P7@0.5/kernel")):
        alone = approximate_filters(op, recipe)
        within = approximate_filters(wide, recipe)
        np.testing.assert_array_equal(within.codes[:, :3, 1:-1, :-1], alone.codes)
        assert not within.codes[:, 3:].any()
        assert within.scale == alone.scale
    # what reads the borders too has other moments, and as few terms
    found = approximate_filters(wide, parse_recipe("P8@0.4"), moments=patch_moments(wide, padded))
    assert 0 < _terms(found) <= 0.4 * op.weight.size


def test_a_start_beyond_the_limit_is_brought_within() -> None:
    op, exact, seen = _layer(0)
    recipe = parse_recipe("P7@0.4")
    start = approximate_filters(op, replace(recipe, mean_terms=None))
    assert _terms(start) > 0.4 * op.weight.size
    found = refine(op, start, recipe, patch_moments(op, exact, seen))
    assert 0 < _terms(found) <= 0.4 * op.weight.size


def test_a_large_layer_gains_more_than_moves_of_single_codes() -> None:
    rng = np.random.default_rng(7)
    op = Conv(rng.standard_normal((24, 20, 3, 3)), np.zeros(24))
    assert op.weight.size > output_aware._SMALL
    moments = patch_moments(op, _correlated(rng, (40, 20, 6, 6)))
    recipe = parse_recipe("terms(2,-6,0)@0.2")
    nearest = approximate_filters(op, recipe)
    found = refine(op, nearest, recipe, moments)
    assert _terms(found) <= 0.2 * op.weight.size
    before = output_objective(op, nearest, moments)
    assert output_objective(op, found, moments) < 0.45 * before


def _least(op: Conv, recipe: Recipe, moments: Moments, limit: int | None) -> float:
    """Objective of the best codes and scale of a single filter, by trying all codes."""
    mantissas = scale_mantissas(3, 8)
    best = np.inf
    frac = recipe.dyadic_set.frac
    for codes in product(recipe.dyadic_set.numerators, repeat=op.weight.size):
        if limit is not None and sum(map(csd_weight, codes)) > limit:
            continue
        shape = np.array(codes).reshape(op.weight.shape)

        def objective(scale: float, shape: np.ndarray = shape) -> float:
            exact = Dyadic.exact(scale)
            return output_objective(
                op, DyadicFilters(shape, frac, (exact,), np.zeros(1), recipe.name), moments
            )

        # a parabola in the scale: its minimum, and the allowed scales on both sides
        at = [objective(0.5), objective(1.0), objective(2.0)]
        curvature, slope, constant = np.linalg.solve([[0.25, 0.5, 1], [1, 1, 1], [4, 2, 1]], at)
        best = min(best, constant)
        own = -slope / (2 * curvature) if curvature > 1e-12 else 0.0
        if own > 0:
            exponent = np.frexp(own)[1] - 1
            near = np.ldexp(mantissas, exponent)
            index = int(np.searchsorted(near, own))
            for s in near[max(index - 1, 0) : index + 1]:
                best = min(best, float((curvature * s + slope) * s + constant))
    return best


@pytest.mark.parametrize("limit", [None, 2])
def test_nearly_always_the_optimum_of_all_codes_and_scales(limit: int | None) -> None:
    hits, count = 0, 12
    recipe = parse_recipe("P2" if limit is None else f"P2@{limit / 4}")
    for seed in range(count):
        rng = np.random.default_rng(seed)
        op = Conv(rng.standard_normal((1, 1, 2, 2)), np.zeros(1))
        moments = patch_moments(op, _correlated(rng, (20, 1, 5, 5)))
        start = approximate_filters(op, replace(recipe, mean_terms=None))
        found = output_objective(op, refine(op, start, recipe, moments), moments)
        least = _least(op, recipe, moments, limit)
        assert found >= least - 1e-9
        hits += found <= least + 1e-9
    assert hits >= 0.75 * count


@pytest.mark.parametrize(("recipe", "share"), [("P2", 0.7), ("terms(2,-5,0)", 0.95)])
def test_outputs_are_nearer_than_those_of_the_nearest_weights(recipe: str, share: float) -> None:
    for seed in range(5):
        op, exact, seen = _layer(seed, pads=(1, 1, 1, 1))
        moments = patch_moments(op, exact, seen)
        errors = []
        for known in (None, moments):
            filters = approximate_filters(op, parse_recipe(recipe), moments=known)
            better = replace(op, weight=filters.weight, bias=filters.bias)
            errors.append(float(np.square(apply(better, [seen]) - apply(op, [exact])).mean()))
        assert errors[1] < share * errors[0]


def test_bias_makes_the_mean_output_right() -> None:
    op, exact, seen = _layer(1)
    filters = approximate_filters(
        op, parse_recipe("P1"), bias_bits=20, moments=patch_moments(op, exact, seen)
    )
    found = apply(replace(op, weight=filters.weight, bias=filters.bias), [seen])
    wanted = apply(op, [exact]).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(found.mean(axis=(0, 2, 3)), wanted, atol=1e-4)
    for bias in filters.bias:
        assert abs(Dyadic.exact(float(bias)).mantissa).bit_length() <= 20


def test_exact_filters_keep_their_weights_and_get_the_bias() -> None:
    op = Conv(np.eye(3).reshape(3, 3, 1, 1), np.zeros(3))
    exact = np.abs(np.random.default_rng(2).standard_normal((5, 3, 4, 4)))
    filters = approximate_filters(
        op, parse_recipe("P1"), moments=patch_moments(op, exact, exact + 0.5)
    )
    np.testing.assert_array_equal(filters.weight, op.weight)
    np.testing.assert_allclose(filters.bias, -0.5, atol=1e-4)


def test_from_the_nearest_is_the_same() -> None:
    op, exact, seen = _layer(3)
    recipe, moments = parse_recipe("P4"), patch_moments(op, exact, seen)
    nearest = approximate_filters(op, recipe)
    one = output_aware_filters(op, nearest, recipe, moments)
    other = approximate_filters(op, recipe, moments=moments)
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.bias, other.bias)
    assert one.scale == other.scale
    assert one.recipe == other.recipe == "P4"


def test_an_input_that_is_always_zero_needs_no_care() -> None:
    op, exact, _ = _layer(4)
    exact[:, 1] = 0
    moments = patch_moments(op, exact)
    for damping in (0.0, 0.1):
        recipe = parse_recipe("P4")
        start = approximate_filters(op, recipe)
        found = refine(op, start, recipe, moments, damping=damping)
        before = output_objective(op, start, moments, damping=damping)
        assert output_objective(op, found, moments, damping=damping) < before
    silent = patch_moments(op, np.zeros_like(exact))
    refine(op, start, recipe, silent)


def test_blocks_of_a_long_patch_share_the_scale() -> None:
    op, exact, seen = _layer(5)
    accumulator = Accumulator(op, most_entries=7)
    accumulator.add(exact, seen)
    moments = accumulator.moments()
    assert moments.second.shape == (1, 3, 6, 6)
    for text in ("P4", "P4@0.5"):
        recipe = parse_recipe(text)
        start = approximate_filters(op, parse_recipe("P4"))
        found = refine(op, start, recipe, moments)
        assert len(found.scale) == 4
        if recipe.mean_terms is None:
            before = output_objective(op, start, moments)
            assert output_objective(op, found, moments) < before
        else:
            assert _terms(found) <= 0.5 * op.weight.size


def test_damping_must_not_be_negative() -> None:
    op, exact, _ = _layer(6)
    recipe = parse_recipe("P1")
    start = approximate_filters(op, recipe)
    with pytest.raises(ValueError, match=r"Damping must not be negative, not -0\.1"):
        refine(op, start, recipe, patch_moments(op, exact), damping=-0.1)
