"""The problem of the optimiser: a checked matrix, input ranges and depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.numeric import Range, csd_weight

__all__ = ["BYTE", "DEEPEST", "checked_depth", "checked_inputs", "checked_matrix", "least_depth"]

_MOST_BITS = 62
DEEPEST = 60
BYTE = Range(-128, 127)


def least_depth(rows: Sequence[Sequence[int]]) -> int:
    digits = [sum(map(csd_weight, column)) for column in zip(*rows, strict=True)]
    return max(max(0, count - 1).bit_length() for count in digits)


def checked_matrix(matrix: npt.ArrayLike) -> list[list[int]]:
    """Rows of the matrix as Python integers."""
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise ValueError(f"Matrix must have two dimensions (inputs, outputs), not {array.ndim}")
    if array.size == 0:
        raise ValueError(f"Matrix must not be empty, but its shape is {array.shape}")
    if array.dtype == bool or not (array.dtype == object or np.issubdtype(array.dtype, np.number)):
        raise TypeError(f"Matrix must hold integers, not {array.dtype}")
    return [[_entry(v, r, c) for c, v in enumerate(row)] for r, row in enumerate(array.tolist())]


def _entry(value: Any, row: int, column: int) -> int:
    where = f"at input {row}, output {column}"
    if isinstance(value, complex) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"Matrix must hold integers, not {value!r} {where}")
    if isinstance(value, float | np.floating):
        if not np.isfinite(value) or value != int(value):
            raise ValueError(f"Matrix must hold finite whole numbers, not {value!r} {where}")
    entry = int(value)
    if abs(entry) >> _MOST_BITS:
        raise ValueError(f"Matrix entries must be below 2**{_MOST_BITS}, not {entry} {where}")
    return entry


def checked_inputs(inputs: Sequence[Range] | None, count: int) -> tuple[Range, ...]:
    if inputs is None:
        return (BYTE,) * count
    ranges = tuple(inputs)
    if not all(isinstance(r, Range) for r in ranges):
        raise TypeError("Inputs must be a sequence of Range")
    if len(ranges) != count:
        raise ValueError(
            f"Inputs must be {count} ranges, one for each matrix row, not {len(ranges)}"
        )
    return ranges


def checked_depth(max_depth: int | None, rows: Sequence[Sequence[int]]) -> int:
    if max_depth is None:
        return DEEPEST
    if not isinstance(max_depth, int | np.integer) or isinstance(max_depth, bool):
        raise TypeError(f"Maximum depth must be an integer, not {max_depth!r}")
    least = least_depth(rows)
    if max_depth == 0:
        return least
    if max_depth < least:
        raise ValueError(
            f"Maximum depth must be 0 (the least possible) or at least {least} for this matrix, "
            f"not {max_depth}"
        )
    return min(int(max_depth), DEEPEST)
