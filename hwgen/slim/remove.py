"""Neurons removed: those that training left without weights, and those that resemble others.

A neuron is a filter of a convolution, or of a fully connected layer. Removed, it is a filter of
zeros that nobody reads; :mod:`hwgen.slim.compact` makes it vanish.

Which neurons of a network that has been trained already may go is chosen without data after
Srinivas and Babu, *Data-free Parameter Pruning for Deep Neural Networks* (BMVC 2015): a neuron j
whose weights and bias ``W_j`` are near those of a neuron i gives nearly what that gives, so that i
may take over the weights that read j, ``a_i += a_j``. The saliency of the pair is ``<a_j^2> |W_j -
W_i|^2``, with the mean over what reads j. In the *scaled* form, ours, j is compared with the
multiple ``f W_i``, ``f >= 0``, that is nearest to it, and ``a_i += f a_j``; this needs activations
that are homogeneous, ``phi(f x) = f phi(x)``, as ReLU is. Both are exact where the weights are
equal, or multiples. The paper has fully connected layers; here an outgoing weight is a kernel, and
the square of it the sum of the squares of its taps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from hwgen.network.types import (
    Activation,
    AveragePool,
    Conv,
    FloatArray,
    MaxPool,
    Network,
    PiecewiseLinear,
)
from hwgen.numeric import IntArray
from hwgen.slim.channels import feature_tensor
from hwgen.slim.constants import fold_constants
from hwgen.slim.features import Combination, Reader, fold, readers
from hwgen.slim.liveness import zero_unread

__all__ = ["Merging", "Resemblance", "merge_neurons", "remove_neurons"]

Resemblance = Literal["equal", "scaled"]
"""Whether a neuron stands for another as it is, or times a number that is not negative."""

_HOMOGENEOUS = frozenset({"relu", "leaky_relu", "prelu"})


def remove_neurons(network: Network, filters: Mapping[str, Sequence[int]]) -> Network:
    """``network`` without the weights and biases of some filters, and without what follows.

    Nodes and shapes stay. Equal to zeroing weights and biases of these ``filters``, by names of
    convolutions, alone: what an activation makes of 0 joins the biases behind it where that is
    exact (:mod:`hwgen.slim.constants`), weights that read the filters are zero then, and so are
    filters that nobody reads any more.

    Raises
    ------
    ValueError
        If there is no such convolution or filter.
    """
    nodes = {node.name: node for node in network.nodes}
    for name, gone in filters.items():
        op = _conv(network, name)
        if any(not 0 <= each < len(op.weight) for each in gone):
            raise ValueError(
                f"Filters of {name!r} must be from 0 to {len(op.weight) - 1}, not {list(gone)!r}"
            )
        weight, bias = op.weight.copy(), op.bias.copy()
        weight[list(gone)] = 0.0
        bias[list(gone)] = 0.0
        nodes[name] = replace(nodes[name], op=replace(op, weight=weight, bias=bias))
    return zero_unread(fold_constants(replace(network, nodes=tuple(nodes.values()))))


def _conv(network: Network, name: str) -> Conv:
    op = next((node.op for node in network.nodes if node.name == name), None)
    if not isinstance(op, Conv):
        raise ValueError(f"Layer must be a convolution of the network, not {name!r}")
    return op


@dataclass(frozen=True, eq=False)
class Merging:
    """A network in which neurons of a layer stand for others.

    Attributes
    ----------
    network
        The network with its nodes and shapes; removed neurons are zero.
    removed
        Neurons in the order of removal.
    saliencies
        Saliency (len(removed),) of each when it was removed.
    combination
        By which neuron that stays, and times what, each of them is replaced; by none if its column
        is zero.
    """

    network: Network
    removed: tuple[int, ...]
    saliencies: FloatArray
    combination: Combination


def merge_neurons(
    network: Network, layer: str, count: int, resemblance: Resemblance = "scaled"
) -> Merging:
    """Let neurons of ``layer`` that resemble others be replaced by them, one after the other.

    Each time the neuron with the least saliency goes. Neurons whose activations have parameters
    of their own, or that are read in other groups, do not stand for each other.

    Parameters
    ----------
    network
        The network.
    layer
        A convolution. Activations and pools may lie between it and the convolutions behind.
    count
        Neurons to remove, fewer than there are. The saliencies of many show how many may go.
    resemblance
        ``scaled`` needs homogeneous activations; where no neuron resembles another, a neuron may
        go alone, which costs ``<a_j^2> |W_j|^2``.

    Raises
    ------
    ValueError
        If so many cannot go, or something other than convolutions reads the neurons.
    """
    op = _conv(network, layer)
    tensor = feature_tensor(network, layer)
    if not 0 <= count < len(op.weight):
        raise ValueError(f"Count must be from 0 to {len(op.weight) - 1}, not {count!r}")
    outgoing, kinds = _outgoing(network, layer, tensor, resemblance)
    removed, saliencies, factors = _merge(op, outgoing, kinds, count, resemblance)
    kept = np.setdiff1d(np.arange(len(op.weight)), removed)
    dropped = np.sort(removed)
    combination = Combination(
        tuple(dropped.tolist()),
        tuple(kept.tolist()),
        factors[np.ix_(kept, dropped)],
        np.zeros(len(dropped)),
    )
    merged = fold(network, tensor, combination)
    return Merging(merged, tuple(removed), saliencies, combination)


def _outgoing(
    network: Network, layer: str, tensor: str, resemblance: Resemblance
) -> tuple[FloatArray, IntArray]:
    """Weights (O, ...) that read each neuron, and numbers (O,) equal for those that may merge."""
    op = _conv(network, layer)
    traits: list[npt.NDArray[np.generic]] = [
        np.arange(len(op.weight)) // (len(op.weight) // op.groups)
    ]
    node = network.node(layer)
    while node.name != tensor:
        (node,) = network.consumers(node.name)
        match node.op:
            case Activation() as function:
                traits += [p for p in function.parameters if len(p) > 1]
                homogeneous = function.kind in _HOMOGENEOUS
            case PiecewiseLinear() as function:
                if len(function.slopes) > 1:
                    table = [function.breakpoints, function.slopes, function.offsets]
                    traits += [column for each in table for column in each.T]
                homogeneous = False
            case other:
                homogeneous = isinstance(other, MaxPool | AveragePool)
        if resemblance == "scaled" and not homogeneous:
            raise ValueError(f"Scaled neurons need homogeneous activations, not {node.name!r}")
    outgoing, count = [], 0
    for reader in readers(network, tensor):
        if not isinstance(reader, Reader):
            raise ValueError(f"Neurons of {layer!r} cannot stand for others: {reader}")
        weight, groups = reader.op.weight, reader.op.groups
        places = np.arange(len(op.weight)) + reader.offset
        group, channel = np.divmod(places, weight.shape[1])
        traits.append(group)
        blocks = weight.reshape(groups, -1, *weight.shape[1:])
        outgoing.append(blocks[group, :, channel].reshape(len(places), -1) * reader.gain)
        count += len(weight) // groups
    kinds = np.unique(np.stack(traits), axis=1, return_inverse=True)[1].reshape(-1)
    return np.concatenate(outgoing, axis=1) / np.sqrt(count), kinds


def _merge(
    op: Conv, outgoing: FloatArray, kinds: IntArray, count: int, resemblance: Resemblance
) -> tuple[list[int], FloatArray, FloatArray]:
    """Neurons in the order of removal, their saliencies, and what stands for them.

    That is a matrix (O, O), of which column j has the factors of j.
    """
    neurons = len(op.weight)
    distance, factor = _distances(op, kinds, resemblance)
    outgoing = outgoing.copy()
    weights = (outgoing**2).sum(axis=1)
    owner, share = np.arange(neurons), np.ones(neurons)
    nearest = distance.argmin(axis=0)
    removed: list[int] = []
    saliencies = []
    for _ in range(count):
        scores = distance[nearest, np.arange(neurons)]
        scores[removed] = np.inf
        np.multiply(scores, weights, out=scores, where=np.isfinite(scores))
        j = int(scores.argmin())
        if np.isinf(scores[j]):
            raise ValueError(
                f"Count must be at most {len(removed)}, since no neuron may stand for the others, "
                f"not {count!r}"
            )
        i = int(nearest[j])
        removed.append(j)
        saliencies.append(scores[j])
        outgoing[i] += factor[i, j] * outgoing[j]
        weights[i] = (outgoing[i] ** 2).sum()
        share[owner == j] *= factor[i, j]
        owner[owner == j] = i
        distance[j] = np.inf
        stale = np.flatnonzero(nearest == j)
        nearest[stale] = distance[:, stale].argmin(axis=0)
    factors = np.zeros((neurons, neurons))
    factors[owner, np.arange(neurons)] = share
    return removed, np.array(saliencies), factors


def _distances(
    op: Conv, kinds: IntArray, resemblance: Resemblance
) -> tuple[FloatArray, FloatArray]:
    """Squared distances (O, O) of what neuron i, the row, stands for, from neuron j; its factors.

    On the diagonal nothing stands for j. Infinite where i may not stand for j.
    """
    own = np.concatenate([op.weight.reshape(len(op.weight), -1), op.bias[:, None]], axis=1)
    gram = own @ own.T
    power = gram.diagonal().copy()
    if resemblance == "scaled":
        factor = np.maximum(gram, 0) / np.where(power > 0, power, 1)[:, None]
        np.fill_diagonal(factor, 0.0)
    else:
        factor = np.ones_like(gram)
    distance = np.maximum(power + factor * (factor * power[:, None] - 2 * gram), 0.0)
    distance[kinds[:, None] != kinds] = np.inf
    np.fill_diagonal(distance, power if resemblance == "scaled" else np.inf)
    return distance, factor
