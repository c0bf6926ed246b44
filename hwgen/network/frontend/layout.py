"""ONNX tensors as arrangements of the elements of network tensors.

Flatten, Reshape, Transpose, Squeeze, Slice, Gather, Pad and their like compute nothing: they only
say which element goes where. A :class:`View` keeps that as an array of element numbers, so each of
these operators is one line of NumPy. :func:`selection` turns an arrangement that hardware can make
on the fly into a convolution with weights 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.network.frontend.read import MAX_ELEMENTS
from hwgen.network.types import Conv, Pair, Shape
from hwgen.numeric import IntArray

__all__ = ["Codes", "View", "is_identity", "selection", "whole"]


@dataclass(frozen=True)
class Codes:
    """The tensor stands between QuantizeLinear and DequantizeLinear, with these parameters."""

    scale: float
    zero_point: float


@dataclass(frozen=True, eq=False)
class View:
    """An ONNX tensor whose elements are those of the network tensor ``tensor``.

    ``index`` has the ONNX tensor's shape less the batch axis, and holds positions in the flattened
    (C, H, W) tensor, or -1 for a constant zero. ``batch`` is the batch axis in the ONNX tensor;
    ``None`` if a batch of one image was squeezed away. The values are real even where ``codes``
    says that the ONNX tensor holds their integer codes.
    """

    tensor: str
    index: IntArray
    batch: int | None = 0
    codes: Codes | None = None

    def shape(self, batch: int) -> tuple[int, ...]:
        """Shape of the ONNX tensor for ``batch`` images."""
        dims = self.index.shape
        if self.batch is None:
            return dims
        return (*dims[: self.batch], batch, *dims[self.batch :])

    @property
    def rank(self) -> int:
        """Number of dimensions of the ONNX tensor."""
        return self.index.ndim + (self.batch is not None)

    def axis(self, axis: int) -> int | None:
        """Axis of ``index`` that ONNX axis ``axis`` (0 .. rank - 1) is; ``None`` for the batch."""
        if self.batch is None or axis < self.batch:
            return axis
        return None if axis == self.batch else axis - 1

    def transposed(self, order: Sequence[int]) -> View:
        """The axes in another order: ``order`` is a permutation of 0 .. rank - 1."""
        inner = [axis for axis in map(self.axis, order) if axis is not None]
        batch = None if self.batch is None else list(order).index(self.batch)
        return replace(self, index=self.index.transpose(inner), batch=batch)

    def reshaped(self, target: Sequence[int], batch: int) -> View | None:
        """The same elements in shape ``target``; ``None`` if images of a batch would mix."""
        before = math.prod(self.index.shape[: self.batch]) if self.batch is not None else 1
        for axis, size in enumerate(target):
            if size == batch and math.prod(target[:axis]) == before:
                dims = (*target[:axis], *target[axis + 1 :])
                return replace(self, index=self.index.reshape(dims), batch=axis)
        if batch == 1:
            return replace(self, index=self.index.reshape(tuple(target)), batch=None)
        return None


def whole(tensor: str, shape: Shape) -> View:
    """The network tensor itself, as an ONNX tensor (N, C, H, W)."""
    return View(tensor, np.arange(math.prod(shape), dtype=np.int64).reshape(shape))


def is_identity(index: IntArray, shape: tuple[int, ...]) -> bool:
    """Whether ``index`` is a tensor of ``shape`` with every element in its own place."""
    return index.shape == shape and bool(
        np.array_equal(index.ravel(), np.arange(index.size, dtype=np.int64))
    )


def selection(index: IntArray, shape: Shape) -> Conv | None:
    """Convolution with weights 0 and 1 that makes the arrangement ``index`` of a tensor.

    Parameters
    ----------
    index
        (C', H', W'): positions in the flattened tensor, or -1 for zero.
    shape
        (C, H, W) of the tensor.

    Returns
    -------
    The convolution: channels picked, reordered or set to zero, rows and columns cropped, padded
    with zeros or taken at regular steps; for a vector, any elements of a small tensor. ``None`` if
    the arrangement is none of these.
    """
    return _separable(index, shape) or _gather(index, shape)


def _separable(index: IntArray, shape: Shape) -> Conv | None:
    channels, height, width = shape
    valid = index >= 0
    source = np.where(valid, index // (height * width), -1).max(axis=(1, 2))
    rows = np.where(valid, index // width % height, -1).max(axis=(0, 2))
    columns = np.where(valid, index % width, -1).max(axis=(0, 1))
    parts = source[:, None, None], rows[:, None], columns
    made = (parts[0] * height + parts[1]) * width + parts[2]
    zero = (parts[0] < 0) | (parts[1] < 0) | (parts[2] < 0)
    if not np.array_equal(np.where(zero, -1, made), index):
        return None
    vertical, horizontal = _steps(rows.tolist(), height), _steps(columns.tolist(), width)
    if vertical is None or horizontal is None:
        return None
    kernel = (vertical.kernel, horizontal.kernel)
    strides = (vertical.stride, horizontal.stride)
    pads = (*vertical.pads, *horizontal.pads)
    pads = (pads[0], pads[2], pads[1], pads[3])
    taps = (slice(None), slice(None), vertical.tap, horizontal.tap)
    outputs = len(index)
    if np.array_equal(source, np.arange(channels)):
        weight = np.zeros((channels, 1, *kernel))
        weight[taps] = 1
        return Conv(weight, np.zeros(outputs), strides, pads, groups=channels)
    if outputs * channels * math.prod(kernel) > MAX_ELEMENTS:
        return None
    weight = np.zeros((outputs, channels, *kernel))
    weight[taps] = source[:, None] == np.arange(channels)
    return Conv(weight, np.zeros(outputs), strides, pads)


@dataclass(frozen=True)
class _Steps:
    """A window along one axis that passes on the pixel under its tap ``tap``."""

    kernel: int
    tap: int
    stride: int
    pads: Pair


def _steps(positions: list[int], size: int) -> _Steps | None:
    """The window that reads ``positions`` (-1: padding) of an axis of ``size`` pixels in turn."""
    real = [k for k, position in enumerate(positions) if position >= 0]
    if not real:
        return None
    first, last = real[0], real[-1]
    stride = positions[first + 1] - positions[first] if last > first else 1
    if last == first and len(positions) > 1:
        stride = size
    origin = positions[first] - first * stride
    expected = [origin + k * stride for k in range(len(positions))]
    if stride < 1 or [p if 0 <= p < size else -1 for p in expected] != positions:
        return None
    tap, begin = max(origin, 0), max(-origin, 0)
    span = (len(positions) - 1) * stride
    if (size + begin - tap - 1) // stride + 1 == len(positions):
        return _Steps(tap + 1, tap, stride, (begin, 0))
    end = max(0, span + tap + 1 - size - begin)
    return _Steps(size + begin + end - span, tap, stride, (begin, end))


def _gather(index: IntArray, shape: Shape) -> Conv | None:
    if index.shape[1:] != (1, 1) or index.size * math.prod(shape) > MAX_ELEMENTS:
        return None
    weight = np.zeros((index.size, math.prod(shape)))
    taken = np.flatnonzero(index.ravel() >= 0)
    weight[taken, index.ravel()[taken]] = 1
    return Conv(weight.reshape(index.size, *shape), np.zeros(index.size))
