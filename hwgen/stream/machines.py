"""The handshakes of all kinds of stage as small machines without data, compiled.

A pipeline has up to millions of cycles an image, and each machine has a say in every one. So a
machine is a row of integers: its kind, its streams, its parameters, and where its state and its
table begin in two flat arrays. A cycle has three parts. Outputs become valid from the state; then
inputs become ready, from the last stage to the first; then all advance.
"""

from __future__ import annotations

from enum import IntEnum

import numba
import numpy as np
import numpy.typing as npt

from hwgen.numeric import IntArray

__all__ = ["FIELDS", "LINE_BITS", "Field", "Kind", "advance", "held"]

Flags = npt.NDArray[np.bool_]

LINE_BITS = 62
"""Stages of a delay line in one word of the state."""


class Kind(IntEnum):
    """What a machine does."""

    FIXED = 0
    """Pipeline of fixed latency with one clock enable; bubbles advance.

    ``A``: latency. State: the line."""
    WINDOW = 1
    """Beats that take an item or none, and give one or none.

    ``A``: beats. Table: of each, whether it takes, gives, waits. State: beat, whether full."""
    JOIN = 2
    """One item from every input at once, one register.

    ``A``: inputs. Table: the inputs. State: whether full."""
    FORK = 3
    """One item to every output, each when it likes.

    ``A``: outputs. Table: the outputs. State: of each, whether it has the item."""
    BUFFER = 4
    """First in, first out: one register behind a memory.

    ``A``: items of the memory. State: items in the memory, whether the register is full."""
    QUEUE = 5
    """First in, first out queue of two registers.

    State: items."""
    DENSE = 6
    """Memory of pixels, lanes that read its patches, and a pipeline behind the memory.

    ``A``: beats that can come in advance. ``B``: steps of a batch. ``C``: batches. ``D``: latency
    behind the memory. ``E``: positions. Table: items that each batch gives, then how many more
    beats the next position needs. State: beats ahead, batch that comes out, items left, position,
    batch, step, the line."""
    SERIALISE = 7
    """The digits of the item at the input.

    ``A``: digits. State: digit."""
    DIGITS = 8
    """Pipeline of fixed latency from the first digit of a word to a register for its result.

    ``A``: latency before the register. ``B``: digits of a word. State: digit, whether the register
    is full, the line."""


class Field(IntEnum):
    """Columns of a machine's row."""

    KIND = 0
    INPUT = 1
    OUTPUT = 2
    STATE = 3
    TABLE = 4
    A = 5
    B = 6
    C = 7
    D = 8
    E = 9


FIELDS = len(Field)
"""Integers of a row."""

# Numba compiles module constants in, but not the members of an enumeration's class.
_FIXED, _WINDOW, _JOIN, _FORK, _BUFFER, _QUEUE, _DENSE, _SERIALISE, _DIGITS = (
    int(kind) for kind in Kind
)
_KIND, _I, _O, _S, _T, _A, _B, _C, _D, _E = (int(column) for column in Field)


@numba.njit(cache=True)
def _line_end(state: IntArray, at: int, length: int) -> bool:
    if length <= LINE_BITS:
        return (state[at] >> (length - 1)) & 1 == 1
    word, bit = divmod(length - 1, LINE_BITS)
    return (state[at + word] >> bit) & 1 == 1


@numba.njit(cache=True)
def _line_shift(state: IntArray, at: int, length: int, item: bool) -> None:
    carry = 1 if item else 0
    while length > 0:
        bits = min(length, LINE_BITS)
        value = (state[at] << 1) | carry
        carry = (value >> LINE_BITS) & 1
        state[at] = value & ((1 << bits) - 1)
        at += 1
        length -= bits


# Each function loops over the machines itself: a call costs more than what a machine does.


@numba.njit(cache=True)
def _offer(rows: IntArray, state: IntArray, table: IntArray, valid: Flags) -> None:
    """Set ``valid`` of all outputs, from the state and, of forks and digits, the input's."""
    for m in range(len(rows)):
        kind, o, s, t = rows[m, _KIND], rows[m, _O], rows[m, _S], rows[m, _T]
        if kind == _FIXED:
            valid[o] = _line_end(state, s, rows[m, _A])
        elif kind == _WINDOW or kind == _BUFFER or kind == _DIGITS:
            valid[o] = state[s + 1] == 1
        elif kind == _JOIN or kind == _QUEUE:
            valid[o] = state[s] > 0
        elif kind == _FORK:
            for k in range(rows[m, _A]):
                valid[table[t + k]] = valid[rows[m, _I]] and state[s + k] == 0
        elif kind == _DENSE:
            valid[o] = state[s + 2] > 0
        else:
            valid[o] = valid[rows[m, _I]]


@numba.njit(cache=True)
def _accept(
    rows: IntArray, state: IntArray, table: IntArray, valid: Flags, ready: Flags, enable: Flags
) -> None:
    """Set ``ready`` of all inputs, from the state and the outputs' ready, and clock enables."""
    for m in range(len(rows) - 1, -1, -1):
        kind, i, s, t = rows[m, _KIND], rows[m, _I], rows[m, _S], rows[m, _T]
        free = ready[rows[m, _O]] or not valid[rows[m, _O]]
        enable[m] = free
        if kind == _FIXED:
            ready[i] = free
        elif kind == _WINDOW:
            ready[i] = free and table[t + state[s]] == 1
        elif kind == _JOIN:
            take = free
            for k in range(rows[m, _A]):
                take = take and valid[table[t + k]]
            for k in range(rows[m, _A]):
                ready[table[t + k]] = take
        elif kind == _FORK:
            served = True
            for k in range(rows[m, _A]):
                served = served and (state[s + k] == 1 or ready[table[t + k]])
            ready[i] = served
        elif kind == _BUFFER:
            ready[i] = state[s] < rows[m, _A]
        elif kind == _QUEUE:
            ready[i] = state[s] < 2
        elif kind == _DENSE:
            ready[i] = state[s] < rows[m, _A]
            left = state[s + 2]
            room = left == 0 or (left == 1 and ready[rows[m, _O]])
            enable[m] = room or not _line_end(state, s + 6, rows[m, _D])
        elif kind == _SERIALISE:
            ready[i] = ready[rows[m, _O]] and state[s] + 1 == rows[m, _A]
        else:
            # With one digit a word, what is taken from the register makes room at once.
            room = state[s + 1] == 0 or (rows[m, _B] == 1 and ready[rows[m, _O]])
            enable[m] = room or not _line_end(state, s + 2, rows[m, _A])
            ready[i] = enable[m]


@numba.njit(cache=True)
def _tick(
    rows: IntArray, state: IntArray, table: IntArray, valid: Flags, ready: Flags, enable: Flags
) -> None:
    """Advance all one clock edge."""
    for m in range(len(rows)):
        kind, i, s, t = rows[m, _KIND], rows[m, _I], rows[m, _S], rows[m, _T]
        if kind == _FIXED:
            if enable[m]:
                _line_shift(state, s, rows[m, _A], valid[i])
        elif kind == _WINDOW:
            if enable[m]:
                beats, beat = rows[m, _A], state[s]
                goes = valid[i] or table[t + 2 * beats + beat] == 0
                state[s + 1] = 1 if goes and table[t + beats + beat] == 1 else 0
                if goes:
                    state[s] = beat + 1 if beat + 1 < beats else 0
        elif kind == _JOIN:
            if enable[m]:
                state[s] = 1 if ready[table[t]] else 0
        elif kind == _FORK:
            if valid[i]:
                for k in range(rows[m, _A]):
                    has = state[s + k] == 1 or ready[table[t + k]]
                    state[s + k] = 1 if has and not ready[i] else 0
        elif kind == _BUFFER:
            moves = state[s] > 0 and enable[m]
            if valid[i] and ready[i]:
                state[s] += 1
            if moves:
                state[s] -= 1
                state[s + 1] = 1
            elif ready[rows[m, _O]]:
                state[s + 1] = 0
        elif kind == _QUEUE:
            given = state[s] > 0 and ready[rows[m, _O]]
            if valid[i] and ready[i]:
                state[s] += 1
            if given:
                state[s] -= 1
        elif kind == _DENSE:
            _tick_dense(rows, m, state, table, valid, ready, enable[m])
        elif kind == _SERIALISE:
            if valid[i] and ready[rows[m, _O]]:
                state[s] = state[s] + 1 if state[s] + 1 < rows[m, _A] else 0
        else:
            if enable[m] and _line_end(state, s + 2, rows[m, _A]):
                state[s + 1] = 1
            elif ready[rows[m, _O]]:
                state[s + 1] = 0
            if enable[m]:
                _line_shift(state, s + 2, rows[m, _A], valid[i] and state[s] == 0)
                if valid[i]:
                    state[s] = state[s] + 1 if state[s] + 1 < rows[m, _B] else 0


@numba.njit(cache=True)
def _tick_dense(
    rows: IntArray,
    m: int,
    state: IntArray,
    table: IntArray,
    valid: Flags,
    ready: Flags,
    enable: bool,
) -> None:
    i, s, t = rows[m, _I], rows[m, _S], rows[m, _T]
    batches = rows[m, _C]
    if enable and _line_end(state, s + 6, rows[m, _D]):
        state[s + 2] = table[t + state[s + 1]]
        state[s + 1] = state[s + 1] + 1 if state[s + 1] + 1 < batches else 0
    elif ready[rows[m, _O]] and state[s + 2] > 0:
        state[s + 2] -= 1
    runs = state[s] >= 0
    if valid[i] and ready[i]:
        state[s] += 1
    if not enable:
        return
    last = runs and state[s + 5] + 1 == rows[m, _B]
    _line_shift(state, s + 6, rows[m, _D], last)
    if last:
        state[s + 5] = 0
        state[s + 4] += 1
        if state[s + 4] == batches:
            state[s + 4] = 0
            state[s] -= table[t + batches + state[s + 3]]
            state[s + 3] = state[s + 3] + 1 if state[s + 3] + 1 < rows[m, _E] else 0
    elif runs:
        state[s + 5] += 1


@numba.njit(cache=True)
def held(rows: IntArray, m: int, state: IntArray) -> int:
    """Items in a buffer or a queue."""
    stored: int = state[rows[m, _S]]
    return stored + state[rows[m, _S] + 1] if rows[m, _KIND] == _BUFFER else stored


@numba.njit(cache=True)
def advance(
    rows: IntArray,
    state: IntArray,
    table: IntArray,
    valid: Flags,
    ready: Flags,
    output: int,
    pixels: int,
    results: int,
    pace: int,
    counts: IntArray,
    joins: IntArray,
    skew: IntArray,
    most: IntArray,
) -> bool:
    """Run until an image has come in or a result has gone out; False if the pipeline stops.

    Parameters
    ----------
    rows, state, table : int64 arrays (machines, FIELDS), (words,), (entries,)
        The machines in topological order. ``state`` is changed.
    valid, ready : bool arrays (streams,)
        Stream 0 is the input. ``ready`` of the ``output`` is always true.
    output : int
        Number of the output's stream.
    pixels, results : int
        Beats of an image in, and out.
    pace : int
        Image k is not offered before cycle ``k * pace``.
    counts : int64 array (3,)
        Cycles, beats in and beats out since the start; changed.
    joins : int64 array (joins, inputs)
        Machines of the buffers before each join, -1 behind the last.
    skew, most : int64 arrays (machines,)
        Of these buffers: most items beyond those of its join's emptiest, most items; changed.
    """
    enable = np.zeros(len(rows), dtype=np.bool_)
    before = state.copy()
    while True:
        image, pixel = divmod(counts[1], pixels)
        valid[0] = pixel > 0 or counts[0] >= image * pace
        _offer(rows, state, table, valid)
        _accept(rows, state, table, valid, ready, enable)
        waits = valid[0] and not ready[0] and not valid[output] and counts[0] % 256 == 0
        if waits:
            before[:] = state
        _tick(rows, state, table, valid, ready, enable)
        if waits and np.all(before == state):
            return False
        for j in range(len(joins)):
            least = held(rows, joins[j, 0], state)
            for k in joins[j]:
                if k >= 0:
                    least = min(least, held(rows, k, state))
            for k in joins[j]:
                if k >= 0:
                    skew[k] = max(skew[k], held(rows, k, state) - least)
                    most[k] = max(most[k], held(rows, k, state))
        came_in, came_out = valid[0] and ready[0], valid[output]
        counts[0] += 1
        counts[1] += came_in
        counts[2] += came_out
        image_in = came_in and counts[1] % pixels == 0
        if image_in or (came_out and (counts[2] == 1 or counts[2] % results == 0)):
            return True
