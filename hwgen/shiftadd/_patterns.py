"""Two-term patterns: where they occur, what they save, what they break; compiled.

See :mod:`hwgen.shiftadd._cse` for the state. A pattern ``s1 +- (s2 << d)`` is a 64-bit key.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd._table import slot_of

__all__ = ["allowed", "damage", "key_of", "matches", "ones", "score", "span"]

_DELTA = 128  # shift differences are stored with this offset, in 8 bits
_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True, inline="always")
def key_of(s1: _Word, shift1: _Word, sign1: _Word, s2: _Word, shift2: _Word, sign2: _Word) -> _Word:
    """Pattern of two digits, whichever comes first."""
    if s1 > s2 or (s1 == s2 and shift1 > shift2):
        s1, s2 = s2, s1
        shift1, shift2 = shift2, shift1
    return (
        (np.int64(s1) << 36)
        | (np.int64(s2) << 9)
        | (np.int64(shift2 - shift1 + _DELTA) << 1)
        | np.int64(sign1 != sign2)
    )


@numba.njit(cache=True)
def matches(plus: Any, minus: Any, c: _Word, key: _Word) -> tuple[_Word, _Word]:
    """Where a pattern occurs in a column: masks of its first value's positive, negative digits.

    Occurrences that share a digit (of one value with itself) are taken from the low end.
    """
    s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
    delta = ((key >> 1) & 0xFF) - _DELTA
    first_plus, first_minus = plus[c, s1], minus[c, s1]
    second_plus, second_minus = plus[c, s2], minus[c, s2]
    if key & 1:
        second_plus, second_minus = second_minus, second_plus
    if delta >= 0:
        hit_plus = first_plus & (second_plus >> delta)
        hit_minus = first_minus & (second_minus >> delta)
    else:
        hit_plus = first_plus & (second_plus << -delta)
        hit_minus = first_minus & (second_minus << -delta)
    if s1 == s2:
        taken = np.int64(0)
        for bit in range(63 - delta):
            here = np.int64(1) << bit
            if (hit_plus | hit_minus) & here:
                there = here << delta
                if taken & (here | there):
                    hit_plus &= ~here
                    hit_minus &= ~here
                else:
                    taken |= here | there
    return hit_plus, hit_minus


@numba.njit(cache=True, inline="always")
def ones(mask: _Word) -> _Word:
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@numba.njit(cache=True)
def span(key: _Word, lo: Any, hi: Any) -> tuple[Any, Any]:
    """Range of a pattern by interval arithmetic."""
    s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
    delta = ((key >> 1) & 0xFF) - _DELTA
    up1, up2 = (0, delta) if delta >= 0 else (-delta, 0)
    sign = -1.0 if key & 1 else 1.0
    a, b = lo[s2] * sign, hi[s2] * sign
    least = lo[s1] * 2.0**up1 + min(a, b) * 2.0**up2
    most = hi[s1] * 2.0**up1 + max(a, b) * 2.0**up2
    return least, most


@numba.njit(cache=True)
def score(
    key: _Word, count: _Word, lo: Any, hi: Any, depths: Any, by_bits: bool, deep: bool,
    noise: _Word,
) -> _Word:  # fmt: skip
    """Priority of a pattern: adders (or adder cells) saved, then the tie-break."""
    s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
    delta = ((key >> 1) & 0xFF) - _DELTA
    least, most = span(key, lo, hi)
    width = np.int64(np.ceil(np.log2(max(-least, most + 1.0, 1.0)))) + (least < 0)
    cells = max(1, width - abs(delta))
    saved = (count - 1) * (cells if by_bits else 1)
    mixed = np.uint64(key ^ noise) * np.uint64(0x9E3779B97F4A7C15)
    random = np.int64(mixed >> np.uint64(56))
    if deep:
        tie = min(depths[s1] + depths[s2], 127) * 256 + random
    else:
        depth = max(depths[s1], depths[s2])
        tie = (63 - min(depth, 63)) * 256 + 255 - min(width, 251) - (random & 3 if noise else 0)
    return (np.int64(saved) << 16) | np.int64(tie)


@numba.njit(cache=True, inline="always")
def allowed(key: _Word, depths: Any, weight: _Word, limit: _Word, found: _Word) -> _Word:
    """How many of ``found`` occurrences a column may replace and still reach its depth.

    A column sums up within ``max_depth`` exactly if ``weight``, the sum of ``2**depth`` over its
    digits, is at most ``limit = 2**max_depth``.
    """
    d1, d2 = depths[key >> 36], depths[(key >> 9) & 0x7FFFFFF]
    growth = (np.int64(2) << max(d1, d2)) - (np.int64(1) << d1) - (np.int64(1) << d2)
    if growth == 0:
        return found
    return min(found, (limit - weight) // growth)


@numba.njit(cache=True)
def damage(
    plus: Any, minus: Any, members: Any, sizes: Any, key: _Word, keys: _Int, counts: _Int,
    worth: _Word, partners: _Int,
) -> _Word:  # fmt: skip
    """Repeated patterns that replacing a pattern breaks, less ``worth`` times those that it makes.

    A digit beside two occurrences, at the same distance, pairs up with the new value twice.
    """
    s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
    delta, opposite = ((key >> 1) & 0xFF) - _DELTA, key & 1
    broken = made = number = 0
    for c in range(len(plus)):
        hit_plus, hit_minus = matches(plus, minus, c, key)
        hits = hit_plus | hit_minus
        shift = -1
        while hits >> (shift + 1):
            shift += 1
            if not hits >> shift & 1:
                continue
            sign = hit_minus >> shift & 1
            before = number
            for k in range(sizes[c]):
                t = members[c, k]
                for half in range(2):
                    mask = minus[c, t] if half else plus[c, t]
                    while mask:
                        other = ones((mask & -mask) - 1)
                        mask &= mask - 1
                        if (t == s1 and other == shift) or (t == s2 and other == shift + delta):
                            continue
                        first = key_of(s1, shift, sign, t, other, half)
                        second = key_of(s2, shift + delta, sign ^ opposite, t, other, half)
                        one, two = slot_of(keys, first), slot_of(keys, second)
                        many = keys[one] == first and counts[one] >= 2
                        also = keys[two] == second and counts[two] >= 2
                        broken += many + also
                        if many and also and number < len(partners):
                            partner = (t << 9) | ((other - shift + _DELTA) << 1) | (half ^ sign)
                            for j in range(before):
                                if partners[j] == partner:
                                    made += 1
                                    break
                            partners[number] = partner
                            number += 1
    return broken - worth * made
