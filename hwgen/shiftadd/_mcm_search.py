"""Search for few intermediate fundamentals: greedy completion, ruin and recreate."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd import _fundamentals as f
from hwgen.shiftadd._derive import derive
from hwgen.shiftadd._fundamentals import (
    Space,
    add_intermediate,
    combine,
    count_slot,
    extend,
    halves,
    index_found,
    near_depth,
    next_counts,
    place,
    random,
    rebuild,
)
from hwgen.shiftadd._tree import weight

__all__ = ["adopt", "improve", "restore"]

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code

_TRIES = 3000  # fundamentals looked at when two additions do not reach a target
_FOCUS = 8  # one in so many choices looks at one target only


@numba.njit(cache=True)
def _helper(space: Space, only: _Word) -> _Word:
    """A near fundamental that makes most missing targets near, or -1; ties at random.

    ``only`` restricts the targets to the one at this place of the missing ones, if it is not -1.
    """
    numbers, out = space.numbers, space.buffer
    generation = next_counts(space)
    near, near_keys, marked = space.near, space.near_keys, numbers[f.NEAR_GENERATION]
    stamps, keys = space.count_stamps, space.count_keys
    pick, most, ties = -1, 0, 0
    for m in range(numbers[f.MISSING]):
        if only >= 0 and m != only:
            continue
        target = space.wanted[space.missing[m]]
        latest = space.latest[space.missing[m]]
        for r in range(-1, numbers[f.FOUND]):
            if r >= 0 and space.depths[r] >= latest:
                continue
            for k in range(halves(space, target, r, out)):
                value = out[k]
                depth = near_depth(near, near_keys, marked, value)
                if depth < 0 or depth >= latest:
                    continue
                at = count_slot(stamps, keys, generation, value)
                if stamps[at] != generation:
                    stamps[at] = generation
                    if keys.size > 0:
                        keys[at] = value
                    space.counts[at] = 0
                    space.lasts[at] = -1
                if space.lasts[at] == m:
                    continue
                space.lasts[at] = m
                space.counts[at] += 1
                if space.counts[at] > most:
                    pick, most, ties = value, space.counts[at], 1
                elif space.counts[at] == most:
                    ties += 1
                    if random(numbers, ties) == 0:
                        pick = value
    return pick


@numba.njit(cache=True)
def _chain(space: Space, m: _Word, other: _Int) -> _Word:
    """A near fundamental on a way of three additions to a missing target, or -1.

    Tried at random: ways over a fundamental that is one addition from the target and two from the
    found ones, and ways over two near fundamentals.
    """
    numbers, out = space.numbers, space.buffer
    target = space.wanted[space.missing[m]]
    latest = space.latest[space.missing[m]]
    count = numbers[f.FOUND]
    near, near_keys, marked = space.near, space.near_keys, numbers[f.NEAR_GENERATION]
    for _ in range(_TRIES // 50):
        r = random(numbers, count + 1) - 1
        if r >= 0 and space.depths[r] >= latest:
            continue
        n = halves(space, target, r, other)
        if n == 0:
            continue
        middle = other[random(numbers, n)]
        if middle == 1:
            continue
        for q in range(-1, count):
            if q >= 0 and space.depths[q] >= latest - 1:
                continue
            for k in range(halves(space, middle, q, out)):
                depth = near_depth(near, near_keys, marked, out[k])
                if 0 <= depth < latest - 1:
                    return out[k]
    for _ in range(_TRIES // 50):
        i, j = random(numbers, count), random(numbers, count)
        n = combine(space.found[i], space.found[j], numbers[f.LIMIT], other)
        first = other[random(numbers, n)]
        depth = near_depth(near, near_keys, marked, first)
        if first == 1 or depth < 0 or depth >= latest:
            continue
        for k in range(combine(target, first, numbers[f.LIMIT], out)):
            depth = near_depth(near, near_keys, marked, out[k])
            if 0 <= depth < latest:
                return first
    return -1


@numba.njit(cache=True)
def _want(space: Space, value: _Word, latest: _Word) -> None:
    """Want a fundamental that may be out of reach, if it is not found."""
    numbers = space.numbers
    value = abs(value)
    value //= value & -value
    for k in range(numbers[f.FOUND]):
        if space.found[k] == value and space.depths[k] <= latest:
            return
    for m in range(numbers[f.MISSING]):
        if space.wanted[space.missing[m]] == value:
            space.latest[space.missing[m]] = min(latest, space.latest[space.missing[m]])
            return
    index = numbers[f.WANTED]
    space.wanted[index] = value
    space.latest[index] = latest
    numbers[f.WANTED] += 1
    near, near_keys, marked = space.near, space.near_keys, numbers[f.NEAR_GENERATION]
    depth = near_depth(near, near_keys, marked, value)
    if 0 <= depth <= latest:
        space.found[numbers[f.FOUND]] = value
        space.depths[numbers[f.FOUND]] = depth
        numbers[f.FOUND] += 1
    else:
        space.missing[numbers[f.MISSING]] = index
        numbers[f.MISSING] += 1


@numba.njit(cache=True)
def _split(space: Space, m: _Word) -> None:
    """Want two sums of half of a missing target's canonical signed digits, chosen at random."""
    index = space.missing[m]
    target, latest = space.wanted[index], space.latest[index]
    plus, minus = (3 * target & ~target) >> 1, (target & ~(3 * target)) >> 1
    digits = weight(target)
    take = digits // 2
    first = 0
    for bit in range(63):
        if (plus | minus) >> bit & 1:
            if random(space.numbers, digits) < take:
                first += (1 << bit) if plus >> bit & 1 else -(1 << bit)
                take -= 1
            digits -= 1
    _want(space, first, latest - 1)
    _want(space, target - first, latest - 1)
    extend(space)


@numba.njit(cache=True)
def complete(space: Space, most: _Word) -> bool:
    """Add intermediates until no target is missing; False if that takes more than ``most``."""
    numbers = space.numbers
    other = np.zeros(f.BUFFER, np.int64)
    most = min(most, space.wanted.size - numbers[f.TARGETS] - 2)
    while numbers[f.MISSING] > 0:
        if numbers[f.WANTED] - numbers[f.TARGETS] >= most:
            return False
        m = random(numbers, numbers[f.MISSING])
        value = _helper(space, m if random(numbers, _FOCUS) == 0 else -1)
        if value < 0:
            value = _chain(space, m, other)
        if value > 0:
            add_intermediate(space, value)
        else:
            _split(space, m)
    return True


@numba.njit(cache=True)
def _drop_useless(space: Space) -> None:
    """Leave out intermediates without which nothing is missing."""
    numbers = space.numbers
    targets = numbers[f.TARGETS]
    rebuild(space)
    at = targets
    while at < numbers[f.WANTED]:
        count = numbers[f.WANTED]
        kept = space.wanted[targets:count].copy()
        latest = space.latest[targets:count].copy()
        last = count - 1
        space.wanted[at], space.latest[at] = space.wanted[last], space.latest[last]
        numbers[f.WANTED] = last
        rebuild(space)
        if numbers[f.MISSING] > 0:
            space.wanted[targets:count] = kept
            space.latest[targets:count] = latest
            numbers[f.WANTED] = count
            at += 1
    rebuild(space)


@numba.njit(cache=True)
def adopt(
    space: Space, by_cells: _Word, low: float, high: float, signs: _Int, derivation: _Int,
    current: _Int, best: _Int,
) -> None:  # fmt: skip
    """Make the space's intermediates the current state, and the best if they are; see `improve`."""
    numbers = space.numbers
    targets = numbers[f.TARGETS]
    count = numbers[f.WANTED] - targets
    adders = targets + count
    cells = 1 << 40
    if by_cells or adders <= best[0]:
        free = numbers[f.DEEPEST] >= f.DEEPEST_OF_ALL
        given = np.zeros(numbers[f.FOUND], np.int64)
        given[0] = 1
        index_found(space)
        stamps, keys = space.count_stamps, space.count_keys
        generation = numbers[f.COUNT_GENERATION]
        for k in range(targets):
            given[place(stamps, keys, space.counts, generation, space.wanted[k])] = signs[k]
        cells = derive(space, low, high, free, given, derivation)
    current[0], current[1], current[2] = adders, cells, count
    current[3 : 3 + count] = space.wanted[targets : targets + count]
    if by_cells:
        better = cells < best[1]
    else:
        better = adders < best[0] or (adders == best[0] and cells < best[1])
    if better:
        best[: 3 + count] = current[: 3 + count]


@numba.njit(cache=True)
def restore(space: Space, state: _Int) -> None:
    """Want the intermediates of a state and no others, and find them."""
    numbers = space.numbers
    targets, count = numbers[f.TARGETS], state[2]
    space.wanted[targets : targets + count] = state[3 : 3 + count]
    space.latest[targets : targets + count] = numbers[f.DEEPEST] - 1
    numbers[f.WANTED] = targets + count
    rebuild(space)


@numba.njit(cache=True)
def improve(
    space: Space, steps: _Word, heat: _Word, by_cells: _Word, low: float, high: float,
    signs: _Int, derivation: _Int, current: _Int, best: _Int,
) -> None:  # fmt: skip
    """Ruin and recreate: forget some intermediates, complete anew, keep what is no worse.

    Parameters
    ----------
    space : Space
        Changed.
    steps : int
        Tries.
    heat : int
        Tries in 1000 that may cost one intermediate.
    by_cells : int
        Whether adder cells count before adders.
    low, high : float
        Range of the input.
    signs : array (targets)
        Sign that the outputs want of each target, or 0.
    derivation : array
        Room for the result of :func:`derive`.
    current, best : array
        ``adders, cells, intermediates, *values``: the state, and the best so far. With 0 adders,
        there is no state yet, and it is made anew.
    """
    numbers = space.numbers
    targets = numbers[f.TARGETS]
    for _ in range(steps):
        fresh = current[0] == 0
        count = current[2]
        numbers[f.WANTED] = targets
        if not fresh:
            space.wanted[targets : targets + count] = current[3 : 3 + count]
            space.latest[targets : targets + count] = numbers[f.DEEPEST] - 1
            ruined = 1
            while ruined < count and random(numbers, 2) == 0:
                ruined += 1
            for _ in range(min(ruined, count)):
                k = random(numbers, count)
                count -= 1
                space.wanted[targets + k] = space.wanted[targets + count]
            numbers[f.WANTED] = targets + count
        rebuild(space)
        worse = random(numbers, 1000) < heat
        most = 1 << 30 if fresh else current[2] + worse + by_cells
        if not complete(space, most + 1):
            continue
        _drop_useless(space)
        if numbers[f.WANTED] - targets > most:
            continue
        if fresh or worse or not by_cells:
            adopt(space, by_cells, low, high, signs, derivation, current, best)
            continue
        before = current.copy()
        adopt(space, by_cells, low, high, signs, derivation, current, best)
        if current[1] > before[1]:
            current[:] = before
