"""Neurons that are removed or merged: where that is exact, and in which order they go."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_networks import network_of, noise, sparse_network, with_convs

from hwgen.network.execute import run
from hwgen.network.types import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    FloatArray,
    MaxPool,
    Network,
    Op,
    PiecewiseLinear,
)
from hwgen.slim.account import parameter_table
from hwgen.slim.compact import compact, compaction
from hwgen.slim.remove import merge_neurons, remove_neurons

SEEDS = st.integers(0, 100_000)
RELU = Activation("relu")
TANH = Activation("tanh")


def outputs(network: Network) -> FloatArray:
    return np.asarray(run(network, noise(network), dtype=np.float64))


def drawn(rng: np.random.Generator, *shape: int, **options: object) -> Conv:
    return Conv(rng.standard_normal(shape), rng.standard_normal(shape[0]), **options)  # type: ignore[arg-type]


def operator(network: Network, name: str) -> Conv:
    op = network.node(name).op
    assert isinstance(op, Conv)
    return op


@given(SEEDS)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_removed_neurons_are_filters_of_zeros(seed: int) -> None:
    network = sparse_network(seed)
    rng = np.random.default_rng(seed)
    gone = {
        node.name: np.flatnonzero(rng.random(len(op.weight)) < 0.4).tolist()
        for node, op in network.convs()
    }
    zeroed = {}
    for node, op in network.convs():
        keep = ~np.isin(np.arange(len(op.weight)), gone[node.name])
        weight = op.weight * keep[:, None, None, None]
        zeroed[node.name] = replace(op, weight=weight, bias=op.bias * keep)
    removed = remove_neurons(network, gone)
    shapes = [(node.name, node.shape) for node in network.nodes]
    assert [(node.name, node.shape) for node in removed.nodes] == shapes
    expected = outputs(with_convs(network, zeroed))
    np.testing.assert_allclose(outputs(removed), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(outputs(compact(removed)), expected, rtol=0, atol=1e-9)


def dense(rng: np.random.Generator, *between: tuple[str, Op], pads: int = 1) -> Network:
    """Layer a of 6 filters, ``between``, b and a dense end c."""
    layers: list[tuple[str, Op]] = [
        ("a", drawn(rng, 6, 2, 3, 3)),
        *between,
        ("b", drawn(rng, 4, 6, 3, 3, pads=(pads,) * 4)),
    ]
    shape = network_of((2, 9, 9), layers).node("b").shape
    return network_of((2, 9, 9), [*layers, ("t", TANH), ("c", drawn(rng, 3, *shape))])


def test_readers_lose_what_they_read() -> None:
    network = dense(np.random.default_rng(1), ("r", RELU))
    removed = remove_neurons(network, {"a": [1, 4], "b": [0]})
    assert not operator(removed, "b").weight[:, [1, 4]].any()
    assert not operator(removed, "c").weight[:, 0].any()  # all H * W weights of the map
    done = compaction(removed)
    assert (done.filters["a"].tolist(), done.filters["b"].tolist()) == ([0, 2, 3, 5], [1, 2, 3])
    table = {row.layer: row for row in parameter_table(done.network)}
    assert table["a"].outputs == table["b"].inputs == 4
    assert table["b"].outputs == table["c"].inputs == 3


def test_there_must_be_such_neurons() -> None:
    network = dense(np.random.default_rng(1), ("r", RELU))
    with pytest.raises(ValueError, match="Layer must be a convolution of the network, not 'r'"):
        remove_neurons(network, {"r": [0]})
    with pytest.raises(ValueError, match="Filters of 'a' must be from 0 to 5, not \\[6\\]"):
        remove_neurons(network, {"a": [6]})
    for count in (-1, 6):
        with pytest.raises(ValueError, match="Count must be from 0 to 5"):
            merge_neurons(network, "a", count)


def copied(network: Network, copies: dict[int, tuple[int, float]], layer: str = "a") -> Network:
    """``network`` in which filter j of ``layer`` is filter i times f, for each j: (i, f)."""
    op = operator(network, layer)
    weight, bias = op.weight.copy(), op.bias.copy()
    for j, (i, f) in copies.items():
        weight[j], bias[j] = f * weight[i], f * bias[i]
    return with_convs(network, {layer: replace(op, weight=weight, bias=bias)})


LEAKY = Activation("leaky_relu", (np.array([0.2]),), pre=0.5, post=2.0)


@pytest.mark.parametrize(
    "between",
    [
        (("r", RELU),),
        (("l", LEAKY), ("m", MaxPool((2, 2), (2, 2), (0, 0, 1, 1)))),
        (("q", AveragePool((2, 2), (1, 1), gain=0.7)), ("r", RELU)),
        (),
    ],
    ids=str,
)
@given(seed=SEEDS)
@settings(derandomize=True, max_examples=8, deadline=None)
def test_multiples_merge_exactly(between: tuple[tuple[str, Op], ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    f, g = rng.uniform(0.2, 3, 2)
    network = copied(dense(rng, *between), {1: (4, f), 3: (4, g), 5: (0, f * g)})
    merging = merge_neurons(network, "a", 3)
    np.testing.assert_allclose(merging.saliencies, 0, atol=1e-12)
    assert len({1, 3, 4} & {*merging.removed}) == 2
    assert len({0, 5} & {*merging.removed}) == 1
    assert not operator(merging.network, "b").weight[:, list(merging.removed)].any()
    assert not operator(merging.network, "a").weight[list(merging.removed)].any()
    np.testing.assert_allclose(outputs(merging.network), outputs(network), rtol=0, atol=1e-9)
    assert compaction(merging.network).filters["a"].tolist() == list(merging.combination.kept)


@pytest.mark.parametrize(
    "function",
    [
        TANH,
        PiecewiseLinear(np.zeros((1, 1)), np.array([[0.1, 1.0]]), np.array([[0.5, 0.5]])),
        Activation("prelu", (np.array([0.1, 0.2, 0.1, 0.2, 0.1, 0.2]),)),
    ],
    ids=["tanh", "piecewise", "prelu"],
)
def test_equals_merge_exactly_behind_any_function(function: Op) -> None:
    network = copied(dense(np.random.default_rng(2), ("f", function)), {2: (0, 1.0), 5: (3, 1.0)})
    merging = merge_neurons(network, "a", 2, "equal")
    assert [len(pair & {*merging.removed}) for pair in ({0, 2}, {3, 5})] == [1, 1]
    np.testing.assert_allclose(merging.saliencies, 0, atol=1e-12)
    np.testing.assert_allclose(outputs(merging.network), outputs(network), rtol=0, atol=1e-9)


def test_scaled_neurons_need_homogeneous_functions() -> None:
    network = dense(np.random.default_rng(2), ("r", RELU), ("t2", TANH))
    with pytest.raises(ValueError, match="need homogeneous activations, not 't2'"):
        merge_neurons(network, "a", 1)
    merge_neurons(network, "a", 1, "equal")


def test_neurons_with_functions_of_their_own_do_not_merge() -> None:
    slopes = Activation("prelu", (np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),))
    table = PiecewiseLinear(np.zeros((6, 0)), np.arange(6.0)[:, None], np.ones((6, 1)))
    for function in (slopes, table):
        network = copied(dense(np.random.default_rng(2), ("f", function)), {2: (0, 1.0)})
        with pytest.raises(ValueError, match="Count must be at most 0, since no neuron may stand"):
            merge_neurons(network, "a", 1, "equal")
    # alone a neuron may go
    network = copied(dense(np.random.default_rng(2), ("f", slopes)), {2: (0, 1.0)})
    merging = merge_neurons(network, "a", 1)
    assert not merging.combination.coefficients.any()
    np.testing.assert_allclose(
        outputs(merging.network),
        outputs(remove_neurons(network, {"a": merging.removed})),
        rtol=0,
        atol=1e-9,
    )


def test_neurons_of_different_groups_do_not_merge() -> None:
    rng = np.random.default_rng(3)
    layers = [
        ("a", drawn(rng, 6, 2, 1, 1)),
        ("b", drawn(rng, 6, 2, 3, 3, groups=3)),
        ("c", drawn(rng, 2, 6, 1, 1)),
    ]
    network = copied(network_of((2, 5, 5), layers), {1: (0, 2.0), 2: (0, 3.0), 4: (0, 1.0)})
    merging = merge_neurons(network, "a", 1)
    assert merging.removed in {(0,), (1,)}
    np.testing.assert_allclose(outputs(merging.network), outputs(network), rtol=0, atol=1e-9)
    (saliency,) = merge_neurons(
        copied(network_of((2, 5, 5), layers), {2: (0, 3.0)}), "a", 1
    ).saliencies
    assert saliency > 0.01
    inner = copied(network, {1: (0, 1.0), 4: (0, 1.0)}, "b")
    assert merge_neurons(inner, "b", 1).removed in {(0,), (1,)}


def test_forks_and_concatenations_are_followed_and_sums_are_not() -> None:
    rng = np.random.default_rng(4)
    layers = [
        ("a", drawn(rng, 4, 2, 1, 1), ("x",)),
        ("r", RELU, ("a",)),
        ("b", drawn(rng, 3, 4, 3, 3, pads=(1,) * 4), ("r",)),
        ("y", Concat(), ("b", "r")),
        ("c", drawn(rng, 2, 7, 3, 3), ("y",)),
    ]
    network = copied(network_of((2, 5, 5), layers), {3: (1, 0.3)})
    merging = merge_neurons(network, "a", 1)
    assert merging.removed in {(1,), (3,)}
    np.testing.assert_allclose(outputs(merging.network), outputs(network), rtol=0, atol=1e-9)
    layers[3] = ("y", Add(), ("b", "r"))
    layers[2] = ("b", drawn(rng, 4, 4, 3, 3, pads=(1,) * 4), ("r",))
    layers[4] = ("c", drawn(rng, 2, 4, 3, 3), ("y",))
    with pytest.raises(ValueError, match="'a' cannot stand for others: 'y' adds 'r' to another"):
        merge_neurons(network_of((2, 5, 5), layers), "a", 1)


@pytest.mark.parametrize("scaled", [False, True])
@given(seed=SEEDS)
@settings(derandomize=True, max_examples=20, deadline=None)
def test_the_least_salient_neuron_goes_first(scaled: bool, seed: int) -> None:
    """Against the definition, with nothing remembered from one removal to the next."""
    network = dense(np.random.default_rng(seed), ("r", RELU))
    merging = merge_neurons(network, "a", 5, "scaled" if scaled else "equal")
    a, b = operator(network, "a"), operator(network, "b").weight.copy()
    own = np.concatenate([a.weight.reshape(6, -1), a.bias[:, None]], axis=1)
    left = set(range(6))
    for j, saliency in zip(merging.removed, merging.saliencies, strict=True):
        costs = {}
        for one in left:
            mean_square = (b[:, one] ** 2).sum(axis=(1, 2)).mean()
            for other in left - {one}:
                f = max(0, own[one] @ own[other] / (own[other] @ own[other])) if scaled else 1
                costs[one, other] = mean_square * ((own[one] - f * own[other]) ** 2).sum(), f
        (one, other), (cost, f) = min(costs.items(), key=lambda item: item[1][0])
        assert (one, cost) == (j, pytest.approx(saliency))
        b[:, other] += f * b[:, one]
        b[:, one] = 0
        left.remove(one)
    np.testing.assert_allclose(operator(merging.network, "b").weight, b, atol=1e-9)
