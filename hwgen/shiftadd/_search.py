"""Local search on adder graphs, destroy and repair: the compiled loop.

A step takes shared values away (their terms go into the sums that used them), then makes pairs of
terms that occur twice, or that are a value that exists, into shared values again, the most frequent
first and at random among equals, but none of those just taken away. A step that costs adders is
undone.
"""

from __future__ import annotations

import numba
import numpy as np

from hwgen.shiftadd import _change as c
from hwgen.shiftadd import _state as s
from hwgen.shiftadd._cells import recount, recount_all
from hwgen.shiftadd._height import changed
from hwgen.shiftadd._moves import destroy
from hwgen.shiftadd._repair import repair
from hwgen.shiftadd._state import State, _Word, compiled_without_lock

__all__ = ["search", "start"]

_MOST_EXTRA_CELLS = 12  # that a step may cost


@numba.njit(cache=True, inline="always")
def _energy(st: State) -> _Word:
    """What the search makes small: adders, or adder cells."""
    return st.counters[s.ALL_CELLS if st.counters[s.BY_CELLS] else s.COST]


@compiled_without_lock
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
        counters[s.HEAP] = counters[s.LONELY] = counters[s.TOO_DEEP] = counters[s.BANNED] = 0
        destroy(st)
        if not counters[s.TOO_DEEP]:
            repair(st)
        entries = counters[s.JOURNAL]
        extra = np.int64(s.random(st) % 10000 < heat)
        if counters[s.BY_CELLS]:
            recount(st, entries)
            extra *= 1 + s.random(st) % _MOST_EXTRA_CELLS
        if counters[s.TOO_DEEP] or _energy(st) > before + extra:
            c.undo(st, 0)
            if counters[s.BY_CELLS]:
                recount(st, entries)
        else:
            c.commit(st)
            if _energy(st) < counters[s.BEST]:
                c.save(st)
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
        c.identify(st, value)
        sign = np.int64(0)
        for k in range(len(form)):
            sign |= np.int64(full[k] != form[k])
        same = s.named(st, values[value, s.HASH]) if number >= inputs else np.int64(-1)
        if same >= 0:
            counters[s.FREE_VALUES] += 1
            value = same
        else:
            c.create(st, value)
            if number < inputs:
                counters[s.COST] += 1
            else:
                for half in range(2):
                    source, shift, negate = node[3 * half], node[3 * half + 1], node[3 * half + 2]
                    c.add(
                        st, value, where[source, 0], shift + where[source, 2] - least,
                        negate ^ where[source, 1] ^ sign,
                    )  # fmt: skip
                c.scale(st, value, 0)
                values[value, s.DOWN] = down
                c.settle(st, value)
        where[number, 0], where[number, 1], where[number, 2] = value, sign, least + down
        if pinned[number]:
            values[value, s.PINNED] = 1
            if counters[s.HIGHEST] >= 0:
                changed(st, value)
        c.commit(st)
    for value in range(inputs, counters[s.TOP]):
        if values[value, s.USES] <= 1 and not values[value, s.PINNED]:
            st.lists[s.L_LONELY, counters[s.LONELY]] = value
            counters[s.LONELY] += 1
    counters[s.WATCH] = 1
    repair(st)
    c.commit(st)
    counters[s.WATCH] = 0
    if counters[s.BY_CELLS]:
        recount_all(st)
    c.save(st)
    return where
