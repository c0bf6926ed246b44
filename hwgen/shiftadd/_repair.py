"""Local search, repair: pairs of terms that occur twice become shared values again."""

from __future__ import annotations

import numpy as np

from hwgen.shiftadd import _change as c
from hwgen.shiftadd import _state as s
from hwgen.shiftadd._state import State, _Word, compiled

__all__ = ["depends", "repair", "replace_use", "room"]

_ROOM = 4096  # terms and journal entries that one change may need
_LONGEST = 192  # terms of a sum: records grow with their square
_MOST_REFUSED = 8  # pairs of one step that would make the graph too deep


@compiled
def depends(st: State, value: _Word, owner: _Word) -> bool:
    """Whether the sum of ``value`` contains ``owner``, directly or not."""
    values, terms, work = st.values, st.terms, st.lists[s.L_WORK]
    if value == owner:
        return True
    if values[value, s.DEPTH] <= values[owner, s.DEPTH]:
        return False
    st.counters[s.VISIT] += 1
    visit = st.counters[s.VISIT]
    limit = values[owner, s.DEPTH]
    work[0] = value
    size = 1
    while size:
        size -= 1
        at = values[work[size], s.HEAD]
        while at >= 0:
            inner = terms[at, s.VALUE]
            if inner == owner:
                return True
            if values[inner, s.DEPTH] > limit and values[inner, s.MARK] != visit:
                values[inner, s.MARK] = visit
                work[size] = inner
                size += 1
            at = terms[at, s.AFTER]
    return False


@compiled
def room(st: State) -> bool:
    counters = st.counters
    return bool(
        counters[s.FREE_TERMS] > _ROOM
        and counters[s.FREE_VALUES] > 16
        and counters[s.JOURNAL] + 4 * _ROOM < len(st.journal)
    )


@compiled
def replace_use(st: State, use: _Word) -> None:
    """Put the terms of a value in the place of one term that uses it."""
    values, terms = st.values, st.terms
    owner, value = terms[use, s.OWNER], terms[use, s.VALUE]
    negate = terms[use, s.NEGATE]
    if terms[use, s.SHIFT] < values[value, s.DOWN]:
        c.scale(st, owner, values[value, s.DOWN] - terms[use, s.SHIFT])
    shift = terms[use, s.SHIFT] - values[value, s.DOWN]
    c.unlink(st, use)
    at = values[value, s.HEAD]
    while at >= 0:
        c.add(
            st, owner, terms[at, s.VALUE], terms[at, s.SHIFT] + shift, terms[at, s.NEGATE] ^ negate
        )
        at = terms[at, s.AFTER]
    if values[owner, s.DOWN] > 0:
        least = values[owner, s.DOWN]
        at = values[owner, s.HEAD]
        while at >= 0:
            least = min(least, terms[at, s.SHIFT])
            at = terms[at, s.AFTER]
        if least:
            c.scale(st, owner, -least)
    c.settle(st, owner)


@compiled
def _tidy(st: State) -> None:
    """Remove values without uses, and put those with one use into the sum that uses them."""
    values = st.values
    while st.counters[s.LONELY]:
        st.counters[s.LONELY] -= 1
        value = st.lists[s.L_LONELY, st.counters[s.LONELY]]
        if not values[value, s.LIVE] or values[value, s.PINNED]:
            continue
        if values[value, s.USES] == 0:
            c.kill(st, value)
        elif values[value, s.USES] == 1 and room(st):
            use = values[value, s.USED]
            size = values[value, s.SIZE] + values[st.terms[use, s.OWNER], s.SIZE]
            if size <= _LONGEST:
                replace_use(st, use)


@compiled
def _made(st: State, a: _Word, b: _Word, down: _Word) -> _Word:
    """A new value, the sum of two terms without their common shift, or -1 if it is too large."""
    terms, forms = st.terms, st.forms
    st.counters[s.FREE_VALUES] -= 1
    value = st.lists[s.L_VALUES, st.counters[s.FREE_VALUES]]
    low = min(terms[a, s.SHIFT], terms[b, s.SHIFT])
    up_a, up_b = terms[a, s.SHIFT] - low, terms[b, s.SHIFT] - low
    first, second, form = forms[terms[a, s.VALUE]], forms[terms[b, s.VALUE]], forms[value]
    sign_a, sign_b = 1 - 2 * terms[a, s.NEGATE], 1 - 2 * terms[b, s.NEGATE]
    largest = np.int64(0)
    for k in range(len(form)):
        entry = (sign_a * (first[k] << up_a) + sign_b * (second[k] << up_b)) >> down
        form[k] = entry
        largest = max(largest, abs(entry))
    if largest >= s.LARGEST:
        st.counters[s.FREE_VALUES] += 1
        return np.int64(-1)
    c.identify(st, value)
    c.create(st, value)
    return value


@compiled
def _define(st: State, value: _Word, a: _Word, b: _Word, negate: _Word, down: _Word) -> None:
    """Make two terms, copied from another sum, the sum of a value that has none."""
    terms = st.terms
    low = min(terms[a, s.SHIFT], terms[b, s.SHIFT])
    c.scale(st, value, down - st.values[value, s.DOWN])
    for term in (a, b):
        c.link(
            st, value, terms[term, s.VALUE], terms[term, s.SHIFT] - low,
            terms[term, s.NEGATE] ^ negate,
        )  # fmt: skip
    c.settle(st, value)


@compiled
def _occurrences(st: State, key: _Word, same: _Word) -> _Word:
    """Collect records of a pair that share no term, into the list of found ones."""
    found, records, terms = st.lists[s.L_FOUND], st.records, st.terms
    count = 0
    at = st.buckets[s.mix(key, len(st.buckets) - 1)]
    while at >= 0 and count < s.MOST_COPIES:
        if records[at, s.KEY] == key:
            a, b = records[at, s.FIRST], records[at, s.SECOND]
            owner = terms[a, s.OWNER]
            usable = owner != same
            for k in range(count):
                if terms[found[2 * k], s.OWNER] == owner:
                    usable &= a != found[2 * k] and a != found[2 * k + 1]
                    usable &= b != found[2 * k] and b != found[2 * k + 1]
            if usable:
                found[2 * count], found[2 * count + 1] = a, b
                count += 1
        at = records[at, s.CHAIN]
    return count


@compiled
def _share(st: State, same: _Word, count: _Word) -> None:
    """Make the pair a value, if it is none yet, and put it where the pair occurs."""
    values, terms, found = st.values, st.terms, st.lists[s.L_FOUND]
    made = False
    if same < 0:
        best, rank = 0, np.int64(1) << 40
        for k in range(count):
            a, b = found[2 * k], found[2 * k + 1]
            depth = max(values[terms[a, s.VALUE], s.DEPTH], values[terms[b, s.VALUE], s.DEPTH])
            if depth < rank:
                best, rank = k, depth
        a, b = found[2 * best], found[2 * best + 1]
        _, negate, low = s.pair(st, a, b)
        down = low - min(terms[a, s.SHIFT], terms[b, s.SHIFT])
        same = _made(st, a, b, down)
        if same < 0:
            return
        _define(st, same, a, b, negate, down)
        made = True
    elif same >= st.counters[s.INPUTS] and values[same, s.SIZE] > 2:
        for k in range(count):
            a, b = found[2 * k], found[2 * k + 1]
            if depends(st, terms[a, s.VALUE], same) or depends(st, terms[b, s.VALUE], same):
                continue
            mark = st.counters[s.JOURNAL]
            _, negate, low = s.pair(st, a, b)
            down = low - min(terms[a, s.SHIFT], terms[b, s.SHIFT])
            while values[same, s.HEAD] >= 0:
                c.unlink(st, values[same, s.HEAD])
            _define(st, same, a, b, negate, down)
            if st.counters[s.TOO_DEEP]:
                c.undo(st, mark)
                st.counters[s.REFUSED] += 1
                continue
            break
    for k in range(count):
        a, b = found[2 * k], found[2 * k + 1]
        owner = terms[a, s.OWNER]
        if not terms[a, s.LINKED] or not terms[b, s.LINKED] or depends(st, same, owner):
            continue
        mark = st.counters[s.JOURNAL]
        _, negate, low = s.pair(st, a, b)
        c.unlink(st, a)
        c.unlink(st, b)
        c.add(st, owner, same, low, negate)
        c.settle(st, owner)
        if st.counters[s.TOO_DEEP]:
            c.undo(st, mark)
            st.counters[s.REFUSED] += 1
    if made and values[same, s.USES] <= 1:
        st.lists[s.L_LONELY, st.counters[s.LONELY]] = same
        st.counters[s.LONELY] += 1


@compiled
def repair(st: State) -> None:
    """Share pairs, the most frequent first, until none is worth it."""
    _tidy(st)
    # What is refused may be tried again in vain: every try finds new pairs.
    st.counters[s.REFUSED] = 0
    while st.counters[s.HEAP] and st.counters[s.REFUSED] < _MOST_REFUSED:
        priority, key = s.pop(st)
        same = s.named(st, key)
        count = _occurrences(st, key, same)
        gain = count if same >= 0 else count - 1
        if gain < 1 or not room(st):
            continue
        if gain < priority >> 20:
            s.push(st, (gain << 20) | (priority & 0xFFFFF), key)
            continue
        _share(st, same, count)
        _tidy(st)
