"""Scores of maps against their definitions, computed the long way."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from approx_networks import classifier
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwgen.errors import DataError
from hwgen.network.execute import Tensor, run, run_all
from hwgen.network.types import Conv, Network, Node, Softmax
from hwgen.slim.channels import feature_tensor, in_batches
from hwgen.slim.features import Combination, materialise
from hwgen.slim.importance import METHODS, FeatureQr, Method, channel_importance

TENSORS = {"conv1": "pool1", "conv2": "pool2", "dense": "dense"}


def network(*, dead: int | None = None) -> Network:
    """Small classifier; channel ``dead`` of its first layer is always 0."""
    made = classifier(np.random.default_rng(3))
    if dead is None:
        return made
    first = made.node("conv1")
    assert isinstance(first.op, Conv)
    weight, bias = first.op.weight.copy(), first.op.bias.copy()
    weight[dead], bias[dead] = 0, 0
    op = replace(first.op, weight=weight, bias=bias)
    return replace(made, nodes=(replace(first, op=op), *made.nodes[1:]))


def images(count: int = 12) -> Tensor:
    return np.random.default_rng(0).uniform(-1, 1, (count, 1, 8, 8)).astype(np.float32)


def labels(count: int = 12) -> Tensor:
    return np.random.default_rng(1).integers(0, 5, count)


def scaled(made: Network, tensor: str, channel: int, factor: float) -> Network:
    """A network that multiplies one map by a factor."""
    pieces = materialise(made, tensor, Combination((), (), np.zeros((0, 0)), np.zeros(0)))
    added = pieces.node(f"{tensor}_combined")
    assert isinstance(added.op, Conv)
    weight = added.op.weight.copy()
    weight[channel, channel] = factor
    op = replace(added.op, weight=weight)
    nodes = (replace(node, op=op) if node is added else node for node in pieces.nodes)
    return replace(pieces, nodes=tuple(nodes))


def cross_entropy(made: Network, classes: Tensor) -> Tensor:
    logits = run(made, images(), dtype=np.float64)[:, :, 0, 0]
    return -scipy.special.log_softmax(logits, axis=1)[np.arange(len(classes)), classes]


# --- block-wise QR


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 9), st.lists(st.integers(1, 6), min_size=1, max_size=5)
)
@example(0, 9, [1])  # fewer rows than channels
def test_pivots_are_those_of_the_whole_matrix(seed: int, channels: int, pieces: list[int]) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((n, channels, 2, 2)) for n in pieces]
    qr = FeatureQr(channels)
    for part in parts:
        qr.add(part)
    whole = np.concatenate(parts).transpose(0, 2, 3, 1).reshape(-1, channels)
    _, r, wanted = scipy.linalg.qr(whole, mode="economic", pivoting=True)
    order, added = qr.pivots()
    np.testing.assert_array_equal(order, wanted)
    size = len(r.diagonal())
    scale = np.sqrt(len(whole))
    np.testing.assert_allclose(added[:size], np.abs(r.diagonal()) / scale, rtol=1e-9)
    assert not added[size:].any()
    assert (np.diff(added) <= 1e-12).all()


def test_small_shares_survive_that_sums_of_products_would_lose() -> None:
    rng = np.random.default_rng(2)
    base = rng.standard_normal((5000, 1))
    small = 1e-11 * rng.standard_normal((5000, 2)) * [1, 10]
    maps = np.concatenate([base, base + small[:, :1], base + small[:, 1:]], axis=1)
    qr = FeatureQr(3)
    qr.add(maps[:, :, None, None])
    _, r, order = scipy.linalg.qr(maps, mode="economic", pivoting=True)
    np.testing.assert_array_equal(qr.pivots()[0], order)
    np.testing.assert_allclose(qr.pivots()[1], np.abs(r.diagonal()) / np.sqrt(5000), rtol=1e-2)
    assert scipy.linalg.eigvalsh(maps.T @ maps)[0] / 5000 < 1e-15  # what they have left is rounding


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(4).standard_normal((3, 5, 7, 2))
    found = []
    for rows in (8192, 4):
        monkeypatch.setattr("hwgen.slim.importance._ROWS", rows)
        qr = FeatureQr(5)
        qr.add(maps)
        found.append(qr.pivots())
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)


# --- the methods


def test_qr_of_the_maps_behind_activation_and_pooling() -> None:
    made = network()
    tensors = run_all(made, images())
    found = channel_importance(made, images(), method="qr")
    assert set(found) == set(TENSORS)
    for layer, name in TENSORS.items():
        maps = tensors[name].astype(np.float64).swapaxes(0, 1).reshape(tensors[name].shape[1], -1)
        _, r, order = scipy.linalg.qr(maps.T, mode="economic", pivoting=True)
        assert np.argsort(-found[layer]).tolist() == order.tolist()
        wanted = np.abs(r.diagonal()) / np.sqrt(maps.shape[1])
        np.testing.assert_allclose(found[layer][order], wanted, rtol=1e-4)


def test_norm_of_the_filters() -> None:
    found = channel_importance(network(), images(), method="norm")
    for node, op in network().convs():
        wanted = [sum(abs(w) for w in each.ravel()) for each in op.weight]
        np.testing.assert_allclose(found[node.name], wanted)


@pytest.mark.parametrize("known", [False, True])
def test_ablation_is_the_loss_that_a_missing_map_adds(known: bool) -> None:
    made = network()
    decided = run(made, images())[:, :, 0, 0].argmax(axis=1)
    given_labels, classes = (labels(), labels()) if known else (None, decided)
    found = channel_importance(made, images(), given_labels, method="ablation")
    before = cross_entropy(made, classes).mean()
    for layer, name in TENSORS.items():
        wanted = [
            cross_entropy(scaled(made, name, channel, 0.0), classes).mean() - before
            for channel in range(made.shape(name)[0])
        ]
        np.testing.assert_allclose(found[layer], wanted, atol=1e-6)


@pytest.mark.parametrize("known", [False, True])
def test_taylor_is_the_slope_of_the_loss_as_a_map_fades(known: bool) -> None:
    made = network()
    decided = run(made, images())[:, :, 0, 0].argmax(axis=1)
    given_labels, classes = (labels(), labels()) if known else (None, decided)
    found = channel_importance(made, images(), given_labels, method="taylor")
    for layer, name in TENSORS.items():
        for channel in range(made.shape(name)[0]):
            ends = [
                cross_entropy(scaled(made, name, channel, 1 + step), classes)
                for step in (1e-6, -1e-6)
            ]
            wanted = np.abs((ends[0] - ends[1]) / 2e-6).mean()
            assert found[layer][channel] == pytest.approx(wanted, abs=1e-6)


def test_a_map_as_output_has_its_distance_for_a_loss() -> None:
    whole = network()
    made = replace(whole, nodes=whole.nodes[:-1], output="pool2")
    assert feature_tensor(made, "conv2") == "pool2"
    found = channel_importance(made, images(), method="ablation")
    reference = run(made, images(), dtype=np.float64)
    wanted = [
        np.square(run(scaled(made, "pool1", c, 0.0), images(), dtype=np.float64) - reference).mean()
        for c in range(6)
    ]
    np.testing.assert_allclose(found["conv1"], wanted, rtol=1e-3)
    slopes = channel_importance(made, images(), method="taylor")
    assert (slopes["conv1"] > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_batches_do_not_matter(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = channel_importance(network(), images(), labels(), method=method)
    one_by_one = partial(in_batches, elements=1)
    monkeypatch.setattr("hwgen.slim.importance.in_batches", one_by_one)
    parts = channel_importance(network(), images(), labels(), method=method)
    for name, scores in whole.items():
        np.testing.assert_allclose(parts[name], scores, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_dead_map_is_the_least_important(method: Method) -> None:
    found = channel_importance(network(dead=2), images(), labels(), method=method)
    assert found["conv1"][2] == pytest.approx(0, abs=1e-12)
    if method != "ablation":  # a map can do harm
        assert found["conv1"].argmin() == 2


def test_a_decision_at_the_end_makes_no_difference() -> None:
    made = network()
    end = Node("end", Softmax(), ("dense",), (5, 1, 1))
    decided = replace(made, nodes=(*made.nodes, end), output="end")
    for method in METHODS:
        one, other = (
            channel_importance(each, images(), labels(), method=method) for each in (made, decided)
        )
        for name in TENSORS:
            np.testing.assert_array_equal(one[name], other[name])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="Method must be one of qr, norm, ablation, taylor, not"):
        channel_importance(network(), images(), method="magic")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="needs at least one image"):
        channel_importance(network(), images(0), method="qr")
    with pytest.raises(DataError, match="Labels must be one an image, not 3 for 12"):
        channel_importance(network(), images(), labels(3), method="taylor")
    with pytest.raises(DataError, match=r"must have shape \(N, 1, 8, 8\)"):
        channel_importance(network(), images()[..., :7], method="qr")
