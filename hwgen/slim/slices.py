"""What a layer loses with the kernels of single input channels.

With the moments of what a layer reads, the least error of a filter without some of its weights w_R
is known from the inverse of the moments on its places (optimal brain surgeon: Hassibi and Stork,
*Second order derivatives for network pruning*, NIPS 1992, here for several weights at once):

    E(without R) - E = w_R' (inverse_RR)^-1 w_R.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hwgen.network.types import FloatArray, Pair
from hwgen.numeric import IntArray
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.kernels import centred_mask

__all__ = ["block_increases", "slice_increases", "slice_work"]


def slice_increases(
    damped: Damped, mask: BoolArray, sizes: Sequence[Pair]
) -> Mapping[Pair, FloatArray]:
    """What it adds to the layer's error to reduce the kernel of one input channel of one filter.

    Parameters
    ----------
    damped
        The layer's error as a function of its weights.
    mask
        (O, I / groups, KH, KW), where it has weights.
    sizes
        Sizes to which the kernels may be reduced; (0, 0) removes them.

    Returns
    -------
    mapping
        By size, (O, I / groups) increases of the damped error, each as if the others stayed as they
        are, and infinite where the kernel has no weight outside the size.
    """
    kernel = (mask.shape[2], mask.shape[3])
    taps, depth = kernel[0] * kernel[1], mask.shape[1]
    outside = {size: ~centred_mask(kernel, size).reshape(-1) for size in sizes}
    found = {size: np.full(mask.shape[:2], np.inf) for size in sizes}
    for each in damped.solved(mask):
        for size in sizes:
            gone = np.flatnonzero(outside[size][each.entries % taps])
            channel = each.entries[gone] // taps
            added = _increases(each.inverse, each.weight, gone, channel, depth)
            # a kernel that two blocks share loses what it does in both
            known = found[size][each.rows]
            both = np.isfinite(known) & np.isfinite(added)
            found[size][each.rows] = np.where(both, known + added, np.minimum(known, added))
    return found


def block_increases(
    damped: Damped, mask: BoolArray, blocks: IntArray, reach: FloatArray
) -> FloatArray:
    """What it adds to the layer's error to leave out each of some blocks of its weights.

    Parameters
    ----------
    damped
        The layer's error as a function of its weights.
    mask
        (O, I / groups, KH, KW), where it has weights.
    blocks
        Block that each weight belongs to, in the shape of ``mask``.
    reach
        (O,) what the error of each filter counts.

    Returns
    -------
    array
        (blocks,) increases, each as if the others stayed; infinite for blocks without weights.
    """
    number = blocks.reshape(len(mask), -1)
    total, present = np.zeros(int(blocks.max()) + 1), np.zeros(int(blocks.max()) + 1, dtype=bool)
    for each in damped.solved(mask):
        rows, entries = each.rows, each.entries
        # filters of a tile have the same blocks
        for same in _alike(number[np.ix_(rows, entries)]):
            labels, label = np.unique(number[rows[same[0]], entries], return_inverse=True)
            order = np.argsort(label, kind="stable")
            added = _increases(each.inverse, each.weight[same], order, label[order], len(labels))
            total[labels] += reach[rows[same]] @ added
            present[labels] = True
    return np.where(present, total, np.inf)


def _alike(rows: IntArray) -> list[npt.NDArray[np.intp]]:
    """Indices of ``rows`` that are equal, together."""
    _, kind = np.unique(rows, axis=0, return_inverse=True)
    return [np.flatnonzero(kind == each) for each in range(int(kind.max(initial=-1)) + 1)]


def slice_work(mask: BoolArray) -> float:
    """Multiplications, about, that :func:`slice_increases` takes once filters differ."""
    return float(np.sum(mask.sum(axis=(1, 2, 3)).astype(np.float64) ** 3))


def _increases(
    inverse: FloatArray,
    weight: FloatArray,
    gone: np.ndarray[tuple[int], np.dtype[np.intp]],
    channel: np.ndarray[tuple[int], np.dtype[np.intp]],
    depth: int,
) -> FloatArray:
    """(filters, depth) increases when the weights ``gone`` of each ``channel`` are left out."""
    found = np.full((len(weight), depth), np.inf)
    channels, first, counts = np.unique(channel, return_index=True, return_counts=True)
    for count in np.unique(counts):
        of = counts == count
        at = gone[first[of][:, None] + np.arange(count)]
        blocks = inverse[at[:, :, None], at[:, None, :]]
        lost = weight[:, at].transpose(1, 2, 0)
        solved = np.linalg.solve(blocks, lost)
        found[:, channels[of]] = np.maximum((lost * solved).sum(axis=1).T, 0.0)
    return found
