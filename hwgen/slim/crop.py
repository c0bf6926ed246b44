"""Rims of kernels that no filter uses are cut off, with the padding that they read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwgen.network.shapes import window_shape
from hwgen.network.types import Conv, Pads, Pair, Shape
from hwgen.slim.widths import Mask

__all__ = ["cropped"]


def cropped(op: Conv, source: Shape) -> tuple[Conv, Pads]:
    """The convolution without the rims of zeros that it can lose, and how much of each."""
    used = np.any(op.weight, axis=(0, 1))
    target = window_shape(source[1:], op.kernel, op.strides, op.pads, op.dilations)
    sides = [
        _crop_axis(
            np.any(used, axis=1 - axis),
            (op.pads[axis], op.pads[axis + 2]),
            source[1 + axis],
            target[axis],
            op.strides[axis],
            op.dilations[axis],
        )
        for axis in (0, 1)
    ]
    (top, bottom), (left, right) = (side.cut for side in sides)
    kh, kw = op.kernel
    weight = op.weight[:, :, top : kh - bottom, left : kw - right]
    rows, columns = sides
    dilations = tuple(
        1 if size == 1 else dilation
        for size, dilation in zip(weight.shape[2:], op.dilations, strict=True)
    )
    if weight.shape == op.weight.shape and dilations == op.dilations:
        return op, (0, 0, 0, 0)
    pads = (rows.pads[0], columns.pads[0], rows.pads[1], columns.pads[1])
    cropped = replace(op, weight=weight, pads=pads, dilations=(dilations[0], dilations[1]))
    return cropped, (top, left, bottom, right)


@dataclass(frozen=True)
class _Side:
    """Taps cut off at the beginning and end of an axis, and the padding that is left there."""

    cut: Pair
    pads: Pair


def _crop_axis(used: Mask, pads: Pair, size: int, target: int, stride: int, dilation: int) -> _Side:
    """How far the rims of zeros along one axis can go, with ``target`` outputs as before.

    A tap cut off at the beginning takes its padding with it, so that it can go only where there is
    as much. One at the end may also go where windows end before the image does.
    """
    taps = len(used)
    places = np.flatnonzero(used)
    first, last = (int(places[0]), int(places[-1])) if len(places) else (taps - 1, 0)
    begin = min(first, pads[0] // dilation)
    left = pads[0] - begin * dilation
    for end in range(taps - 1 - max(last, begin), -1, -1):
        right = max(0, pads[1] - end * dilation)
        span = (taps - begin - end - 1) * dilation + 1
        if (size + left + right - span) // stride + 1 == target:
            return _Side((begin, end), (left, right))
    raise AssertionError("Cutting nothing at the end keeps the number of outputs")
