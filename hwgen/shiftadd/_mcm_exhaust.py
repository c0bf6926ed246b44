"""Small sets of intermediates, all of them: fewer adders, or the proof of the optimum."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd import _fundamentals as f
from hwgen.shiftadd._fundamentals import (
    Space,
    add_intermediate,
    combine,
    count_slot,
    halves,
    index_found,
    near_depth,
    near_slot,
    next_counts,
    place,
    rebuild,
)

__all__ = ["exhaust"]

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True)
def near_fundamentals(space: Space, out: _Int) -> _Word:
    """Write all near fundamentals that are not found, each once; returns how many."""
    numbers = space.numbers
    buffer = space.buffer
    generation = next_counts(space)
    near, near_keys, marked = space.near, space.near_keys, numbers[f.NEAR_GENERATION]
    stamps, keys = space.count_stamps, space.count_keys
    n = 0
    for i in range(numbers[f.FOUND]):
        for j in range(i + 1):
            for k in range(combine(space.found[i], space.found[j], numbers[f.LIMIT], buffer)):
                value = buffer[k]
                depth = near_depth(near, near_keys, marked, value)
                if value == 1 or depth < 0 or depth >= numbers[f.DEEPEST]:
                    continue
                at = count_slot(stamps, keys, generation, value)
                if stamps[at] != generation and n < out.size:
                    stamps[at] = generation
                    if keys.size > 0:
                        keys[at] = value
                    out[n] = value
                    n += 1
    # Found ones are near as well.
    index_found(space)
    generation = numbers[f.COUNT_GENERATION]
    left = 0
    for k in range(n):
        if place(stamps, keys, space.counts, generation, out[k]) < 0:
            out[left] = out[k]
            left += 1
    return left


@numba.njit(cache=True)
def _finishes(space: Space, value: _Word, wanted: _Int, new: _Int) -> bool:
    """Whether the near fundamental brings all missing targets within reach; depths ignored."""
    numbers, out = space.numbers, space.buffer
    generation = numbers[f.COUNT_GENERATION]
    stamps, keys = space.count_stamps, space.count_keys
    left = numbers[f.MISSING]
    for m in range(left):
        wanted[m] = space.wanted[space.missing[m]]
    new[0] = value
    count, done = 1, 0
    while done < count and left > 0:
        u = new[done]
        done += 1
        m = 0
        while m < left:
            reached = False
            n = combine(wanted[m], u, numbers[f.LIMIT], out)
            for k in range(n):
                if place(stamps, keys, space.counts, generation, out[k]) >= 0:
                    reached = True
                for i in range(count):
                    if out[k] == new[i]:
                        reached = True
                if reached:
                    break
            if not reached and wanted[m] % u == 0:
                factor = wanted[m] // u
                reached = (factor - 1) & (factor - 2) == 0 or (factor + 1) & factor == 0
            if reached:
                new[count] = wanted[m]
                count += 1
                left -= 1
                wanted[m] = wanted[left]
            else:
                m += 1
    return bool(left == 0)


@numba.njit(cache=True)
def _exhaust_last(space: Space, wanted: _Int, new: _Int, other: _Int) -> _Word:
    """The near fundamental that brings all missing targets within reach; -1: none, -2: no budget.

    It must make at least one of them near, so that only those that do are tried.
    """
    numbers = space.numbers
    index_found(space)
    near, near_keys, marked = space.near, space.near_keys, numbers[f.NEAR_GENERATION]
    done = -1 - numbers[f.COUNT_GENERATION]  # other users of `lasts` write no such number
    for m in range(numbers[f.MISSING]):
        target = space.wanted[space.missing[m]]
        for r in range(-1, numbers[f.FOUND]):
            for k in range(halves(space, target, r, other)):
                value = other[k]
                if near_depth(near, near_keys, marked, value) < 0:
                    continue
                at = near_slot(near, near_keys, marked, value)
                if space.lasts[at] == done:
                    continue
                space.lasts[at] = done
                if space.forbidden.size > 0 and space.forbidden[value >> 1]:
                    continue
                numbers[f.BUDGET] -= numbers[f.MISSING]
                if numbers[f.BUDGET] < 0:
                    return -2
                if _finishes(space, value, wanted, new):
                    return value
    return -1


@numba.njit(cache=True)
def exhaust(space: Space, level: _Word) -> _Word:
    """Try all sets of up to ``level`` more intermediates, without limit of the depth.

    Fundamentals that are ``forbidden`` are left out. From level 2 on, the space must use direct
    tables.

    Returns
    -------
    int
        1: nothing is missing any more (the intermediates are wanted); 0: no set does that;
        -1: the ``BUDGET``, of pairs of fundamentals that are combined, is spent.
    """
    numbers = space.numbers
    rebuild(space)
    if numbers[f.MISSING] == 0:
        return 1
    if level == 0:
        return 0
    targets = numbers[f.TARGETS]
    start = numbers[f.WANTED]
    room = numbers[f.MISSING] + 2
    numbers[f.BUDGET] -= numbers[f.FOUND] ** 2 // 2
    if numbers[f.BUDGET] < 0:
        return -1
    if level == 1:
        value = _exhaust_last(
            space, np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(f.BUFFER, np.int64)
        )
        if value < 0:
            return value + 1
        add_intermediate(space, value)
        return 1
    pairs = numbers[f.FOUND] * (numbers[f.FOUND] + 1) // 2
    tries = np.zeros(min(pairs * 128, numbers[f.LIMIT] // 2), np.int64)
    kept = space.wanted[targets:start].copy()
    n = near_fundamentals(space, tries)
    result = 0
    tried = 0
    for k in range(n):
        value = tries[k]
        if space.forbidden[value >> 1]:
            continue
        numbers[f.WANTED] = start
        space.wanted[targets:start] = kept
        space.wanted[start] = value
        space.latest[start] = numbers[f.DEEPEST] - 1
        numbers[f.WANTED] = start + 1
        result = exhaust(space, level - 1)
        if result != 0:
            break
        # Sets with this fundamental have all been tried.
        space.forbidden[value >> 1] = 1
        tries[tried] = value
        tried += 1
    for k in range(tried):
        space.forbidden[tries[k] >> 1] = 0
    if result == 0:
        numbers[f.WANTED] = start
        space.wanted[targets:start] = kept
    return result
