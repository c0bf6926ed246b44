"""From found fundamentals to additions: how each is made, with few adder cells."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd import _fundamentals as f
from hwgen.shiftadd._fundamentals import Space, index_found, place

__all__ = ["derive"]

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True)
def _width(value: _Word, low: float, high: float) -> _Word:
    """Bits of the range of ``value * x`` for x in low .. high."""
    least, most = value * low, value * high
    bits = math.frexp(max(most, 0.0))[1]
    if least < 0:
        bits = max(bits, math.frexp(max(-least - 1.0, 0.0))[1]) + 1
    return max(bits, 1)


@numba.njit(cache=True, inline="always")
def _cells(bits: _Word, own: _Word, shifted: _Word, plain: _Word, shift: _Word) -> _Word:
    """Adder cells of a node with the signs that it has and gives its operands.

    The low bits are wires unless the operand without shift is subtracted. Both operands cannot be;
    that counts as a negation.
    """
    if own * shifted < 0 and own * plain < 0:
        return 2 * bits
    return bits if own * plain < 0 else bits - shift


@numba.njit(cache=True)
def derive(space: Space, low: float, high: float, free: _Word, signs: _Int, out: _Int) -> _Word:
    """Choose for every found fundamental the addition with the fewest adder cells.

    Parameters
    ----------
    space : Space
        After :func:`rebuild`.
    low, high : float
        Range of the input.
    free : int
        Whether fundamentals may become deeper than they need to be.
    signs : array (found)
        1, or -1 for fundamentals whose node has the negative value, or 0 everywhere, if the sign
        may be what is best for each sum.
    out : array (found, 5)
        ``first, shift, second, pattern, down`` of the fundamental ``k``: it is the sum of
        ``found[first] << shift`` and ``found[second]``, shifted right by ``down``, for pattern 0;
        the second is subtracted for pattern 1, the first for pattern 2.

    Returns
    -------
    int
        Adder cells of all additions.
    """
    numbers = space.numbers
    index_found(space)
    stamps, keys, counts = space.count_stamps, space.count_keys, space.counts
    generation = numbers[f.COUNT_GENERATION]
    total = 0
    limit = 2 * numbers[f.LIMIT]
    out[0, :] = 0
    for k in range(1, numbers[f.FOUND]):
        value, own = space.found[k], signs[k]
        size = _width(value if own == 0 else own * value, low, high)
        best = 1 << 30
        for j in range(k):
            if space.depths[j] >= space.depths[k] and not free:
                continue
            for down in range(f.MOST_BITS):
                sum_of = value << down
                shifted, shift = space.found[j], 0
                if down == 0:
                    shifted, shift = 2 * shifted, 1
                if sum_of > limit or (size + down >= best and down > 0):
                    break
                while shifted <= limit + sum_of:
                    if size + down - shift < best:
                        for larger in range(2):
                            # The second is the difference, or, if subtracted from, the sum.
                            v = abs(sum_of - shifted) if larger == 0 else sum_of + shifted
                            if v > numbers[f.LIMIT]:
                                continue
                            i = place(stamps, keys, counts, generation, v)
                            if i < 0 or i >= k:
                                continue
                            if space.depths[i] >= space.depths[k] and not free:
                                continue
                            pattern = 2 if larger == 1 else (1 if shifted > sum_of else 0)
                            cells = _cells(
                                size + down,
                                own,
                                -signs[j] if pattern == 2 else signs[j],
                                -signs[i] if pattern == 1 else signs[i],
                                shift,
                            )
                            if cells < best:
                                best = cells
                                out[k, 0], out[k, 1], out[k, 2] = j, shift, i
                                out[k, 3], out[k, 4] = pattern, down
                    if down > 0:
                        break
                    shifted *= 2
                    shift += 1
        total += best
    return total
