"""Counts of operations against counts by hand."""

import numpy as np
import pytest
from approx_networks import chain, classifier, face
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.approximate import approximate
from hwgen.approx.complexity import (
    FORMS,
    Complexity,
    Form,
    Operations,
    count_operations,
    filter_adders,
    paper_activation_operations,
)
from hwgen.approx.filters import approximate_filters
from hwgen.approx.paper_activations import PAPER_ACTIVATIONS
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.network.types import Activation, AveragePool, Conv, MaxPool
from hwgen.numeric import Dyadic, csd
from hwgen.shiftadd import optimize


def _counted(filters: DyadicFilters, *, groups: int = 1, shared: bool = False) -> Complexity:
    """Counts of a network of one layer, whose float weights are the dyadic ones."""
    _, inputs, height, width = filters.codes.shape
    op = Conv(filters.weight, filters.bias, groups=groups)
    network = chain((inputs * groups, height, width), [("c", op)])
    return count_operations(ApproxNetwork(network, (("c", filters),), (), ()), shared=shared)


def test_face_network_by_hand() -> None:
    network = face(np.random.default_rng(1))
    kernels = {node.name: int(op.weight.any(axis=(2, 3)).sum()) for node, op in network.convs()}
    assert (kernels["c1"], kernels["c2"], kernels["n1"]) == (4, 20, 14)
    approx = approximate(network, recipes=parse_recipe("P1"))
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
        assert layer.exact == Operations(multiplications, additions)
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


@pytest.mark.parametrize("recipe", ["P1", "P4", "P8", "terms(2,-5,0)/layer"])
def test_totals_are_sums_and_sharing_never_adds(recipe: str) -> None:
    rng = np.random.default_rng(4)
    for network in (face(rng), classifier(rng)):
        counted = count_operations(approximate(network, recipes=parse_recipe(recipe)), shared=True)
        assert counted.forms == FORMS
        for form in FORMS:
            output, image = Operations(), Operations()
            for layer in counted.layers:
                found = layer.operations(form)
                output, image = output + found, image + found.times(layer.positions)
            assert counted.per_output(form) == output
            assert counted.per_image(form) == image
        for layer in counted.layers:
            before, after = layer.approximated, layer.operations("shared")
            assert after.additions <= before.additions
            if layer.operator != "Conv":
                assert after == before
        assert counted.per_image("shared").additions < counted.approximated.additions
        assert counted.exact == counted.per_image("exact")
        assert counted.approximated == counted.per_image("approximated")


def test_sharing_is_counted_only_if_asked_for() -> None:
    approx = approximate(face(np.random.default_rng(1)), recipes=parse_recipe("P4"))
    plain = count_operations(approx)
    assert plain.forms == ("exact", "approximated")
    with pytest.raises(ValueError, match="'c1' was counted without sharing"):
        plain.per_output("shared")
    calls: list[tuple[str, float]] = []
    shared = count_operations(
        approx, shared=True, progress=lambda layer, part: calls.append((layer, part))
    )
    linear = ["c1", "s1", "c2", "s2", "n1", "n2"]
    assert list(dict.fromkeys(layer for layer, _ in calls)) == linear
    assert [layer for layer, part in calls if part == 1] == linear
    forms: tuple[Form, ...] = ("exact", "approximated")
    for form in forms:
        assert shared.per_image(form) == plain.per_image(form)


def test_sharing_by_hand() -> None:
    # both filters hold x0 + 2 x1; the second adds 4 x2; scales 3/2 and 2; one bias
    codes = np.array([[1, 2, 0], [1, 2, 4]]).reshape(2, 1, 1, 3)
    filters = DyadicFilters(codes, 1, (Dyadic(3, -1), Dyadic(1, 1)), np.array([0.5, 0.0]), "P6")
    (layer,) = _counted(filters, shared=True).layers
    # 1/2 and 1 | 1/2, 1 and 2: additions of terms, of the scale, of the bias; shifts: three codes
    # are not 1, of 3/2 = 2 - 1/2 both digits, and the scale 2
    assert layer.approximated == Operations(additions=1 + 2 + 1 + 1, shifts=1 + 2 + 2 + 1)
    # the common sum once; shifts: 2 x1 and 4 x2, then of 3/4 = 1 - 1/4 and of 1
    assert layer.shared == Operations(additions=2 + 1 + 1, shifts=2 + 1 + 0)


@pytest.mark.parametrize("recipe", ["P2", "P8"])
def test_shared_additions_are_those_of_the_adder_graph(recipe: str) -> None:
    approx = approximate(face(np.random.default_rng(5)), recipes=parse_recipe(recipe))
    layers = {layer.name: layer for layer in count_operations(approx, shared=True).layers}
    filters = dict(approx.filters)["c2"]
    graph = optimize(filters.codes.reshape(14, -1).T)
    scales = sum(s.terms - 1 for s in filters.scale)
    assert layers["c2"].operations("shared").additions == graph.adders + scales + 14


def test_a_kernel_with_a_factor_shifts_in_the_form_that_is_cheaper() -> None:
    # 5 * (1, 1, 1): three numbers that are not 1, and the 4 of 4 + 1; 3 * 5 = 16 - 1: the 16 only
    codes = np.array([[[5, 5, 5]], [[15, 0, 0]]]).reshape(1, 2, 1, 3)
    factors = np.array([[5, 3]])
    filters = DyadicFilters(codes, 2, (Dyadic(1, 0),), np.zeros(1), "P7/kernel", factors)
    assert _counted(filters).per_output("approximated") == Operations(additions=5, shifts=4 + 2)


@given(st.lists(st.integers(-300, 300), min_size=2, max_size=8), st.integers(-1, 12))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_shifts_are_digits_other_than_one(codes: list[int], frac: int) -> None:
    array = np.array(codes).reshape(1, 1, 1, -1)
    filters = DyadicFilters(array, frac, (Dyadic(1, 0),), np.zeros(1), "P8")
    digits = sum(d.exponent != frac for code in codes for d in csd(code))
    assert _counted(filters).per_output("approximated").shifts == digits


def test_quadratic_activations_need_a_squarer() -> None:
    for activation in PAPER_ACTIVATIONS:
        operations = paper_activation_operations(activation)
        assert (operations.multiplications == 0) == activation.multiplierless
        assert operations.functions == 0
    quadratic = PAPER_ACTIVATIONS[-1]
    # x / 2 - 1, its square, 1 minus that, and the comparison with the knee
    assert paper_activation_operations(quadratic) == Operations(1, 2, 1, 1)


def test_what_was_slimmed_away_counts_in_the_exact_network_only() -> None:
    rng = np.random.default_rng(3)

    def conv(outputs: int, inputs: int, size: int) -> Conv:
        weight = rng.normal(size=(outputs, inputs, size, size))
        return Conv(weight, rng.normal(size=outputs), pads=(size // 2,) * 4)

    whole = (("c1", conv(4, 1, 3)), ("r1", Activation("relu")), ("c2", conv(3, 4, 1)))
    original = chain((1, 6, 6), [*whole, ("c3", conv(3, 3, 3))])
    new = ("mix", conv(2, 2, 1))
    slimmed = chain((1, 6, 6), [("c1", conv(2, 1, 1)), whole[1], new, ("c3", conv(3, 2, 3))])
    approx = approximate(slimmed, recipes=parse_recipe("P4"))
    alone, beside = count_operations(approx), count_operations(approx, original=original)
    before = count_operations(approximate(original, recipes=parse_recipe("P4")))
    assert (beside.exact, beside.approximated) == (before.exact, alone.approximated)
    layers = {layer.name: layer for layer in beside.layers}
    assert list(layers) == ["c1", "r1", "c2", "c3", "mix"]
    assert layers["c1"].exact.multiplications == 4 * 9
    assert layers["c2"].approximated == layers["mix"].exact == Operations()
    assert (layers["c1"].channels, layers["mix"].channels) == (4, 2)
    shared = count_operations(approx, original=original, shared=True)
    assert shared.per_image("shared") == count_operations(approx, shared=True).per_image("shared")
