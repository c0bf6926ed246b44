"""Nearest filters with a limit on terms and with scales of every granularity."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from approx_networks import chain
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hwgen.approx import knapsack
from hwgen.approx.approximate import approximate
from hwgen.approx.costs import filter_adders
from hwgen.approx.filters import EXACT, approximate_filters, squared_error
from hwgen.approx.frobenius import fit_codes, term_limit
from hwgen.approx.measure import mean_terms
from hwgen.approx.moments import patch_moments
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.scale import best_dyadic_scale, scale_mantissas
from hwgen.approx.sets import LADDER, DyadicSet, parse_set
from hwgen.approx.store import from_json, to_json
from hwgen.approx.types import ApproxNetwork, DyadicFilters, code_terms
from hwgen.approx.verify import verify
from hwgen.approx.zero_one import Block, Limit, ZeroOneProgram
from hwgen.errors import VerifyError
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.execute import run
from hwgen.network.types import Activation, Conv
from hwgen.numeric import csd_weight
from hwgen.sim import golden
from hwgen.stream.plan import plan_pipeline

_LIMITS = st.sampled_from([0.02, 0.1, 0.3, 0.7, 1.2, 2.0])
_SETS = st.sampled_from(LADDER[:8])


def _layer(seed: int, *shape: int) -> Conv:
    """Weights with heavy tails whose size differs from filter to filter and kernel to kernel."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=(shape[0], 1, 1, 1)) + rng.normal(size=(*shape[:2], 1, 1)) / 2
    return Conv(rng.laplace(size=shape) * np.exp(size), rng.standard_normal(shape[0]))


def _terms(filters: DyadicFilters) -> int:
    return int(code_terms(filters.codes).sum())


@given(
    st.integers(0, 1000), _SETS, st.none() | _LIMITS, st.sampled_from(["filter", "layer", "kernel"])
)
@example(922, LADDER[0], 1.2, "kernel")  # 43 = 129 / 3 has more terms than 129
@settings(derandomize=True, max_examples=60, deadline=None)
def test_recipes_are_kept(seed: int, dyadic_set, mean: float | None, scale) -> None:
    op = _layer(seed, 5, 3, 3, 2)
    recipe = Recipe(dyadic_set, mean, scale)
    filters = approximate_filters(op, recipe)
    assert filters.recipe == recipe.name
    numbers = filters.codes
    if scale == "kernel":
        assert filters.factors is not None
        assert all(csd_weight(int(m)) <= 6 and m > 0 for m in filters.factors.ravel())
        assert (np.gcd.reduce(filters.factors, axis=1) % 2 == 1).all()
        numbers = numbers // filters.factors[:, :, None, None]
        assert_array_equal(numbers * filters.factors[:, :, None, None], filters.codes)
    else:
        assert filters.factors is None
        assert all(s.terms <= 3 for s in filters.scale)
    assert set(numbers.ravel().tolist()) <= set(dyadic_set.numerators)
    assert len(set(filters.scale)) == 1 or scale != "layer"
    limit = term_limit(recipe, op.weight)
    assert limit is None or _terms(filters) <= limit == int(mean * op.weight.size + 1e-9)
    free = approximate_filters(op, Recipe(dyadic_set, None, scale))
    if limit is not None and _terms(free) > limit:
        assert squared_error(op, filters) >= squared_error(op, free) * 0.9
    assert squared_error(op, filters) <= 1


@given(
    st.lists(st.floats(-1e3, 1e3).filter(lambda w: w == 0 or abs(w) > 1e-3), min_size=1),
    st.sampled_from([*LADDER[:8], parse_set("terms(2,-5,0)"), parse_set("{0,3,5}")]),
    _LIMITS,
    st.sampled_from(["filter", "kernel"]),
    st.booleans(),
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_limits_remove_no_filter_of_one_weight(
    weights: list[float], dyadic_set: DyadicSet, mean: float, scale, output_aware: bool
) -> None:
    weight = np.array(weights).reshape(-1, 1, 1, 1)
    op = Conv(weight, np.zeros(len(weight)), groups=len(weight))
    moments = None
    if output_aware:
        seen = np.random.default_rng(0).normal(size=(9, len(weight), 2, 2))
        moments = patch_moments(op, seen, seen)
    filters = approximate_filters(op, Recipe(dyadic_set, mean, scale), moments=moments)
    # 43: the worst case of three terms
    assert (np.abs(filters.weight - weight) <= np.abs(weight) / 43 * (1 + 1e-9)).all()
    if filters.recipe != EXACT:
        fewest = min(csd_weight(int(n)) for n in dyadic_set.positive)
        assert_array_equal(code_terms(filters.codes), fewest * (weight != 0))
        network = chain((len(weight), 2, 2), [("norm", op)])
        approx = verify(ApproxNetwork(network, (("norm", filters),), (), ()))
        assert mean_terms(approx) == fewest * np.count_nonzero(weight) / len(weight)


def test_limits_need_not_hold_for_filters_of_one_weight_that_share_a_scale() -> None:
    op = Conv(np.array([1.0, 0.6, -0.3]).reshape(3, 1, 1, 1), np.zeros(3), groups=3)
    limited, free = (approximate_filters(op, parse_recipe(f"P8{at}/layer")) for at in ("@0.5", ""))
    assert_array_equal(limited.codes, free.codes)
    assert (limited.codes != 0).all()


def test_without_limits_the_global_optimum_remains() -> None:
    op = _layer(1, 6, 4, 3, 3)
    free = best_dyadic_scale(op.weight.reshape(6, -1), parse_recipe("P8").dyadic_set)
    for text in ("P8", "P8@7"):
        filters = approximate_filters(op, parse_recipe(text))
        assert_array_equal(filters.codes.reshape(6, -1), free.codes)
        assert [float(s) for s in filters.scale] == free.scale.tolist()
    layer = approximate_filters(op, parse_recipe("P8/layer"))
    whole = best_dyadic_scale(op.weight.reshape(1, -1), parse_recipe("P8").dyadic_set)
    assert_array_equal(layer.codes.ravel(), whole.codes.ravel())
    assert {float(s) for s in layer.scale} == set(whole.scale.tolist())


@pytest.mark.parametrize("text", ["P4", "P8", "P8@0.3", "P5@0.8", "P8@1.5", "P3@0.1"])
def test_finer_scales_are_never_worse(text: str) -> None:
    for seed in range(8):
        op = _layer(seed, 6, 4, 3, 3)
        kernel, whole = (
            squared_error(op, approximate_filters(op, parse_recipe(text + granularity)))
            for granularity in ("/kernel", "/filter")
        )
        assert kernel <= whole * (1 + 1e-12)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("P1@0.05", 0.97),
        ("P4@0.1", 0.99),
        ("P8@0.3", 0.97),
        ("terms(2,-5,0)@1", 0.95),
        ("P8@0.2/layer", 0.995),
    ],
)
def test_never_worse_than_the_best_codes_at_the_unconstrained_scale(text: str, most: float) -> None:
    ratios = []
    for seed in range(4):
        op, recipe = _layer(seed, 8, 6, 3, 3), parse_recipe(text)
        flat = op.weight.reshape(1 if recipe.scale == "layer" else 8, -1)
        free = best_dyadic_scale(flat, recipe.dyadic_set)
        limit = term_limit(recipe, op.weight)
        assert limit is not None
        blocks = tuple(
            Block(row, float(s), recipe.dyadic_set) for row, s in zip(flat, free.scale, strict=True)
        )
        plain = knapsack.solve(ZeroOneProgram(blocks, (Limit("terms", limit),)))
        found = fit_codes(op.weight, recipe)
        assert found.error <= plain.error * (1 + 1e-12)
        ratios.append(found.error / plain.error)
    assert np.mean(ratios) < most


def test_near_the_best_of_all_codes_and_scales() -> None:
    mantissas = scale_mantissas(3, 8)
    scales = np.concatenate([np.ldexp(mantissas[:-1], e) for e in range(-8, 6)])
    dyadic_set = parse_recipe("P5").dyadic_set
    every = np.array(list(product(dyadic_set.numerators, repeat=4)))
    terms = code_terms(every).sum(axis=1)
    excess = []
    for seed in range(40):
        weights = np.random.default_rng(seed).standard_normal(4)
        limit = seed % 4 + 1
        codes = every[(terms <= limit) & every.any(axis=1)] / 4
        errors = (
            (weights**2).sum()
            - 2 * scales[:, None] * (codes @ weights)
            + scales[:, None] ** 2 * (codes**2).sum(axis=1)
        )
        found = fit_codes(weights.reshape(1, 1, 1, 4), Recipe(dyadic_set, limit / 4))
        assert found.error >= errors.min() - 1e-12
        excess.append((found.error - errors.min()) / (weights**2).sum())
    assert np.mean(np.array(excess) < 1e-9) > 0.7
    assert np.mean(excess) < 0.02


def test_powers_of_two_scale_exactly() -> None:
    op = _layer(3, 4, 3, 3, 3)
    small = Conv(np.ldexp(op.weight, -30), op.bias)
    for text in ("P8@0.4", "P4@0.4/kernel", "P8@0.4/layer"):
        first, second = (approximate_filters(o, parse_recipe(text)) for o in (op, small))
        assert_array_equal(first.codes, second.codes)
        assert_array_equal(np.ldexp(first.weight, -30), second.weight)


@pytest.mark.parametrize(
    "text", ["P8@0.01", "P4@0.2/kernel", "P1/layer", "P8@2/layer", "P4/kernel"]
)
def test_degenerate_layers(text: str) -> None:
    zero = approximate_filters(Conv(np.zeros((2, 3, 2, 2)), np.zeros(2)), parse_recipe(text))
    assert not zero.codes.any()
    weight = np.zeros((2, 3, 2, 2))
    weight[0, 1, 1, 1] = 0.7
    one = approximate_filters(Conv(weight, np.zeros(2)), parse_recipe(text))
    limit = term_limit(parse_recipe(text), weight)
    assert np.count_nonzero(one.codes) == (0 if limit == 0 else 1)
    assert squared_error(Conv(weight, np.zeros(2)), one) <= (1 if limit == 0 else 1e-3)


def test_a_scale_a_kernel_is_not_free() -> None:
    op = _layer(4, 6, 4, 3, 3)
    kernel, whole = (approximate_filters(op, parse_recipe(t)) for t in ("P4/kernel", "P4"))
    assert squared_error(op, kernel) < 0.8 * squared_error(op, whole)
    assert _terms(kernel) > 1.3 * _terms(whole)
    assert filter_adders(kernel) > filter_adders(whole)


def test_kernel_scales_pass_through_the_integer_network_and_the_planner() -> None:
    rng = np.random.default_rng(6)
    ops = [
        ("a", _layer(7, 4, 2, 3, 3)),
        ("r", Activation("relu")),
        ("b", _layer(8, 3, 4, 3, 3)),
    ]
    network = chain((2, 8, 8), ops)
    mix = {"a": parse_recipe("P5/kernel"), "b": parse_recipe("P4@1.2/kernel")}
    approx = approximate(network, recipes=mix)
    again = from_json(to_json(approx))
    for (_, one), (_, other) in zip(approx.filters, again.filters, strict=True):
        assert_array_equal(one.codes, other.codes)
        assert_array_equal(one.factors, other.factors)
        assert (one.factors > 1).any()
    images = rng.standard_normal((16, 2, 8, 8))
    calibration = calibrate(approx.to_network(), images)
    integer = quantise(approx, calibration, activation_bits=12)
    sums = golden.run(integer, integer.input_format.quantise(images))
    found = sums * np.array(integer.scale(integer.output))[:, None, None]
    expected = run(approx.to_network(), images)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert set(plan_pipeline(integer).layers) == {"a", "r", "b"}


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("P4@0.5", {"recipe": "P4@0.4"}, "must have at most 14 terms by its recipe P4@0.4, not 18"),
        ("P4/kernel", {"factors": np.ones((2, 1))}, "must have one factor above 0 a kernel"),
        ("P4/kernel", {"factors": np.zeros((2, 2))}, "must have one factor above 0 a kernel"),
        ("P4/kernel", {"factors": np.full((2, 2), 999)}, "multiples of their kernel's factor"),
        ("P4/kernel", {"factors": None}, "Layer 'a' has code -?[0-9]+, not in its set P4"),
    ],
)
def test_verify_finds_faulty_limits_and_factors(
    text: str, changes: dict[str, object], message: str
) -> None:
    network = chain((2, 4, 4), [("a", _layer(9, 2, 2, 3, 3))])
    approx = approximate(network, recipes=parse_recipe(text))
    ((name, filters),) = approx.filters
    with pytest.raises(VerifyError, match=message):
        verify(replace(approx, filters=((name, replace(filters, **changes)),)))
