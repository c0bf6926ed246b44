"""The state of the local search: sums over shared values, changed term by term and undone.

Every *value* is an input or the sum of two or more *terms*, ``value << down = sum of +-(v << s)``.
The form of a value (its coefficients of the inputs) is primitive (some coefficient is odd) and
never changes; only how it is summed does. Forms are known by a linear hash modulo the Mersenne
prime 2**61 - 1, in which a shift is a rotation, so that two terms of any sum are known at once to
make a value that exists already, or one that two other terms make. Of a form and its negative the
one with the smaller hash is kept. Every pair of terms in one sum has a *record* in a hash table.

With ``HIGHEST`` of at least 0 the depth of the graph turned round has a limit: it is that of the
inputs, each as high as the sums that use it require.

All is kept in arrays of int64 (``State``), a row for each value, term or record, so that Numba can
cache the compiled code. Changes are written to a journal and can be undone in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
import numpy.typing as npt

_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code
_Function = TypeVar("_Function", bound=Callable[..., Any])

# Arrays are passed on without counting references to them, which is atomic and would take half of
# the time. So none of these functions makes an array.
_OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False, "error_model": "numpy"}
compiled: Callable[[_Function], _Function] = numba.njit(**_OPTIONS)
compiled_without_lock: Callable[[_Function], _Function] = numba.njit(nogil=True, **_OPTIONS)

PRIME = (1 << 61) - 1
MOST_SHIFT = 24  # between the two terms of a pair
LARGEST = 1 << 37  # coefficient
MOST_COPIES = 512  # occurrences of one pair that are replaced at once

# Columns of `State.values`
(HASH, PARITY, HEAD, SIZE, USED, USES, DOWN, DEPTH, PINNED, LIVE, NEXT, MARK, CELLS,
 HEIGHT) = range(14)  # fmt: skip
COLUMNS = 14
# Columns of `State.terms`
VALUE, SHIFT, NEGATE, OWNER, AFTER, BEFORE, USE_AFTER, USE_BEFORE, TERM_HASH, LINKED = range(10)
# Columns of `State.records`
KEY, FIRST, SECOND, CHAIN = range(4)
# Entries of `State.counters`
(INPUTS, FREE_VALUES, FREE_TERMS, FREE_RECORDS, DEAD_VALUES, DEAD_TERMS, JOURNAL, HEAP, LONELY,
 COST, RANDOM, WATCH, DEEPEST, TOO_DEEP, VISIT, TOP, BEST, SAVED,
 REFUSED, BY_CELLS, ALL_CELLS, BANNED, HIGHEST, CHANGED) = range(24)  # fmt: skip
COUNTERS = 24
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
    L_BANNED,
    L_CHANGED,
) = range(13)
LISTS = 13
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


@compiled
def random(st: State) -> _Word:
    """The next random number, 0 .. 2**62 - 1 (xorshift64*)."""
    x = np.uint64(st.counters[RANDOM])
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    st.counters[RANDOM] = np.int64(x)
    return np.int64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(2))


@compiled
def twos(st: State, a: _Word, b: _Word, subtract: _Word) -> _Word:
    """Powers of two in the sum (or difference) of two forms of the same parity."""
    union = np.int64(0)
    first, second = st.forms[a], st.forms[b]
    sign = 1 - 2 * np.int64(subtract)
    for k in range(len(first)):
        union |= first[k] + sign * second[k]
        if union & 2:  # all are even
            return 1
    count = 0
    while union and not union & 1:
        union >>= 1
        count += 1
    return count


@compiled
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


@compiled
def named(st: State, key: _Word) -> _Word:
    """The value whose form has this hash, or -1."""
    value = st.names[mix(key, len(st.names) - 1)]
    while value >= 0 and st.values[value, HASH] != key:
        value = st.values[value, NEXT]
    return value


@compiled
def enter_name(st: State, value: _Word) -> None:
    place = mix(st.values[value, HASH], len(st.names) - 1)
    st.values[value, NEXT] = st.names[place]
    st.names[place] = value


@compiled
def remove_name(st: State, value: _Word) -> None:
    place = mix(st.values[value, HASH], len(st.names) - 1)
    at = st.names[place]
    if at == value:
        st.names[place] = st.values[value, NEXT]
        return
    while st.values[at, NEXT] != value:
        at = st.values[at, NEXT]
    st.values[at, NEXT] = st.values[value, NEXT]


@compiled
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


@compiled
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


@compiled
def ban(st: State, value: _Word) -> None:
    """Make the step do without a value, for it would only come back."""
    st.lists[L_BANNED, st.counters[BANNED]] = st.values[value, HASH]
    st.counters[BANNED] += 1


@compiled
def banned(st: State, key: _Word) -> bool:
    """Whether the step must do without the value of this hash."""
    keys = st.lists[L_BANNED]
    for k in range(st.counters[BANNED]):
        if keys[k] == key:
            return True
    return False


@compiled
def record(st: State, a: _Word, b: _Word) -> None:
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
        if others and same != owner and not banned(st, key):
            push(st, (others << 20) | (random(st) & 0xFFFFF), key)
    st.counters[FREE_RECORDS] -= 1
    new = st.lists[L_RECORDS, st.counters[FREE_RECORDS]]
    st.records[new, KEY] = key
    st.records[new, FIRST] = a
    st.records[new, SECOND] = b
    st.records[new, CHAIN] = head
    st.buckets[place] = new


@compiled
def forget(st: State, a: _Word, b: _Word) -> None:
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
