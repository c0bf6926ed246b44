"""Proximal operators of the penalties that make neurons vanish during training.

The operator of a penalty g with threshold t takes Y to the X with the least
``0.5 * ||X - Y||**2 + t * g(X)``. Forward-backward splitting alternates a step of gradient descent
with it (Duchi, Singer: Efficient online and batch learning using forward backward splitting, 2009),
and gives exact zeros, which a gradient of g would not. Zhou, Alvarez, Porikli (Less is more, 2016)
use it with the sum of the norms of neurons and with low rank. Arrays keep their dtype.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["shrink_groups", "shrink_rank", "shrink_singular_values"]

_Float = TypeVar("_Float", bound=np.floating)

_TOLERANCE = 1e-6
_MOST_ITERATIONS = 300


def shrink_groups(groups: npt.NDArray[_Float], threshold: float) -> npt.NDArray[_Float]:
    """Operator of the sum of the Euclidean norms of the rows of ``groups`` (J, n).

    Closed form: ``max(0, 1 - threshold / ||row||) * row``; rows of a norm of at most ``threshold``
    become exactly 0.
    """
    norms = np.linalg.norm(groups, axis=1, keepdims=True)
    kept = norms > threshold
    factor = np.where(kept, 1 - threshold / np.where(kept, norms, 1), 0)
    return (groups * factor).astype(groups.dtype)


def shrink_singular_values(matrix: npt.NDArray[_Float], threshold: float) -> npt.NDArray[_Float]:
    """Operator of the nuclear norm: singular values of ``matrix`` less ``threshold``, at least 0.

    Cai, Candes, Shen: A singular value thresholding algorithm, 2010, theorem 2.1.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    shrunk: npt.NDArray[_Float] = (left * np.maximum(values - threshold, 0)) @ right
    return shrunk.astype(matrix.dtype)


def shrink_rank(tensor: npt.NDArray[_Float], threshold: float) -> npt.NDArray[_Float]:
    """Operator of the sum of the nuclear norms of the unfoldings of ``tensor``, one an axis.

    The unfoldings share their entries, so that there is no closed form. The alternating direction
    method of multipliers solves the consensus of one copy an axis (Gandy, Recht, Yamada: Tensor
    completion and low-n-rank tensor recovery, 2011, with the distance to ``tensor`` in place of
    the known entries): every copy has its own singular values thresholded, the result is the
    average of the copies and of ``tensor``, until it and the copies agree to 1e-6 of its size.
    Axes of length 1 have no rank to lose and are left out.
    """
    axes = [axis for axis, size in enumerate(tensor.shape) if size > 1]
    if not axes or not threshold:
        return tensor.copy()
    target = tensor.astype(np.float64)
    copies = np.stack([target] * len(axes))
    duals = np.zeros_like(copies)
    result = target
    scale = _TOLERANCE * max(float(np.linalg.norm(target)), np.finfo(np.float64).tiny)
    for _ in range(_MOST_ITERATIONS):
        before = copies
        copies = np.stack(
            [
                _shrink_unfolding(result + dual, axis, threshold)
                for axis, dual in zip(axes, duals, strict=True)
            ]
        )
        result = (target + (copies - duals).sum(axis=0)) / (1 + len(axes))
        duals = duals + result - copies
        if max(np.linalg.norm(result - copies), np.linalg.norm(copies - before)) <= scale:
            break
    return result.astype(tensor.dtype)


def _shrink_unfolding(
    tensor: npt.NDArray[np.float64], axis: int, threshold: float
) -> npt.NDArray[np.float64]:
    """``tensor`` with the singular values of its unfolding along ``axis`` thresholded."""
    front = np.moveaxis(tensor, axis, 0)
    matrix = shrink_singular_values(front.reshape(len(front), -1), threshold)
    return np.moveaxis(matrix.reshape(front.shape), 0, axis)
