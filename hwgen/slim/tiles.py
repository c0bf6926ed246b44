"""Blocks of weights that a tile of Tn filters by Ti channels skips together.

An NFU issues a row for each tap of up to Tn filters and up to Ti channels that they read, unless
all its weights are zero. A choice that knows this takes whole rows away, at the same taps; one that
does not takes any weights, and saves rows by chance alone. Both are the same choice among blocks,
of a row's size or of one weight.
"""

from __future__ import annotations

import numpy as np

from hwgen.network.types import Conv, FloatArray
from hwgen.numeric import IntArray

__all__ = ["Tile", "tile_blocks", "without_weakest"]

Tile = tuple[int, int]
"""(Tn, Ti): output channels and input channels of one cycle."""


def tile_blocks(op: Conv, tile: Tile = (1, 1), *, kernels: bool = False) -> IntArray:
    """Number of the block that each weight belongs to, in the shape of ``op.weight``.

    Blocks are numbered from 0 without a gap. A block is one tap of Tn filters, as they follow one
    another in a group, by Ti channels that they read; with ``kernels`` all their taps. The tile
    (1, 1) makes every weight, or kernel, a block.
    """
    tn, ti = tile
    count, channels, height, width = op.weight.shape
    per_group = count // op.groups
    rows = -(-per_group // tn)
    place = np.arange(count)
    row = place // per_group * rows + place % per_group // tn
    column = np.arange(channels) // ti
    blocks = row[:, None] * (-(-channels // ti)) + column
    taps = np.zeros((height, width), dtype=np.int64)
    if not kernels:
        taps = np.arange(height * width).reshape(height, width)
    return np.asarray(blocks[:, :, None, None] * (int(taps.max()) + 1) + taps, dtype=np.int64)


def without_weakest(op: Conv, blocks: IntArray, share: float) -> FloatArray:
    """The weights of ``op`` without the ``share`` of ``blocks`` that holds the least energy.

    Energy is the sum of squares; of equal blocks the first go.
    """
    energy = np.bincount(blocks.ravel(), weights=op.weight.ravel() ** 2)
    weakest = np.argsort(energy, kind="stable")[: round(share * len(energy))]
    gone = np.zeros(len(energy), dtype=np.bool_)
    gone[weakest] = True
    return np.where(gone[blocks], 0.0, op.weight)
