"""Piecewise-linear functions as words of NFU-3's table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.integer.types import PiecewiseLinear
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.memory import multiplier_terms, pack_scales
from hwgen.numeric import IntArray, Range

__all__ = ["TableFunction", "function_words", "table_function"]


@dataclass(frozen=True, eq=False)
class TableFunction:
    """G functions of S segments for NFU-3, or one for all channels if G is 1.

    Parameters
    ----------
    begins : int64 array
        (G, S): least value of each segment; the first is not used.
    terms : int64 array
        (G, S, terms of a scale): the slope.
    constants : int64 array
        (G, S): the offset and half a unit of the shift.
    """

    begins: IntArray
    terms: IntArray
    constants: IntArray


def table_function(config: NfuConfig, op: PiecewiseLinear, inputs: Range) -> TableFunction:
    """Segments of ``op`` that inputs of a range reach, the last repeated to fill the table.

    A run of the function has the shift of ``op`` and saturates to its bounds.

    Raises
    ------
    UnsupportedError
        If NFU-3 with these parameters has not what the function needs.
    """
    if config.function is None:
        raise UnsupportedError("NFU-3 has no functions; give it segments")
    width, count = config.function.width, config.function.count
    held = Range(-1 << (width - 1), (1 << (width - 1)) - 1)
    if inputs.lo not in held or inputs.hi not in held:
        raise UnsupportedError(
            f"A function takes {inputs.lo} to {inputs.hi}, and NFU-3's take {width} bits"
        )
    begins, slopes, constants = (
        np.zeros((len(op.slopes), count), dtype=np.int64) for _ in range(3)
    )
    for g, breakpoints in enumerate(op.breakpoints):
        # segments out of reach are left out
        first = int((breakpoints <= inputs.lo).sum())
        last = int((breakpoints <= inputs.hi).sum())
        kept = last - first + 1
        if kept > count:
            raise UnsupportedError(f"A function has {kept} segments, and NFU-3's have {count}")
        segment = np.minimum(first + np.arange(count), last)
        begins[g] = inputs.hi
        begins[g, 1:kept] = breakpoints[first:last]
        slopes[g], constants[g] = op.slopes[g, segment], op.offsets[g, segment]
    constants += 1 << op.shift >> 1
    terms = multiplier_terms(config, slopes, what="Slopes")
    for slope, constant in zip(slopes.ravel().tolist(), constants.ravel().tolist(), strict=True):
        product = inputs.scale(slope) + Range(constant, constant)
        if product.width + 1 > config.product_width:
            raise UnsupportedError(
                f"A function needs {product.width + 1} bits, and NFU-3 has {config.product_width}"
            )
    return TableFunction(begins, terms, constants)


def function_words(config: NfuConfig, function: TableFunction) -> tuple[int, ...]:
    """Words of the table: those of one function, for runs with the field ``shared``, if G is 1.

    Otherwise those of each group of channels in order, in turns; channels that fill the last group
    give 0 before the saturation.
    """
    lanes = config.nfu3_lanes
    arrays = (function.terms, function.constants, function.begins)
    if len(function.begins) == 1:
        terms, constants, begins = (np.repeat(array, lanes, axis=0) for array in arrays)
    else:
        spare = -len(function.begins) % config.tn
        terms, constants, begins = (
            np.pad(array, [(0, spare)] + [(0, 0)] * (array.ndim - 1)) for array in arrays
        )

    def words(array: IntArray) -> IntArray:
        # (turns, lanes, S, ...) to (turns * S, lanes, ...)
        split = array.reshape(-1, lanes, *array.shape[1:]).swapaxes(1, 2)
        return split.reshape(-1, lanes, *array.shape[2:])

    return pack_scales(config, words(terms), words(constants), words(begins))
