"""Local search on adder graphs, destroy and repair: the compiled loop.

A step takes shared values away (their terms go into the sums that used them), then makes pairs of
terms that occur twice, or that are a value that exists, into shared values again, the most frequent
first and at random among equals. A step that costs adders is undone.
"""

from __future__ import annotations

import numba
import numpy as np

from hwgen.shiftadd import _state as s
from hwgen.shiftadd._cells import recount, recount_all
from hwgen.shiftadd._state import State, _Word
from hwgen.shiftadd._tree import weight

__all__ = ["search"]

_ROOM = 4096  # terms and journal entries that one change may need
_LONGEST = 192  # terms of a sum: records grow with their square
_EXPANDED = 64  # sums that are not lengthened further by a step
_TRIES = 200  # values looked at for each term of a new sum
_SHIFTS = 5
_MOST_EXTRA_CELLS = 12  # that a step may cost
_FEW_INPUTS = 2  # with so few, every shift is tried
_MOST_REFUSED = 8  # pairs of one step that would make the graph too deep


@numba.njit(cache=True)
def _depends(st: State, value: _Word, owner: _Word) -> bool:
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


@numba.njit(cache=True)
def _room(st: State) -> bool:
    counters = st.counters
    return bool(
        counters[s.FREE_TERMS] > _ROOM
        and counters[s.FREE_VALUES] > 16
        and counters[s.JOURNAL] + 4 * _ROOM < len(st.journal)
    )


@numba.njit(cache=True)
def _replace_use(st: State, use: _Word) -> None:
    """Put the terms of a value in the place of one term that uses it."""
    values, terms = st.values, st.terms
    owner, value = terms[use, s.OWNER], terms[use, s.VALUE]
    negate = terms[use, s.NEGATE]
    if terms[use, s.SHIFT] < values[value, s.DOWN]:
        s.scale(st, owner, values[value, s.DOWN] - terms[use, s.SHIFT])
    shift = terms[use, s.SHIFT] - values[value, s.DOWN]
    s.unlink(st, use)
    at = values[value, s.HEAD]
    while at >= 0:
        s.add(
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
            s.scale(st, owner, -least)
    s.settle(st, owner)


@numba.njit(cache=True)
def _tidy(st: State) -> None:
    """Remove values without uses, and put those with one use into the sum that uses them."""
    values = st.values
    while st.counters[s.LONELY]:
        st.counters[s.LONELY] -= 1
        value = st.lists[s.L_LONELY, st.counters[s.LONELY]]
        if not values[value, s.LIVE] or values[value, s.PINNED]:
            continue
        if values[value, s.USES] == 0:
            s.kill(st, value)
        elif values[value, s.USES] == 1 and _room(st):
            use = values[value, s.USED]
            size = values[value, s.SIZE] + values[st.terms[use, s.OWNER], s.SIZE]
            if size <= _LONGEST:
                _replace_use(st, use)


@numba.njit(cache=True)
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
    s.identify(st, value)
    s.create(st, value)
    return value


@numba.njit(cache=True)
def _define(st: State, value: _Word, a: _Word, b: _Word, negate: _Word, down: _Word) -> None:
    """Make two terms, copied from another sum, the sum of a value that has none."""
    terms = st.terms
    low = min(terms[a, s.SHIFT], terms[b, s.SHIFT])
    s.scale(st, value, down - st.values[value, s.DOWN])
    for term in (a, b):
        s.link(
            st, value, terms[term, s.VALUE], terms[term, s.SHIFT] - low,
            terms[term, s.NEGATE] ^ negate,
        )  # fmt: skip
    s.settle(st, value)


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def _share(st: State, key: _Word, same: _Word, count: _Word) -> None:
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
            if _depends(st, terms[a, s.VALUE], same) or _depends(st, terms[b, s.VALUE], same):
                continue
            mark = st.counters[s.JOURNAL]
            _, negate, low = s.pair(st, a, b)
            down = low - min(terms[a, s.SHIFT], terms[b, s.SHIFT])
            while values[same, s.HEAD] >= 0:
                s.unlink(st, values[same, s.HEAD])
            _define(st, same, a, b, negate, down)
            if st.counters[s.TOO_DEEP]:
                s.undo(st, mark)
                st.counters[s.REFUSED] += 1
                continue
            break
    for k in range(count):
        a, b = found[2 * k], found[2 * k + 1]
        owner = terms[a, s.OWNER]
        if not terms[a, s.LINKED] or not terms[b, s.LINKED] or _depends(st, same, owner):
            continue
        mark = st.counters[s.JOURNAL]
        _, negate, low = s.pair(st, a, b)
        s.unlink(st, a)
        s.unlink(st, b)
        s.add(st, owner, same, low, negate)
        s.settle(st, owner)
        if st.counters[s.TOO_DEEP]:
            s.undo(st, mark)
            st.counters[s.REFUSED] += 1
    if made and values[same, s.USES] <= 1:
        st.lists[s.L_LONELY, st.counters[s.LONELY]] = same
        st.counters[s.LONELY] += 1


@numba.njit(cache=True)
def _repair(st: State) -> None:
    """Share pairs, the most frequent first, until none is worth it."""
    _tidy(st)
    # What is refused may be tried again in vain: every try finds new pairs.
    st.counters[s.REFUSED] = 0
    while st.counters[s.HEAP] and st.counters[s.REFUSED] < _MOST_REFUSED:
        priority, key = s.pop(st)
        same = s.named(st, key)
        count = _occurrences(st, key, same)
        gain = count if same >= 0 else count - 1
        if gain < 1 or not _room(st):
            continue
        if gain < priority >> 20:
            s.push(st, (gain << 20) | (priority & 0xFFFFF), key)
            continue
        _share(st, key, same, count)
        _tidy(st)


@numba.njit(cache=True)
def _some_value(st: State) -> _Word:
    """A value at random, not an input; -1 if none is found."""
    first, top = st.counters[s.INPUTS], st.counters[s.TOP]
    for _ in range(200):
        value = first + s.random(st) % (top - first)
        if st.values[value, s.LIVE]:
            return value
    return np.int64(-1)


@numba.njit(cache=True)
def _some_term(st: State, owner: _Word) -> _Word:
    """A term of a sum at random."""
    at = st.values[owner, s.HEAD]
    for _ in range(s.random(st) % st.values[owner, s.SIZE]):
        at = st.terms[at, s.AFTER]
    return at


@numba.njit(cache=True)
def _expand(st: State, owner: _Word, steps: _Word) -> None:
    """Put the terms of values into one sum, at random."""
    for _ in range(steps):
        size = st.values[owner, s.SIZE]
        if not size or size > _EXPANDED or not _room(st):
            return
        use = _some_term(st, owner)
        if st.values[st.terms[use, s.VALUE], s.SIZE] > _EXPANDED:
            return
        if st.terms[use, s.VALUE] >= st.counters[s.INPUTS]:
            _replace_use(st, use)


@numba.njit(cache=True)
def _respell(st: State, owner: _Word) -> None:
    """Sum a value anew: another value, if that helps, and the digits of what it differs by."""
    values, forms = st.values, st.forms
    if not _room(st):
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
                if max(plus, minus) > best and not _depends(st, value, owner):
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
        s.unlink(st, values[owner, s.HEAD])
    s.scale(st, owner, -values[owner, s.DOWN])
    for p in range(planned):
        s.add(st, owner, plan[3 * p], plan[3 * p + 1], np.int64(plan[3 * p + 2] < 0))
    for k in range(size):
        entry = rest[k]
        number = abs(entry)
        plus, minus = (3 * number & ~number) >> 1, (number & ~(3 * number)) >> 1
        if entry < 0:
            plus, minus = minus, plus
        shift = 0
        while (plus | minus) >> shift:
            if (plus | minus) >> shift & 1:
                s.add(st, owner, k, shift, minus >> shift & 1)
            shift += 1
    s.settle(st, owner)


@numba.njit(cache=True)
def _destroy(st: State) -> None:
    """Sum a value at random anew, or put the terms of a few values into its sum."""
    value = _some_value(st)
    if value < 0:
        return
    if s.random(st) % 2:
        _respell(st, value)
        return
    steps = 2
    while steps < _EXPANDED and s.random(st) % 5 < 2:
        steps += 1
    _expand(st, value, steps)


@numba.njit(cache=True, inline="always")
def _energy(st: State) -> _Word:
    """What the search makes small: adders, or adder cells."""
    return st.counters[s.ALL_CELLS if st.counters[s.BY_CELLS] else s.COST]


@numba.njit(cache=True, nogil=True)
def search(st: State, steps: int, heat: int) -> None:
    """Run steps of the search.

    Parameters
    ----------
    st : State
        Changed; the best sums so far are in ``st.saved``.
    steps : int
        How many.
    heat : int
        Steps in 10,000 that may cost one adder, or some adder cells.
    """
    counters = st.counters
    for _ in range(steps):
        before = _energy(st)
        counters[s.WATCH] = 1
        counters[s.HEAP] = counters[s.LONELY] = counters[s.TOO_DEEP] = 0
        _destroy(st)
        if not counters[s.TOO_DEEP]:
            _repair(st)
        entries = counters[s.JOURNAL]
        extra = np.int64(s.random(st) % 10000 < heat)
        if counters[s.BY_CELLS]:
            recount(st, entries)
            extra *= 1 + s.random(st) % _MOST_EXTRA_CELLS
        if counters[s.TOO_DEEP] or _energy(st) > before + extra:
            s.undo(st, 0)
            if counters[s.BY_CELLS]:
                recount(st, entries)
        else:
            s.commit(st)
            if _energy(st) < counters[s.BEST]:
                s.save(st)
        counters[s.WATCH] = 0


@numba.njit(cache=True, nogil=True)
def start(st: State, nodes: s._Int, pinned: s._Int) -> s._Int:
    """Fill an empty state from the nodes of an adder graph.

    Parameters
    ----------
    nodes : int64 (n, 6)
        Source, shift and sign of both operands of every node.
    pinned : int64 (inputs + n,)
        1 for outputs.

    Returns
    -------
    where : int64 (inputs + n, 3)
        For each value of the graph the value of the state, 1 if its sign is the opposite, and the
        shift between the two.
    """
    counters, values, forms = st.counters, st.values, st.forms
    inputs = counters[s.INPUTS]
    where = np.zeros((len(pinned), 3), dtype=np.int64)
    full = np.zeros(forms.shape[1], dtype=np.int64)
    for number in range(inputs + len(nodes)):
        counters[s.FREE_VALUES] -= 1
        value = st.lists[s.L_VALUES, counters[s.FREE_VALUES]]
        form = forms[value]
        down = np.int64(0)
        least = np.int64(0)
        if number < inputs:
            form[number] = 1
        else:
            node = nodes[number - inputs]
            for k in range(len(form)):
                form[k] = 0
            least = min(node[1] + where[node[0], 2], node[4] + where[node[3], 2])
            for half in range(2):
                source, shift, negate = node[3 * half], node[3 * half + 1], node[3 * half + 2]
                inner = forms[where[source, 0]]
                up = shift + where[source, 2] - least
                sign = 1 - 2 * (negate ^ where[source, 1])
                for k in range(len(form)):
                    form[k] += sign * (inner[k] << up)
            union = np.int64(0)
            for k in range(len(form)):
                union |= form[k]
            while union and not union >> down & 1:
                down += 1
            for k in range(len(form)):
                form[k] >>= down
        full[:] = form
        s.identify(st, value)
        sign = np.int64(0)
        for k in range(len(form)):
            sign |= np.int64(full[k] != form[k])
        same = s.named(st, values[value, s.HASH]) if number >= inputs else np.int64(-1)
        if same >= 0:
            counters[s.FREE_VALUES] += 1
            value = same
        else:
            s.create(st, value)
            if number < inputs:
                counters[s.COST] += 1
            else:
                for half in range(2):
                    source, shift, negate = node[3 * half], node[3 * half + 1], node[3 * half + 2]
                    s.add(
                        st, value, where[source, 0], shift + where[source, 2] - least,
                        negate ^ where[source, 1] ^ sign,
                    )  # fmt: skip
                s.scale(st, value, 0)
                values[value, s.DOWN] = down
                s.settle(st, value)
        where[number, 0], where[number, 1], where[number, 2] = value, sign, least + down
        if pinned[number]:
            values[value, s.PINNED] = 1
        s.commit(st)
    for value in range(inputs, counters[s.TOP]):
        if values[value, s.USES] <= 1 and not values[value, s.PINNED]:
            st.lists[s.L_LONELY, counters[s.LONELY]] = value
            counters[s.LONELY] += 1
    counters[s.WATCH] = 1
    _repair(st)
    s.commit(st)
    counters[s.WATCH] = 0
    if counters[s.BY_CELLS]:
        recount_all(st)
    s.save(st)
    return where
