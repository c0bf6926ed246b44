"""Exact interval analysis: the bounds of every channel of every tensor.

Bounds are exact for one operator: they are reached by some input within the ranges of its operands.
Across operators the operands count as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import assert_never

import numpy as np
import numpy.typing as npt

from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    IntOp,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.network.shapes import window_counts
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range, round_shift, saturate

__all__ = ["output_ranges"]

Ranges = tuple[Range, ...]
_Objects = npt.NDArray[np.object_]


def output_ranges(
    op: IntOp, inputs: Sequence[Ranges], input_shape: Shape, output_shape: Shape
) -> Ranges:
    """Range of each output channel of ``op``, given those of each input tensor's channels.

    ``input_shape`` is that of the first input.
    """
    match op:
        case Conv():
            return _conv_ranges(op, inputs[0], input_shape, output_shape)
        case Requantise():
            return tuple(_requantise_range(op, c, r) for c, r in enumerate(inputs[0]))
        case PiecewiseLinear():
            return tuple(_piecewise_range(op, c, r) for c, r in enumerate(inputs[0]))
        case MaxPool():
            channels = len(inputs[0]) // op.pixels
            spans = tuple(reduce(Range.union, inputs[0][c::channels]) for c in range(channels))
            return spans * (output_shape[0] // channels)
        case SumPool():
            counts = _window_counts(op, input_shape, output_shape)
            fewest, most = min(counts), max(counts)
            return tuple(r.scale(fewest).union(r.scale(most)) for r in inputs[0])
        case Add():
            return tuple(_sum(ranges, op.shifts) for ranges in zip(*inputs, strict=True))
        case Concat():
            return tuple(
                r.scale(1 << shift)
                for ranges, shift in zip(inputs, op.shifts, strict=True)
                for r in ranges
            )
        case ArgMax():
            return (Range(0, len(inputs[0]) - 1),)
        case _:
            assert_never(op)


def _tap_masks(
    size: int, kernel: int, stride: int, pad: int, dilation: int, positions: int
) -> npt.NDArray[np.bool_]:
    """Which taps of a one-dimensional window lie inside the image: (positions, kernel)."""
    start = np.arange(positions)[:, None] * stride - pad
    index = start + np.arange(kernel)[None, :] * dilation
    return (index >= 0) & (index < size)


def _conv_ranges(op: Conv, ranges: Ranges, input_shape: Shape, output_shape: Shape) -> Ranges:
    """Union over the classes of positions that share the same taps inside the image."""
    kh, kw = op.kernel
    dims = zip(
        input_shape[1:], op.kernel, op.strides, op.pads[:2], op.dilations, output_shape[1:],
        strict=True,
    )  # fmt: skip
    vertical, horizontal = (np.unique(_tap_masks(*dim), axis=0) for dim in dims)
    per_group_in = op.weight.shape[1]
    per_group_out = op.weight.shape[0] // op.groups
    result: list[Range] = []
    for o, weight in enumerate(op.weight):
        first = o // per_group_out * per_group_in
        group = ranges[first : first + per_group_in]
        lo = np.array([r.lo for r in group], dtype=object).reshape(-1, 1, 1)
        hi = np.array([r.hi for r in group], dtype=object).reshape(-1, 1, 1)
        w = weight.astype(object)
        positive, negative = np.maximum(w, 0), np.minimum(w, 0)
        smallest: _Objects = (positive * lo + negative * hi).sum(axis=0)
        greatest: _Objects = (positive * hi + negative * lo).sum(axis=0)
        lows, highs = [], []
        for v in vertical.astype(int).reshape(-1, 1, kh):
            for h in horizontal.astype(int).reshape(-1, kw, 1):
                lows.append(int((v @ smallest @ h)[0, 0]))
                highs.append(int((v @ greatest @ h)[0, 0]))
        bias = int(op.bias[o])
        result.append(Range(bias + min(lows), bias + max(highs)))
    return tuple(result)


def _requantise_range(op: Requantise, channel: int, r: Range) -> Range:
    multiplier = op.multiplier[channel if len(op.multiplier) > 1 else 0].ravel()
    shift = op.shift[channel if len(op.shift) > 1 else 0].ravel()
    ends = {
        saturate(round_shift(x * m, s), op.lo, op.hi)
        for m, s in set(zip(multiplier.tolist(), shift.tolist(), strict=True))
        for x in (r.lo, r.hi)
    }
    return Range(min(ends), max(ends))


def _piecewise_range(op: PiecewiseLinear, channel: int, r: Range) -> Range:
    g = channel if len(op.slopes) > 1 else 0
    breakpoints: IntArray = op.breakpoints[g]
    inside = breakpoints[(breakpoints > r.lo) & (breakpoints <= r.hi)].tolist()
    ends = []
    # linear between break-points and rounding is monotone, so the ends of each piece suffice
    for x in {r.lo, r.hi, *inside, *(b - 1 for b in inside)}:
        s = int(np.searchsorted(breakpoints, x, side="right"))
        y = int(op.slopes[g, s]) * x + int(op.offsets[g, s])
        ends.append(saturate(round_shift(y, op.shift), op.lo, op.hi))
    return Range(min(ends), max(ends))


def _window_counts(op: SumPool, input_shape: Shape, output_shape: Shape) -> list[int]:
    dims = zip(input_shape[1:], op.kernel, op.strides, op.pads[:2], output_shape[1:], strict=True)
    rows, columns = (window_counts(*dim) for dim in dims)
    return [int(count) for count in np.unique(np.outer(rows, columns))]


def _sum(ranges: Sequence[Range], shifts: Sequence[int]) -> Range:
    total = Range(0, 0)
    for r, shift in zip(ranges, shifts, strict=True):
        total = total + r.scale(1 << shift)
    return total
