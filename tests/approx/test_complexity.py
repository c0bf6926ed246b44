"""Counts of operations against counts by hand."""

import numpy as np
import pytest
from approx_networks import chain, face

from hwgen.approx.approximate import approximate
from hwgen.approx.complexity import Operations, count_operations, filter_adders
from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Activation, AveragePool, Conv, MaxPool
from hwgen.numeric import Dyadic


def test_face_network_by_hand() -> None:
    approx = approximate(face(np.random.default_rng(1)), recipes=parse_recipe("P1"))
    complexity = count_operations(approx)
    layers = {layer.name: layer for layer in complexity.layers}
    # pixels, multiplications and additions a pixel over all maps: MN each, the bias makes up for -1
    by_hand = {
        "c1": (32 * 28, 4 * 25, 4 * 25),
        "s1": (16 * 14, 4 * 1, 4 * 4),
        "c2": (14 * 12, 8 * 9 + 6 * 18, 8 * 9 + 6 * 18),
        "s2": (7 * 6, 14 * 1, 14 * 4),
        "n1": (1, 14 * 42, 14 * 42),
        "n2": (1, 14, 14),
    }
    for name, (positions, multiplications, additions) in by_hand.items():
        layer = layers[name]
        assert layer.positions == positions
        assert layer.exact.multiplications == multiplications
        assert layer.exact.additions == additions
    tanhs = 4 * 16 * 14 + 14 * 7 * 6 + 14 + 1
    assert complexity.exact.functions == tanhs
    # 2/3 and 1.7159 are one multiplication each
    assert complexity.exact.multiplications == 121_926 + 2 * tanhs
    assert complexity.approximated.multiplications == 0
    assert complexity.approximated.functions == 0
    # a mean of four is three additions, one for the bias, and those of the scale
    scales = dict(approx.filters)["s1"].scale
    assert layers["s1"].approximated.additions == 4 * 4 + sum(s.terms - 1 for s in scales)
    assert complexity.approximated.comparisons == sum(
        layer.approximated.comparisons * layer.positions for layer in complexity.layers
    )


def test_dyadic_filter_by_hand() -> None:
    # codes 1/4, -3/4, 1, 0 and 7/8 of scales 5/8 and 1
    codes = np.array([[[[2, -6, 8, 0]]], [[[7, 0, 0, 0]]], [[[0, 0, 0, 0]]]])
    scale = (Dyadic(5, -3), Dyadic(1, 0), Dyadic(3, 0))
    filters = DyadicFilters(codes, 3, scale, np.array([0.5, 0.0, 0.5]), "{0,1/4,3/4,7/8,1}")
    # first: terms 1 + 2 + 1, scale 2; second: terms 2; third has no input
    assert filter_adders(filters) == (4 - 1) + (2 - 1) + (2 - 1)


def test_shifts_by_hand() -> None:
    # two filters: 1/2 and 1 (one shift); 3/4 = 1 - 1/4 (one); scale 3/4 shifts once, 2 once
    op = Conv(np.array([[0.5, 1.0], [0.75, 0.0]]).reshape(2, 1, 1, 2), np.zeros(2))
    filters = DyadicFilters(
        np.array([[2, 4], [3, 0]]).reshape(2, 1, 1, 2),
        2,
        (Dyadic(3, -2), Dyadic(1, 1)),
        np.zeros(2),
        "P5",
    )
    network = chain((1, 1, 2), [("c", op)])
    approx = approximate(network, recipes=parse_recipe("P5"))
    counted = count_operations(
        type(approx)(network, (("c", filters),), approx.activations, approx.pool_coefficients)
    )
    # 1 addition of two terms, 1 of the scale; 1 within 3/4
    assert counted.approximated == Operations(additions=3, shifts=1 + 1 + 1 + 1)
    assert counted.exact == Operations(multiplications=1, additions=1, shifts=1)


@pytest.mark.parametrize(
    ("op", "exact", "approximated"),
    [
        (Activation("relu"), Operations(comparisons=2), Operations(comparisons=2)),
        (
            Activation("leaky_relu", (np.array([0.1]),)),
            Operations(multiplications=2, comparisons=2),
            # slope 3/32 = 1/8 - 1/32
            Operations(additions=2, shifts=4, comparisons=2),
        ),
        (MaxPool((2, 2), (1, 1)), Operations(comparisons=6), Operations(comparisons=6)),
        (
            AveragePool((2, 2), (1, 1)),
            Operations(additions=6, shifts=2),
            Operations(additions=6, shifts=2),
        ),
        (
            AveragePool((3, 1), (1, 1)),
            Operations(multiplications=2, additions=4),
            Operations(additions=4 + 2 * 3, shifts=2 * 4),
        ),
    ],
)
def test_other_operators_on_two_channels(
    op: object, exact: Operations, approximated: Operations
) -> None:
    network = chain((2, 3, 3), [("n", op)])
    counted = count_operations(approximate(network, recipes={}))
    (layer,) = counted.layers
    assert layer.exact == exact
    assert layer.approximated == approximated
    assert counted.exact == exact.times(layer.positions)


def test_single_term_sets_need_one_addition_a_weight() -> None:
    weights = np.random.default_rng(2).standard_normal((3, 2, 3, 3))
    filters = approximate_filters(Conv(weights, np.zeros(3)), parse_recipe("P6"))
    nonzero = int(np.count_nonzero(filters.codes))
    assert filter_adders(filters) == nonzero - 3 + sum(s.terms - 1 for s in filters.scale)
