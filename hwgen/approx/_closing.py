"""Compiled loops of the multiple-choice knapsack of :mod:`hwgen.approx.choices`."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = [
    "best_moves",
    "choose",
    "class_errors",
    "class_numbers",
    "fill_ties",
    "penalised",
    "used_at",
]

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]
_Choice = npt.NDArray[np.int16]


@numba.njit(cache=True, nogil=True)
def _nearest(x: float, numbers: _Float, low: int, high: int) -> int:
    """Index of the nearest to ``x`` of the ascending ``numbers[low:high]``."""
    last = high - 1
    while low < last:
        middle = (low + last) >> 1
        if numbers[middle] + numbers[middle + 1] <= 2 * x:
            low = middle + 1
        else:
            last = middle
    return low


@numba.njit(cache=True, nogil=True)
def class_errors(weights: _Float, numbers: _Float, first: _Int, errors: _Float) -> None:
    """Least squared error of each weight with the numbers of each class.

    ``weights`` (n,); ``numbers[first[r]:first[r + 1]]`` ascend and are class r, which may be empty;
    ``errors`` (n, R) is overwritten, with infinity for an empty class.
    """
    for i in range(len(weights)):
        for r in range(len(first) - 1):
            if first[r] == first[r + 1]:
                errors[i, r] = np.inf
            else:
                index = _nearest(weights[i], numbers, first[r], first[r + 1])
                errors[i, r] = (weights[i] - numbers[index]) ** 2


@numba.njit(cache=True, nogil=True)
def class_numbers(weights: _Float, numbers: _Float, first: _Int, choice: _Choice) -> _Int:
    """Index into ``numbers`` of each weight's nearest in its chosen class."""
    found = np.empty(len(weights), dtype=np.int64)
    for i in range(len(weights)):
        r = choice[i]
        found[i] = _nearest(weights[i], numbers, first[r], first[r + 1])
    return found


@numba.njit(cache=True, nogil=True)
def used_at(errors: _Float, uses: _Int, price: float) -> int:
    """What the choices of :func:`choose` use."""
    total = 0
    for i in range(len(errors)):
        best = errors[i, 0] + price * uses[0]
        least = uses[0]
        for r in range(1, len(uses)):
            value = errors[i, r] + price * uses[r]
            if value < best:
                best, least = value, uses[r]
        total += least
    return total


@numba.njit(cache=True, nogil=True)
def choose(errors: _Float, uses: _Int, price: float, choice: _Choice) -> None:
    """For each entry the class of least ``error + price * uses``; the first of equal ones."""
    for i in range(len(errors)):
        best, at = np.inf, 0
        for r in range(len(uses)):
            value = errors[i, r] + price * uses[r]
            if value < best:
                best, at = value, r
        choice[i] = at


@numba.njit(cache=True, nogil=True)
def fill_ties(choice: _Choice, dearer: _Choice, uses: _Int, slack: int) -> int:
    """Take the choice in ``dearer``, entry by entry, while there is slack; the slack left."""
    for i in range(len(choice)):
        more = uses[dearer[i]] - uses[choice[i]]
        if 0 < more <= slack:
            choice[i] = dearer[i]
            slack -= more
    return slack


@numba.njit(cache=True, nogil=True)
def best_moves(
    offsets: _Int, lost: _Float, lo: int, hi: int
) -> tuple[_Float, npt.NDArray[np.int16]]:
    """Least loss for every sum of offsets from ``lo`` to ``hi``, one option an item.

    ``offsets``, ``lost`` (m, R): option r of item j moves the sum by ``offsets[j, r]`` at a loss of
    ``lost[j, r]``, infinity if there is no such option; staying is free. Returns the losses
    (hi - lo + 1,) and the option taken by each item on the way to each sum, -1 for staying.
    """
    items, options = offsets.shape
    width = hi - lo + 1
    least = np.full(width, np.inf)
    least[-lo] = 0.0
    taken = np.full((items, width), -1, dtype=np.int16)
    for j in range(items):
        after = least.copy()
        for r in range(options):
            if lost[j, r] < np.inf:
                step = offsets[j, r]
                for to in range(max(0, step), min(width, width + step)):
                    value = least[to - step] + lost[j, r]
                    if value < after[to]:
                        after[to] = value
                        taken[j, to] = r
        least = after
    return least, taken


@numba.njit(cache=True, nogil=True)
def penalised(
    weights: _Float, scale: _Float, numbers: _Float, first: _Int, uses: _Int, price: float
) -> _Float:
    """Least ``error + price * uses`` of each row of ``weights`` (F, n) at its ``scale`` (F,).

    ``numbers``, ``first`` and ``uses`` as in :func:`class_errors`, the numbers in units of 1.
    """
    rows, entries = weights.shape
    total = np.zeros(rows)
    for row in range(rows):
        for i in range(entries):
            x = weights[row, i] / scale[row]
            best = np.inf
            for r in range(len(uses)):
                if first[r] < first[r + 1]:
                    index = _nearest(x, numbers, first[r], first[r + 1])
                    off = scale[row] * (x - numbers[index])
                    best = min(best, off * off + price * uses[r])
            total[row] += best
    return total
