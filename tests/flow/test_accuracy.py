"""Decisions and errors of the three networks side by side."""

import numpy as np
import pytest

from hwgen.approx.approximate import approximate
from hwgen.approx.measure import decide
from hwgen.approx.recipes import parse_recipe
from hwgen.flow.accuracy import compare
from hwgen.flow.data import Images
from hwgen.flow.intervals import share_interval
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.execute import run
from hwgen.network.types import Activation, ArgMax, Conv, Network, Node, Op, Softmax

RNG = np.random.default_rng(5)
X = RNG.uniform(-1, 1, size=(60, 3, 1, 1))


def _network(classes: int, *ends: Op) -> Network:
    weight = RNG.normal(size=(classes, 3, 1, 1)).round(2)
    nodes = [Node("fc", Conv(weight, np.zeros(classes)), ("x",), (classes, 1, 1))]
    for index, op in enumerate(ends):
        shape = (1, 1, 1) if isinstance(op, ArgMax) else (classes, 1, 1)
        nodes.append(Node(f"e{index}", op, (nodes[-1].name,), shape))
    return Network("n", "x", (3, 1, 1), tuple(nodes), nodes[-1].name)


@pytest.mark.parametrize(
    ("classes", "ends"),
    [
        (4, ()),
        (4, (Softmax(),)),
        (4, (ArgMax(),)),
        (4, (Softmax(), ArgMax())),
        (1, ()),
        (1, (Activation("sigmoid"),)),
    ],
)
def test_every_kind_of_decision(classes: int, ends: tuple[Op, ...]) -> None:
    network = _network(classes, *ends)
    logits = np.einsum("oi,ni->no", network.nodes[0].op.weight[:, :, 0, 0], X[:, :, 0, 0])
    labels = logits.argmax(axis=1) if classes > 1 else (logits[:, 0] > 0).astype(int)
    approx = approximate(network, recipes=parse_recipe("terms(4,-8,0)"))
    integer = quantise(approx, calibrate(approx.to_network(), X), activation_bits=12)
    compared = compare(network, approx.to_network(), integer, Images(X, labels))
    assert compared.images == 60
    assert compared.float_network.accuracy == 1.0
    assert compared.float_network.error == 0.0
    for other in (compared.approximated, compared.integer):
        assert other.accuracy == other.agreement
        assert other.accuracy is not None
        assert other.accuracy >= 0.95
    wrong = compare(network, approx.to_network(), integer, Images(X, labels + 1))
    assert wrong.float_network.accuracy is not None
    assert wrong.float_network.accuracy < 0.7
    unlabelled = compare(network, network, integer, Images(X, None))
    assert unlabelled.integer.accuracy is None
    assert (unlabelled.loss, unlabelled.approximated_loss) == (None, None)
    assert unlabelled.approximated_changed == share_interval(0, 60)


def test_losses_and_changes_are_paired() -> None:
    network = _network(4)
    labels = decide(run(network, X))
    assert labels is not None
    labels[::5] += 1
    approx = approximate(network, recipes=parse_recipe("P1"))
    integer = quantise(approx, calibrate(approx.to_network(), X), activation_bits=3)
    compared = compare(network, approx.to_network(), integer, Images(X, labels))
    for other, loss, changed in (
        (compared.approximated, compared.approximated_loss, compared.approximated_changed),
        (compared.integer, compared.loss, compared.changed),
    ):
        assert other.accuracy is not None
        assert compared.float_network.accuracy is not None
        assert loss is not None
        assert changed is not None
        assert loss.loss == pytest.approx(compared.float_network.accuracy - other.accuracy)
        assert loss.low < loss.loss < loss.high
        assert other.agreement == pytest.approx(1 - changed.share)
        assert changed.count >= loss.spoiled + loss.gained > 0
    assert compared.loss != compared.approximated_loss


def test_maps_make_no_decision() -> None:
    network = Network(
        "n",
        "x",
        (3, 2, 2),
        (Node("c", Conv(np.ones((1, 3, 1, 1)), np.ones(1)), ("x",), (1, 2, 2)),),
        "c",
    )
    x = np.ones((3, 3, 2, 2))
    approx = approximate(network, recipes=parse_recipe("P1"))
    integer = quantise(approx, calibrate(network, x))
    compared = compare(network, network, integer, Images(x, np.zeros(3, dtype=np.int64)))
    assert (compared.loss, compared.changed) == (None, None)
