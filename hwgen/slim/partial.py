"""Run what a few changed layers change of a network: some nodes, and some channels of them.

The tensors of the network as it was are at hand. Nodes that do not depend on a changed layer do not
run at all. Of a layer some of whose filters changed only these run; of what follows pointwise, or
by pools, only their channels; and a layer that reads a few changed channels adds what these
contribute to its difference. Filters without weights are their bias, and channels that no filter
has a weight for are not read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwgen.network.execute import Tensor, affected, apply
from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
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
from hwgen.slim._damped import BoolArray
from hwgen.slim.widths import of_channels

__all__ = ["run_changed"]

_Fresh = tuple[Tensor, BoolArray]
"""A tensor, and which of its channels are others than those cached."""


def run_changed(
    network: Network, cached: Mapping[str, Tensor], changed: Mapping[str, Conv]
) -> tuple[Mapping[str, Tensor], int]:
    """Tensors of ``network`` that differ with the operators ``changed``, and the work it took.

    Parameters
    ----------
    network
        Network as it was.
    cached
        All its tensors (N, C, H, W), by name.
    changed
        New operators of linear layers, by node name; filters are compared with those that were.

    Returns
    -------
    tensors, multiplications
        Tensors that may differ, by name; multiplications of an image that were executed, those by
        weights that are 0 but in the rows and columns of others included.
    """
    fresh: dict[str, _Fresh] = {}
    work = 0
    for name in affected(network, changed.keys()):
        node = network.node(name)
        known = [
            fresh.get(each, (cached[each], np.zeros(network.shape(each)[0], dtype=np.bool_)))
            for each in node.inputs
        ]
        moved = [channels for _, channels in known]
        if name not in changed and not any(channels.any() for channels in moved):
            continue
        if isinstance(node.op, Conv):
            op = changed.get(name, node.op)
            made, cost = _conv(node, op, known[0], cached[node.inputs[0]], cached[name])
            work += cost
        else:
            made = _other(node.op, known, cached[name])
        if made[1].any():
            fresh[name] = made
    return {name: tensor for name, (tensor, _) in fresh.items()}, work


def _conv(node: Node, op: Conv, x: _Fresh, old: Tensor, before: Tensor) -> tuple[_Fresh, int]:
    was = node.op
    assert isinstance(was, Conv)
    rows: BoolArray = np.ones(len(op.weight), dtype=np.bool_)
    if op.groups > 1:
        return (apply(op, [x[0]]), rows), op.weight.size * math.prod(node.shape[1:])
    tensor, moved = x
    if op is not was:
        rows = np.asarray((op.weight != was.weight).any(axis=(1, 2, 3)) | (op.bias != was.bias))
    if not moved.any():
        return _rows(node, op, tensor, before, rows)
    if op is was and 2 * np.count_nonzero(moved) <= len(moved):
        # what was, and the difference of what it reads
        rows = np.asarray(op.weight[:, moved].any(axis=(1, 2, 3)))
        y = before.copy(order="K")
        part = replace(op, weight=op.weight[rows][:, moved], bias=np.zeros(int(rows.sum())))
        if rows.any():
            y[:, rows] += apply(part, [tensor[:, moved] - old[:, moved]])
        return (y, rows), part.weight.size * math.prod(node.shape[1:])
    return _rows(node, op, tensor, before, np.ones_like(rows))


def _rows(node: Node, op: Conv, x: Tensor, before: Tensor, rows: BoolArray) -> tuple[_Fresh, int]:
    """The filters ``rows`` of a layer, upon its tensor ``before``."""
    alive = rows & op.weight.any(axis=(1, 2, 3))
    read = op.weight[alive].any(axis=(0, 2, 3))
    if alive.all() and read.all():
        return (apply(op, [x]), rows), op.weight.size * math.prod(node.shape[1:])
    y = before.copy(order="K")
    y[:, rows & ~alive] = op.bias[rows & ~alive].astype(y.dtype)[:, None, None]
    part = replace(op, weight=op.weight[alive][:, read], bias=op.bias[alive])
    if alive.any():
        y[:, alive] = apply(part, [x[:, read]])
    return (y, rows), part.weight.size * math.prod(node.shape[1:])


def _other(op: Op, known: list[_Fresh], before: Tensor) -> _Fresh:
    tensors = [tensor for tensor, _ in known]
    match op:
        case Concat():
            return apply(op, tensors), np.concatenate([moved for _, moved in known])
        case Softmax() | ArgMax():
            return apply(op, tensors), np.ones(before.shape[1], dtype=np.bool_)
        case Add() | Activation() | PiecewiseLinear() | Quantise() | MaxPool() | AveragePool():
            moved = np.asarray(np.stack([channels for _, channels in known]).any(axis=0))
            if moved.all():
                return apply(op, tensors), moved
            y = before.copy(order="K")
            y[:, moved] = apply(of_channels(op, moved), [each[:, moved] for each in tensors])
            return y, moved
        case _:
            raise TypeError(f"Operator must be known, not {op!r}")
