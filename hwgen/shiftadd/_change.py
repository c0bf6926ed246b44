"""Changes of the local search's state, written to a journal so that they can be undone."""

from __future__ import annotations

import numpy as np

from hwgen.shiftadd import _state as s
from hwgen.shiftadd._height import changed, lift
from hwgen.shiftadd._state import State, _Word, compiled

__all__ = [
    "add", "commit", "create", "identify", "kill", "link", "save", "scale", "settle", "undo",
    "unlink",
]  # fmt: skip


@compiled
def _note(st: State, kind: _Word, item: _Word, by: _Word) -> None:
    count = st.counters[s.JOURNAL]
    st.journal[count, 0], st.journal[count, 1], st.journal[count, 2] = kind, item, by
    st.counters[s.JOURNAL] = count + 1


@compiled
def _attach(st: State, term: _Word) -> None:
    """Put a term, whose columns are filled in, into its owner's sum and its value's uses."""
    terms, values = st.terms, st.values
    owner, value = terms[term, s.OWNER], terms[term, s.VALUE]
    other = values[owner, s.HEAD]
    while other >= 0:
        s.record(st, term, other)
        other = terms[other, s.AFTER]
    head = values[owner, s.HEAD]
    terms[term, s.BEFORE], terms[term, s.AFTER] = -1, head
    if head >= 0:
        terms[head, s.BEFORE] = term
    values[owner, s.HEAD] = term
    values[owner, s.SIZE] += 1
    head = values[value, s.USED]
    terms[term, s.USE_BEFORE], terms[term, s.USE_AFTER] = -1, head
    if head >= 0:
        terms[head, s.USE_BEFORE] = term
    values[value, s.USED] = term
    values[value, s.USES] += 1
    terms[term, s.LINKED] = 1
    st.counters[s.COST] += 1
    if st.counters[s.HIGHEST] >= 0:
        changed(st, value)


@compiled
def _detach(st: State, term: _Word) -> None:
    """Take a term out of its owner's sum and its value's uses; its columns stay."""
    terms, values = st.terms, st.values
    owner, value = terms[term, s.OWNER], terms[term, s.VALUE]
    before, after = terms[term, s.BEFORE], terms[term, s.AFTER]
    if before >= 0:
        terms[before, s.AFTER] = after
    else:
        values[owner, s.HEAD] = after
    if after >= 0:
        terms[after, s.BEFORE] = before
    before, after = terms[term, s.USE_BEFORE], terms[term, s.USE_AFTER]
    if before >= 0:
        terms[before, s.USE_AFTER] = after
    else:
        values[value, s.USED] = after
    if after >= 0:
        terms[after, s.USE_BEFORE] = before
    values[owner, s.SIZE] -= 1
    values[value, s.USES] -= 1
    terms[term, s.LINKED] = 0
    st.counters[s.COST] -= 1
    if st.counters[s.HIGHEST] >= 0:
        changed(st, value)
    other = values[owner, s.HEAD]
    while other >= 0:
        s.forget(st, term, other)
        other = terms[other, s.AFTER]


@compiled
def link(st: State, owner: _Word, value: _Word, shift: _Word, negate: _Word) -> None:
    """Add a term to a sum, as it is."""
    st.counters[s.FREE_TERMS] -= 1
    term = st.lists[s.L_TERMS, st.counters[s.FREE_TERMS]]
    terms = st.terms
    terms[term, s.VALUE], terms[term, s.SHIFT], terms[term, s.NEGATE] = value, shift, negate
    terms[term, s.OWNER] = owner
    hashed = s.rotate(st.values[value, s.HASH], shift)
    terms[term, s.TERM_HASH] = s.PRIME - hashed if negate else hashed
    _attach(st, term)
    _note(st, s.LINK, term, 0)


@compiled
def unlink(st: State, term: _Word) -> None:
    """Take a term out of its sum; a value that is left with few uses is put on a list."""
    _detach(st, term)
    value = st.terms[term, s.VALUE]
    st.lists[s.L_DEAD_TERMS, st.counters[s.DEAD_TERMS]] = term
    st.counters[s.DEAD_TERMS] += 1
    _note(st, s.UNLINK, term, 0)
    if st.values[value, s.USES] <= 1 and value >= st.counters[s.INPUTS]:
        if not st.values[value, s.PINNED]:
            st.lists[s.L_LONELY, st.counters[s.LONELY]] = value
            st.counters[s.LONELY] += 1


@compiled
def add(st: State, owner: _Word, value: _Word, shift: _Word, negate: _Word) -> None:
    """Add a term to a sum, joined with terms of the same value where that makes one term of two."""
    terms = st.terms
    at = st.values[owner, s.HEAD]
    while at >= 0:
        after = terms[at, s.AFTER]
        if terms[at, s.VALUE] == value:
            difference = terms[at, s.SHIFT] - shift
            opposite = terms[at, s.NEGATE] != negate
            if difference == 0:
                unlink(st, at)
                if opposite:
                    return
                shift += 1
                after = st.values[owner, s.HEAD]
            elif opposite and difference == 1:
                unlink(st, at)
                negate = 1 - negate
                after = st.values[owner, s.HEAD]
            elif opposite and difference == -1:
                unlink(st, at)
                shift -= 1
                after = st.values[owner, s.HEAD]
        at = after
    link(st, owner, value, shift, negate)


@compiled
def _scale(st: State, owner: _Word, by: _Word) -> None:
    terms = st.terms
    at = st.values[owner, s.HEAD]
    while at >= 0:
        terms[at, s.SHIFT] += by
        terms[at, s.TERM_HASH] = s.rotate(terms[at, s.TERM_HASH], by % 61)
        at = terms[at, s.AFTER]
    st.values[owner, s.DOWN] += by


@compiled
def scale(st: State, owner: _Word, by: _Word) -> None:
    """Shift all terms of a sum, and what they make back again."""
    _scale(st, owner, by)
    _note(st, s.SCALE, owner, by)


@compiled
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
                if part >= s.PRIME:
                    part -= s.PRIME
            base = s.rotate(base, 1)
            size >>= 1
        if entry < 0 and part:
            part = s.PRIME - part
        hashed += part
        if hashed >= s.PRIME:
            hashed -= s.PRIME
    if hashed > s.PRIME - hashed:
        hashed = s.PRIME - hashed
        for k in range(len(form)):
            form[k] = -form[k]
    st.values[value, s.HASH] = hashed
    support[0] = count
    low, high = np.float64(0.0), np.float64(0.0)
    for i in range(1, count + 1):
        k = support[i]
        weight = np.float64(form[k])
        low += weight * st.ends[k, 0 if weight > 0 else 1]
        high += weight * st.ends[k, 1 if weight > 0 else 0]
    st.spans[value, 0], st.spans[value, 1] = low, high
    st.values[value, s.PARITY] = parity


@compiled
def create(st: State, value: _Word) -> None:
    """Bring a value to life, with its form, hash and parity filled in and without terms."""
    values = st.values
    values[value, s.HEAD] = values[value, s.USED] = -1
    values[value, s.SIZE] = values[value, s.USES] = values[value, s.DOWN] = values[
        value, s.DEPTH
    ] = 0
    values[value, s.PINNED], values[value, s.LIVE], values[value, s.MARK] = 0, 1, 0
    values[value, s.CELLS] = values[value, s.HEIGHT] = 0
    st.counters[s.COST] -= 1
    st.counters[s.TOP] = max(st.counters[s.TOP], value + 1)
    s.enter_name(st, value)
    _note(st, s.CREATE, value, 0)


@compiled
def kill(st: State, value: _Word) -> None:
    """Remove a value that nothing uses, with its terms."""
    while st.values[value, s.HEAD] >= 0:
        unlink(st, st.values[value, s.HEAD])
    st.values[value, s.LIVE] = 0
    st.counters[s.COST] += 1
    s.remove_name(st, value)
    st.lists[s.L_DEAD_VALUES, st.counters[s.DEAD_VALUES]] = value
    st.counters[s.DEAD_VALUES] += 1
    _note(st, s.KILL, value, 0)


@compiled
def settle(st: State, value: _Word) -> None:
    """Set the depth of a value anew, and of all that depend on it."""
    values, terms, work = st.values, st.terms, st.lists[s.L_WORK]
    work[0] = value
    size = 1
    while size:
        size -= 1
        owner = work[size]
        if not values[owner, s.LIVE]:
            continue
        weight = np.int64(0)
        at = values[owner, s.HEAD]
        while at >= 0:
            weight += np.int64(1) << min(values[terms[at, s.VALUE], s.DEPTH], 50)
            at = terms[at, s.AFTER]
        depth = 0
        while np.int64(1) << depth < weight:
            depth += 1
        if depth == values[owner, s.DEPTH]:
            continue
        values[owner, s.DEPTH] = depth
        if depth > st.counters[s.DEEPEST]:
            st.counters[s.TOO_DEEP] = 1
        at = values[owner, s.USED]
        while at >= 0 and size < len(work):
            work[size] = terms[at, s.OWNER]
            size += 1
            at = terms[at, s.USE_AFTER]
    lift(st)


@compiled
def undo(st: State, mark: _Word) -> None:
    """Take back all changes since the journal had ``mark`` entries."""
    watch = st.counters[s.WATCH]
    st.counters[s.WATCH] = 0
    last = st.counters[s.JOURNAL]
    for entry in range(last - 1, mark - 1, -1):
        kind, item = st.journal[entry, 0], st.journal[entry, 1]
        if kind == s.LINK:
            _detach(st, item)
            st.lists[s.L_TERMS, st.counters[s.FREE_TERMS]] = item
            st.counters[s.FREE_TERMS] += 1
        elif kind == s.UNLINK:
            st.counters[s.DEAD_TERMS] -= 1
            _attach(st, item)
        elif kind == s.CREATE:
            st.values[item, s.LIVE] = 0
            s.remove_name(st, item)
            st.counters[s.COST] += 1
            st.lists[s.L_VALUES, st.counters[s.FREE_VALUES]] = item
            st.counters[s.FREE_VALUES] += 1
        elif kind == s.KILL:
            st.counters[s.DEAD_VALUES] -= 1
            st.values[item, s.LIVE] = 1
            s.enter_name(st, item)
            st.counters[s.COST] -= 1
        else:
            _scale(st, item, -st.journal[entry, 2])
    settled = np.int64(-1)
    for entry in range(mark, last):
        kind, item = st.journal[entry, 0], st.journal[entry, 1]
        if kind == s.LINK or kind == s.UNLINK:
            owner = st.terms[item, s.OWNER]
            if owner != settled:
                settle(st, owner)
            settled = owner
    lift(st)
    st.counters[s.JOURNAL] = mark
    st.counters[s.WATCH] = watch
    st.counters[s.TOO_DEEP] = 0


@compiled
def commit(st: State) -> None:
    """Make all changes final."""
    counters, lists = st.counters, st.lists
    lift(st)
    for k in range(counters[s.DEAD_TERMS]):
        lists[s.L_TERMS, counters[s.FREE_TERMS]] = lists[s.L_DEAD_TERMS, k]
        counters[s.FREE_TERMS] += 1
    for k in range(counters[s.DEAD_VALUES]):
        lists[s.L_VALUES, counters[s.FREE_VALUES]] = lists[s.L_DEAD_VALUES, k]
        counters[s.FREE_VALUES] += 1
    counters[s.DEAD_TERMS] = counters[s.DEAD_VALUES] = counters[s.JOURNAL] = 0


@compiled
def save(st: State) -> None:
    """Keep the sums as the best so far: value, size, shift, depth, and each term's columns."""
    values, terms, saved = st.values, st.terms, st.saved
    count = 0
    for value in range(st.counters[s.INPUTS], st.counters[s.TOP]):
        if not values[value, s.LIVE]:
            continue
        saved[count] = value
        saved[count + 1] = values[value, s.SIZE]
        saved[count + 2] = values[value, s.DOWN]
        saved[count + 3] = values[value, s.DEPTH]
        count += 4
        at = values[value, s.HEAD]
        while at >= 0:
            saved[count] = terms[at, s.VALUE]
            saved[count + 1] = terms[at, s.SHIFT]
            saved[count + 2] = terms[at, s.NEGATE]
            count += 3
            at = terms[at, s.AFTER]
    st.counters[s.SAVED] = count
    st.counters[s.BEST] = st.counters[s.ALL_CELLS if st.counters[s.BY_CELLS] else s.COST]
