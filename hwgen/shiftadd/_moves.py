"""Local search, destruction: sums written anew, or shared values replaced by their terms."""

from __future__ import annotations

import numpy as np

from hwgen.shiftadd import _change as c
from hwgen.shiftadd import _state as s
from hwgen.shiftadd._repair import depends, replace_use, room
from hwgen.shiftadd._state import State, _Word, compiled
from hwgen.shiftadd._tree import weight

__all__ = ["destroy"]

_LONGEST = 192  # terms of a sum: records grow with their square
_EXPANDED = 64  # sums that are not lengthened further by a step
_TRIES = 60  # values looked at for each term of a new sum
_SHIFTS = 5
_MOST_USES = 24  # of a value that is removed
_MOST_TERMS = 8
_RESPELLED, _REMOVED = 30, 65  # of 100 steps
_FEW_INPUTS = 2  # with so few, every shift is tried


@compiled
def _some_value(st: State) -> _Word:
    """A value at random, not an input; -1 if none is found."""
    first, top = st.counters[s.INPUTS], st.counters[s.TOP]
    for _ in range(200):
        value = first + s.random(st) % (top - first)
        if st.values[value, s.LIVE]:
            return value
    return np.int64(-1)


@compiled
def _some_term(st: State, owner: _Word) -> _Word:
    """A term of a sum at random."""
    at = st.values[owner, s.HEAD]
    for _ in range(s.random(st) % st.values[owner, s.SIZE]):
        at = st.terms[at, s.AFTER]
    return at


@compiled
def _expand(st: State, owner: _Word, steps: _Word) -> None:
    """Put the terms of values into one sum, at random."""
    for _ in range(steps):
        size = st.values[owner, s.SIZE]
        if not size or size > _EXPANDED or not room(st):
            return
        use = _some_term(st, owner)
        if st.values[st.terms[use, s.VALUE], s.SIZE] > _EXPANDED:
            return
        if st.terms[use, s.VALUE] >= st.counters[s.INPUTS]:
            s.ban(st, st.terms[use, s.VALUE])
            replace_use(st, use)


@compiled
def _respell(st: State, owner: _Word) -> None:
    """Sum a value anew: another value, if that helps, and the digits of what it differs by."""
    values, forms = st.values, st.forms
    if not room(st):
        return
    size = forms.shape[1]
    rest, weights, plan = st.lists[s.L_REST], st.lists[s.L_WEIGHTS], st.lists[s.L_PLAN]
    planned = 0
    shifts = _SHIFTS if size > _FEW_INPUTS else s.MOST_SHIFT
    left = np.int64(0)
    for k in range(size):
        rest[k] = forms[owner, k]
        weights[k] = weight(rest[k])
        left += weights[k]
    if left == 0 or left > 4 * _LONGEST:
        return
    most = values[owner, s.SIZE] + s.random(st) % (values[owner, s.SIZE] + 3)
    while left > 1:
        best, base, up, sign = np.int64(1), np.int64(-1), np.int64(0), np.int64(1)
        for _ in range(_TRIES):
            value = _some_value(st)
            if value < 0 or value == owner:
                continue
            form, support = forms[value], st.supports[value]
            bound = np.int64(0)
            for i in range(1, support[0] + 1):
                bound += weights[support[i]]
            if bound <= best:
                continue
            for shift in range(shifts):
                plus = minus = bound
                for i in range(1, support[0] + 1):
                    k = support[i]
                    part = form[k] << shift
                    plus -= weight(rest[k] - part)
                    minus -= weight(rest[k] + part)
                    if max(plus, minus) <= best:
                        break
                if max(plus, minus) > best and not depends(st, value, owner):
                    best, base, up, sign = (
                        max(plus, minus),
                        value,
                        np.int64(shift),
                        np.int64(1 - 2 * (minus > plus)),
                    )
        if base < 0:
            break
        plan[3 * planned], plan[3 * planned + 1], plan[3 * planned + 2] = base, up, sign
        planned += 1
        if planned > most:
            return
        left -= best
        form, support = forms[base], st.supports[base]
        for i in range(1, support[0] + 1):
            k = support[i]
            rest[k] -= sign * (form[k] << up)
            weights[k] = weight(rest[k])
    if planned + left > most:
        return
    while values[owner, s.HEAD] >= 0:
        c.unlink(st, values[owner, s.HEAD])
    c.scale(st, owner, -values[owner, s.DOWN])
    for p in range(planned):
        c.add(st, owner, plan[3 * p], plan[3 * p + 1], np.int64(plan[3 * p + 2] < 0))
    for k in range(size):
        entry = rest[k]
        number = abs(entry)
        plus, minus = (3 * number & ~number) >> 1, (number & ~(3 * number)) >> 1
        if entry < 0:
            plus, minus = minus, plus
        shift = 0
        while (plus | minus) >> shift:
            if (plus | minus) >> shift & 1:
                c.add(st, owner, k, shift, minus >> shift & 1)
            shift += 1
    c.settle(st, owner)


@compiled
def _remove(st: State, value: _Word, steps: _Word) -> None:
    """Put the terms of a value into all sums that use it; then of a value in one of these."""
    values, terms = st.values, st.terms
    for _ in range(steps):
        if value < st.counters[s.INPUTS] or values[value, s.PINNED] or not values[value, s.LIVE]:
            return
        if values[value, s.USES] > _MOST_USES or values[value, s.SIZE] > _MOST_TERMS:
            return
        s.ban(st, value)
        owner = np.int64(-1)
        while values[value, s.USES]:
            use = values[value, s.USED]
            if owner < 0 or s.random(st) % 2:
                owner = terms[use, s.OWNER]
            if values[terms[use, s.OWNER], s.SIZE] > _LONGEST or not room(st):
                return
            replace_use(st, use)
        if owner < 0 or not 0 < values[owner, s.SIZE] <= _EXPANDED:
            return
        value = terms[_some_term(st, owner), s.VALUE]


@compiled
def destroy(st: State) -> None:
    """Sum a value at random anew, or replace a few values by their terms in one sum or all."""
    value = _some_value(st)
    if value < 0:
        return
    kind = s.random(st) % 100
    if kind < _RESPELLED:
        _respell(st, value)
        return
    steps = 1
    while steps < _EXPANDED and s.random(st) % 5 < 2:
        steps += 1
    if kind < _RESPELLED + _REMOVED:
        _remove(st, value, steps)
    else:
        _expand(st, value, steps + 1)
