"""Costs of slimmed layers: by hand, and against plain counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.costs import filter_adders
from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import DyadicFilters, code_terms
from hwgen.network.types import Activation, Conv, Network, Node
from hwgen.numeric import Dyadic
from hwgen.slim.objectives import (
    ADDITIONS,
    BYTES,
    FINEST_BITS,
    FINEST_TERMS,
    MACS,
    Objective,
    surviving,
)


def _node(weight: object, size: tuple[int, int] = (4, 5), **fields: object) -> Node:
    array = np.array(weight, dtype=np.float64)
    op = Conv(array, np.zeros(len(array)), **fields)  # type: ignore[arg-type]
    return Node("conv", op, ("x",), (len(array), *size))


def _filters(codes: object, recipe: str = "P8") -> DyadicFilters:
    array = np.array(codes, dtype=np.int64)
    ones = (Dyadic(1, 0),) * len(array)
    return DyadicFilters(array, 4, ones, np.zeros(len(array)), recipe)


def test_macs_leave_out_what_is_zero_or_hands_on() -> None:
    node = _node([[[[0.5, 0.0]], [[1.0, -1.0]]], [[[0.0, 0.0]], [[0.0, 0.25]]]])
    assert MACS.layer(node, (2, 4, 5), None) == 2 * 20
    # codes decide where there are some: they may be zero where a weight is not
    filters = _filters([[[[0, 0]], [[16, -16]]], [[[0, 0]], [[0, 4]]]])
    assert MACS.layer(node, (2, 4, 5), filters) == 1 * 20


def test_a_permutation_costs_no_macs() -> None:
    node = _node(np.eye(3)[[2, 0, 1]].reshape(3, 3, 1, 1))
    assert MACS.layer(node, (3, 4, 5), None) == 0


def test_additions_by_hand() -> None:
    filters = _filters([[[[3, 0]], [[1, 0]]], [[[0, 0]], [[0, 0]]]])
    node = _node(filters.weight)
    assert ADDITIONS.layer(node, (2, 4, 5), filters) == filter_adders(filters) * 20 == 2 * 20
    assert ADDITIONS.layer(node, (2, 4, 5), None) == pytest.approx((2 * FINEST_TERMS - 1) * 20)


def test_bytes_by_hand() -> None:
    weight = np.zeros((4, 3, 3, 3))
    assert BYTES.layer(_node(weight), (3, 4, 5), None) == 0.0
    # two filters, two channels, a kernel of 3 rows and a column: 12 places
    weight[0, 0, :, 1] = weight[2, 2, :, 1] = 0.5
    weight[0, 2, :, 1] = weight[2, 0, :, 1] = 0.5
    assert BYTES.layer(_node(weight), (3, 4, 5), None) == (12 * FINEST_BITS + 2 * 32) / 8
    # few of the places taken: a bit for each, and codes
    weight[0, 2] = weight[2, 0] = 0.0
    assert BYTES.layer(_node(weight), (3, 4, 5), None) == (12 + 6 * FINEST_BITS + 2 * 32) / 8
    codes = np.where(weight != 0, 4, 0)
    assert BYTES.layer(_node(weight), (3, 4, 5), _filters(codes, "P4")) == (12 + 6 * 3 + 64) / 8


def test_bytes_of_groups_are_those_of_each() -> None:
    one = np.random.default_rng(0).normal(size=(4, 2, 3, 3))
    one[1] = 0.0
    both = np.concatenate([one, one])
    assert BYTES.layer(_node(both, groups=2), (4, 4, 5), None) == 2 * BYTES.layer(
        _node(one), (2, 4, 5), None
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([MACS, ADDITIONS, BYTES]))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_what_is_taken_away_never_costs(seed: int, objective: Objective) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    codes = rng.integers(-16, 17, (4, 3, 3, 3)) * (rng.random((4, 3, 3, 3)) < 0.8)
    fewer = codes * (rng.random(codes.shape) < 0.6)
    costs = []
    for each in (codes, fewer):
        filters = _filters(each)
        node = _node(filters.weight, groups=groups)
        with_recipe = objective.layer(node, (3 * groups, 4, 5), filters)
        without = objective.layer(node, (3 * groups, 4, 5), None)
        costs.append((with_recipe, without))
        assert np.array_equal(surviving(node.op, filters), each != 0)  # type: ignore[arg-type]
    assert costs[1][0] <= costs[0][0]
    assert costs[1][1] <= costs[0][1]


def test_the_finest_terms_are_those_of_gaussian_weights() -> None:
    weight = np.random.default_rng(0).normal(size=(64, 16, 3, 3))
    filters = approximate_filters(Conv(weight, np.zeros(64)), parse_recipe("P8"))
    terms = code_terms(filters.codes)
    assert terms[terms > 0].mean() == pytest.approx(FINEST_TERMS, abs=0.02)
    assert parse_recipe("P8").dyadic_set.code_width == FINEST_BITS


def test_a_network_is_rated_layer_by_layer() -> None:
    first, second = _node(np.full((3, 2, 3, 3), 0.5), (5, 5)), _node(np.full((2, 3, 1, 1), 0.5))
    network = Network(
        "n",
        "x",
        (2, 7, 7),
        (
            Node("a", first.op, ("x",), (3, 5, 5)),
            Node("r", Activation("relu"), ("a",), (3, 5, 5)),
            Node("b", second.op, ("r",), (2, 5, 5)),
        ),
        "b",
    )
    assert MACS(network) == {"a": 54 * 25, "b": 6 * 25}
    assert MACS(network, {"b": _filters(np.eye(2, 3).reshape(2, 3, 1, 1))})["b"] == 2 * 25
    assert MACS.total(network) == 60 * 25
