"""Counts of patterns in a hash table, and a heap of the best ones: compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["EMPTY", "drop", "push", "resized", "slot_of"]

EMPTY = -1
_Int = npt.NDArray[np.int64]
_Word = Any  # an int64 in compiled code


@numba.njit(cache=True, inline="always")
def _hash(key: _Word, mask: _Word) -> _Word:
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return np.int64(mixed & np.uint64(mask))


@numba.njit(cache=True)
def slot_of(keys: _Int, key: _Word) -> _Word:
    """The slot that holds ``key``, or the free one where it belongs."""
    mask = len(keys) - 1
    slot = _hash(key, mask)
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True)
def resized(keys: _Int, counts: _Int, extra: _Word) -> tuple[_Int, _Int, _Word]:
    """The table without patterns of count 0 and with room for ``extra`` more; its patterns."""
    live = 0
    for slot in range(len(keys)):
        if keys[slot] != EMPTY and counts[slot] > 0:
            live += 1
    size = 1024
    while size < 4 * (live + extra):
        size *= 2
    new_keys = np.full(size, EMPTY, dtype=np.int64)
    new_counts = np.zeros(size, dtype=np.int64)
    for slot in range(len(keys)):
        if keys[slot] != EMPTY and counts[slot] > 0:
            new = slot_of(new_keys, keys[slot])
            new_keys[new] = keys[slot]
            new_counts[new] = counts[slot]
    return new_keys, new_counts, live


@numba.njit(cache=True)
def push(heap: _Int, size: _Word, score: _Word, key: _Word) -> tuple[_Int, _Word]:
    """Add an entry to the heap: rows of (score, key), greatest score and then least key first."""
    if size == len(heap):
        larger = np.empty((2 * len(heap), 2), dtype=np.int64)
        larger[:size] = heap
        heap = larger
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if heap[parent, 0] > score or (heap[parent, 0] == score and heap[parent, 1] <= key):
            break
        heap[child, 0] = heap[parent, 0]
        heap[child, 1] = heap[parent, 1]
        child = parent
    heap[child, 0] = score
    heap[child, 1] = key
    return heap, size + 1


@numba.njit(cache=True)
def drop(heap: _Int, size: _Word) -> _Word:
    """Remove the first entry of the heap; its new size."""
    size -= 1
    score, key = heap[size, 0], heap[size, 1]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and (
            heap[child + 1, 0] > heap[child, 0]
            or (heap[child + 1, 0] == heap[child, 0] and heap[child + 1, 1] < heap[child, 1])
        ):
            child += 1
        if score > heap[child, 0] or (score == heap[child, 0] and key <= heap[child, 1]):
            break
        heap[parent, 0] = heap[child, 0]
        heap[parent, 1] = heap[child, 1]
        parent = child
    heap[parent, 0] = score
    heap[parent, 1] = key
    return size
