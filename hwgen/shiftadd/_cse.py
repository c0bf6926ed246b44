"""Greedy elimination of two-term common subexpressions: the compiled loop.

The state is, for every value s and column c, the signed digits of the column's coefficient of s as
two bit masks, ``plus[c, s]`` and ``minus[c, s]``. A pattern ``s1 +- (s2 << d)`` is packed into one
64-bit key; a hash table counts how often each occurs in all columns, and is kept up to date as
patterns are replaced by new values. A heap with out-of-date entries finds the patterns that save
most. Of those that save the same, some are looked at more closely: which breaks the fewest other
repeated patterns, and leaves the most for the new value?
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd._patterns import allowed, damage, key_of, matches, ones, score, span
from hwgen.shiftadd._table import EMPTY, drop, push, resized, slot_of
from hwgen.shiftadd._turned import STEPS, Turned, spread

__all__ = ["eliminate"]

_DELTA = 128  # shift differences are stored with this offset, in 8 bits
_GOLDEN = 0x9E3779B97F4A7C15
_SLACK = 3  # 1/8 fewer adder cells saved count as nearly the same
_REMEMBERED = 12  # bits of the number of patterns whose damage is remembered
_FRESH = 8  # new values after which it is looked at again: most of it has not changed by then
_PARTNERS = 4096  # digits beside the occurrences of one pattern that are compared
_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


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
                key = key_of(s, shift, sign, t, other, half)
                slot = slot_of(keys, key)
                if keys[slot] == EMPTY:
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
def _remove(members: Any, sizes: Any, c: _Word, s: _Word) -> None:
    for k in range(sizes[c]):
        if members[c, k] == s:
            sizes[c] -= 1
            members[c, k] = members[c, sizes[c]]
            return


@numba.njit(cache=True)
def _usable(
    plus: Any, minus: Any, key: _Word, depths: Any, weight: Any, limit: _Word, turned: Turned
) -> _Word:
    """How many occurrences of a pattern may be replaced, the first ones."""
    total, uses, best = 0, np.int64(0), 0
    for c in range(len(plus)):
        hit_plus, hit_minus = matches(plus, minus, c, key)
        found = ones(hit_plus | hit_minus)
        if found:
            found = allowed(key, depths, weight[c], limit, found)
            for _ in range(found):
                total += 1
                uses += turned.shares[c]
                if not uses & (uses - 1):
                    best = total
    if turned.most < 0 or best == total or spread(turned, key, uses, False):
        return total
    return best


@numba.njit(cache=True)
def _closer(
    plus: Any, minus: Any, members: Any, sizes: Any, lo: Any, hi: Any, depths: Any, weight: Any,
    limit: _Word, turned: Turned, by_bits: bool, deep: bool, noise: _Word, keys: _Int,
    counts: _Int, heap: _Int, size: _Word, priority: _Word, key: _Word, worth: _Word,
    candidates: _Int, partners: _Int, harms: _Int, step: _Word,
) -> tuple[_Word, _Word]:  # fmt: skip
    """The least damaging pattern of those that save as much as ``key``; the heap's new size.

    Damage is remembered in ``harms``: pattern, damage, and the value until which that is used.
    The heap has room: what is put back was taken off it, and ``key`` before.
    """
    candidates[0, 0], candidates[0, 1] = priority, key
    number, looks = 1, 0
    least = priority >> 16
    if by_bits:
        least -= least >> _SLACK
    while size and number < len(candidates) and looks < 4 * len(candidates):
        listed, other = heap[0, 0], heap[0, 1]
        if listed >> 16 < least:
            break
        looks += 1
        size = drop(heap, size)
        slot = slot_of(keys, other)
        known = keys[slot] != other or counts[slot] < 2
        for k in range(number):
            known |= candidates[k, 1] == other
        if known:
            continue
        total = _usable(plus, minus, other, depths, weight, limit, turned)
        if total < 2:
            continue
        listed = score(other, total, lo, hi, depths, by_bits, deep, noise)
        if listed >> 16 < least:
            heap, size = push(heap, size, listed, other)
            continue
        candidates[number, 0], candidates[number, 1] = listed, other
        number += 1
    best, lowest = 0, np.int64(1) << 60
    for k in range(number):
        other = candidates[k, 1]
        place = np.int64(np.uint64(other) * np.uint64(_GOLDEN) >> np.uint64(64 - _REMEMBERED))
        if harms[place, 0] != other or harms[place, 2] < step:
            harms[place, 0], harms[place, 2] = other, step + _FRESH
            harms[place, 1] = damage(
                plus, minus, members, sizes, other, keys, counts, worth, partners
            )  # fmt: skip
        harm = harms[place, 1]
        if harm < lowest:
            best, lowest = k, harm
    for k in range(number):
        if k != best:
            heap, size = push(heap, size, candidates[k, 0], candidates[k, 1])
    return candidates[best, 1], size


@numba.njit(cache=True, nogil=True)
def eliminate(
    plus: Any, minus: Any, lo: Any, hi: Any, depths: Any, weight: Any, sources: _Word,
    max_depth: _Word, shares: _Int, turned_depth: int, by_bits: bool, deep: bool, noise: _Word,
    choices: int, worth: int,
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
    shares : int64 (columns,)
        In the graph turned round, in which columns are inputs, ``2**depth`` of what is made of
        each before it is used.
    turned_depth : int
        Depth of the graph turned round that is not exceeded (nor at the start); -1: any.
    by_bits : bool
        Prefer what saves most adder cells, not most adders.
    deep : bool
        Of patterns that save the same, look at deep ones first, not at shallow and narrow ones.
    noise : _Word
        Then by random order, with this seed.
    choices : int
        Patterns that save the same, or nearly the same adder cells, of which the one is taken that
        breaks the fewest others; 1: the first.
    worth : int
        How many broken patterns a new one outweighs in this.

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
    nodes = np.empty((room - sources, 4), dtype=np.int64)
    uses = np.zeros(room, dtype=np.int64)
    most = np.int64(1) << turned_depth if turned_depth >= 0 else np.int64(-1)
    turned = Turned(uses, shares, nodes, np.empty((STEPS, 2), np.int64), sources, most)
    keys, counts, used = resized(np.empty(0, np.int64), np.empty(0, np.int64), 0)
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
                    keys, counts, used = resized(keys, counts, max(terms[c], used))
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
                uses[s] += shares[c]

    heap = np.empty((1024, 2), dtype=np.int64)
    size = 0
    for slot in range(len(keys)):
        if keys[slot] != EMPTY and counts[slot] >= 2:
            priority = score(keys[slot], counts[slot], lo, hi, depths, by_bits, deep, noise)
            heap, size = push(heap, size, priority, keys[slot])

    number = sources
    candidates = np.empty((choices, 2), dtype=np.int64)
    partners = np.empty(_PARTNERS, dtype=np.int64)
    harms = np.full((1 << _REMEMBERED, 3), -1, dtype=np.int64)
    while size:
        listed, key = heap[0, 0], heap[0, 1]
        size = drop(heap, size)
        slot = slot_of(keys, key)
        if keys[slot] != key or counts[slot] < 2:
            continue
        total = _usable(plus, minus, key, depths, weight, limit, turned)
        if total < 2:
            continue
        priority = score(key, total, lo, hi, depths, by_bits, deep, noise)
        if priority < listed:
            heap, size = push(heap, size, priority, key)
            continue
        if choices > 1:
            key, size = _closer(
                plus, minus, members, sizes, lo, hi, depths, weight, limit, turned, by_bits, deep,
                noise, keys, counts, heap, size, priority, key, worth, candidates, partners,
                harms, number,
            )  # fmt: skip
        s1, s2 = key >> 36, (key >> 9) & 0x7FFFFFF
        delta, opposite = ((key >> 1) & 0xFF) - _DELTA, key & 1
        nodes[number - sources, 0] = s1
        nodes[number - sources, 1] = s2
        nodes[number - sources, 2] = delta
        nodes[number - sources, 3] = opposite
        lo[number], hi[number] = span(key, lo, hi)
        depths[number] = 1 + max(depths[s1], depths[s2])
        fresh = 0
        due = _usable(plus, minus, key, depths, weight, limit, turned)
        for c in range(columns):
            hit_plus, hit_minus = matches(plus, minus, c, key)
            hits = hit_plus | hit_minus
            if not hits:
                continue
            left = min(due, allowed(key, depths, weight[c], limit, ones(hits)))
            due -= left
            uses[number] += left * shares[c]
            for shift in range(63):
                bit = np.int64(1) << shift
                if not hits & bit or left == 0:
                    continue
                left -= 1
                if 2 * (used + terms[c]) > len(keys):
                    keys, counts, used = resized(keys, counts, max(terms[c], used))
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
        if turned.most >= 0:
            spread(turned, key, uses[number], True)
        number += 1
        for k in range(fresh):
            slot = slot_of(keys, touched[k])
            if keys[slot] == touched[k] and counts[slot] >= 2:
                priority = score(touched[k], counts[slot], lo, hi, depths, by_bits, deep, noise)
                heap, size = push(heap, size, priority, touched[k])
    return nodes[: number - sources]
