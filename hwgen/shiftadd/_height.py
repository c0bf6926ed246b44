"""Heights of the local search's values: their depths in the graph turned round.

A value is there the sum of what uses it here. With heights h1, h2, ... of these its height is the
least h for which ``2**h1 + 2**h2 + ...`` is at most ``2**h``; outputs are of height 0.
"""

from __future__ import annotations

import numpy as np

from hwgen.shiftadd import _state as s
from hwgen.shiftadd._state import State, _Word, compiled

__all__ = ["changed", "lift"]


@compiled
def changed(st: State, value: _Word) -> None:
    """Put a value whose uses change on a list."""
    if st.counters[s.CHANGED] == st.lists.shape[1]:
        lift(st)
    st.lists[s.L_CHANGED, st.counters[s.CHANGED]] = value
    st.counters[s.CHANGED] += 1


@compiled
def lift(st: State) -> None:
    """Set the height of values whose uses changed anew, and of all that they are made of."""
    values, terms, work = st.values, st.terms, st.lists[s.L_CHANGED]
    size = st.counters[s.CHANGED]
    while size:
        size -= 1
        value = work[size]
        if not values[value, s.LIVE]:
            continue
        weight = values[value, s.PINNED]
        at = values[value, s.USED]
        while at >= 0:
            weight += np.int64(1) << min(values[terms[at, s.OWNER], s.HEIGHT], 50)
            at = terms[at, s.USE_AFTER]
        height = 0
        while np.int64(1) << height < weight:
            height += 1
        if height == values[value, s.HEIGHT]:
            continue
        values[value, s.HEIGHT] = height
        if height > st.counters[s.HIGHEST]:
            st.counters[s.TOO_DEEP] = 1
        at = values[value, s.HEAD]
        while at >= 0 and size < len(work):
            work[size] = terms[at, s.VALUE]
            size += 1
            at = terms[at, s.AFTER]
    st.counters[s.CHANGED] = 0
