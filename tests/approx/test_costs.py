"""Costs of layers: hand-made filters, oracles in plain loops, and what sharing must not exceed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.costs import (
    COSTS,
    code_terms,
    filter_adders,
    memory_bits,
    shared_adders,
    term_slots,
)
from hwgen.approx.filters import EXACT, approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.sharing import BLOCK_ROWS, shared_sums
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Conv
from hwgen.numeric import Dyadic, csd_weight
from hwgen.shiftadd import optimize

ONE = Dyadic(1, 0)


def _layer(
    codes: object, *, groups: int = 1, recipe: str = "P7", **fields: object
) -> tuple[Conv, DyadicFilters]:
    array = np.array(codes, dtype=np.int64)
    bias = np.zeros(len(array))
    given_fields = {"frac": 3, "scale": (ONE,) * len(array), "bias": bias} | fields
    filters = DyadicFilters(codes=array, recipe=recipe, **given_fields)
    return Conv(array / 8.0, bias, groups=groups), filters


@st.composite
def _layers(draw: st.DrawFn, most: int = 16) -> tuple[Conv, DyadicFilters]:
    groups = draw(st.integers(1, 3))
    shape = (groups * draw(st.integers(1, 4)), *(draw(st.integers(1, 4)) for _ in range(3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(-most, most + 1, shape) * (rng.random(shape) < draw(st.floats(0.1, 1)))
    scale = tuple(Dyadic(int(m), 0) for m in rng.integers(1, 99, shape[0]))
    return _layer(codes, groups=groups, recipe="P8", frac=4, scale=scale)


def test_terms_of_every_code() -> None:
    codes = np.arange(-5000, 5000).reshape(10, 10, 10, 10)
    assert code_terms(codes).ravel().tolist() == [csd_weight(c) for c in range(-5000, 5000)]


def test_costs_by_hand() -> None:
    # 1/4, -3/4, 1, 0 of scale 5/8; 7/8 alone of scale 1; zeros of scale 3
    codes = [[[[2, -6, 8, 0]]], [[[7, 0, 0, 0]]], [[[0, 0, 0, 0]]]]
    scale = (Dyadic(5, -3), ONE, Dyadic(3, 0))
    op, filters = _layer(codes, scale=scale, bias=np.array([0.5, -3.0, 0.0]))
    assert COSTS["terms"](op, filters) == (1 + 2 + 1 - 1) + (2 - 1) + (2 - 1)
    # -3 and 7 have nothing in common: the graph has the same adders
    assert COSTS["shared"](op, filters) == COSTS["terms"](op, filters)
    # four taps of one row each: 2 terms (7), 2 (-6), 1 (8), none
    assert COSTS["slots"](op, filters) == 2 + 2 + 1 + 0
    # P7 has 17 numbers; scales: 3 bits of 5, exponents -3..0; biases: 2 bits of 3, sign, -1..0
    assert COSTS["bits"](op, filters) == 12 * 5 + 3 * (3 + 2) + 3 * (2 + 1 + 1)


def test_a_layer_of_zeros_costs_its_memory_only() -> None:
    op, filters = _layer(np.zeros((2, 3, 3, 3)), scale=(Dyadic(3, 0), Dyadic(3, 0)))
    assert [COSTS[name](op, filters) for name in ("terms", "shared", "slots")] == [0, 0, 0]
    assert memory_bits(op, filters) == 54 * 5 + 2


def test_codes_of_an_exact_layer_tell_apart_what_occurs() -> None:
    op, filters = _layer([[[[0, 8]]], [[[8, 4]]]], recipe=EXACT)
    assert memory_bits(op, filters) == 4 * 2 + 1


def test_a_kernel_with_a_factor_takes_the_cheaper_form() -> None:
    # first kernel: 5 * (1, 1, 1), product form 2 + 2 + 2, factored 1 + 1 + 1 and one for the 5;
    # second: 3 * (5, 0, 0) = 15, product form 2, factored 2 + 1
    codes = [[[[5, 5, 5]], [[15, 0, 0]]]]
    op, filters = _layer(codes, factors=np.array([[5, 3]]), recipe="P7/kernel")
    assert filter_adders(filters) == (3 + 1) + 2 - 1
    bare = DyadicFilters(filters.codes, 3, filters.scale, filters.bias, "P7/kernel")
    assert filter_adders(bare) == 6 + 2 - 1
    assert memory_bits(op, filters) == 6 * 5 + 2 * 3 + 1


def test_a_pattern_of_two_filters_is_added_once() -> None:
    op, filters = _layer([[[[1, 2, 0]]], [[[1, 2, 1]]]])
    assert COSTS["terms"](op, filters) == 1 + 2
    assert COSTS["shared"](op, filters) == 1 + 1


@pytest.mark.parametrize("recipe", ["P1", "P4", "P8"])
def test_sharing_in_one_block_is_what_the_optimiser_finds(recipe: str) -> None:
    weight = np.random.default_rng(3).standard_normal((6, 4, 3, 3))
    op = Conv(weight, np.zeros(6))
    filters = approximate_filters(op, parse_recipe(recipe))
    graph = optimize(filters.codes.reshape(6, -1).T)
    scales = sum(s.terms - 1 for s in filters.scale)
    assert shared_adders(op, filters) == graph.adders + scales


def test_blocks_are_added_up() -> None:
    op, filters = _layer(np.ones((3, 2 * BLOCK_ROWS + 1, 1, 1)))
    # the three filters are one, but blocks of one filter are added for each
    assert shared_sums(op, filters).adders == 2 * BLOCK_ROWS + 1 - 3 + 3 * 2
    calls: list[tuple[int, int]] = []
    shared_sums(op, filters, progress=lambda done, blocks: calls.append((done, blocks)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_blocks_of_outputs_and_groups_keep_their_places() -> None:
    codes = np.zeros((600, 1, 1, 2))
    codes[7, 0, 0, 0], codes[299, 0, 0, 1], codes[300, 0, 0, 0], codes[599, 0, 0] = 4, 2, 1, (3, 8)
    op, filters = _layer(codes, groups=2)
    found = shared_sums(op, filters)
    expected = {7: 2, 299: 1, 300: 0, 599: 0}
    assert {o: e for o, e in enumerate(found.exponents) if e is not None} == expected
    assert found.adders == 2


@given(_layers())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_sharing_never_costs(layer: tuple[Conv, DyadicFilters]) -> None:
    op, filters = layer
    assert shared_adders(op, filters) <= filter_adders(filters)


@given(_layers(most=7), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_slots_in_plain_loops(layer: tuple[Conv, DyadicFilters], tn: int, ti: int) -> None:
    op, filters = layer
    outputs, inputs, height, width = filters.codes.shape
    per_group = outputs // op.groups
    slots = 0
    for group in range(op.groups):
        for first in range(0, per_group, tn):
            rows = range(group * per_group + first, group * per_group + min(first + tn, per_group))
            for channel in range(0, inputs, ti):
                columns = range(channel, min(channel + ti, inputs))
                for tap in np.ndindex(height, width):
                    codes = [int(filters.codes[(o, i, *tap)]) for o in rows for i in columns]
                    slots += max(map(csd_weight, codes))
    assert term_slots(op, filters, tn=tn, ti=ti) == slots
