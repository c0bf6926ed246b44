"""Codes of latent weights: nearest without a limit, within it otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.scale import nearest_codes
from hwgen.approx.types import DyadicFilters
from hwgen.finetune.projection import LayerRule, dyadic_scales
from hwgen.network.types import Conv
from hwgen.numeric import Dyadic, csd_weight

SETS = st.sampled_from(["P1", "P3", "P5", "P8", "terms(2,-4,1)", "{0,1/8,1}"])


def _rule(recipe: str, shape: tuple[int, ...], factors: object = None) -> LayerRule:
    dyadic_set = parse_recipe(recipe).dyadic_set
    codes = np.zeros(shape, dtype=np.int64)
    scale = (Dyadic(1, 0),) * shape[0]
    filters = DyadicFilters(codes, dyadic_set.frac, scale, np.zeros(shape[0]), recipe, factors)  # type: ignore[arg-type]
    rule = LayerRule.of(np.ones(shape), filters)
    assert rule is not None
    return rule


@settings(derandomize=True, max_examples=60, deadline=None)
@given(SETS, st.integers(0, 1000))
def test_nearest_codes_without_a_limit(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rule = _rule(name, (3, 2, 2, 2))
    latent, scale = rng.normal(size=(3, 8)), rng.uniform(0.5, 2, size=3)
    assert rule.penalty(latent, scale) == 0.0
    expected = nearest_codes(latent, np.ones(3), parse_recipe(name).dyadic_set)
    assert np.array_equal(rule.steps(scale, 0.0)(latent), expected)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(SETS, st.integers(0, 1000), st.floats(0.001, 1), st.sampled_from(["", "/kernel"]))
def test_least_cost_at_any_penalty(name: str, seed: int, penalty: float, scale: str) -> None:
    rng = np.random.default_rng(seed)
    factors = np.array([[1, 3], [5, 7], [1, 1]]) if scale else None
    rule = _rule(f"{name}@9{scale}", (3, 2, 2, 2), factors)
    scales = rng.uniform(0.5, 2, size=3)
    units = rule.row_scales(scales)
    latent = rng.normal(size=(rule.rows, 24 // rule.rows))
    codes = rule.steps(scales, penalty)(latent)
    for row in range(rule.rows):
        factor = int(rule.factors[row])
        terms = np.array([csd_weight(int(level) * factor) for level in rule.levels])
        for u, code in zip(latent[row], codes[row], strict=True):
            numbers = rule.levels * 2.0**-rule.frac
            cost = units[row] ** 2 * (abs(u) - numbers) ** 2 + penalty * terms
            own = int(np.flatnonzero(rule.levels == abs(code))[0])
            assert cost[own] == pytest.approx(cost.min())
            assert code * u >= 0


@settings(derandomize=True, max_examples=60, deadline=None)
@given(SETS, st.integers(0, 1000), st.floats(0.05, 1.5))
def test_limits_are_kept_and_used(name: str, seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    recipe = f"{name}@{limit!r}"
    rule = _rule(recipe, (4, 3, 3, 3))
    latent, scale = rng.normal(size=(4, 27)) ** 3, dyadic_scales(rng.uniform(0.1, 4, size=4))
    assert all(Dyadic.exact(float(s)).mantissa.bit_length() <= 9 for s in scale)
    filters = rule.filters(latent, scale, np.full(4, 1 / 3))
    terms = sum(csd_weight(int(c)) for c in filters.codes.flat)
    assert terms <= limit * 108
    unlimited = rule.terms(rule.steps(scale, 0.0)(latent))
    most = max(csd_weight(int(level)) for level in rule.levels)
    assert terms >= min(unlimited, limit * 108 - 2 * most)
    assert filters.recipe == recipe


def test_exact_layers_have_no_rule() -> None:
    op = Conv(np.full((1, 2, 1, 1), 0.5), np.zeros(1))
    assert LayerRule.of(op.weight, approximate_filters(op, parse_recipe("P4"))) is None


def test_weights_that_are_zero_in_both_are_not_free() -> None:
    weight = np.array([0.0, 0.0, 0.3, -0.7]).reshape(1, 4, 1, 1)
    codes = np.array([0, 1, 0, -1]).reshape(1, 4, 1, 1)
    rule = LayerRule.of(weight, DyadicFilters(codes, 0, (Dyadic(1, -1),), np.zeros(1), "P1"))
    assert rule is not None
    assert rule.free.tolist() == [[False, True, True, True]]


def test_filters_of_one_weight_with_a_limit_stay_as_they_are() -> None:
    op = Conv(np.array([0.3, -1.7]).reshape(2, 1, 1, 1), np.zeros(2), groups=2)
    for recipe, rule in (("P8@0.5", False), ("P8", True), ("P8@0.5/layer", True)):
        filters = approximate_filters(op, parse_recipe(recipe))
        assert (LayerRule.of(op.weight, filters) is not None) == rule
