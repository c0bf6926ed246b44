"""Exhaustive search for adder graphs modulo a prime: the compiled loop.

A value is a point (:mod:`hwgen.shiftadd._points`), and *all* shifts are tried, left and right, by
trying each unit once.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd._points import canonical, combine, inverse, slot_of

__all__ = ["NONE", "OUT_OF_TIME", "exhaust"]

NONE, OUT_OF_TIME = -1, -2
"""Results of a search without a graph: there is none; it is not known."""

_SHOWN = -2  # place of a value that is in the graph, in the table of what one adder can reach
_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True)
def _completes(
    points: Any, numbers: Any, count: _Word, targets: Any, wanted: Any, marks: Any,
    keys: Any, places: Any, units: Any, factor: Any, prime: _Word, work: Any,
) -> _Word:  # fmt: skip
    """How many values there are once the targets left follow one by one from the last; or NONE.

    ``marks`` (targets), which tells the targets that are there, is scratch afterwards.
    """
    start, top = count - 1, count
    while start < top:
        for t in range(len(wanted)):
            if marks[t]:
                continue
            for u in range(len(units)):
                # a sum of shifted value and other is the target: other = target + unit * value
                other = combine(targets[t], units[u], points[start], work, factor, prime)
                if other == 0:
                    continue
                slot = slot_of(keys, other)
                found = keys[slot] == other and places[slot] == _SHOWN
                for k in range(count - 1, top):
                    found = found or numbers[k] == other
                if found:
                    marks[t] = 1
                    points[top] = targets[t]
                    numbers[top] = wanted[t]
                    top += 1
                    break
        start += 1
    for t in range(len(wanted)):
        if not marks[t]:
            return np.int64(NONE)
    return top


@numba.njit(cache=True, nogil=True)
def exhaust(
    targets: Any, extra: _Word, first: _Word, prime: _Word, units: Any, factor: Any,
    trials: _Word, stop: Any,
) -> tuple[_Word, _Int, _Word]:  # fmt: skip
    """Look for a graph with ``extra`` adders besides those that make targets.

    A target that one adder can make is made at once, which costs nothing. Sets of other values are
    tried in the order of their first members, each set once. The last member of a set must make a
    target, so that it is looked up among what can.

    Parameters
    ----------
    targets : int64 (targets, inputs)
        Canonical points, different from each other and from the inputs.
    extra : int
        Adders that make no target.
    first : int
        Which value, of those that one adder can make of the inputs, has the least number in the
        set; -1: the set is empty. Beyond the last such value the result is NONE.
    prime, units, factor
        See :func:`factors`.
    trials : int
        Most sets that are tried, but for their last members; some 50,000 take a second.
    stop : bool (1,)
        Becomes true, in another thread, when the search shall end.

    Returns
    -------
    count : int
        Values of the graph, or NONE, or OUT_OF_TIME.
    points : int64 (values, inputs)
        The values, inputs first, each the sum of two shifted earlier ones.
    tried : int
        Sets.
    """
    wants, size = targets.shape
    most = size + wants + extra + 2
    points = np.zeros((most, size), np.int64)
    numbers = np.zeros(most, np.int64)
    wanted = np.zeros(wants, np.int64)
    done = np.zeros((extra + 2, wants), np.int64)
    marks = np.zeros(wants, np.int64)
    work = np.zeros(size, np.int64)
    room = len(units) * most * (most + wants)
    slots = 64
    while slots < 2 * room:
        slots *= 2
    a_keys, a_place = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    b_keys = np.zeros(slots, np.int64)
    a_log, b_log = np.zeros(room, np.int64), np.zeros(room, np.int64)
    shown = np.zeros((most, 2), np.int64)  # slot of each value, and its place before
    choices = np.zeros((room, size), np.int64)
    hits = np.zeros(room, np.int64)
    # per level: values, entries of the tables, choices, hits; and the choice that is tried next
    tops = np.zeros((extra + 2, 5), np.int64)
    at = np.zeros(extra + 2, np.int64)

    for t in range(wants):
        work[:] = targets[t]
        wanted[t] = canonical(work, factor, prime)
    b_size = 0
    for t in range(wants):
        for u in range(len(units)):
            if (1 + units[u]) % prime:
                by = inverse(1 + units[u], prime)
                for k in range(size):
                    work[k] = targets[t, k] * by % prime
                slot = slot_of(b_keys, canonical(work, factor, prime))
                if b_keys[slot] == 0:
                    b_keys[slot] = canonical(work, factor, prime)
                    b_log[b_size] = slot
                    b_size += 1
    count, a_size, chosen, struck = 0, 0, 0, 0
    level = 0
    tried = np.int64(0)
    while True:
        # Add values: the inputs, or the choice of this level; then targets, while there are any.
        position = 0
        while True:
            if level == 0 and position < size:
                work[:] = 0
                work[position] = 1
            elif level > 0 and position == 0:
                work[:] = choices[at[level - 1] - 1]
            else:
                made = -1
                for t in range(wants):
                    if not done[level, t]:
                        slot = slot_of(a_keys, wanted[t])
                        if a_keys[slot] == wanted[t]:
                            made = t
                            break
                if made < 0:
                    break
                done[level, made] = 1
                work[:] = targets[made]
            position += 1
            number = canonical(work, factor, prime)
            points[count] = work
            numbers[count] = number
            slot = slot_of(a_keys, number)
            shown[count, 0] = slot
            if a_keys[slot] == 0:
                a_keys[slot] = number
                a_place[slot] = -1
                a_log[a_size] = slot
                a_size += 1
            shown[count, 1] = a_place[slot]
            a_place[slot] = _SHOWN
            for t in range(wants):
                if not done[level, t]:
                    for u in range(len(units)):
                        number = combine(targets[t], units[u], points[count], work, factor, prime)
                        slot = slot_of(b_keys, number)
                        if number and b_keys[slot] == 0:
                            b_keys[slot] = number
                            b_log[b_size] = slot
                            b_size += 1
                            slot = slot_of(a_keys, number)
                            if a_keys[slot] == number and a_place[slot] >= 0:
                                hits[struck] = a_place[slot]
                                struck += 1
            for s in range(count + 1):
                for u in range(len(units)):
                    number = combine(points[s], units[u], points[count], work, factor, prime)
                    slot = slot_of(a_keys, number)
                    if number and a_keys[slot] == 0:
                        a_keys[slot] = number
                        a_place[slot] = chosen
                        a_log[a_size] = slot
                        a_size += 1
                        choices[chosen] = work
                        slot = slot_of(b_keys, number)
                        if b_keys[slot] == number:
                            hits[struck] = chosen
                            struck += 1
                        chosen += 1
            count += 1
        left = wants - done[level].sum()
        if left == 0:
            return np.int64(count), points, tried
        tops[level + 1] = np.array([count, a_size, b_size, chosen, struck])
        budget = extra - level
        if level == 0:
            if extra == 0 or first < 0 or first >= chosen:
                return np.int64(NONE), points, tried
            at[0] = first
        else:
            at[level] = at[level - 1]

        # Go on with the last one or two choices of the set at once.
        if budget == 1:
            low = at[level]
            high = first + 1 if level == 0 else chosen
            for h in range(struck):
                if low <= hits[h] < high:
                    points[count] = choices[hits[h]]
                    work[:] = points[count]
                    numbers[count] = canonical(work, factor, prime)
                    marks[:] = done[level]
                    total = _completes(
                        points, numbers, count + 1, targets, wanted, marks, a_keys, a_place,
                        units, factor, prime, work,
                    )  # fmt: skip
                    if total >= 0:
                        return np.int64(total), points, tried
            at[level] = chosen
        # The next choice, here or at a lower level.
        entered = False
        while not entered:
            high = first + 1 if level == 0 else tops[level + 1, 3]
            budget = extra - level
            while at[level] < high and budget > 1:
                choice = at[level]
                at[level] += 1
                work[:] = choices[choice]
                number = canonical(work, factor, prime)
                if a_place[slot_of(a_keys, number)] == _SHOWN:
                    continue
                if budget > 2 or b_keys[slot_of(b_keys, number)] == number:
                    entered = True
                    break
                tried += 1
                if tried > trials or (tried & 1023 == 0 and stop[0]):
                    return np.int64(OUT_OF_TIME), points, tried
                total = _last_two(
                    choice, number, points, numbers, count, targets, wanted, done[level], marks,
                    a_keys, a_place, b_keys, b_log, b_size, choices, hits, struck,
                    units, factor, prime, work,
                )  # fmt: skip
                if total >= 0:
                    return np.int64(total), points, tried
            if not entered:
                if level == 0:
                    return np.int64(NONE), points, tried
                level -= 1
            # Undo what the level above has added.
            keep, a_keep, b_keep = tops[level + 1, 0], tops[level + 1, 1], tops[level + 1, 2]
            for k in range(count - 1, keep - 1, -1):
                a_place[shown[k, 0]] = shown[k, 1]
            for k in range(a_size - 1, a_keep - 1, -1):
                a_keys[a_log[k]] = 0
            for k in range(b_size - 1, b_keep - 1, -1):
                b_keys[b_log[k]] = 0
            count, a_size, b_size = keep, a_keep, b_keep
            chosen, struck = tops[level + 1, 3], tops[level + 1, 4]
        level += 1
        tried += 1
        done[level] = done[level - 1]


@numba.njit(cache=True)
def _completes_with(
    number: _Word, points: Any, numbers: Any, count: _Word, targets: Any, wanted: Any, done: Any,
    marks: Any, a_keys: Any, a_place: Any, units: Any, factor: Any, prime: _Word, work: Any,
) -> _Word:  # fmt: skip
    """As :func:`_completes`, after the value in ``work`` has become that at ``count``."""
    points[count] = work
    numbers[count] = number
    marks[:] = done
    return _completes(
        points, numbers, count + 1, targets, wanted, marks, a_keys, a_place, units, factor,
        prime, work,
    )  # fmt: skip


@numba.njit(cache=True)
def _last_two(
    choice: _Word, number: _Word, points: Any, numbers: Any, count: _Word, targets: Any,
    wanted: Any, done: Any, marks: Any, a_keys: Any, a_place: Any, b_keys: Any, b_log: Any,
    b_size: _Word, choices: Any, hits: Any, struck: _Word,
    units: Any, factor: Any, prime: _Word, work: Any,
) -> _Word:  # fmt: skip
    """Values of a graph that ends with ``choice``, which makes no target, and one more; or NONE."""
    points[count] = choices[choice]
    numbers[count] = number
    place = slot_of(a_keys, number)
    a_place[place] = _SHOWN
    total = np.int64(NONE)
    size = b_size
    for h in range(struck):
        if hits[h] > choice:
            work[:] = choices[hits[h]]
            total = _completes_with(
                canonical(work, factor, prime), points, numbers, count + 1, targets, wanted, done,
                marks, a_keys, a_place, units, factor, prime, work,
            )  # fmt: skip
            if total >= 0:
                break
    if total < 0:
        for t in range(len(wanted)):
            if done[t]:
                continue
            for u in range(len(units)):
                other = combine(targets[t], units[u], points[count], work, factor, prime)
                slot = slot_of(b_keys, other)
                if other == 0 or b_keys[slot] != 0:
                    continue
                b_keys[slot] = other
                b_log[size] = slot
                size += 1
                slot = slot_of(a_keys, other)
                if a_keys[slot] == other and a_place[slot] > choice:
                    total = _completes_with(
                        other, points, numbers, count + 1, targets, wanted, done, marks, a_keys,
                        a_place, units, factor, prime, work,
                    )  # fmt: skip
                    if total >= 0:
                        break
            if total >= 0:
                break
    if total < 0:
        for s in range(count + 1):
            for u in range(len(units)):
                other = combine(points[s], units[u], points[count], work, factor, prime)
                if other == 0 or b_keys[slot_of(b_keys, other)] != other:
                    continue
                if a_keys[slot_of(a_keys, other)] == 0:
                    total = _completes_with(
                        other, points, numbers, count + 1, targets, wanted, done, marks, a_keys,
                        a_place, units, factor, prime, work,
                    )  # fmt: skip
                    if total >= 0:
                        break
            if total >= 0:
                break
    for k in range(size - 1, b_size - 1, -1):
        b_keys[b_log[k]] = 0
    a_place[place] = choice
    return total
