"""What a slimmed network costs, layer by layer: the figure that a search saves.

An objective rates one linear layer at a time, from its operator, whose zeros cost nothing, and its
dyadic filters if it has them already; so a search that changes a layer rates that layer alone. Here
are the costs that no hardware is needed for; those of the back ends are in
:mod:`hwgen.flow.slim_objectives`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hwgen.approx.costs import code_width, filter_adders
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Conv, Network, Node, Shape

__all__ = [
    "ADDITIONS",
    "BYTES",
    "FINEST_BITS",
    "FINEST_TERMS",
    "MACS",
    "LayerCost",
    "Objective",
    "layer_additions",
    "layer_bytes",
    "layer_macs",
    "surviving",
]

BoolArray = npt.NDArray[np.bool_]

FINEST_TERMS = 1.58
"""Signed powers of two of a weight that is not zero and has no recipe yet.

The mean of those that set P8, the finest of those that layers end with as a rule, leaves of
Gaussian weights.
"""
FINEST_BITS = 6
"""Bits of the code of a weight that has no recipe yet: those of set P8."""
_WORD_BITS = 16
"""Bits of a filter's scale, and of its bias."""

LayerCost = Callable[[Node, Shape, DyadicFilters | None], float]
"""Cost of a node whose operator is a Conv, from the shape of its input and its dyadic filters."""

_NONE: Mapping[str, DyadicFilters] = MappingProxyType({})


@dataclass(frozen=True)
class Objective:
    """A cost of an image that is to be saved.

    Parameters
    ----------
    name : str
        Its name, such as ``macs``.
    layer : callable
        Cost of one linear layer: its node, in which weights that are gone are 0, the shape
        (C, H, W) of what it reads, and its dyadic filters, None where it has no recipe yet.
    """

    name: str
    layer: LayerCost

    def __call__(
        self, network: Network, filters: Mapping[str, DyadicFilters] = _NONE
    ) -> dict[str, float]:
        """Cost of every linear layer of ``network`` by node name, in order."""
        return {
            node.name: self.layer(node, network.shape(node.inputs[0]), filters.get(node.name))
            for node, _ in network.convs()
        }

    def total(self, network: Network, filters: Mapping[str, DyadicFilters] = _NONE) -> float:
        """Cost of the whole network."""
        return sum(self(network, filters).values())


def surviving(op: Conv, filters: DyadicFilters | None = None) -> BoolArray:
    """Weights (O, I / groups, KH, KW) that are not zero; of ``filters`` if there are any."""
    return np.asarray((op.weight if filters is None else filters.codes) != 0)


def layer_macs(node: Node, input_shape: Shape, filters: DyadicFilters | None = None) -> float:
    """Multiplications by weights other than 0, 1 and -1, those on padding included.

    So maps that a 1x1 layer only hands on, picks or permutes count nothing. What Nagaraju and
    Chandrachoodan (OJCAS 2023) call computations; how large the numbers are does not matter.
    """
    del input_shape
    op = _conv(node)
    counted = surviving(op, filters) & (np.abs(op.weight) != 1)
    return float(np.count_nonzero(counted) * _pixels(node))


def layer_additions(node: Node, input_shape: Shape, filters: DyadicFilters | None = None) -> float:
    """Two-input additions of the dyadic filters before sharing, scales included.

    A filter of z weights without a recipe is taken for one of ``FINEST_TERMS * z`` terms.
    """
    del input_shape
    if filters is not None:
        return float(filter_adders(filters) * _pixels(node))
    weights = np.count_nonzero(_conv(node).weight, axis=(1, 2, 3))
    return float(np.maximum(FINEST_TERMS * weights - 1, 0).sum() * _pixels(node))


def layer_bytes(node: Node, input_shape: Shape, filters: DyadicFilters | None = None) -> float:
    """Memory of weights, scales and biases in bytes, with what says where the weights are.

    Filters of zeros, and channels that no filter reads, are not stored, nor are the rows and
    columns at the rim of the kernel that no filter has. Of what is left either every weight takes
    a code, or every weight takes a bit and those that are not zero a code: whichever is less. A
    code has as many bits as tell the numbers of the recipe's set apart (for a layer that is kept
    exactly: the numbers that occur), and :data:`FINEST_BITS` without a recipe; scale and bias of a
    filter take 16 bits each. Activations do not count.
    """
    del input_shape
    op = _conv(node)
    kept = surviving(op, filters)
    alive = np.count_nonzero(kept.any(axis=(1, 2, 3)))
    if not alive:
        return 0.0
    channels = sum(
        int(np.count_nonzero(group.any(axis=(1, 2, 3)))) * int(group.any(axis=(0, 2, 3)).sum())
        for group in np.split(kept, op.groups)
    )
    taps = math.prod(_extent(np.asarray(kept.any(axis=(0, 1, axis)))) for axis in (3, 2))
    places, codes = channels * taps, int(np.count_nonzero(kept))
    bits = min(places * (width := _code_width(filters)), places + codes * width)
    return (bits + 2 * _WORD_BITS * int(alive)) / 8


def _code_width(filters: DyadicFilters | None) -> int:
    return FINEST_BITS if filters is None else max(1, code_width(filters))


def _extent(used: BoolArray) -> int:
    """Entries from the first to the last that is used, of which there is one."""
    places = np.flatnonzero(used)
    return int(places[-1] - places[0]) + 1


def _pixels(node: Node) -> int:
    return node.shape[1] * node.shape[2]


def _conv(node: Node) -> Conv:
    if not isinstance(node.op, Conv):
        raise TypeError(f"Node must be a Conv, not {node.name!r}, {type(node.op).__name__}")
    return node.op


MACS = Objective("macs", layer_macs)
ADDITIONS = Objective("additions", layer_additions)
BYTES = Objective("bytes", layer_bytes)
