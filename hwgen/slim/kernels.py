"""Kernels of fewer taps: which taps stay, how well the rest does, and the reduced layer.

A reduced kernel is the kernel with zeros outside some of its taps. It keeps its shape and its
padding, so that the output's positions do not move and every other tap still reads what it read.

"Lower kernels" of Nagaraju and Chandrachoodan (*Slimmer CNNs Through Feature Approximation and
Kernel Size Reduction*, IEEE OJCAS 4, 2023) are the paper's idea; how the weights that stay are
found, and which sizes and placements there are, is our own proposal: a crop, or the least error of
the output (:mod:`hwgen.slim.fitting`), of which the crop is the case of white input.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from hwgen.approx.moments import Moments
from hwgen.network.types import Conv, FloatArray, Pair
from hwgen.numeric import IntArray
from hwgen.slim._damped import BoolArray, Damped, Gain
from hwgen.slim.fitting import DAMPING, fit_weights

__all__ = [
    "best_placement",
    "centred_mask",
    "kernel_errors",
    "kernel_sizes",
    "placed_mask",
    "placements",
    "reduce_kernels",
    "restrict_taps",
    "size_chain",
    "size_steps",
    "support_on",
]


def centred_mask(kernel: Pair, size: Pair) -> BoolArray:
    """(KH, KW) the taps of a kernel's centre of ``size``, at most ``kernel``.

    Where the sizes differ by an odd number, the centre is the one up and to the left: of K rows
    those from ``(K - size) // 2`` on. Smaller centres lie within larger ones. A size with a 0 has
    no taps.

    Raises
    ------
    ValueError
        If ``size`` is negative or exceeds the kernel.
    """
    (top, left) = ((k - s) // 2 for k, s in zip(kernel, size, strict=True))
    return placed_mask(kernel, size, (top, left))


def placed_mask(kernel: Pair, size: Pair, corner: Pair) -> BoolArray:
    """(KH, KW) the taps of a rectangle of ``size`` whose first tap is at ``corner``.

    Raises
    ------
    ValueError
        If it does not lie within the kernel.
    """
    spans = tuple(zip(kernel, size, corner, strict=True))
    if not all(s >= 0 and at >= 0 and at + s <= k for k, s, at in spans):
        raise ValueError(f"Size must lie within the kernel {kernel}, not {size} at {corner}")
    mask = np.zeros(kernel, dtype=np.bool_)
    mask[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = True
    return mask


def placements(kernel: Pair, size: Pair) -> tuple[Pair, ...]:
    """Corners (row, column) of every place that a rectangle of ``size`` has in a kernel."""
    rows, columns = (range(k - s + 1) for k, s in zip(kernel, size, strict=True))
    return tuple((row, column) for row in rows for column in columns)


def size_chain(kernel: Pair) -> tuple[Pair, ...]:
    """The sizes that a kernel goes through: itself, smaller odd squares, 1x1 and (0, 0), removal.

    A side never grows: 6x7 goes through 5x5, 3x3 and 1x1; 1x7 through 1x5, 1x3 and 1x1.
    """
    sizes = [kernel]
    while max(sizes[-1]) > 0:
        side = _next_odd(max(sizes[-1]))
        height, width = sizes[-1]
        sizes.append((min(height, side), min(width, side)))
    return tuple(sizes)


def size_steps(size: Pair) -> tuple[Pair, ...]:
    """The next smaller sizes: in the chain, and of fewer rows or fewer columns alone.

    From 3x3: 1x1, 1x3 and 3x1.
    """
    if 0 in size:
        return ()
    height, width = size
    steps = (size_chain(size)[1], (_next_odd(height), width), (height, _next_odd(width)))
    return tuple(dict.fromkeys((0, 0) if 0 in step else step for step in steps))


def _next_odd(side: int) -> int:
    """The greatest odd number below ``side``; 0 below 1."""
    return 0 if side <= 1 else (side - 2) | 1


def kernel_sizes(op: Conv) -> IntArray:
    """(O, 2) for each filter the smallest centred (height, width) that holds all its weights.

    (0, 0) for a filter of zeros.
    """
    present = (op.weight != 0).any(axis=1)
    sizes = np.zeros((len(present), 2), dtype=np.int64)
    for axis, side in enumerate(op.kernel):
        lines = present.any(axis=2 - axis)
        for size in range(side, 0, -1):
            start = (side - size) // 2
            outside = lines.copy()
            outside[:, start : start + size] = False
            sizes[~outside.any(axis=1), axis] = size
    sizes[~present.any(axis=(1, 2))] = 0
    return sizes


def reduce_kernels(
    op: Conv,
    filters: Iterable[int],
    size: Pair,
    moments: Moments | None = None,
    *,
    keep_gain: Gain | None = None,
    damping: float = DAMPING,
) -> Conv:
    """``op`` with the kernels of ``filters`` reduced to their centres of ``size``.

    (0, 0) removes a filter: what is left of it is its bias. The rest is :func:`restrict_taps`.
    """
    mask = centred_mask(op.kernel, size)
    return restrict_taps(op, filters, mask, moments, keep_gain=keep_gain, damping=damping)


def restrict_taps(
    op: Conv,
    filters: Iterable[int],
    taps: BoolArray,
    moments: Moments | None = None,
    *,
    keep_gain: Gain | None = None,
    damping: float = DAMPING,
) -> Conv:
    """``op`` with weights of ``filters`` on ``taps`` only; what is 0 already stays 0.

    Parameters
    ----------
    op
        Layer.
    filters
        Filters that are restricted; the others stay as they are.
    taps
        (KH, KW) taps that stay.
    moments
        Moments of what the layer reads: the weights and biases then have the least error of the
        output (:func:`~hwgen.slim.fitting.fit_weights`). Without, the weights are cropped and the
        bias stays.
    keep_gain, damping
        As in :func:`~hwgen.slim.fitting.fit_weights`; they say nothing about a crop.

    Raises
    ------
    ValueError
        If ``taps`` has not the shape of the kernel.
    """
    chosen = list(filters)
    mask = support_on(op, taps)
    if moments is not None:
        return fit_weights(op, mask, moments, filters=chosen, damping=damping, keep_gain=keep_gain)
    weight = op.weight.copy()
    weight[chosen] *= mask[chosen]
    return replace(op, weight=weight)


def kernel_errors(
    op: Conv, moments: Moments, sizes: Sequence[Pair], *, damping: float = DAMPING
) -> FloatArray:
    """(O, sizes) least damped squared error of each filter's output for each centred size.

    What :func:`reduce_kernels` would reach, from the moments alone; errors of filters that are
    reduced together add up. The damping counts as if the inputs had a little white noise
    (:mod:`hwgen.slim._damped`), so that the errors never fall from a size to a smaller one.
    """
    damped = Damped.of(op, moments, damping)
    every = range(len(op.weight))
    masks = [_flat(support_on(op, centred_mask(op.kernel, size))) for size in sizes]
    return np.stack([damped.errors(every, mask) for mask in masks], axis=1)


def best_placement(
    op: Conv, filters: Iterable[int], size: Pair, moments: Moments, *, damping: float = DAMPING
) -> BoolArray:
    """(KH, KW) the rectangle of ``size`` with the least error of the outputs of ``filters``.

    One for all of them, as a tile of an NFU reads the same taps for all its filters. The centre
    wins where others are no better.
    """
    chosen = list(filters)
    damped = Damped.of(op, moments, damping)

    def error(mask: BoolArray) -> float:
        return float(damped.errors(chosen, _flat(support_on(op, mask))).sum())

    best = centred_mask(op.kernel, size)
    least = error(best)
    for corner in placements(op.kernel, size):
        mask = placed_mask(op.kernel, size, corner)
        if (found := error(mask)) < least:
            best, least = mask, found
    return best


def support_on(op: Conv, taps: BoolArray) -> BoolArray:
    """(O, I / groups, KH, KW) the weights on the ``taps`` (KH, KW) that are not 0.

    Raises
    ------
    ValueError
        If ``taps`` has not the shape of the kernel.
    """
    if taps.shape != op.kernel:
        raise ValueError(f"Taps must have the shape {op.kernel} of the kernel, not {taps.shape}")
    return np.asarray((op.weight != 0) & taps, dtype=np.bool_)


def _flat(mask: BoolArray) -> BoolArray:
    return mask.reshape(len(mask), -1)
