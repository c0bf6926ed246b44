"""Columns as differences to other columns: the cheapest tree of them.

Gustafsson, Ohlsson and Wanhammar, "Low-complexity constant coefficient matrix multiplication using
a minimum spanning tree approach", 2004; da4ml has a tree like it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["compare", "difference_tree", "weight"]

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True, inline="always")
def weight(number: _Word) -> _Word:
    """Canonical signed digits of a number below 2**61: the ones of ``number ^ 3 number``."""
    x = np.uint64((number ^ (3 * number)) >> 1)
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True)
def difference_tree(columns: _Int, furthest: int, deepest: int) -> _Int:
    """Minimum spanning tree of columns and zero, by the digits of the differences (Prim).

    Parameters
    ----------
    columns : int64 (n, inputs)
        Columns, entries below 2**60.
    furthest : int
        Most edges from a column to zero, at least 1.
    deepest : int
        Adder depth, 0..60, of a column made of its parent that no column exceeds, if its own
        digits do not.

    Returns
    -------
    tree : int64 (n, 4)
        In an order in which parents come first: a column, its parent (-1: zero), the sign of the
        parent in ``column = sign * parent + difference``, and the digits of the difference.
    """
    count, size = columns.shape
    tree = np.empty((count, 4), dtype=np.int64)
    most = np.int64(1) << deepest
    depth = np.zeros(count, dtype=np.int64)
    cost = np.zeros(count, dtype=np.int64)
    parent = np.full(count, -1, dtype=np.int64)
    sign = np.ones(count, dtype=np.int64)
    level = np.zeros(count, dtype=np.int64)
    done = np.zeros(count, dtype=np.bool_)
    for c in range(count):
        for k in range(size):
            cost[c] += weight(columns[c, k])
    for step in range(count):
        new = -1
        for c in range(count):
            if not done[c] and (new < 0 or cost[c] < cost[new]):
                new = c
        done[new] = True
        level[new] = 1 if parent[new] < 0 else level[parent[new]] + 1
        digits = cost[new] - (parent[new] >= 0)
        tree[step, 0], tree[step, 1], tree[step, 2] = new, parent[new], sign[new]
        tree[step, 3] = digits
        below = np.int64(1) << depth[parent[new]] if parent[new] >= 0 else np.int64(0)
        while np.int64(1) << depth[new] < digits + below:
            depth[new] += 1
        spare = most - (np.int64(1) << depth[new])  # digits that a column made of this may add
        if level[new] == furthest or spare <= 0:
            continue
        for c in range(count):
            if done[c]:
                continue
            compare(columns, c, new, cost, parent, sign, spare)
    return tree


@numba.njit(cache=True)
def compare(
    columns: Any, c: _Word, other: _Word, cost: Any, parent: Any, sign: Any, most: _Word
) -> None:
    """Make ``other`` the parent of ``c`` if that costs less, and at most ``most`` digits."""
    plus = minus = np.int64(1)
    for k in range(columns.shape[1]):
        plus += weight(columns[c, k] - columns[other, k])
        minus += weight(columns[c, k] + columns[other, k])
        if min(plus, minus) >= cost[c]:
            break
    if min(plus, minus) < cost[c] and min(plus, minus) - 1 <= most:
        cost[c], parent[c], sign[c] = min(plus, minus), other, 1 if plus <= minus else -1
