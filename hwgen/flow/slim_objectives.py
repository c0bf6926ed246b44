"""What a slimmed network costs on hwgen's own hardware, layer by layer, while it is searched.

The same figures as the compiler's and the netlist's, but for one linear layer at a time and fast
enough for thousands of trials; what the two differ by is in the functions' docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hwgen.approx.costs import filter_adders, scale_adders
from hwgen.approx.types import DyadicFilters, code_terms
from hwgen.integer.types import Conv as IntegerConv
from hwgen.network.types import Conv, Network, Node, Shape
from hwgen.nfu.config import DyadicLane, NfuConfig
from hwgen.nfu.order import similar
from hwgen.numeric import IntArray
from hwgen.slim.objectives import FINEST_TERMS, Objective, surviving
from hwgen.stream.dense import is_dense, lanes_for
from hwgen.stream.scan import Scan

__all__ = ["cycles_objective", "issued_rows", "luts_objective", "row_needs"]

BoolArray = npt.NDArray[np.bool_]


def cycles_objective(config: NfuConfig) -> Objective:
    """Cycles in which an NFU issues rows: those of all surviving rows for every output pixel.

    A row is a tap of up to Tn filters and up to Ti channels; it comes as often as its longest
    weight needs of the lane. Filters of zeros and channels that nothing reads do not count, as
    :func:`hwgen.slim.compact.compact` takes them out. The compiler is free to choose which filters
    share a tile where nothing but layers reads their channels; here they are put in the order
    :func:`~hwgen.nfu.order.similar`, which gives some percent away and takes no search. Which
    channels share a block follows the order in which they are.

    A layer without a recipe counts rows of :data:`~hwgen.slim.objectives.FINEST_TERMS` terms. Not
    counted: waiting for loads, which the cycle model adds, and layers that are no Conv.
    """
    lane = config.lane.terms if isinstance(config.lane, DyadicLane) else None

    def cycles(node: Node, input_shape: Shape, filters: DyadicFilters | None) -> float:
        assert isinstance(node.op, Conv)
        needs = row_needs(node.op, filters, config)
        pixels = node.shape[1] * node.shape[2]
        kept = issued_rows(needs, np.arange(len(needs)), config)
        if node.op.groups == 1 and len(needs) > config.tn:
            kept = min(kept, issued_rows(needs, similar(needs), config))
        times = 1.0 if filters is not None or lane is None else max(1.0, FINEST_TERMS / lane)
        return kept * times * pixels

    return Objective("cycles", cycles)


def row_needs(op: Conv, filters: DyadicFilters | None, config: NfuConfig) -> IntArray:
    """Rows that each filter needs alone, (filters, columns): a column is a block and a tap of it.

    Filters of zeros are left out, and channels that no filter reads; grouped convolutions, whose
    channels stay where they are, keep all.
    """
    if filters is not None and isinstance(config.lane, DyadicLane):
        parts = -(-code_terms(filters.codes) // config.lane.terms)
    else:
        parts = surviving(op, filters).astype(np.int64)
    count, channels, height, width = parts.shape
    if op.groups == 1:
        parts = parts[parts.any(axis=(1, 2, 3))]
        parts = parts[:, parts.any(axis=(0, 2, 3))]
        count, channels = parts.shape[:2]
    first = np.arange(count) // max(1, count // op.groups) * channels
    blocks = -(-channels * op.groups // config.ti)
    needs = np.zeros((count, blocks, height * width), dtype=np.int64)
    flat = parts.reshape(count, channels, height * width)
    for channel in range(channels):
        block = (first + channel) // config.ti
        np.maximum.at(needs, (np.arange(count), block), flat[:, channel])
    return needs.reshape(count, blocks * height * width)


def issued_rows(needs: IntArray, order: IntArray, config: NfuConfig) -> int:
    """Rows of all groups of Tn filters for one pixel, in an order of the filters.

    NFU-3 takes its turns for each group, however few rows that has.
    """
    groups = [needs[order[k : k + config.tn]] for k in range(0, len(order), config.tn)]
    return sum(max(config.turns, int(group.max(axis=0).sum())) for group in groups)


_SHARED = 0.92
_CHEAP_TERMS = 32
_SLACK = 1 / 16
"""What :func:`hwgen.stream.plan.plan_pipeline` may lose of the pace for fewer lanes."""


@dataclass(frozen=True)
class _Luts:
    """LUTs of the parts of a streaming layer of 8-bit activations.

    ``adder``; ``filter``, which is requantised and buffered; ``channel`` that is read, in its
    buffer; ``tap`` of a channel that padding masks; ``window`` of any layer that has one; ``dense``
    of any layer with weights in memory, ``lane`` of it and ``output``.
    """

    adder: float
    filter: float
    channel: float
    tap: float
    window: float
    dense: float
    lane: float
    output: float


# Fitted to the layers of the face detector and the small digit network, whole and slimmed, as Yosys
# 0.70 makes them; benchmarks/bench_slim_hardware.py reports the error.
_LUTS: Mapping[str, _Luts] = MappingProxyType(
    {
        "ecp5": _Luts(10.9, 66.0, 10.0, 8.0, 110.0, 500.0, 90.0, 4.0),
        "ice40": _Luts(11.4, 62.0, 10.0, 8.0, 28.0, 500.0, 86.0, 4.0),
    }
)


def luts_objective(network: Network, family: str = "ecp5") -> Objective:
    """LUTs of the streaming datapath, in which every weight of a convolution has its adders.

    Of n adders before sharing about ``n**0.92`` are left after it. Fully connected layers keep
    their weights in memory; there it is filters that count, and lanes, of which there are as many
    as keep up with the convolutions. A layer without a recipe has weights of
    :data:`~hwgen.slim.objectives.FINEST_TERMS` terms. Not counted: pools, activations that are not
    bounds, and buffers of branches.

    Parameters
    ----------
    network
        The network that is slimmed, for its pace.
    family
        ``ecp5`` or ``ice40``.

    Raises
    ------
    ValueError
        If there is no such family.
    """
    if family not in _LUTS:
        raise ValueError(f"Family must be one of {', '.join(_LUTS)}, not {family!r}")
    luts = _LUTS[family]
    beats = max(_beats(node, network.shape(node.inputs[0])) for node, _ in network.convs())
    interval = beats + int(beats * _SLACK)

    def layer(node: Node, input_shape: Shape, filters: DyadicFilters | None) -> float:
        op = node.op
        assert isinstance(op, Conv)
        kept = surviving(op, filters)
        alive = int(np.count_nonzero(kept.any(axis=(1, 2, 3))))
        if not alive:
            return 0.0
        if filters is None:
            weights = np.count_nonzero(kept, axis=(1, 2, 3))
            adders = float(np.maximum(FINEST_TERMS * weights - 1, 0).sum())
        else:
            adders = float(filter_adders(filters) - scale_adders(filters))
        read = kept.reshape(op.groups, -1, *kept.shape[1:]).any(axis=1).reshape(-1, *op.kernel)
        channels = int(np.count_nonzero(read.any(axis=(1, 2))))
        size = (alive, max(1, channels // op.groups), *op.kernel)
        whole = IntegerConv(np.zeros(size, np.int64), np.zeros(alive, np.int64), pads=op.pads)
        if is_dense(whole, input_shape) and (input_shape[1:] != (1, 1) or adders > _CHEAP_TERMS):
            lanes = lanes_for(whole, interval=interval)
            return luts.dense + luts.lane * lanes + luts.output * alive
        masked = int(np.count_nonzero(read & _padded_taps(op)))
        window = luts.window if max(op.kernel) > 1 else 0.0
        parts = luts.filter * alive + luts.channel * channels + luts.tap * masked
        return luts.adder * math.pow(adders, _SHARED) + parts + window

    return Objective("luts", layer)


def _beats(node: Node, shape: Shape) -> int:
    """Cycles that an image keeps a window busy."""
    op = node.op
    assert isinstance(op, Conv)
    return Scan(shape[1], shape[2], op.kernel, op.strides, op.pads, op.dilations).beats


def _padded_taps(op: Conv) -> BoolArray:
    """(KH, KW) taps that can fall in the padding."""
    top, left, bottom, right = op.pads
    axes = [
        (place * step < before) | ((size - 1 - place) * step < behind)
        for size, step, before, behind in zip(
            op.kernel, op.dilations, (top, left), (bottom, right), strict=True
        )
        for place in [np.arange(size)]
    ]
    return np.asarray(axes[0][:, None] | axes[1])
