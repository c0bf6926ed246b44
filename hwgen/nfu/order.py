"""The order of channels in memory: filters that survive in the same places share a tile.

A row of SB exists if any of Tn filters has a term in its tap and its block of inputs, and is there
as often as the longest weight needs. So filters are gathered whose needs cover each other. The
order costs nothing, since the layers that read take it into their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numba
import numpy as np

from hwgen.integer.types import Concat, IntegerNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layers import Layer
from hwgen.numeric import IntArray, odd_parts

__all__ = ["channel_orders", "gather", "similar"]

_PASSES = 2


def channel_orders(
    network: IntegerNetwork, layers: Sequence[Layer], config: NfuConfig, output: str
) -> dict[str, IntArray]:
    """For each stored tensor whose channels are to lie in another order, the channel of each place.

    Tensors that a layer reads and writes channel by channel have one order. The image, the stored
    ``output``, what is concatenated, and what grouped convolutions read or write keep theirs.
    """
    ties = _Ties(network, layers, output)
    orders: dict[str, IntArray] = {}
    for first in layers:
        root = ties.find(first.output)
        if root in ties.fixed or first.output in orders:
            continue
        tied = [layer for layer in layers if ties.find(layer.output) == root]
        # what the tensors are computed from, weighted by how often
        needs = [
            (_needs(config, layer, orders), layer.node.shape[1] * layer.node.shape[2])
            for layer in tied
            if not layer.channelwise
        ]
        if not needs:
            continue
        columns = np.concatenate([need for need, _ in needs], axis=1)
        weights = np.concatenate([np.full(need.shape[1], n) for need, n in needs])
        order = gather(columns, weights, config.tn)
        same = np.arange(len(order))
        if _rows(columns, weights, order, config.tn) < _rows(columns, weights, same, config.tn):
            for layer in tied:
                orders[layer.output] = order
    return orders


def gather(needs: IntArray, weights: IntArray, size: int) -> IntArray:
    """Order of filters in which groups of ``size`` have few rows.

    Either each group begins with the filter that needs most of those left, and takes those that add
    least to it, or the order is :func:`similar`, whichever has fewer rows. Then filters of two
    groups change places where that saves rows, in two passes at most.

    Parameters
    ----------
    needs : int64 array
        (filters, columns): rows that a filter needs in each column, a tap and a block of inputs.
    weights : int64 array
        (columns,): what a row of a column counts.
    size : int
        Filters of a group.
    """
    same = np.arange(len(needs))
    covered: IntArray = np.zeros(len(needs), dtype=np.int64)
    _gather(needs, weights, size, covered)
    order = min(covered, similar(needs), key=lambda each: _rows(needs, weights, each, size))
    if _rows(needs, weights, order, size) == _rows(needs, weights, same, size):
        return same  # as where zeros are scattered: exchanges would find next to nothing
    _exchange(needs, weights, size, order, _PASSES)
    return order


def similar(needs: IntArray) -> IntArray:
    """Order of filters in which those of as many rows, and of the same ones, are neighbours.

    As filters of kernels of a few sizes are best put; it takes no search.

    Parameters
    ----------
    needs : int64 array
        (filters, columns): rows that a filter needs in each column.
    """
    rng = np.random.default_rng(0)
    present = needs > 0
    pattern = present @ rng.random(needs.shape[1])  # the same for the same columns
    return np.lexsort((-needs.sum(axis=1), pattern, -np.count_nonzero(present, axis=1)))


class _Ties:
    """Which tensors share an order, and which keep theirs."""

    def __init__(self, network: IntegerNetwork, layers: Sequence[Layer], output: str) -> None:
        self.parent: dict[str, str] = {}
        fixed = {network.input_name, output}
        for node in network.nodes:
            if isinstance(node.op, Concat):
                fixed |= {
                    node.name,
                    *node.inputs,
                    *(f"{node.name}/{k}" for k in range(len(node.inputs))),
                }
        for layer in layers:
            if layer.channelwise:
                for addend in layer.addends:
                    self.parent[self.find(addend.tensor)] = self.find(layer.output)
            else:
                grouped = [a.tensor for a in layer.addends if a.op.groups > 1]
                fixed |= {*grouped, *([layer.output] if grouped else [])}
        self.fixed = {self.find(name) for name in fixed}

    def find(self, name: str) -> str:
        """The tensor that stands for all that share the order of ``name``."""
        while (parent := self.parent.get(name, name)) != name:
            name = parent
        return name


def _needs(config: NfuConfig, layer: Layer, orders: Mapping[str, IntArray]) -> IntArray:
    """Rows (filters, taps times blocks) that each filter of a layer needs alone.

    Powers of two do not count: how many are left to the scale is known when maps have a place.
    """
    result = []
    for addend in layer.addends:
        weight = odd_parts(addend.op.weight)
        if addend.tensor in orders:
            weight = weight[:, orders[addend.tensor]]
        spare = -weight.shape[1] % config.ti
        padded = np.pad(weight, ((0, 0), (0, spare), (0, 0), (0, 0)))
        split = padded.reshape(len(weight), -1, config.ti, *weight.shape[2:])
        # (filters, blocks, KH, KW, one neuron, Ti) to (..., parts, one neuron, Ti, operands)
        parts = config.lane.split(split.transpose(0, 1, 3, 4, 2)[..., None, :])
        result.append(parts.any(axis=(-3, -2, -1)).sum(axis=-1).reshape(len(weight), -1))
    return np.concatenate(result, axis=1)


def _rows(needs: IntArray, weights: IntArray, order: IntArray, size: int) -> int:
    """Weighted rows of all groups."""
    groups = [needs[order[k : k + size]].max(axis=0) for k in range(0, len(order), size)]
    return int((np.array(groups) @ weights).sum())


@numba.njit(cache=True)
def _gather(needs: IntArray, weights: IntArray, size: int, order: IntArray) -> None:
    count, columns = needs.shape
    total = np.zeros(count, dtype=np.int64)
    for f in range(count):
        for d in range(columns):
            total[f] += needs[f, d] * weights[d]
    left = np.ones(count, dtype=np.bool_)
    most = np.zeros(columns, dtype=np.int64)
    for place in range(count):
        if place % size == 0:
            most[:] = 0
        best, best_added, best_total = -1, 0, 0
        for f in range(count):
            if not left[f]:
                continue
            added = 0
            for d in range(columns):
                if needs[f, d] > most[d]:
                    added += (needs[f, d] - most[d]) * weights[d]
            if place % size == 0:
                added = -total[f]
            # of those that add the same, the one that needs most
            if best < 0 or added < best_added or (added == best_added and total[f] > best_total):
                best, best_added, best_total = f, added, total[f]
        left[best] = False
        order[place] = best
        for d in range(columns):
            most[d] = max(most[d], needs[best, d])


@numba.njit(cache=True)
def _cost(needs: IntArray, weights: IntArray, members: IntArray, without: int, more: int) -> int:
    """Rows of a group with filter ``more`` in the place of member ``without``."""
    cost = 0
    for d in range(needs.shape[1]):
        most = needs[more, d]
        for k in range(len(members)):
            if k != without and needs[members[k], d] > most:
                most = needs[members[k], d]
        cost += most * weights[d]
    return cost


@numba.njit(cache=True)
def _exchange(needs: IntArray, weights: IntArray, size: int, order: IntArray, passes: int) -> None:
    count = len(order)
    for _ in range(passes):
        changed = False
        for a in range(count):
            first = order[a // size * size : a // size * size + size]
            before_a = _cost(needs, weights, first, a % size, order[a])
            for b in range(a // size * size + size, count):
                second = order[b // size * size : b // size * size + size]
                before = before_a + _cost(needs, weights, second, b % size, order[b])
                after = _cost(needs, weights, first, a % size, order[b])
                if after < before:
                    after += _cost(needs, weights, second, b % size, order[a])
                if after < before:
                    order[a], order[b] = order[b], order[a]
                    before_a = _cost(needs, weights, first, a % size, order[a])
                    changed = True
        if not changed:
            break
