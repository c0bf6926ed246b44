"""PyTorch computes what the float network is defined to compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from random_networks import random_images, random_onnx

pytest.importorskip("torch")

import torch

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.finetune.execute import run_torch, straight_through, to_tensor
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.shapes import ACTIVATIONS
from hwgen.network.types import (
    Activation,
    AveragePool,
    Conv,
    MaxPool,
    Network,
    Node,
    Op,
    PiecewiseLinear,
    Quantise,
    Shape,
    Softmax,
)

RNG = np.random.default_rng(2)


def _compare(network: Network, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    expected = run(network, x)
    with torch.no_grad():
        found = run_torch(network, to_tensor(x), {}).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, float(np.abs(expected).max()))


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    model = random_onnx(seed)
    onnx.save(model, tmp_path / "model.onnx")
    network = import_onnx(tmp_path / "model.onnx")
    x = random_images(seed, model, 5)
    _compare(network, x)
    _compare(approximate(network, recipes=parse_recipe("P4")).to_network(), x)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Conv(RNG.normal(size=(4, 2, 2, 3)), RNG.normal(size=4), (2, 1), (1, 0, 2, 1), (1, 2), 2),
         (4, 5, 6)),
        (MaxPool((2, 3), (1, 2), (0, 1, 1, 0), (2, 1)), (2, 5, 7)),
        (AveragePool((3, 2), (2, 2), (1, 0, 1, 1), True, (1, 1), 0.75), (2, 3, 4)),
        (AveragePool((2, 2), (2, 2), (0, 0, 0, 0), False, (1, 0)), (2, 3, 3)),
        (Quantise(0.25, 2.0, 0, 7), (2, 4, 4)),
        (Activation("clip", (np.array([-0.5]), np.array([np.inf])), 2.0, -3.0), (2, 4, 4)),
        (Activation("prelu", (np.array([0.25, -0.5]),), -1.0), (2, 4, 4)),
        (PiecewiseLinear(RNG.normal(size=(2, 3)).cumsum(1) ** 3, RNG.normal(size=(2, 4)),
                         RNG.normal(size=(2, 4))), (2, 4, 4)),
        (Softmax(), (3, 1, 1)),
        (Softmax(log=True), (3, 1, 1)),
    ],
)  # fmt: skip
def test_single_operators(op: Op, shape: Shape) -> None:
    if isinstance(op, PiecewiseLinear):
        op = PiecewiseLinear(np.sort(op.breakpoints, axis=1), op.slopes, op.offsets)
    _compare(Network("n", "x", shape, (Node("y", op, ("x",), shape),), "y"), _images(shape))


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_every_activation(kind: str) -> None:
    parameters = (np.array([-0.25]), np.array([0.75]))[: ACTIVATIONS[kind]]
    shape = (2, 4, 4)
    op = Activation(kind, parameters, 1.5, -0.5)
    _compare(Network("n", "x", shape, (Node("y", op, ("x",), shape),), "y"), _images(shape))


def _images(shape: Shape) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(7, *shape)).astype(np.float32)


def test_gradients_pass_straight_through() -> None:
    x = torch.tensor([0.3, -2.0, 5.0], requires_grad=True)
    straight_through(x.round(), 3 * x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0, 3.0]
    quantise = Quantise(0.5, 0.0, -2, 2)
    images = torch.tensor([[0.3, -2.0, 0.9]]).reshape(1, 3, 1, 1).requires_grad_()
    network = Network("n", "x", (3, 1, 1), (Node("y", quantise, ("x",), (3, 1, 1)),), "y")
    run_torch(network, images, {}).sum().backward()
    assert images.grad.flatten().tolist() == [1.0, 0.0, 1.0]


def test_smooth_operators_lend_their_gradients() -> None:
    shape = (1, 1, 1)
    flat = PiecewiseLinear(np.zeros((1, 0)), np.zeros((1, 1)), np.ones((1, 1)))
    network = Network("n", "x", shape, (Node("y", flat, ("x",), shape),), "y")
    x = torch.zeros(1, *shape, requires_grad=True)
    y = run_torch(network, x, {}, {"y": Activation("tanh", (), 1.0, 2.0)})
    y.sum().backward()
    assert (y.item(), x.grad.item()) == (1.0, 2.0)


def test_layers_replace_weights() -> None:
    shape = (1, 2, 2)
    layer = Conv(np.ones((1, 1, 1, 1)), np.zeros(1))
    network = Network("n", "x", shape, (Node("c", layer, ("x",), shape),), "c")
    own = (torch.full((1, 1, 1, 1), 3.0), torch.full((1,), -1.0))
    assert run_torch(network, torch.ones(1, *shape), {"c": own}).unique().tolist() == [2.0]
