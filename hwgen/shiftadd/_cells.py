"""Adder cells of the sums of the local search, as the finished graph will have them, nearly."""

from __future__ import annotations

import numpy as np

from hwgen.shiftadd import _state as s
from hwgen.shiftadd._state import State, _Word, compiled

__all__ = ["recount", "recount_all"]


@compiled
def _cells(st: State, value: _Word) -> _Word:
    """Cells of one sum: its terms joined two by two, the shallowest and then narrowest first.

    The ranges of parts are by interval arithmetic; wires that no carry reaches are free.
    """
    values, terms, parts = st.values, st.terms, st.scratch
    count = values[value, s.SIZE]
    if count > parts.shape[1]:
        return count * 64
    at = values[value, s.HEAD]
    number = 0
    while at >= 0:
        inner = terms[at, s.VALUE]
        low, high = st.spans[inner, 0], st.spans[inner, 1]
        if terms[at, s.NEGATE]:
            low, high = -high, -low
        shift = terms[at, s.SHIFT]
        parts[0, number] = values[inner, s.DEPTH]
        parts[1, number] = low * 2.0**shift
        parts[2, number] = high * 2.0**shift
        parts[3, number] = shift
        number += 1
        at = terms[at, s.AFTER]
    total = 0
    while count > 1:
        first, second = 0, 1
        for k in range(count):
            span = parts[2, k] - parts[1, k]
            if k == 0:
                continue
            if parts[0, k] < parts[0, first] or (
                parts[0, k] == parts[0, first] and span < parts[2, first] - parts[1, first]
            ):
                first, second = k, first
            elif k == second:
                continue
            elif parts[0, k] < parts[0, second] or (
                parts[0, k] == parts[0, second] and span < parts[2, second] - parts[1, second]
            ):
                second = k
        low, high = parts[1, first] + parts[1, second], parts[2, first] + parts[2, second]
        start = max(parts[3, first], parts[3, second])
        reach = max(-low, high + 1.0) / 2.0**start
        total += max(0, np.int64(np.ceil(np.log2(max(reach, 1.0)))) + (low < 0))
        parts[0, first] = max(parts[0, first], parts[0, second]) + 1
        parts[1, first], parts[2, first] = low, high
        parts[3, first] = min(parts[3, first], parts[3, second])
        count -= 1
        for row in range(4):
            parts[row, second] = parts[row, count]
    return total


@compiled
def _update(st: State, value: _Word) -> None:
    cells = _cells(st, value) if st.values[value, s.LIVE] else 0
    st.counters[s.ALL_CELLS] += cells - st.values[value, s.CELLS]
    st.values[value, s.CELLS] = cells


@compiled
def recount(st: State, entries: _Word) -> None:
    """Count the cells of all sums anew that the journal's first entries changed."""
    st.counters[s.VISIT] += 1
    visit = st.counters[s.VISIT]
    for entry in range(entries):
        kind, item = st.journal[entry, 0], st.journal[entry, 1]
        if kind == s.SCALE:
            continue
        value = st.terms[item, s.OWNER] if kind == s.LINK or kind == s.UNLINK else item
        if st.values[value, s.MARK] != visit:
            st.values[value, s.MARK] = visit
            _update(st, value)


@compiled
def recount_all(st: State) -> None:
    """Count the cells of all sums."""
    for value in range(st.counters[s.INPUTS], st.counters[s.TOP]):
        _update(st, value)
