"""Columns as differences to other columns, in a graph that will be turned round."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd._tree import compare, weight

__all__ = ["turned_tree"]

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True)
def turned_tree(columns: _Int, repeats: _Int, deepest: int) -> _Int:
    """A tree like :func:`difference_tree`'s for a graph that will be turned round.

    In that one every column is an input. Those that are made of it are added to it first; then it
    is added to the value of each entry as often as its difference there has digits.

    Parameters
    ----------
    columns : int64 (n, entries)
        Columns, entries below 2**60.
    repeats : int64 (n,)
        How often each column occurs.
    deepest : int
        Adder depth, 0..60, that no entry's sum exceeds, if the columns' own digits do not.

    Returns
    -------
    tree : int64 (n, 5)
        As of :func:`difference_tree`, and the depth at which each column is ready.
    """
    count, size = columns.shape
    most = np.int64(1) << deepest
    tree = np.empty((count, 5), dtype=np.int64)
    cost = np.zeros(count, dtype=np.int64)
    parent = np.full(count, -1, dtype=np.int64)
    sign = np.ones(count, dtype=np.int64)
    done = np.zeros(count, dtype=np.bool_)
    tried = np.zeros(count, dtype=np.int64)
    digits = np.empty((count, size), dtype=np.int64)  # of the difference, as long as there is none
    load = np.zeros(size, dtype=np.int64)
    terms = repeats.copy()  # of the sum that a column is, each of depth d counted 2**d times
    ready = np.zeros(count, dtype=np.int64)
    for c in range(count):
        while np.int64(1) << ready[c] < terms[c]:
            ready[c] += 1
        for k in range(size):
            digits[c, k] = weight(columns[c, k])
            cost[c] += digits[c, k]
            load[k] += digits[c, k] << ready[c]
    alone = cost.copy()
    for step in range(count):
        new = -1
        for c in range(count):
            if not done[c] and (new < 0 or cost[c] < cost[new]):
                new = c
        while parent[new] >= 0 and not _joined(
            columns, new, parent, sign[new], digits, load, terms, ready, most
        ):
            tried[parent[new]] = step + 1
            cost[new], parent[new] = alone[new], -1
            for c in range(count):
                if done[c] and tried[c] != step + 1:
                    compare(columns, new, c, cost, parent, sign, most)
        done[new] = True
        tree[step, 0], tree[step, 1], tree[step, 2] = new, parent[new], sign[new]
        for c in range(count):
            if not done[c]:
                compare(columns, c, new, cost, parent, sign, most)
    for step in range(count):
        tree[step, 3] = digits[tree[step, 0]].sum()
        tree[step, 4] = ready[tree[step, 0]]
    return tree


@numba.njit(cache=True)
def _joined(
    columns: Any, new: _Word, parent: Any, sign: _Word, digits: Any, load: Any, terms: Any,
    ready: Any, most: _Word,
) -> bool:  # fmt: skip
    """Add a column to its parent and so on, as long as no load exceeds ``most``."""
    size = columns.shape[1]
    fewer, after = np.empty(size, dtype=np.int64), load.copy()
    for k in range(size):
        fewer[k] = weight(columns[new, k] - sign * columns[parent[new], k])
        after[k] += (fewer[k] - digits[new, k]) << ready[new]
    for store in range(2):
        at, by = parent[new], np.int64(1) << ready[new]
        while at >= 0 and by > 0:
            depth = ready[at]
            while np.int64(1) << depth < terms[at] + by:
                depth += 1
            growth = (np.int64(1) << depth) - (np.int64(1) << ready[at])
            if store:
                terms[at] += by
                ready[at] = depth
            else:
                for k in range(size):
                    after[k] += growth * digits[at, k]
            at, by = parent[at], growth
        if after.max() > most:
            return False
    load[:] = after
    digits[new] = fewer
    return True
