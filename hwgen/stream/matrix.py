"""Convolutions as constant matrices, and the exact ranges of what they give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwgen.integer.types import Conv
from hwgen.numeric import IntArray, Range

__all__ = ["conv_matrix", "linear_ranges"]


def conv_matrix(op: Conv) -> IntArray:
    """Matrix (I * KH * KW, O) of a convolution's window, the groups expanded to all channels."""
    outputs, group_channels, kh, kw = op.weight.shape
    per_group = outputs // op.groups
    weight = np.zeros((outputs, group_channels * op.groups, kh, kw), dtype=np.int64)
    for group in range(op.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        channels = slice(group * group_channels, (group + 1) * group_channels)
        weight[rows, channels] = op.weight[rows]
    return weight.reshape(outputs, -1).T


def linear_ranges(
    matrix: IntArray, ranges: Sequence[Range], bias: Sequence[int]
) -> tuple[Range, ...]:
    """Exact ranges of ``x @ matrix + bias``."""
    low = np.array([r.lo for r in ranges], dtype=object)
    high = np.array([r.hi for r in ranges], dtype=object)
    positive = np.maximum(matrix, 0).astype(object).T
    negative = np.minimum(matrix, 0).astype(object).T
    least, most = positive @ low + negative @ high, positive @ high + negative @ low
    added = bias or (0,) * matrix.shape[1]
    return tuple(Range(int(a) + b, int(z) + b) for a, z, b in zip(least, most, added, strict=True))
