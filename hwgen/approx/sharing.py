"""Adders and shifts of a layer's filters when common subexpressions are computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Conv
from hwgen.numeric import IntArray
from hwgen.shiftadd import Operand, optimize

__all__ = ["BLOCK_ROWS", "SharedSums", "shared_sums"]

BLOCK_ROWS = 96
"""Most inputs among which the adders of a layer are shared.

The time of the elimination grows with the square of the inputs. On 64 filters of 576 weights of P4
blocks of 96 inputs take 17 % more adders than none and a fifth of the time; 9 % and a third of P8.
"""
_BLOCK_COLUMNS = 256
_CACHED = 4096


@dataclass(frozen=True)
class SharedSums:
    """Operations of the sums of a layer for one output pixel, after sharing.

    ``adders`` are two-input additions and subtractions; ``shifts`` the distinct values other than
    an output that are read shifted; ``exponents`` (O,) what is left of each output to shift by, or
    None for a filter of zeros: output ``o`` is ``2**exponents[o]`` times the sum that was made.
    """

    adders: int
    shifts: int
    exponents: tuple[int | None, ...]


def shared_sums(
    op: Conv,
    filters: DyadicFilters,
    *,
    progress: Callable[[int, int], None] = lambda done, blocks: None,
) -> SharedSums:
    """Operations of the adder graphs that :func:`hwgen.shiftadd.optimize` finds for the codes.

    A group of a grouped convolution has a graph of its own, since it reads other channels. A group
    of more than :data:`BLOCK_ROWS` inputs or 256 filters is cut into blocks of equal size; nothing
    is shared between blocks, and each further block of a filter costs one addition. The result is
    an upper bound of what one graph would need, the same in every run, and kept for codes that
    come again within a process.

    Parameters
    ----------
    op
        Float layer, for its groups.
    filters
        Its dyadic filters; scales and biases do not matter.
    progress
        Called with the numbers of blocks that are done and that there are.
    """
    blocks = list(_blocks(filters.codes, op.groups))
    adders = shifts = 0
    parts: list[list[int]] = [[] for _ in filters.scale]
    for done, (first, block) in enumerate(blocks):
        progress(done, len(blocks))
        found = _block(block.tobytes(), block.dtype.str, block.shape)
        adders, shifts = adders + found.adders, shifts + found.shifts
        for column, exponent in enumerate(found.exponents, start=first):
            if exponent is not None:
                parts[column].append(exponent)
    progress(len(blocks), len(blocks))
    adders += sum(max(0, len(part) - 1) for part in parts)
    shifts += sum(exponent != min(part) for part in parts for exponent in part)
    return SharedSums(adders, shifts, tuple(min(part, default=None) for part in parts))


def _blocks(codes: IntArray, groups: int) -> Iterator[tuple[int, IntArray]]:
    """First output, and matrix (inputs, outputs) in the smallest data type, of each block."""
    smallest = np.min_scalar_type(-int(np.abs(codes).max(initial=1)))
    for group, filters in enumerate(np.split(codes.astype(smallest), groups)):
        matrix = filters.reshape(len(filters), -1).T
        first = group * len(filters)
        for columns in np.array_split(matrix, -(-matrix.shape[1] // _BLOCK_COLUMNS), axis=1):
            for rows in np.array_split(columns, -(-len(columns) // BLOCK_ROWS)):
                yield first, np.ascontiguousarray(rows)
            first += columns.shape[1]


@lru_cache(maxsize=_CACHED)
def _block(content: bytes, dtype: str, shape: tuple[int, int]) -> SharedSums:
    graph = optimize(np.frombuffer(content, dtype=dtype).reshape(shape))
    read = [operand for node in graph.nodes for operand in (node.left, node.right)]
    shifted = {(operand.source, operand.shift) for operand in read if operand.shift}
    return SharedSums(graph.adders, len(shifted), tuple(map(_exponent, graph.outputs)))


def _exponent(output: Operand | None) -> int | None:
    return None if output is None else output.shift
