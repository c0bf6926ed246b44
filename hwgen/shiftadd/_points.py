"""Points modulo a prime: integer vectors up to factors ``+-2**k``, as compiled code handles them.

Modulo a prime ``p`` the numbers ``+-2**k`` are a finite group, the units. A point is a vector up to
a unit; its number, of which it is made of as digits to the base ``p``, is 0 for the origin alone.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["canonical", "combine", "factors", "inverse", "slot_of"]

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


def factors(prime: int) -> tuple[_Int, _Int]:
    """The units ``+-2**k`` modulo ``prime``, and for each number the unit that makes it canonical.

    The canonical number is the least of all that differ by a unit. Units come in the order
    ``1, -1, 2, -2, ...``, without repetition.
    """
    units: list[int] = []
    power = 1
    while power not in units:
        units += [power, prime - power]
        power = 2 * power % prime
    units = list(dict.fromkeys(units))
    numbers = np.arange(prime, dtype=np.int64)
    products = numbers[:, None] * np.array(units, dtype=np.int64) % prime
    return np.array(units, dtype=np.int64), np.array(units, dtype=np.int64)[products.argmin(1)]


@numba.njit(cache=True, inline="always")
def canonical(point: Any, factor: Any, prime: _Word) -> _Word:
    """Make a point canonical in place; its number, 0 for the origin."""
    size = len(point)
    first = 0
    while first < size and point[first] == 0:
        first += 1
    if first == size:
        return np.int64(0)
    by = factor[point[first]]
    number = np.int64(0)
    for k in range(size):
        if point[k]:
            point[k] = point[k] * by % prime
        number = number * prime + point[k]
    return number


@numba.njit(cache=True, inline="always")
def slot_of(keys: Any, key: _Word) -> _Word:
    """Place of a key in a table of open addresses (a power of two), or where it belongs."""
    mask = len(keys) - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, inline="always")
def combine(a: Any, unit: _Word, b: Any, out: Any, factor: Any, prime: _Word) -> _Word:
    """``a + unit * b`` as a canonical point; its number."""
    for k in range(len(a)):
        out[k] = (a[k] + unit * b[k]) % prime
    return canonical(out, factor, prime)


@numba.njit(cache=True)
def inverse(number: _Word, prime: _Word) -> _Word:
    """The number whose product with this one is 1 modulo the prime."""
    result, power, left = np.int64(1), number % prime, prime - 2
    while left:
        if left & 1:
            result = result * power % prime
        power = power * power % prime
        left >>= 1
    return result
