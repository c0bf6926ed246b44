"""Training of slim networks: what is zero stays zero, neurons vanish exactly, accuracy returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hwgen.approx.approximate import approximate
from hwgen.approx.measure import decide
from hwgen.approx.recipes import parse_recipe
from hwgen.errors import DataError, ModelError, ToolNotFoundError
from hwgen.finetune import slim as slim_training
from hwgen.finetune.finetune import finetune
from hwgen.finetune.slim import finetune_slim, train_sparse
from hwgen.network.execute import run
from hwgen.network.types import Activation, Conv, MaxPool, Network, Node, Op, Shape, Softmax
from hwgen.slim.compact import compact

RNG = np.random.default_rng(23)
X = RNG.normal(size=(500, 2, 6, 6))


def _network(scale: float = 1.0) -> Network:
    rng = np.random.default_rng(5)
    first = rng.normal(size=(12, 2, 3, 3)) / 4
    hidden = rng.normal(size=(24, 12, 2, 2)) / 7
    ops: list[tuple[Op, Shape]] = [
        (Conv(np.array([1.0, 0.0, 0.0, 2.0]).reshape(2, 2, 1, 1), np.zeros(2)), (2, 6, 6)),
        (Conv(first * scale, rng.normal(size=12) / 4 * scale), (12, 4, 4)),
        # A silent filter would learn its bias again behind this one, unlike behind a ReLU.
        (Activation("leaky_relu", (np.array([0.125]),)), (12, 4, 4)),
        (MaxPool((2, 2), (2, 2)), (12, 2, 2)),
        (Conv(hidden / scale, rng.normal(size=24) / 9), (24, 1, 1)),
        (Activation("relu"), (24, 1, 1)),
        (Conv(rng.normal(size=(5, 24, 1, 1)) / 2, np.zeros(5)), (5, 1, 1)),
        (Softmax(), (5, 1, 1)),
    ]
    nodes: list[Node] = []
    for index, (op, shape) in enumerate(ops):
        nodes.append(Node(f"n{index}", op, (nodes[-1].name if nodes else "x",), shape))
    return Network("n", "x", (2, 6, 6), tuple(nodes), nodes[-1].name)


NETWORK = _network()
FIRST, HIDDEN = "n1", "n4"


def _labels(network: Network) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    labels = decide(run(network, X))
    assert labels is not None
    return labels


def _agreement(network: Network) -> float:
    return float(np.mean(_labels(network) == _labels(NETWORK)))


def _conv(network: Network, name: str) -> Conv:
    op = network.node(name).op
    assert isinstance(op, Conv)
    return op


def _changed(network: Network, name: str, change: Callable[[Conv], Conv]) -> Network:
    nodes = [
        replace(node, op=change(_conv(network, name))) if node.name == name else node
        for node in network.nodes
    ]
    return replace(network, nodes=tuple(nodes))


def _slim(network: Network) -> Network:
    """Rims of half of the kernels, some weights, and whole filters with their biases removed."""

    def first(op: Conv) -> Conv:
        weight, bias = op.weight.copy(), op.bias.copy()
        weight[:6, :, [0, 2], :] = 0
        weight[11], bias[11] = 0, 0
        weight[10] = 0  # the bias stays: a constant
        return replace(op, weight=weight, bias=bias)

    def hidden(op: Conv) -> Conv:
        weight, bias = op.weight.copy(), op.bias.copy()
        weight[np.abs(weight) < 0.05] = 0
        weight[3:7], bias[3:7] = 0, 0
        return replace(op, weight=weight, bias=bias)

    return _changed(_changed(network, FIRST, first), HIDDEN, hidden)


def _alive(network: Network, name: str) -> int:
    op = _conv(network, name)
    return int((op.weight.any(axis=(1, 2, 3)) | (op.bias != 0)).sum())


def test_epochs_bring_decisions_back_and_zeros_stay() -> None:
    pytest.importorskip("torch")
    start = _slim(NETWORK)
    calls: list[float] = []
    tuned = finetune_slim(
        NETWORK, start, X, _labels(NETWORK), epochs=4, learning_rate=5e-2, batch=16,
        progress=lambda task, share: calls.append(share),
    )  # fmt: skip
    assert _agreement(tuned) > _agreement(start) + 0.05
    for (_, before), (_, after) in zip(start.convs(), tuned.convs(), strict=True):
        assert not after.weight[before.weight == 0].any()
        silent = ~before.weight.any(axis=(1, 2, 3)) & (before.bias == 0)
        assert not after.bias[silent].any()
    assert _conv(tuned, FIRST).bias[10] != _conv(start, FIRST).bias[10]
    # Weights that are powers of two cost nothing and stay; the biases of their layer train.
    assert np.array_equal(_conv(tuned, "n0").weight, _conv(start, "n0").weight)
    assert _conv(tuned, "n0").bias.any()
    assert calls == sorted(calls)
    assert calls[-1] == 1.0


def test_outputs_follow_the_network_without_labels() -> None:
    pytest.importorskip("torch")
    start = _slim(NETWORK)
    tuned = finetune_slim(NETWORK, start, X, None, epochs=2, learning_rate=5e-2, batch=16)
    assert _agreement(tuned) > _agreement(start)
    away = finetune_slim(start, start, X, None, epochs=2, learning_rate=5e-2, batch=16)
    assert away is start


def test_only_the_layers_named_train() -> None:
    pytest.importorskip("torch")
    start = _slim(NETWORK)
    tuned = finetune_slim(
        NETWORK, start, X, None, epochs=1, learning_rate=5e-2, batch=16, layers=["n6", HIDDEN]
    )
    same = {
        node.name: np.array_equal(op.weight, _conv(tuned, node.name).weight)
        and np.array_equal(op.bias, _conv(tuned, node.name).bias)
        for node, op in start.convs()
    }
    assert same == {"n0": True, FIRST: True, HIDDEN: False, "n6": False}
    assert _agreement(tuned) > _agreement(start)


def test_the_scale_of_a_layer_does_not_matter() -> None:
    pytest.importorskip("torch")

    def silenced(scale: float) -> Network:
        return _changed(_network(scale), FIRST, lambda op: replace(op, bias=op.bias * 0))

    starts = [silenced(scale) for scale in (1.0, 1024.0)]
    tuned = [
        finetune_slim(NETWORK, start, X, None, epochs=1, batch=16, learning_rate=2e-2)
        for start in starts
    ]
    outputs = [run(network, X) for network in tuned]
    assert np.abs(outputs[0] - run(starts[0], X)).max() > 0.01
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)


def test_neurons_vanish_exactly_and_more_with_more_strength() -> None:
    pytest.importorskip("torch")
    alive = []
    for strength in (0.0, 1.5, 2.0, 100.0):
        sparse = train_sparse(
            NETWORK, X, _labels(NETWORK), epochs=6, strengths={HIDDEN: strength},
            learning_rate=5e-2, batch=16,
        )  # fmt: skip
        alive.append(_alive(sparse, HIDDEN))
        assert _alive(sparse, FIRST) == 12
        if strength == 2.0:
            assert _agreement(sparse) > 0.7
    assert alive[0] == 24
    assert alive[3] == 0
    assert 24 >= alive[1] > alive[2] > 0


def test_neurons_that_vanished_are_removed_exactly() -> None:
    pytest.importorskip("torch")
    sparse = train_sparse(
        NETWORK, X, None, epochs=6, strengths={HIDDEN: 2.0}, learning_rate=5e-2, batch=16
    )
    left = _alive(sparse, HIDDEN)
    assert 0 < left < 24
    removed = compact(sparse)
    assert _conv(removed, HIDDEN).weight.shape == (left, 12, 2, 2)
    assert _conv(removed, "n6").weight.shape == (5, left, 1, 1)
    np.testing.assert_allclose(run(removed, X), run(sparse, X), atol=1e-6)


def test_seldom_proximal_steps_shrink_as_much() -> None:
    pytest.importorskip("torch")
    norms = [
        np.linalg.norm(
            _conv(
                train_sparse(
                    NETWORK, X, None, epochs=2, strengths={HIDDEN: 4.0}, every=every,
                    learning_rate=2e-2, batch=25,
                ),
                HIDDEN,
            ).weight
        )
        for every in (1, 4)
    ]  # fmt: skip
    start = np.linalg.norm(_conv(NETWORK, HIDDEN).weight)
    assert norms[0] < 0.9 * start
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_the_low_rank_penalty_lowers_the_rank() -> None:
    pytest.importorskip("torch")

    def rank(network: Network) -> int:
        weight = _conv(network, HIDDEN).weight
        values = np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)
        return int((values > 1e-3 * values[0]).sum())

    low = train_sparse(
        NETWORK, X, None, epochs=2, strengths={}, ranks={HIDDEN: 6.0}, every=4,
        learning_rate=5e-2, batch=32,
    )  # fmt: skip
    assert rank(low) < rank(NETWORK)
    assert _alive(low, HIDDEN) == 24


def test_zeros_stay_while_neurons_vanish() -> None:
    pytest.importorskip("torch")
    start = _slim(NETWORK)
    sparse = train_sparse(
        start, X, None, epochs=2, strengths={HIDDEN: 4.0}, ranks={FIRST: 0.5}, batch=16
    )
    for (_, before), (_, after) in zip(start.convs(), sparse.convs(), strict=True):
        assert not after.weight[before.weight == 0].any()


def test_the_same_seed_gives_the_same_network() -> None:
    pytest.importorskip("torch")
    weights = [
        _conv(train_sparse(NETWORK, X, None, epochs=1, strengths={HIDDEN: 1.0}, seed=s), HIDDEN)
        for s in (1, 1, 2)
    ]
    assert np.array_equal(weights[0].weight, weights[1].weight)
    assert not np.array_equal(weights[0].weight, weights[2].weight)


def test_dyadic_weights_of_a_slim_network_stay_zero() -> None:
    pytest.importorskip("torch")
    slim = _slim(NETWORK)
    start = approximate(slim, recipes=parse_recipe("P3"))
    tuned = finetune(NETWORK, start, X, None, epochs=2, learning_rate=0.05, batch=16)
    assert tuned is not start
    filters = dict(tuned.filters)
    for node, op in slim.convs():
        assert not filters[node.name].codes[op.weight == 0].any()
        silent = ~op.weight.any(axis=(1, 2, 3)) & (op.bias == 0)
        assert not filters[node.name].bias[silent].any()
    changed = [not np.array_equal(f.codes, filters[name].codes) for name, f in start.filters]
    assert any(changed)


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ToolNotFoundError("Fine-tuning needs PyTorch")

    monkeypatch.setattr(slim_training, "require_torch", missing)
    with pytest.raises(ToolNotFoundError, match="PyTorch"):
        finetune_slim(NETWORK, NETWORK, X, None, epochs=1)
    with pytest.raises(ToolNotFoundError, match="PyTorch"):
        train_sparse(NETWORK, X, None, epochs=1, strengths={})


def test_refusals() -> None:
    with pytest.raises(ValueError, match="epochs >= 0"):
        finetune_slim(NETWORK, NETWORK, X, None, epochs=-1)
    with pytest.raises(ValueError, match="every >= 1 and strengths >= 0, not 0"):
        train_sparse(NETWORK, X, None, epochs=1, strengths={}, every=0)
    with pytest.raises(ValueError, match="strengths >= 0, not 1 and"):
        train_sparse(NETWORK, X, None, epochs=1, strengths={HIDDEN: -1.0})
    pytest.importorskip("torch")
    with pytest.raises(DataError, match="at least 20 images, not 5"):
        train_sparse(NETWORK, X[:5], None, epochs=1, strengths={})
    with pytest.raises(ModelError, match="linear layers, not 'n2'"):
        finetune_slim(NETWORK, NETWORK, X, None, epochs=1, layers=["n2"])
    with pytest.raises(ModelError, match="layers that train, n4, not 'n1'"):
        train_sparse(NETWORK, X, None, epochs=1, strengths={FIRST: 1.0}, layers=[HIDDEN])
