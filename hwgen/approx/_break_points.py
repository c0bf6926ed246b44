"""The scale search of :mod:`hwgen.approx.scale`: the compiled loops over rows and break-points.

A magnitude w passes from level j to level j + 1 of the set at ``beta = midpoint[j] / w``, where
``beta`` is 1 / scale. The magnitudes are sorted once, in descending order; the break-points of one
midpoint then ascend by themselves, and a heap with one head a midpoint merges them. This needs
memory for one row only, and time ``n log(n) + n L log(L)`` for n entries and L magnitudes.
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
    ascending: _Float, levels: _Int, mantissas: _Float, when: _Float, which: _Int, passed: _Int
) -> _Number:
    """The break-point behind which the best T begins.

    ``ascending`` (n,) magnitudes, the last above 0; ``when``, ``which``, ``passed`` (L - 1,) are
    scratch. Only a T whose error at its own scale is below the least error found so far is rounded
    to the ``mantissas``. Of events at the same time only the last counts: the error at a given
    scale is linear in (<W,T>, <T,T>), so the T between them are no better than both ends.
    """
    entries = len(ascending)
    for j in range(len(when)):
        when[j] = (levels[j] + levels[j + 1]) / 2 / ascending[-1]
        which[j] = j
        passed[j] = 0
    product = norm = best_beta = 0.0
    best = -1.0
    while True:
        now, j = when[0], which[0]
        if not now < np.inf:
            return best_beta
        low, high = levels[j], levels[j + 1]
        product += ascending[entries - 1 - passed[j]] * (high - low)
        norm += high * high - low * low
        passed[j] += 1
        if passed[j] < entries:
            when[0] = (low + high) / 2 / ascending[entries - 1 - passed[j]]
        else:
            when[0] = np.inf
        _sink(when, which)
        if when[0] > now:
            gain = product * product / norm
            if gain > best and len(mantissas):
                own = product / norm
                gain -= (round_to(own, mantissas) - own) ** 2 * norm
            if gain > best:
                best, best_beta = gain, now


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _level(magnitude: _Number, beta: _Number, levels: _Int) -> _Number:
    """Index of the level that ``magnitude`` has reached at ``beta``."""
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) >> 1
        if (levels[middle] + levels[middle + 1]) / 2 / magnitude <= beta:
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
    ascending = np.empty(entries)
    when = np.empty(len(levels) - 1)
    which = np.empty(len(levels) - 1, dtype=np.int64)
    passed = np.empty(len(levels) - 1, dtype=np.int64)
    for row in range(rows):
        peak = 0.0
        for i in range(entries):
            peak = max(peak, abs(np.float64(weights[row, i])))
        if peak == 0:
            scale[row], error[row] = 1.0, 0.0
            used[0] += entries
            for i in range(entries):
                codes[row, i] = 0
            continue
        # Peak moved to [1/2, 1): no break-point or square over- or underflows. In two steps,
        # because the factor itself may.
        exponent = math.frexp(peak)[1]
        half = math.ldexp(1.0, -(exponent >> 1))
        rest = math.ldexp(1.0, (exponent >> 1) - exponent)
        for i in range(entries):
            ascending[i] = abs(np.float64(weights[row, i])) * half * rest
        ascending.sort()
        beta = _best_beta(ascending, levels, mantissas, when, which, passed)
        product = norm = 0.0
        for i in range(entries):
            magnitude = abs(np.float64(weights[row, i])) * half * rest
            index = _level(magnitude, beta, levels)
            used[index] += 1
            level = levels[index]
            codes[row, i] = -level if weights[row, i] < 0 else level
            product += magnitude * level
            norm += level * level
        alpha = product / norm
        if len(mantissas):
            alpha = round_to(alpha, mantissas)
        lost = 0.0
        for i in range(entries):
            magnitude = abs(np.float64(weights[row, i])) * half * rest
            lost += (magnitude - alpha * abs(codes[row, i])) ** 2
        scale[row] = math.ldexp(alpha, exponent + frac)
        error[row] = math.ldexp(lost, 2 * exponent)
