"""Greedy elimination of two-term common subexpressions: the compiled loop.

The state is, for every value s and column c, the signed digits of the column's coefficient of s as
two bit masks, ``plus[c, s]`` and ``minus[c, s]``. A pattern ``s1 +- (s2 << d)`` is packed into one
64-bit key; a hash table counts how often each occurs in all columns, and is kept up to date as
patterns are replaced by new values. A heap with out-of-date entries finds the best pattern.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["eliminate"]

_EMPTY = -1
_DELTA = 128  # shift differences are stored with this offset, in 8 bits
_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True, inline="always")
def _hash(key: _Word, mask: _Word) -> _Word:
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return np.int64(mixed & np.uint64(mask))


@numba.njit(cache=True)
def _slot(keys: _Int, key: _Word) -> _Word:
    """The slot that holds ``key``, or the free one where it belongs."""
    mask = len(keys) - 1
    slot = _hash(key, mask)
    while keys[slot] != _EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True)
def _resized(keys: _Int, counts: _Int, extra: _Word) -> tuple[_Int, _Int, _Word]:
    """The table without patterns of count 0 and with room for ``extra`` more; its patterns."""
    live = 0
    for slot in range(len(keys)):
        if keys[slot] != _EMPTY and counts[slot] > 0:
            live += 1
    size = 1024
    while size < 4 * (live + extra):
        size *= 2
    new_keys = np.full(size, _EMPTY, dtype=np.int64)
    new_counts = np.zeros(size, dtype=np.int64)
    for slot in range(len(keys)):
        if keys[slot] != _EMPTY and counts[slot] > 0:
            new = _slot(new_keys, keys[slot])
            new_keys[new] = keys[slot]
            new_counts[new] = counts[slot]
    return new_keys, new_counts, live


@numba.njit(cache=True)
def _push(heap: _Int, size: _Word, score: _Word, key: _Word) -> tuple[_Int, _Word]:
    """Add an entry to the heap: rows of (score, key), greatest score and then least key first."""
    if size == len(heap):
        larger = np.empty((2 * len(heap), 2), dtype=np.int64)
        larger[:size] = heap
        heap = larger
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if heap[parent, 0] > score or (heap[parent, 0] == score and heap[parent, 1] <= key):
            break
        heap[child, 0] = heap[parent, 0]
        heap[child, 1] = heap[parent, 1]
        child = parent
    heap[child, 0] = score
    heap[child, 1] = key
    return heap, size + 1


@numba.njit(cache=True)
def _drop(heap: _Int, size: _Word) -> _Word:
    """Remove the first entry of the heap; its new size."""
    size -= 1
    score, key = heap[size, 0], heap[size, 1]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and (
            heap[child + 1, 0] > heap[child, 0]
            or (heap[child + 1, 0] == heap[child, 0] and heap[child + 1, 1] < heap[child, 1])
        ):
            child += 1
        if score > heap[child, 0] or (score == heap[child, 0] and key <= heap[child, 1]):
            break
        heap[parent, 0] = heap[child, 0]
        heap[parent, 1] = heap[child, 1]
        parent = child
    heap[parent, 0] = score
    heap[parent, 1] = key
    return size


@numba.njit(cache=True, inline="always")
def _key(s1: _Word, shift1: _Word, sign1: _Word, s2: _Word, shift2: _Word, sign2: _Word) -> _Word:
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
def _matches(plus: Any, minus: Any, c: _Word, key: _Word) -> tuple[_Word, _Word]:
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
def _ones(mask: _Word) -> _Word:
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@numba.njit(cache=True)
def _count(
    plus: Any, minus: Any, members: Any, sizes: Any, c: _Word, s: _Word, shift: _Word,
    sign: _Word, by: _Word, keys: _Int, counts: _Int, used: _Word, touched: _Int, number: _Word,
) -> tuple[_Word, _Int, _Word]:  # fmt: skip
    """Change by ``by`` the counts of all patterns of one digit with its column's others."""
    for k in range(sizes[c]):
        t = members[c, k]
        for half in range(2):
            mask = minus[c, t] if half else plus[c, t]
            while mask:
                low = mask & -mask
                mask ^= low
                other = 0
                while low > 1:
                    low >>= 1
                    other += 1
                if t == s and other == shift:
                    continue
                key = _key(s, shift, sign, t, other, half)
                slot = _slot(keys, key)
                if keys[slot] == _EMPTY:
                    keys[slot] = key
                    used += 1
                counts[slot] += by
                if by > 0 and counts[slot] == 2:
                    if number == len(touched):
                        larger = np.empty(2 * number, dtype=np.int64)
                        larger[:number] = touched
                        touched = larger
                    touched[number] = key
                    number += 1
    return used, touched, number


@numba.njit(cache=True)
def _span(key: _Word, lo: Any, hi: Any) -> tuple[Any, Any]:
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
def _score(
    key: _Word, count: _Word, lo: Any, hi: Any, depths: Any, by_bits: bool, noise: _Word
) -> _Word:
    """Priority of a pattern: adders (or adder cells) saved, then the tie-break."""
    s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
    delta = ((key >> 1) & 0xFF) - _DELTA
    least, most = _span(key, lo, hi)
    width = np.int64(np.ceil(np.log2(max(-least, most + 1.0, 1.0)))) + (least < 0)
    cells = max(1, width - abs(delta))
    saved = (count - 1) * (cells if by_bits else 1)
    depth = max(depths[s1], depths[s2])
    mixed = np.uint64(key ^ noise) * np.uint64(0x9E3779B97F4A7C15)
    random = np.int64(mixed >> np.uint64(56))
    if noise and not by_bits:
        # Deep patterns first: fewer adders, but wider ones and more registers.
        tie = min(depths[s1] + depths[s2], 127) * 256 + random
    else:
        # Shallow, narrow patterns first; noise blurs the width.
        tie = (63 - min(depth, 63)) * 256 + 255 - min(width, 251) - (random & 3 if noise else 0)
    return (np.int64(saved) << 16) | np.int64(tie)


@numba.njit(cache=True, inline="always")
def _allowed(key: _Word, depths: Any, weight: _Word, limit: _Word, found: _Word) -> _Word:
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
def _remove(members: Any, sizes: Any, c: _Word, s: _Word) -> None:
    for k in range(sizes[c]):
        if members[c, k] == s:
            sizes[c] -= 1
            members[c, k] = members[c, sizes[c]]
            return


@numba.njit(cache=True)
def eliminate(
    plus: Any, minus: Any, lo: Any, hi: Any, depths: Any, weight: Any, sources: _Word,
    max_depth: _Word, by_bits: bool, noise: _Word,
) -> _Int:  # fmt: skip
    """Replace common two-term patterns until none occurs twice.

    Parameters
    ----------
    plus, minus : int64 (columns, values)
        Signed digits of every column, bits 0..62; values from ``sources`` on are room for new
        ones, at least half as many as there are digits. Changed to what remains.
    lo, hi : float64 (values,)
        Range of every value, approximately; filled in for new values.
    depths : int64 (values,)
        Adder depth of every value; filled in for new values.
    sources : _Word
        Values that exist, fewer than 2**26.
    max_depth : _Word
        Depth, 0..60, that no column's balanced sum may exceed (and none does at the start).
    by_bits : bool
        Prefer what saves most adder cells, not most adders.
    noise : _Word
        Not 0: break ties at random, by this seed.

    Returns
    -------
    nodes : int64 (n, 4)
        For each new value: first and second operand's value, shift of the second relative to the
        first, 1 if it is subtracted.
    """
    columns, room = plus.shape
    members = np.empty((columns, room), dtype=np.int64)
    sizes = np.zeros(columns, dtype=np.int64)
    terms = np.zeros(columns, dtype=np.int64)
    limit = np.int64(1) << max_depth
    keys, counts, used = _resized(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    touched = np.empty(1024, dtype=np.int64)
    for c in range(columns):
        for s in range(sources):
            digits_plus, digits_minus = plus[c, s], minus[c, s]
            if not digits_plus | digits_minus:
                continue
            plus[c, s] = minus[c, s] = 0
            members[c, sizes[c]] = s
            sizes[c] += 1
            for shift in range(63):
                bit = np.int64(1) << shift
                if not (digits_plus | digits_minus) & bit:
                    continue
                if 2 * (used + terms[c]) > len(keys):
                    keys, counts, used = _resized(keys, counts, max(terms[c], used))
                sign = 1 if digits_minus & bit else 0
                used, touched, _ = _count(
                    plus, minus, members, sizes, c, s, shift, sign, 1, keys, counts, used,
                    touched, 0,
                )  # fmt: skip
                if sign:
                    minus[c, s] |= bit
                else:
                    plus[c, s] |= bit
                terms[c] += 1
                weight[c] += np.int64(1) << depths[s]

    heap = np.empty((1024, 2), dtype=np.int64)
    size = 0
    for slot in range(len(keys)):
        if keys[slot] != _EMPTY and counts[slot] >= 2:
            score = _score(keys[slot], counts[slot], lo, hi, depths, by_bits, noise)
            heap, size = _push(heap, size, score, keys[slot])

    nodes = np.empty((room - sources, 4), dtype=np.int64)
    number = sources
    while size:
        listed, key = heap[0, 0], heap[0, 1]
        size = _drop(heap, size)
        slot = _slot(keys, key)
        if keys[slot] != key or counts[slot] < 2:
            continue
        total = 0
        for c in range(columns):
            hit_plus, hit_minus = _matches(plus, minus, c, key)
            found = _ones(hit_plus | hit_minus)
            if found:
                total += _allowed(key, depths, weight[c], limit, found)
        if total < 2:
            continue
        score = _score(key, total, lo, hi, depths, by_bits, noise)
        if score < listed:
            heap, size = _push(heap, size, score, key)
            continue

        s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
        delta, opposite = ((key >> 1) & 0xFF) - _DELTA, key & 1
        nodes[number - sources, 0] = s1
        nodes[number - sources, 1] = s2
        nodes[number - sources, 2] = delta
        nodes[number - sources, 3] = opposite
        lo[number], hi[number] = _span(key, lo, hi)
        depths[number] = 1 + max(depths[s1], depths[s2])
        fresh = 0
        for c in range(columns):
            hit_plus, hit_minus = _matches(plus, minus, c, key)
            hits = hit_plus | hit_minus
            if not hits:
                continue
            left = _allowed(key, depths, weight[c], limit, _ones(hits))
            for shift in range(63):
                bit = np.int64(1) << shift
                if not hits & bit or left == 0:
                    continue
                left -= 1
                if 2 * (used + terms[c]) > len(keys):
                    keys, counts, used = _resized(keys, counts, max(terms[c], used))
                sign = 1 if hit_minus & bit else 0
                for second in range(2):
                    s = s2 if second else s1
                    at = shift + delta if second else shift
                    sign_at = sign ^ opposite if second else sign
                    if sign_at:
                        minus[c, s] &= ~(np.int64(1) << at)
                    else:
                        plus[c, s] &= ~(np.int64(1) << at)
                    if not plus[c, s] | minus[c, s]:
                        _remove(members, sizes, c, s)
                    weight[c] -= np.int64(1) << depths[s]
                    used, touched, _ = _count(
                        plus, minus, members, sizes, c, s, at, sign_at, -1, keys, counts, used,
                        touched, 0,
                    )  # fmt: skip
                at = min(shift, shift + delta)
                used, touched, fresh = _count(
                    plus, minus, members, sizes, c, number, at, sign, 1, keys, counts, used,
                    touched, fresh,
                )  # fmt: skip
                if not plus[c, number] | minus[c, number]:
                    members[c, sizes[c]] = number
                    sizes[c] += 1
                if sign:
                    minus[c, number] |= np.int64(1) << at
                else:
                    plus[c, number] |= np.int64(1) << at
                weight[c] += np.int64(1) << depths[number]
                terms[c] -= 1
        number += 1
        for k in range(fresh):
            slot = _slot(keys, touched[k])
            if keys[slot] == touched[k] and counts[slot] >= 2:
                score = _score(touched[k], counts[slot], lo, hi, depths, by_bits, noise)
                heap, size = _push(heap, size, score, touched[k])
    return nodes[: number - sources]
