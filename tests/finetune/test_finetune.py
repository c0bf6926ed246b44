"""Fine-tuning lowers the loss, keeps every rule of the approximation, and repeats itself."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from hwgen.approx.approximate import approximate
from hwgen.approx.measure import decide
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.store import to_json
from hwgen.approx.types import ApproxNetwork
from hwgen.approx.verify import verify
from hwgen.errors import DataError, ToolNotFoundError
from hwgen.finetune.finetune import finetune
from hwgen.network.execute import run
from hwgen.network.types import Activation, AveragePool, Conv, Network, Node, Op, Shape, Softmax
from hwgen.numeric import csd_weight

RNG = np.random.default_rng(11)
X = RNG.normal(size=(400, 2, 6, 6))


def _network(*ends: Op, classes: int = 4) -> Network:
    ops: list[tuple[Op, Shape]] = [
        (Conv(RNG.normal(size=(6, 2, 3, 3)) / 4, RNG.normal(size=6) / 4), (6, 4, 4)),
        (Activation("tanh", (), 2 / 3, 1.7159), (6, 4, 4)),
        (AveragePool((2, 2), (2, 2)), (6, 2, 2)),
        (Conv(RNG.normal(size=(classes, 6, 2, 2)), np.zeros(classes)), (classes, 1, 1)),
        *((end, (classes, 1, 1)) for end in ends),
    ]
    nodes: list[Node] = []
    for index, (op, shape) in enumerate(ops):
        nodes.append(Node(f"n{index}", op, (nodes[-1].name if nodes else "x",), shape))
    return Network("n", "x", (2, 6, 6), tuple(nodes), nodes[-1].name)


NETWORK = _network(Softmax())


def _start(recipe: str, network: Network = NETWORK) -> ApproxNetwork:
    return approximate(network, recipes=parse_recipe(recipe))


def _labels(network: Network) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    labels = decide(run(network, X))
    assert labels is not None
    return labels


def _agreement(approx: ApproxNetwork, network: Network = NETWORK) -> float:
    return float(np.mean(decide(run(approx.to_network(), X)) == _labels(network)))


def _error(approx: ApproxNetwork, network: Network) -> float:
    exact = run(network, X)
    return float(np.linalg.norm(run(approx.to_network(), X) - exact) / np.linalg.norm(exact))


def test_epochs_bring_decisions_back() -> None:
    pytest.importorskip("torch")
    start = _start("P1")
    calls: list[float] = []
    tuned = finetune(
        NETWORK, start, X, _labels(NETWORK), epochs=3, learning_rate=0.01, batch=16,
        progress=lambda task, share: calls.append(share),
    )  # fmt: skip
    assert verify(tuned) is tuned
    assert _agreement(tuned) > _agreement(start) + 0.02
    assert calls == sorted(calls)
    assert calls[-1] == 1.0
    assert [f.recipe for _, f in tuned.filters] == [f.recipe for _, f in start.filters]
    assert (tuned.activations, tuned.pool_coefficients) == (
        start.activations,
        start.pool_coefficients,
    )
    assert tuned.network is start.network


@pytest.mark.parametrize(
    "network",
    [NETWORK, _network(classes=1), _network(Activation("sigmoid"), classes=1)],
    ids=["classes", "sign", "probability"],
)
def test_one_epoch_without_labels_comes_nearer(network: Network) -> None:
    pytest.importorskip("torch")
    start = _start("P2", network)
    tuned = finetune(network, start, X, None, epochs=1, learning_rate=0.005, batch=16)
    assert _error(tuned, network) < _error(start, network)


def test_labels_of_one_output() -> None:
    pytest.importorskip("torch")
    for end in ((), (Activation("sigmoid"),)):
        network = _network(*end, classes=1)
        labels = decide(run(network, X), probability=bool(end))
        start = _start("P1", network)
        tuned = finetune(
            network, start, X, labels, epochs=2, learning_rate=0.01, batch=16, distillation=0
        )
        assert _error(tuned, network) < _error(start, network)


@pytest.mark.parametrize("recipe", ["P8@0.5", "terms(2,-4,0)@0.8/layer"])
def test_term_limits_are_kept(recipe: str) -> None:
    pytest.importorskip("torch")
    tuned = finetune(NETWORK, _limited(recipe), X, None, epochs=2, learning_rate=0.01, batch=16)
    parsed = parse_recipe(recipe)
    assert parsed.mean_terms is not None
    for name, filters in verify(tuned).filters:
        assert np.isin(filters.codes, parsed.dyadic_set.numerators).all(), name
        terms = sum(csd_weight(int(code)) for code in filters.codes.flat)
        assert terms <= parsed.mean_terms * filters.codes.size
        if parsed.scale == "layer":
            assert len(set(filters.scale)) == 1


def _limited(recipe: str) -> ApproxNetwork:
    """Filters that keep the limit: the network's, with all but the greatest weights 0."""
    parsed = parse_recipe(recipe)
    start = approximate(NETWORK, recipes=replace(parsed, mean_terms=None))
    filters = []
    for name, each in start.filters:
        codes = each.codes.copy()
        for index in np.argsort(np.abs(each.weight).ravel()):
            if sum(csd_weight(int(c)) for c in codes.flat) <= parsed.mean_terms * codes.size:
                break
            codes.flat[index] = 0
        filters.append((name, replace(each, codes=codes, recipe=recipe)))
    return replace(start, filters=tuple(filters))


def test_the_same_seed_gives_the_same_network() -> None:
    pytest.importorskip("torch")
    start = _start("P1")
    texts = [
        to_json(
            finetune(NETWORK, start, X, None, epochs=1, learning_rate=0.01, batch=16, seed=seed)
        )
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_no_epochs_change_nothing() -> None:
    pytest.importorskip("torch")
    start = _start("P3")
    assert finetune(NETWORK, start, X, None, epochs=0) is start


def test_a_useless_epoch_is_not_taken() -> None:
    pytest.importorskip("torch")
    start = _start("P10")
    assert finetune(NETWORK, start, X, None, epochs=1, learning_rate=5.0, batch=8) is start


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolNotFoundError, match=r"PyTorch.*pip install 'hwgen\[train\]'"):
        finetune(NETWORK, _start("P3"), X, None, epochs=1)


def test_refusals() -> None:
    start = _start("P3")
    with pytest.raises(ValueError, match="epochs >= 0"):
        finetune(NETWORK, start, X, None, epochs=-1)
    pytest.importorskip("torch")
    with pytest.raises(DataError, match="at least 20 images, not 5"):
        finetune(NETWORK, start, X[:5], None, epochs=1)
    with pytest.raises(DataError, match="one an image"):
        finetune(NETWORK, start, X, np.zeros(3, dtype=np.int64), epochs=1)
    with pytest.raises(DataError, match="shape"):
        finetune(NETWORK, start, X[:, :1], None, epochs=1)
