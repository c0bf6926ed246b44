"""Gradients against finite differences of whole networks and of every operator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from random_networks import random_images, random_onnx

from hwgen.approx.measure import without_decision
from hwgen.network.execute import Tensor, run_all, run_suffix
from hwgen.network.gradients import gradients
from hwgen.network.onnx_import import import_onnx
from hwgen.network.shapes import ACTIVATIONS, output_shape
from hwgen.network.types import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Node,
    Op,
    PiecewiseLinear,
    Quantise,
    Softmax,
)


def single(op: Op, *, inputs: int = 1) -> Network:
    """A network on (4, 7, 6) whose last node is ``op``, on the input or on copies of it."""
    shape = (4, 7, 6)
    copy = Conv(np.eye(4)[:, :, None, None] * 0.5, np.zeros(4))
    nodes = [Node(f"copy{k}", copy, ("x",), shape) for k in range(inputs)]
    names = tuple(node.name for node in nodes)
    last = Node("last", op, names, output_shape(op, [shape] * inputs))
    return Network("single", "x", shape, (*nodes, last), "last")


def check(network: Network, x: Tensor, *, rtol: float = 1e-5) -> None:
    """Directional derivatives along random directions, from every tensor."""
    rng = np.random.default_rng(0)
    tensors = run_all(network, x, dtype=np.float64)
    weights = rng.standard_normal(tensors[network.output].shape)
    found = gradients(network, tensors, weights, tensors)
    for name, tensor in tensors.items():
        direction = rng.standard_normal(tensor.shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = dict(tensors)
            moved[name] = tensor + step * direction
            readers = [node.name for node in network.consumers(name)]
            output = moved[name] if name == network.output else run_suffix(network, moved, readers)
            ends.append((output * weights).sum())
        wanted = (ends[0] - ends[1]) / 2e-6
        assert (found[name] * direction).sum() == pytest.approx(wanted, rel=rtol, abs=1e-6)


def values(*, shift: float = 0.0) -> Tensor:
    """Images (3, 4, 7, 6) none of whose values is near a kink of the functions below."""
    order = np.random.default_rng(1).permutation(3 * 4 * 7 * 6)
    return ((order - order.size / 2 + 0.31) / 64).reshape(3, 4, 7, 6) + shift


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_every_activation(kind: str) -> None:
    parameters = {
        "clip": (np.array([-1.013]), np.array([2.017])),
        "hard_sigmoid": (np.array([0.2]), np.array([0.507])),
    }.get(kind, (np.array([0.3, 0.1, 0.2, 0.4]),) * ACTIVATIONS[kind])
    check(single(Activation(kind, parameters, pre=1.25, post=0.75)), values())


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((3, 2), (2, 1), (1, 0, 1, 1)),
        MaxPool((2, 2), (2, 2), dilations=(2, 3)),
        AveragePool((3, 2), (2, 1), (1, 0, 1, 1), gain=0.75),
        AveragePool((3, 2), (2, 3), (1, 1, 0, 0), count_include_pad=True, ceil_pads=(1, 1)),
        PiecewiseLinear(np.array([[-0.511, 0.509]]), np.array([[0, 1, 2]]), np.array([[0, 0, -1]])),
        Conv(
            np.ones((3, 4, 3, 2)) * np.arange(1, 5)[:, None, None], np.ones(3), (2, 1), (1, 0, 2, 1)
        ),
        Conv(np.arange(48).reshape(6, 2, 2, 2) / 9 - 2, np.ones(6), dilations=(2, 3), groups=2),
        Conv(np.arange(36).reshape(4, 1, 3, 3) / 9 - 2, np.ones(4), pads=(1, 1, 1, 1), groups=4),
    ],
    ids=lambda op: type(op).__name__,
)
def test_every_operator(op: Op) -> None:
    check(single(op), values())


@pytest.mark.parametrize("op", [Add(), Concat()])
def test_joins(op: Op) -> None:
    check(single(op, inputs=3), values())
    network = single(op, inputs=2)
    twice = replace(network.nodes[-1], inputs=("copy0", "copy0"))
    check(replace(network, nodes=(network.nodes[0], twice)), values())


def test_a_quantiser_passes_the_gradient_within_its_range() -> None:
    network = single(Quantise(0.125, 3.0, 0, 15))
    tensors = run_all(network, values(), dtype=np.float64)
    ones = np.ones_like(tensors["last"])
    found = gradients(network, tensors, ones, ["copy0"])["copy0"]
    np.testing.assert_array_equal(found, np.abs(tensors["copy0"] - 4.5 * 0.125) <= 7.5 * 0.125)


def test_the_first_of_equal_maxima_takes_all() -> None:
    network = single(MaxPool((2, 2), (2, 2)))
    tensors = run_all(network, np.zeros((1, 4, 7, 6)), dtype=np.float64)
    found = gradients(network, tensors, np.ones_like(tensors["last"]), ["copy0"])["copy0"]
    assert (found[:, :, 0:6:2, 0:6:2] == 1).all()
    assert found.sum() == tensors["last"].size


@pytest.mark.parametrize("seed", range(25))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    model = random_onnx(seed)
    onnx.save(model, tmp_path / "random.onnx")
    x = random_images(seed, model, 6)[3:].astype(np.float64)
    check(import_onnx(tmp_path / "random.onnx"), x, rtol=1e-3)


def test_what_the_output_does_not_depend_on_has_no_gradient() -> None:
    network = single(Add(), inputs=2)
    network = replace(network, output="copy1")
    tensors = run_all(network, values(), dtype=np.float64)
    found = gradients(network, tensors, np.ones_like(values()), ["copy0", "copy1", "x"])
    assert not found["copy0"].any()
    assert found["copy1"].all()
    assert (found["x"] == 0.5).all()


def test_decisions_are_refused() -> None:
    vector = Conv(np.ones((3, 4, 7, 6)), np.zeros(3))
    network = single(vector)
    end = Node("end", Softmax(), ("last",), (3, 1, 1))
    network = replace(network, nodes=(*network.nodes, end), output="end")
    tensors = run_all(network, values(), dtype=np.float64)
    with pytest.raises(ValueError, match="Gradients must start before a Softmax"):
        gradients(network, tensors, tensors["end"], ["x"])
    check(without_decision(network), values())
