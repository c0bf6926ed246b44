"""What a slimmed network costs on hwgen's own hardware, layer by layer, while it is searched.

The same figures as the compiler's and the netlist's, but for one linear layer at a time and fast
enough for thousands of trials; what the two differ by is in the functions' docstrings.
"""

from __future__ import annotations

import numpy as np

from hwgen.approx.types import DyadicFilters, code_terms
from hwgen.network.types import Conv, Node, Shape
from hwgen.nfu.config import DyadicLane, NfuConfig
from hwgen.nfu.order import similar
from hwgen.numeric import IntArray
from hwgen.slim.objectives import FINEST_TERMS, Objective, surviving

__all__ = ["cycles_objective", "issued_rows", "row_needs"]


def cycles_objective(config: NfuConfig) -> Objective:
    """Cycles in which an NFU issues rows: those of all surviving rows for every output pixel.

    A row is a tap of up to Tn filters and up to Ti channels; it comes as often as its longest
    weight needs of the lane. Filters of zeros and channels that nothing reads do not count, as
    :func:`hwgen.slim.compact` takes them out. The compiler is free to choose which filters share a
    tile where nothing but layers reads their channels; here they are put in the order of
    :func:`hwgen.nfu.order.similar`,
    which gives some percent away and takes no search. Which channels share a block follows the
    order in which they are.

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
