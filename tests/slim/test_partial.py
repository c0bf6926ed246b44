"""Partial runs against runs of the whole changed network."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from random_networks import random_images, random_onnx
from slim_networks import branching, plain

from hwgen.network.execute import run_all
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv, Network
from hwgen.slim.partial import run_changed
from hwgen.slim.trial import put


def _changed(op: Conv, rng: np.random.Generator, share: float) -> Conv:
    """Some filters of a layer with other weights, of which some are zero."""
    weight, bias = op.weight.copy(), op.bias.copy()
    rows = rng.random(len(weight)) < share
    weight[rows] *= rng.random(weight.shape)[rows] < 0.5
    bias[rows] += 0.1
    return Conv(weight, bias, op.strides, op.pads, op.dilations, op.groups)


def _check(network: Network, x: np.ndarray, rng: np.random.Generator) -> None:
    cached = run_all(network, x, dtype=np.float64)
    convs = list(network.convs())
    chosen = rng.permutation(len(convs))[: rng.integers(1, 3)]
    changed = {convs[i][0].name: _changed(convs[i][1], rng, rng.choice([0.2, 1.0])) for i in chosen}
    wanted = run_all(put(network, changed), x, dtype=np.float64)
    found, _ = run_changed(network, cached, changed)
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found.get(name, cached[name]), tensor, atol=1e-9)


@pytest.mark.parametrize("network", [plain(), branching()], ids=lambda network: network.name)
def test_partial_runs_of_small_networks(network: Network) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        _check(network, rng.standard_normal((3, *network.input_shape)), rng)


@pytest.mark.parametrize("seed", range(25))
def test_partial_runs_of_networks_with_every_operator(seed: int, tmp_path: Path) -> None:
    model = random_onnx(seed)
    onnx.save(model, tmp_path / "model.onnx")
    network = import_onnx(tmp_path / "model.onnx")
    _check(network, random_images(seed, model, 4), np.random.default_rng(seed))


def test_only_what_changes_is_worked_on() -> None:
    network = plain()
    x = np.random.default_rng(0).standard_normal((2, *network.input_shape))
    cached = run_all(network, x, dtype=np.float64)
    op = network.node("second").op
    assert isinstance(op, Conv)
    weight = op.weight.copy()
    weight[[1, 4]] = 0.5
    weight[4, 3:] = 0
    weight[1, 3:] = 0
    changed = {"second": Conv(weight, op.bias, op.strides, op.pads)}
    found, work = run_changed(network, cached, changed)
    # two filters read three channels; the next layer reads two; the last one reads all
    assert work == 2 * 3 * 25 * 64 + 12 * 2 * 16 + 4 * 12
    assert set(found) == {"second", "b", "pool", "third", "c", "last"}
    same = {"second": Conv(op.weight, op.bias, op.strides, op.pads)}
    assert run_changed(network, cached, same)[0] == {}
