"""The state of the local search: sums over shared values, changed term by term and undone.

Every *value* is an input or the sum of two or more *terms*, ``value << down = sum of +-(v << s)``.
The form of a value (its coefficients of the inputs) is primitive (some coefficient is odd) and
never changes; only how it is summed does. Forms are known by a linear hash modulo the Mersenne
prime 2**61 - 1, in which a shift is a rotation, so that two terms of any sum are known at once to
make a value that exists already, or one that two other terms make. Of a form and its negative the
one with the smaller hash is kept. Every pair of terms in one sum has a *record* in a hash table.

All is kept in arrays of int64 (``State``), a row for each value, term or record, so that Numba can
cache the compiled code. Changes are written to a journal and can be undone in reverse order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code

PRIME = (1 << 61) - 1
MOST_SHIFT = 24  # between the two terms of a pair
LARGEST = 1 << 37  # coefficient
MOST_COPIES = 512  # occurrences of one pair that are replaced at once

# Columns of `State.values`
HASH, PARITY, HEAD, SIZE, USED, USES, DOWN, DEPTH, PINNED, LIVE, NEXT, MARK, CELLS = range(13)
# Columns of `State.terms`
VALUE, SHIFT, NEGATE, OWNER, AFTER, BEFORE, USE_AFTER, USE_BEFORE, TERM_HASH, LINKED = range(10)
# Columns of `State.records`
KEY, FIRST, SECOND, CHAIN = range(4)
# Entries of `State.counters`
(INPUTS, FREE_VALUES, FREE_TERMS, FREE_RECORDS, DEAD_VALUES, DEAD_TERMS, JOURNAL, HEAP, LONELY,
 COST, RANDOM, WATCH, DEEPEST, TOO_DEEP, VISIT, TOP, BEST, SAVED,
 REFUSED, BY_CELLS, ALL_CELLS) = range(21)  # fmt: skip
COUNTERS = 21
# Rows of `State.lists`
(
    L_VALUES,
    L_TERMS,
    L_RECORDS,
    L_DEAD_VALUES,
    L_DEAD_TERMS,
    L_LONELY,
    L_WORK,
    L_FOUND,
    L_REST,
    L_WEIGHTS,
    L_PLAN,
) = range(11)
LISTS = 11
# Kinds of journal entries
LINK, UNLINK, CREATE, KILL, SCALE = range(5)


class State(NamedTuple):
    """Arrays of the search; see the columns above."""

    values: _Int
    terms: _Int
    records: _Int
    buckets: _Int
    names: _Int
    forms: _Int
    supports: Any
    bases: _Int
    spans: Any
    ends: Any
    scratch: Any
    journal: _Int
    heap: _Int
    lists: _Int
    saved: _Int
    counters: _Int


@numba.njit(cache=True, inline="always")
def rotate(hashed: _Word, shift: _Word) -> _Word:
    """``hashed << shift`` modulo the prime."""
    shift %= 61
    if shift == 0:
        return hashed
    return ((hashed << shift) & PRIME) | (hashed >> (61 - shift))


@numba.njit(cache=True, inline="always")
def mix(word: _Word, mask: _Word) -> _Word:
    mixed = np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(31))) & np.uint64(mask))


@numba.njit(cache=True)
def random(st: State) -> _Word:
    """The next random number, 0 .. 2**62 - 1 (xorshift64*)."""
    x = np.uint64(st.counters[RANDOM])
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    st.counters[RANDOM] = np.int64(x)
    return np.int64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(2))


@numba.njit(cache=True)
def twos(st: State, a: _Word, b: _Word, subtract: _Word) -> _Word:
    """Powers of two in the sum (or difference) of two forms."""
    union = np.int64(0)
    first, second = st.forms[a], st.forms[b]
    if subtract:
        for k in range(len(first)):
            union |= first[k] - second[k]
    else:
        for k in range(len(first)):
            union |= first[k] + second[k]
    count = 0
    while union and not union & 1:
        union >>= 1
        count += 1
    return count


@numba.njit(cache=True)
def pair(st: State, a: _Word, b: _Word) -> tuple[_Word, _Word, _Word]:
    """Hash of the form that two terms make, its sign and shift; -1 if they lie too far apart."""
    terms = st.terms
    shift_a, shift_b = terms[a, SHIFT], terms[b, SHIFT]
    low = min(shift_a, shift_b)
    if max(shift_a, shift_b) - low > MOST_SHIFT:
        return np.int64(-1), np.int64(0), low
    hashed = terms[a, TERM_HASH] + terms[b, TERM_HASH]
    if hashed >= PRIME:
        hashed -= PRIME
    if shift_a == shift_b:
        first, second = terms[a, VALUE], terms[b, VALUE]
        if st.values[first, PARITY] == st.values[second, PARITY]:
            low += twos(st, first, second, terms[a, NEGATE] != terms[b, NEGATE])
    hashed = rotate(hashed, 61 - low % 61)
    if hashed > PRIME - hashed:
        return PRIME - hashed, np.int64(1), low
    return hashed, np.int64(0), low


@numba.njit(cache=True)
def named(st: State, key: _Word) -> _Word:
    """The value whose form has this hash, or -1."""
    value = st.names[mix(key, len(st.names) - 1)]
    while value >= 0 and st.values[value, HASH] != key:
        value = st.values[value, NEXT]
    return value


@numba.njit(cache=True)
def _name(st: State, value: _Word) -> None:
    place = mix(st.values[value, HASH], len(st.names) - 1)
    st.values[value, NEXT] = st.names[place]
    st.names[place] = value


@numba.njit(cache=True)
def _unname(st: State, value: _Word) -> None:
    place = mix(st.values[value, HASH], len(st.names) - 1)
    at = st.names[place]
    if at == value:
        st.names[place] = st.values[value, NEXT]
        return
    while st.values[at, NEXT] != value:
        at = st.values[at, NEXT]
    st.values[at, NEXT] = st.values[value, NEXT]


@numba.njit(cache=True)
def push(st: State, priority: _Word, key: _Word) -> None:
    """Add a pair to the heap of those worth making, the greatest priority first."""
    heap = st.heap
    child = st.counters[HEAP]
    if child == len(heap):
        return
    st.counters[HEAP] = child + 1
    while child > 0:
        parent = (child - 1) >> 1
        if heap[parent, 0] >= priority:
            break
        heap[child, 0], heap[child, 1] = heap[parent, 0], heap[parent, 1]
        child = parent
    heap[child, 0], heap[child, 1] = priority, key


@numba.njit(cache=True)
def pop(st: State) -> tuple[_Word, _Word]:
    """Take the first pair off the heap, which is not empty: priority and key."""
    heap = st.heap
    first, found = heap[0, 0], heap[0, 1]
    size = st.counters[HEAP] - 1
    st.counters[HEAP] = size
    priority, key = heap[size, 0], heap[size, 1]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1, 0] > heap[child, 0]:
            child += 1
        if priority >= heap[child, 0]:
            break
        heap[parent, 0], heap[parent, 1] = heap[child, 0], heap[child, 1]
        parent = child
    heap[parent, 0], heap[parent, 1] = priority, key
    return first, found


@numba.njit(cache=True)
def _record(st: State, a: _Word, b: _Word) -> None:
    """Enter a pair of terms; if it is watched for and occurs elsewhere, put it on the heap."""
    key, _, _ = pair(st, a, b)
    if key < 0 or st.counters[FREE_RECORDS] == 0:
        return
    place = mix(key, len(st.buckets) - 1)
    head = st.buckets[place]
    if st.counters[WATCH]:
        owner = st.terms[a, OWNER]
        others = 0
        at = head
        while at >= 0:
            others += st.records[at, KEY] == key
            at = st.records[at, CHAIN]
        same = named(st, key)
        if same >= 0 and same != owner:
            others = max(others, 1)
        if others and same != owner:
            push(st, (others << 20) | (random(st) & 0xFFFFF), key)
    st.counters[FREE_RECORDS] -= 1
    new = st.lists[L_RECORDS, st.counters[FREE_RECORDS]]
    st.records[new, KEY] = key
    st.records[new, FIRST] = a
    st.records[new, SECOND] = b
    st.records[new, CHAIN] = head
    st.buckets[place] = new


@numba.njit(cache=True)
def _forget(st: State, a: _Word, b: _Word) -> None:
    """Remove the record of a pair of terms, if there is one."""
    key, _, _ = pair(st, a, b)
    if key < 0:
        return
    place = mix(key, len(st.buckets) - 1)
    before, at = np.int64(-1), st.buckets[place]
    records = st.records
    while at >= 0:
        first, second = records[at, FIRST], records[at, SECOND]
        if (first == a and second == b) or (first == b and second == a):
            if before < 0:
                st.buckets[place] = records[at, CHAIN]
            else:
                records[before, CHAIN] = records[at, CHAIN]
            st.lists[L_RECORDS, st.counters[FREE_RECORDS]] = at
            st.counters[FREE_RECORDS] += 1
            return
        before, at = at, records[at, CHAIN]


@numba.njit(cache=True)
def _note(st: State, kind: _Word, item: _Word, by: _Word) -> None:
    count = st.counters[JOURNAL]
    st.journal[count, 0], st.journal[count, 1], st.journal[count, 2] = kind, item, by
    st.counters[JOURNAL] = count + 1


@numba.njit(cache=True)
def _attach(st: State, term: _Word) -> None:
    """Put a term, whose columns are filled in, into its owner's sum and its value's uses."""
    terms, values = st.terms, st.values
    owner, value = terms[term, OWNER], terms[term, VALUE]
    other = values[owner, HEAD]
    while other >= 0:
        _record(st, term, other)
        other = terms[other, AFTER]
    head = values[owner, HEAD]
    terms[term, BEFORE], terms[term, AFTER] = -1, head
    if head >= 0:
        terms[head, BEFORE] = term
    values[owner, HEAD] = term
    values[owner, SIZE] += 1
    head = values[value, USED]
    terms[term, USE_BEFORE], terms[term, USE_AFTER] = -1, head
    if head >= 0:
        terms[head, USE_BEFORE] = term
    values[value, USED] = term
    values[value, USES] += 1
    terms[term, LINKED] = 1
    st.counters[COST] += 1


@numba.njit(cache=True)
def _detach(st: State, term: _Word) -> None:
    """Take a term out of its owner's sum and its value's uses; its columns stay."""
    terms, values = st.terms, st.values
    owner, value = terms[term, OWNER], terms[term, VALUE]
    before, after = terms[term, BEFORE], terms[term, AFTER]
    if before >= 0:
        terms[before, AFTER] = after
    else:
        values[owner, HEAD] = after
    if after >= 0:
        terms[after, BEFORE] = before
    before, after = terms[term, USE_BEFORE], terms[term, USE_AFTER]
    if before >= 0:
        terms[before, USE_AFTER] = after
    else:
        values[value, USED] = after
    if after >= 0:
        terms[after, USE_BEFORE] = before
    values[owner, SIZE] -= 1
    values[value, USES] -= 1
    terms[term, LINKED] = 0
    st.counters[COST] -= 1
    other = values[owner, HEAD]
    while other >= 0:
        _forget(st, term, other)
        other = terms[other, AFTER]


@numba.njit(cache=True)
def link(st: State, owner: _Word, value: _Word, shift: _Word, negate: _Word) -> None:
    """Add a term to a sum, as it is."""
    st.counters[FREE_TERMS] -= 1
    term = st.lists[L_TERMS, st.counters[FREE_TERMS]]
    terms = st.terms
    terms[term, VALUE], terms[term, SHIFT], terms[term, NEGATE] = value, shift, negate
    terms[term, OWNER] = owner
    hashed = rotate(st.values[value, HASH], shift)
    terms[term, TERM_HASH] = PRIME - hashed if negate else hashed
    _attach(st, term)
    _note(st, LINK, term, 0)


@numba.njit(cache=True)
def unlink(st: State, term: _Word) -> None:
    """Take a term out of its sum; a value that is left with few uses is put on a list."""
    _detach(st, term)
    value = st.terms[term, VALUE]
    st.lists[L_DEAD_TERMS, st.counters[DEAD_TERMS]] = term
    st.counters[DEAD_TERMS] += 1
    _note(st, UNLINK, term, 0)
    if st.values[value, USES] <= 1 and value >= st.counters[INPUTS]:
        if not st.values[value, PINNED]:
            st.lists[L_LONELY, st.counters[LONELY]] = value
            st.counters[LONELY] += 1


@numba.njit(cache=True)
def add(st: State, owner: _Word, value: _Word, shift: _Word, negate: _Word) -> None:
    """Add a term to a sum, joined with terms of the same value where that makes one term of two."""
    terms = st.terms
    at = st.values[owner, HEAD]
    while at >= 0:
        after = terms[at, AFTER]
        if terms[at, VALUE] == value:
            difference = terms[at, SHIFT] - shift
            opposite = terms[at, NEGATE] != negate
            if difference == 0:
                unlink(st, at)
                if opposite:
                    return
                shift += 1
                after = st.values[owner, HEAD]
            elif opposite and difference == 1:
                unlink(st, at)
                negate = 1 - negate
                after = st.values[owner, HEAD]
            elif opposite and difference == -1:
                unlink(st, at)
                shift -= 1
                after = st.values[owner, HEAD]
        at = after
    link(st, owner, value, shift, negate)


@numba.njit(cache=True)
def _scale(st: State, owner: _Word, by: _Word) -> None:
    terms = st.terms
    at = st.values[owner, HEAD]
    while at >= 0:
        terms[at, SHIFT] += by
        terms[at, TERM_HASH] = rotate(terms[at, TERM_HASH], by % 61)
        at = terms[at, AFTER]
    st.values[owner, DOWN] += by


@numba.njit(cache=True)
def scale(st: State, owner: _Word, by: _Word) -> None:
    """Shift all terms of a sum, and what they make back again."""
    _scale(st, owner, by)
    _note(st, SCALE, owner, by)


@numba.njit(cache=True)
def identify(st: State, value: _Word) -> None:
    """Fill in the hash and the parity of a value from its form, which may have to be negated."""
    form, support = st.forms[value], st.supports[value]
    hashed, parity, count = np.int64(0), np.int64(0), 0
    for k in range(len(form)):
        entry = form[k]
        if entry == 0:
            continue
        count += 1
        support[count] = k
        size = abs(entry)
        base = st.bases[k]
        if entry & 1:
            parity ^= base * np.int64(0x5851F42D4C957F2D)
        part = np.int64(0)
        while size:
            if size & 1:
                part += base
                if part >= PRIME:
                    part -= PRIME
            base = rotate(base, 1)
            size >>= 1
        if entry < 0 and part:
            part = PRIME - part
        hashed += part
        if hashed >= PRIME:
            hashed -= PRIME
    if hashed > PRIME - hashed:
        hashed = PRIME - hashed
        for k in range(len(form)):
            form[k] = -form[k]
    st.values[value, HASH] = hashed
    support[0] = count
    low, high = np.float64(0.0), np.float64(0.0)
    for i in range(1, count + 1):
        k = support[i]
        weight = np.float64(form[k])
        low += weight * st.ends[k, 0 if weight > 0 else 1]
        high += weight * st.ends[k, 1 if weight > 0 else 0]
    st.spans[value, 0], st.spans[value, 1] = low, high
    st.values[value, PARITY] = parity


@numba.njit(cache=True)
def create(st: State, value: _Word) -> None:
    """Bring a value to life, with its form, hash and parity filled in and without terms."""
    values = st.values
    values[value, HEAD] = values[value, USED] = -1
    values[value, SIZE] = values[value, USES] = values[value, DOWN] = values[value, DEPTH] = 0
    values[value, PINNED], values[value, LIVE], values[value, MARK] = 0, 1, 0
    values[value, CELLS] = 0
    st.counters[COST] -= 1
    st.counters[TOP] = max(st.counters[TOP], value + 1)
    _name(st, value)
    _note(st, CREATE, value, 0)


@numba.njit(cache=True)
def kill(st: State, value: _Word) -> None:
    """Remove a value that nothing uses, with its terms."""
    while st.values[value, HEAD] >= 0:
        unlink(st, st.values[value, HEAD])
    st.values[value, LIVE] = 0
    st.counters[COST] += 1
    _unname(st, value)
    st.lists[L_DEAD_VALUES, st.counters[DEAD_VALUES]] = value
    st.counters[DEAD_VALUES] += 1
    _note(st, KILL, value, 0)


@numba.njit(cache=True)
def settle(st: State, value: _Word) -> None:
    """Set the depth of a value anew, and of all that depend on it."""
    values, terms, work = st.values, st.terms, st.lists[L_WORK]
    work[0] = value
    size = 1
    while size:
        size -= 1
        owner = work[size]
        if not values[owner, LIVE]:
            continue
        weight = np.int64(0)
        at = values[owner, HEAD]
        while at >= 0:
            weight += np.int64(1) << min(values[terms[at, VALUE], DEPTH], 50)
            at = terms[at, AFTER]
        depth = 0
        while np.int64(1) << depth < weight:
            depth += 1
        if depth == values[owner, DEPTH]:
            continue
        values[owner, DEPTH] = depth
        if depth > st.counters[DEEPEST]:
            st.counters[TOO_DEEP] = 1
        at = values[owner, USED]
        while at >= 0 and size < len(work):
            work[size] = terms[at, OWNER]
            size += 1
            at = terms[at, USE_AFTER]


@numba.njit(cache=True)
def undo(st: State, mark: _Word) -> None:
    """Take back all changes since the journal had ``mark`` entries."""
    watch = st.counters[WATCH]
    st.counters[WATCH] = 0
    last = st.counters[JOURNAL]
    for entry in range(last - 1, mark - 1, -1):
        kind, item = st.journal[entry, 0], st.journal[entry, 1]
        if kind == LINK:
            _detach(st, item)
            st.lists[L_TERMS, st.counters[FREE_TERMS]] = item
            st.counters[FREE_TERMS] += 1
        elif kind == UNLINK:
            st.counters[DEAD_TERMS] -= 1
            _attach(st, item)
        elif kind == CREATE:
            st.values[item, LIVE] = 0
            _unname(st, item)
            st.counters[COST] += 1
            st.lists[L_VALUES, st.counters[FREE_VALUES]] = item
            st.counters[FREE_VALUES] += 1
        elif kind == KILL:
            st.counters[DEAD_VALUES] -= 1
            st.values[item, LIVE] = 1
            _name(st, item)
            st.counters[COST] -= 1
        else:
            _scale(st, item, -st.journal[entry, 2])
    settled = np.int64(-1)
    for entry in range(mark, last):
        kind, item = st.journal[entry, 0], st.journal[entry, 1]
        if kind == LINK or kind == UNLINK:
            owner = st.terms[item, OWNER]
            if owner != settled:
                settle(st, owner)
            settled = owner
    st.counters[JOURNAL] = mark
    st.counters[WATCH] = watch
    st.counters[TOO_DEEP] = 0


@numba.njit(cache=True)
def commit(st: State) -> None:
    """Make all changes final."""
    counters, lists = st.counters, st.lists
    for k in range(counters[DEAD_TERMS]):
        lists[L_TERMS, counters[FREE_TERMS]] = lists[L_DEAD_TERMS, k]
        counters[FREE_TERMS] += 1
    for k in range(counters[DEAD_VALUES]):
        lists[L_VALUES, counters[FREE_VALUES]] = lists[L_DEAD_VALUES, k]
        counters[FREE_VALUES] += 1
    counters[DEAD_TERMS] = counters[DEAD_VALUES] = counters[JOURNAL] = 0


@numba.njit(cache=True)
def save(st: State) -> None:
    """Keep the sums as the best so far: value, size, shift, depth, and each term's columns."""
    values, terms, saved = st.values, st.terms, st.saved
    count = 0
    for value in range(st.counters[INPUTS], st.counters[TOP]):
        if not values[value, LIVE]:
            continue
        saved[count] = value
        saved[count + 1] = values[value, SIZE]
        saved[count + 2] = values[value, DOWN]
        saved[count + 3] = values[value, DEPTH]
        count += 4
        at = values[value, HEAD]
        while at >= 0:
            saved[count] = terms[at, VALUE]
            saved[count + 1] = terms[at, SHIFT]
            saved[count + 2] = terms[at, NEGATE]
            count += 3
            at = terms[at, AFTER]
    st.counters[SAVED] = count
    st.counters[BEST] = st.counters[ALL_CELLS if st.counters[BY_CELLS] else COST]
