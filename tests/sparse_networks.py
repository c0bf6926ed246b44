"""Networks with zeros where slimming leaves them, for tests of what becomes of the zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from random_networks import random_onnx

from hwgen.network.onnx_import import import_onnx
from hwgen.network.shapes import output_shape
from hwgen.network.types import Conv, FloatArray, Network, Node, Op, Shape

__all__ = ["network_of", "noise", "sparse", "sparse_network", "with_convs"]


def network_of(
    input_shape: Shape, layers: Sequence[tuple[str, Op] | tuple[str, Op, tuple[str, ...]]]
) -> Network:
    """Layers (name, operator, inputs); without inputs a layer reads the one before it."""
    shapes, nodes = {"x": input_shape}, []
    for name, op, *inputs in layers:
        sources = inputs[0] if inputs else (nodes[-1].name if nodes else "x",)
        shapes[name] = output_shape(op, [shapes[source] for source in sources])
        nodes.append(Node(name, op, tuple(sources), shapes[name]))
    return Network("net", "x", input_shape, tuple(nodes), nodes[-1].name)


def noise(network: Network, count: int = 4) -> FloatArray:
    """Images (count, C, H, W) for ``network``, float64 from -1 to 1."""
    shape = (count, *network.input_shape)
    return np.random.default_rng(3).uniform(-1, 1, shape)


def sparse(network: Network, seed: int) -> Network:
    """``network`` with random zeros: filters, what reads a channel, kernels, rims and biases."""
    rng = np.random.default_rng(seed)

    def thinned(op: Conv) -> Conv:
        weight, bias = op.weight.copy(), op.bias.copy()
        weight[rng.random(len(weight)) < 0.4] = 0
        weight[:, rng.random(weight.shape[1]) < 0.3] = 0
        weight[rng.random(weight.shape[:2]) < 0.2] = 0
        for rim in (np.s_[:, :, :1], np.s_[:, :, -1:], np.s_[..., :1], np.s_[..., -1:]):
            if rng.random() < 0.4:
                weight[rim] = 0
        bias[rng.random(len(bias)) < 0.5] = 0
        return replace(op, weight=weight, bias=bias)

    return with_convs(network, {node.name: thinned(op) for node, op in network.convs()})


def with_convs(network: Network, ops: Mapping[str, Conv]) -> Network:
    """``network`` with other operators of the names in ``ops``."""
    nodes = (replace(node, op=ops.get(node.name, node.op)) for node in network.nodes)
    return replace(network, nodes=tuple(nodes))


@cache
def sparse_network(seed: int) -> Network:
    """Random network number ``seed`` with random zeros."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(random_onnx(seed), path)
        return sparse(import_onnx(path), seed)
