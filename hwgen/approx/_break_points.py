"""The scale search of :mod:`hwgen.approx.scale`: the compiled loops over rows and break-points.

A magnitude w passes from level j to level j + 1 of the set at ``beta = midpoint[j] / w``, where
``beta`` is 1 / scale. The magnitudes are sorted once, in descending order; the break-points of one
midpoint then ascend by themselves, and a heap with one head a midpoint merges them. This needs
memory for one row only, and at most time ``n log(n) + n L log(L)`` for n entries and L magnitudes;
the search ends once no smaller scale can be better.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["round_to", "search"]

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]
_Number = Any  # a float64 or int64 in compiled code
_SHORT, _FEW = 64, 8
"""Entries up to which insertion sorts fastest, and levels up to which counting finds fastest."""
_MARGIN = 1e-9
"""Of the energy: what rounding may make of the least error that ends a search."""


@numba.njit(cache=True, nogil=True)
def round_to(x: _Number, mantissas: _Float) -> _Number:
    """The ``mantissa * 2**k`` nearest to ``x`` above 0; of two equally near, the lesser.

    ``mantissas`` ascend from 1 to 2.
    """
    fraction, exponent = math.frexp(x)
    doubled = 2.0 * fraction
    low, high = 0, len(mantissas) - 1
    while low < high:
        middle = (low + high) >> 1
        if (mantissas[middle] + mantissas[middle + 1]) / 2 < doubled:
            low = middle + 1
        else:
            high = middle
    return math.ldexp(mantissas[low], exponent - 1)


@numba.njit(cache=True, nogil=True)
def _sort(values: _Float) -> None:
    """Sort in place; by insertion what is short, which takes half the time of the library here."""
    if len(values) > _SHORT:
        values.sort()
        return
    for i in range(1, len(values)):
        value, place = values[i], i
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@numba.njit(cache=True, nogil=True)
def _sink(when: _Float, which: _Int) -> None:
    """Restore the heap, least ``when`` first, after its first entry grew."""
    size = len(when)
    time, head = when[0], which[0]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and when[child + 1] < when[child]:
            child += 1
        if time <= when[child]:
            break
        when[parent] = when[child]
        which[parent] = which[child]
        parent = child
    when[parent] = time
    which[parent] = head


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _best_beta(
    descending: _Float,
    reciprocals: _Float,
    midpoints: _Float,
    steps: _Float,
    squares: _Float,
    mantissas: _Float,
    when: _Float,
    which: _Int,
    passed: _Int,
) -> _Number:
    """The break-point behind which the best T begins.

    ``descending`` (n,) magnitudes, the first above 0, and their ``reciprocals``; ``midpoints``,
    ``steps`` and ``squares`` (L - 1,) between the levels: half their sum, their difference, and
    that of their squares; ``when``, ``which``, ``passed`` (L - 1,) are scratch.

    Only a T whose error at its own scale is below the least error found so far is rounded to the
    ``mantissas``. Of events at the same time only the last counts: the error at a given scale is
    linear in (<W,T>, <T,T>), so the T between them are no better than both ends.

    The search ends when the magnitudes above the largest level alone cost more than the best T: as
    the scale falls, they cost ever more.
    """
    entries, last = len(descending), len(midpoints) - 1
    largest, energy = 0.0, 0.0
    for i in range(entries):
        energy += descending[i] * descending[i]
    for j in range(last + 1):
        largest += steps[j]
        when[j] = midpoints[j] * reciprocals[0]
        which[j] = j
        passed[j] = 0
    product = norm = best_beta = beyond = beyond_squares = 0.0
    best = -1.0
    above = 0
    while True:
        now, j = when[0], which[0]
        if not now < np.inf:
            return best_beta
        product += steps[j] * descending[passed[j]]
        norm += squares[j]
        passed[j] += 1
        when[0] = midpoints[j] * reciprocals[passed[j]] if passed[j] < entries else np.inf
        _sink(when, which)
        if when[0] > now:
            # no division unless the gain, product ** 2 / norm, is the largest so far
            if product * product > best * norm:
                own = product / norm
                gain = product * own
                if len(mantissas):
                    gain -= (round_to(own, mantissas) - own) ** 2 * norm
                if gain > best:
                    best, best_beta = gain, now
        if j == last:
            clipped = largest / now
            while above < entries and descending[above] >= clipped:
                beyond += descending[above]
                beyond_squares += descending[above] * descending[above]
                above += 1
            least = beyond_squares - clipped * (2.0 * beyond - clipped * above)
            if least > energy - best + _MARGIN * energy:
                return best_beta


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _level(reciprocal: _Number, beta: _Number, midpoints: _Float) -> _Number:
    """Index of the level that a magnitude has reached at ``beta``."""
    if len(midpoints) <= _FEW:  # counting has no branch to mispredict
        reached = 0
        for midpoint in midpoints:
            reached += midpoint * reciprocal <= beta
        return reached
    low, high = 0, len(midpoints)
    while low < high:
        middle = (low + high) >> 1
        if midpoints[middle] * reciprocal <= beta:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True, error_model="numpy")
def search(
    weights: npt.NDArray[np.floating],
    levels: _Int,
    frac: int,
    mantissas: _Float,
    scale: _Float,
    codes: npt.NDArray[np.signedinteger],
    error: _Float,
    used: _Int,
) -> None:
    """Best scale, codes and squared error of every row, written into the last four arguments.

    Parameters
    ----------
    weights
        (F, n) float32 or float64, finite, in C order.
    levels
        (L,) ascending numerators from 0.
    frac
        Fractional bits of the numerators.
    mantissas
        Ascending numbers from 1 to 2 that a scale may be, times powers of two; empty: any scale.
    scale, error
        (F,), overwritten; a row of zeros has scale 1.
    codes
        (F, n) of any signed integer type that holds the numerators, overwritten.
    used
        (L,); how often each magnitude was chosen is added to it.
    """
    rows, entries = weights.shape
    midpoints = (levels[1:] + levels[:-1]) / 2
    steps = (levels[1:] - levels[:-1]).astype(np.float64)
    squares = (levels[1:] ** 2 - levels[:-1] ** 2).astype(np.float64)
    numbers = levels.astype(np.float64)
    magnitudes = np.empty(entries)
    reciprocals = np.empty(entries)
    descending = np.empty(entries)
    when = np.empty(len(midpoints))
    which = np.empty(len(midpoints), dtype=np.int64)
    passed = np.empty(len(midpoints), dtype=np.int64)
    chosen = np.empty(entries)
    for row in range(rows):
        peak = 0.0
        for i in range(entries):
            magnitudes[i] = abs(np.float64(weights[row, i]))
            peak = max(peak, magnitudes[i])
        if peak == 0:
            scale[row], error[row] = 1.0, 0.0
            used[0] += entries
            codes[row, :] = 0
            continue
        # Peak moved to [1/2, 1): no break-point or square over- or underflows. In two steps,
        # because the factor itself may.
        exponent = math.frexp(peak)[1]
        half = math.ldexp(1.0, -(exponent >> 1))
        rest = math.ldexp(1.0, (exponent >> 1) - exponent)
        for i in range(entries):
            magnitudes[i] *= half
            magnitudes[i] *= rest
            reciprocals[i] = 1.0 / magnitudes[i]
        _sort(reciprocals)
        for i in range(entries):
            descending[i] = 1.0 / reciprocals[i]
        beta = _best_beta(
            descending, reciprocals, midpoints, steps, squares, mantissas, when, which, passed
        )
        product = norm = 0.0
        for i in range(entries):
            index = _level(1.0 / magnitudes[i], beta, midpoints)
            used[index] += 1
            level = levels[index]
            codes[row, i] = -level if weights[row, i] < 0 else level
            chosen[i] = numbers[index]
            product += magnitudes[i] * chosen[i]
            norm += chosen[i] * chosen[i]
        alpha = product / norm
        if len(mantissas):
            alpha = round_to(alpha, mantissas)
        lost = 0.0
        for i in range(entries):
            lost += (magnitudes[i] - alpha * chosen[i]) ** 2
        scale[row] = math.ldexp(alpha, exponent + frac)
        error[row] = math.ldexp(lost, 2 * exponent)
