"""Elimination in a matrix whose graph will be turned round within a depth: what values are used by.

Turned round, a value is the sum of what uses it. With depths d1, d2, ... of these its depth is the
least d for which ``2**d1 + 2**d2 + ...`` is at most ``2**d``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

__all__ = ["STEPS", "Turned", "spread"]

STEPS = 1024  # uses that are changed by one pattern, at most
_Word = Any  # an int64 in compiled code


class Turned(NamedTuple):
    """Sums of ``2**depth`` of the uses of each value, and what is needed to keep them.

    ``shares`` (columns,) are those of a column, ``nodes`` the operands of the values from
    ``sources`` on, ``work`` (STEPS, 2) is scratch, and ``most`` what no source's uses may exceed
    (-1: no limit).
    """

    uses: Any
    shares: Any
    nodes: Any
    work: Any
    sources: Any
    most: Any


@numba.njit(cache=True, inline="always")
def _power(number: _Word) -> _Word:
    """The least power of two that is not below a number."""
    power = np.int64(1)
    while power < number:
        power <<= 1
    return power


@numba.njit(cache=True)
def spread(turned: Turned, key: _Word, uses: _Word, keep: bool) -> bool:
    """Let a pattern replace ``uses`` of its two values; if not ``keep``, only whether it may."""
    values, nodes, work = turned.uses, turned.nodes, turned.work
    growth = _power(uses) - uses
    if growth == 0:
        return True
    work[0, 0], work[0, 1] = key >> 36, growth
    work[1, 0], work[1, 1] = (key >> 9) & 0x7FFFFFF, growth
    done, count, fits = 0, 2, True
    while done < count and fits:
        value, growth = work[done, 0], work[done, 1]
        before = values[value]
        values[value] += growth
        done += 1
        if value < turned.sources:
            fits = values[value] <= turned.most
            continue
        growth = _power(values[value]) - _power(before)
        if growth:
            fits = count + 2 <= STEPS
            if fits:
                for half in range(2):
                    work[count, 0] = nodes[value - turned.sources, half]
                    work[count, 1] = growth
                    count += 1
    if not fits or not keep:
        for k in range(done):
            values[work[k, 0]] -= work[k, 1]
    return fits
