"""Odd multiples of one input that additions make from each other: closure and candidates.

A *fundamental* is an odd multiple of the input. One addition makes ``w = |2^a u ± 2^b v| / 2^c``
from the fundamentals u and v; as w is odd, one of a and b is 0, and c is 0 unless both are. The
relation is symmetric: u, v make w exactly if u, w make v. ("A-operation": Voronenko and Püschel,
"Multiplierless multiple constant multiplication", 2007.)

A ``Space`` holds the *wanted* fundamentals, first the targets, then the intermediate ones, those
*found* so far (made from 1 and each other, with their adder depths), the targets still *missing*,
and a table of all *near* fundamentals, which one addition of two found ones makes. Fundamentals
above ``LIMIT`` are not considered. All is kept in arrays, so that Numba can cache the compiled
code. Tables are cleared by a new generation; they are addressed by the value if it is small,
otherwise by hashing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code

DEEPEST_OF_ALL = 60  # no limit
MOST_BITS = 48  # of a target
_DIRECT_BITS = 22  # of a table that is addressed by the value
_HASHED_BITS = 21
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
BUFFER = 512

# Entries of `Space.numbers`
(TARGETS, WANTED, FOUND, DONE, MISSING, NEAR_GENERATION, COUNT_GENERATION, LIMIT, DEEPEST, RANDOM,
 NEAR, BUDGET) = range(12)  # fmt: skip
NUMBERS = 12


class Space(NamedTuple):
    """Arrays of the search; ``latest`` is the greatest useful depth of each wanted fundamental."""

    wanted: _Int
    latest: _Int
    found: _Int
    depths: _Int
    missing: _Int
    near_keys: _Int
    near: Any
    count_keys: _Int
    count_stamps: Any
    counts: Any
    lasts: Any
    forbidden: Any
    buffer: _Int
    numbers: _Int


def empty_space(
    targets: Sequence[int],
    *,
    max_depth: int = DEEPEST_OF_ALL,
    bits: int | None = None,
    seed: int = 0,
) -> Space:
    """A space with the given odd targets, all at least 3 and different.

    Parameters
    ----------
    targets : sequence of int
        Below ``2**MOST_BITS``.
    max_depth : int
        Greatest adder depth of a target.
    bits : int, optional
        Fundamentals are below ``2**bits``, at most 61; by default twice what the targets need.
    seed : int
        Seed of the random choices.
    """
    if bits is None:
        bits = max(t.bit_length() for t in targets) + 1
    direct = bits <= _DIRECT_BITS
    size = 1 << (bits - 1 if direct else _HASHED_BITS)
    room = 3 * len(targets) + 8 * bits + 64
    space = Space(
        wanted=np.zeros(room, np.int64),
        latest=np.zeros(room, np.int64),
        found=np.zeros(room + 1, np.int64),
        depths=np.zeros(room + 1, np.int64),
        missing=np.zeros(room, np.int64),
        near_keys=np.zeros(0 if direct else size, np.int64),
        near=np.zeros(size, np.int32),
        count_keys=np.zeros(0 if direct else size, np.int64),
        count_stamps=np.zeros(size, np.int32),
        counts=np.zeros(size, np.int32),
        lasts=np.zeros(size, np.int32),
        forbidden=np.zeros(size if direct else 0, np.uint8),
        buffer=np.zeros(BUFFER, np.int64),
        numbers=np.zeros(NUMBERS, np.int64),
    )
    depth = min(max_depth, DEEPEST_OF_ALL)
    space.wanted[: len(targets)] = targets
    space.latest[:] = depth - 1
    space.latest[: len(targets)] = depth
    numbers = space.numbers
    numbers[TARGETS] = numbers[WANTED] = len(targets)
    numbers[LIMIT] = 1 << bits
    numbers[DEEPEST] = depth
    numbers[RANDOM] = (seed * 0x9E3779B97F4A7C15 + 0x1234567) % (1 << 62) | 1
    return space


@numba.njit(cache=True)
def random(numbers: _Int, below: _Word) -> _Word:
    """A random number in 0 .. below - 1 (xorshift)."""
    state = numbers[RANDOM]
    state ^= (state << 13) & 0x7FFFFFFFFFFFFFFF
    state ^= state >> 7
    state ^= (state << 17) & 0x7FFFFFFFFFFFFFFF
    numbers[RANDOM] = state
    return (state >> 20) % below


@numba.njit(cache=True)
def combine(u: _Word, v: _Word, limit: _Word, out: _Int) -> _Word:
    """Write every fundamental up to ``limit`` that one addition makes from u and v to ``out``."""
    n = 0
    for turn in range(1 if u == v else 2):
        a, b = (u, v) if turn == 0 else (v, u)
        shifted = 2 * a
        while shifted <= limit + b:
            if shifted + b <= limit:
                out[n] = shifted + b
                n += 1
            out[n] = abs(shifted - b)
            n += 1
            shifted *= 2
    if u != v:
        for x in (u + v, abs(u - v)):
            out[n] = x // (x & -x)
            n += 1
    return n


@numba.njit(cache=True, inline="always")
def near_slot(near: Any, keys: _Int, generation: _Word, value: _Word) -> _Word:
    """Where the table of near fundamentals has the value, or room for it."""
    if keys.size == 0:
        return value >> 1
    mask = keys.size - 1
    at = ((value * _GOLDEN) >> 24) & mask
    while near[at] >> 6 == generation and keys[at] != value:
        at = (at + 1) & mask
    return at


@numba.njit(cache=True, inline="always")
def near_depth(near: Any, keys: _Int, generation: _Word, value: _Word) -> _Word:
    """The least depth at which one addition makes the value, or -1."""
    mark = near[near_slot(near, keys, generation, value)]
    return 63 - (mark & 63) if mark >> 6 == generation else -1


@numba.njit(cache=True, inline="always")
def count_slot(stamps: Any, keys: _Int, generation: _Word, value: _Word) -> _Word:
    """Where the table of counts has the value, or room for it."""
    if keys.size == 0:
        return value >> 1
    mask = keys.size - 1
    at = ((value * _GOLDEN) >> 24) & mask
    while stamps[at] == generation and keys[at] != value:
        at = (at + 1) & mask
    return at


@numba.njit(cache=True)
def _mark_sums(
    near: Any, keys: _Int, numbers: _Int, u: _Word, v: _Word, depth: _Word, out: _Int
) -> None:
    """Mark as near what one addition makes from u and v."""
    generation = numbers[NEAR_GENERATION]
    mark = generation << 6 | (63 - depth)
    n = combine(u, v, numbers[LIMIT], out)
    if keys.size == 0:
        for k in range(n):
            near[out[k] >> 1] = max(near[out[k] >> 1], mark)
        return
    for k in range(n):
        at = near_slot(near, keys, generation, out[k])
        if near[at] >> 6 != generation:
            if 2 * numbers[NEAR] > keys.size:
                continue
            numbers[NEAR] += 1
            keys[at] = out[k]
        near[at] = max(near[at], mark)


@numba.njit(cache=True)
def extend(space: Space) -> None:
    """Combine the found fundamentals that are new with all, and find what is missing and near."""
    numbers, out = space.numbers, space.buffer
    near, keys, deepest = space.near, space.near_keys, numbers[DEEPEST]
    generation = numbers[NEAR_GENERATION]
    while numbers[DONE] < numbers[FOUND]:
        new = numbers[DONE]
        numbers[DONE] += 1
        if space.depths[new] >= deepest:
            continue
        for other in range(new + 1):
            depth = max(space.depths[new], space.depths[other]) + 1
            if depth <= deepest:
                _mark_sums(near, keys, numbers, space.found[new], space.found[other], depth, out)
        left = 0
        for m in range(numbers[MISSING]):
            index = space.missing[m]
            depth = near_depth(near, keys, generation, space.wanted[index])
            if 0 <= depth <= space.latest[index]:
                _find(space, space.wanted[index], depth)
            else:
                space.missing[left] = index
                left += 1
        numbers[MISSING] = left


@numba.njit(cache=True)
def _find(space: Space, value: _Word, depth: _Word) -> None:
    space.found[space.numbers[FOUND]] = value
    space.depths[space.numbers[FOUND]] = depth
    space.numbers[FOUND] += 1


@numba.njit(cache=True)
def rebuild(space: Space) -> None:
    """Find everything anew from 1, by increasing depth; forget intermediates out of reach."""
    numbers = space.numbers
    numbers[NEAR_GENERATION] += 1
    if numbers[NEAR_GENERATION] >= 1 << 24:
        numbers[NEAR_GENERATION] = 1
        space.near[:] = 0
    numbers[FOUND] = numbers[DONE] = numbers[NEAR] = 0
    _find(space, 1, 0)
    for index in range(numbers[WANTED]):
        space.missing[index] = index
    numbers[MISSING] = numbers[WANTED]
    extend(space)
    targets = numbers[TARGETS]
    left = 0
    for m in range(numbers[MISSING]):
        if space.missing[m] < targets:
            left += 1
        else:
            space.wanted[space.missing[m]] = 0
    numbers[MISSING] = left  # the order is kept: targets come first
    kept = targets
    for index in range(targets, numbers[WANTED]):
        if space.wanted[index]:
            space.wanted[kept] = space.wanted[index]
            space.latest[kept] = space.latest[index]
            kept += 1
    numbers[WANTED] = kept


@numba.njit(cache=True)
def add_intermediate(space: Space, value: _Word) -> None:
    """Want and find a near fundamental, and what it brings within reach."""
    numbers = space.numbers
    depth = near_depth(space.near, space.near_keys, numbers[NEAR_GENERATION], value)
    space.wanted[numbers[WANTED]] = value
    space.latest[numbers[WANTED]] = numbers[DEEPEST] - 1
    numbers[WANTED] += 1
    _find(space, value, depth)
    extend(space)


def is_direct(space: Space) -> bool:
    """Whether the tables are addressed by the value."""
    return space.near_keys.size == 0


def is_complete(space: Space) -> bool:
    """Whether the table of near fundamentals holds all of them below the limit."""
    return is_direct(space) or 2 * int(space.numbers[NEAR]) <= space.near_keys.size


@numba.njit(cache=True)
def next_counts(space: Space) -> _Word:
    """Clear the table of counts."""
    numbers = space.numbers
    numbers[COUNT_GENERATION] += 1
    if numbers[COUNT_GENERATION] >= 1 << 30:
        numbers[COUNT_GENERATION] = 1
        space.count_stamps[:] = 0
    return numbers[COUNT_GENERATION]


@numba.njit(cache=True)
def halves(space: Space, value: _Word, found: _Word, out: _Int) -> _Word:
    """Fundamentals that together with a found one, or alone for -1, make the value.

    Written to ``out``, which is not the space's buffer.
    """
    if found >= 0:
        return combine(value, space.found[found], space.numbers[LIMIT], out)
    n = 0
    power = 2
    while power - 1 <= value:
        for factor in (power - 1, power + 1):
            if factor > 1 and factor < value and value % factor == 0:
                out[n] = value // factor
                n += 1
        power *= 2
    return n


@numba.njit(cache=True)
def index_found(space: Space) -> None:
    """Write to the table of counts where each fundamental is in the list of found ones."""
    generation = next_counts(space)
    for k in range(space.numbers[FOUND]):
        at = count_slot(space.count_stamps, space.count_keys, generation, space.found[k])
        space.count_stamps[at] = generation
        if space.count_keys.size > 0:
            space.count_keys[at] = space.found[k]
        space.counts[at] = k


@numba.njit(cache=True, inline="always")
def place(stamps: Any, keys: _Int, counts: Any, generation: _Word, value: _Word) -> _Word:
    """Where the value is in the list of found ones, after ``index_found``; -1: nowhere."""
    at = count_slot(stamps, keys, generation, value)
    return counts[at] if stamps[at] == generation else -1
