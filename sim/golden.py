"""The golden model: runs an :class:`IntegerNetwork` on NumPy arrays, exactly.

Independent on purpose: it imports NumPy and the data types of the integer network, and repeats
every definition from their docstrings, so that an error in hwgen's algorithms cannot hide here.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    IntegerNetwork,
    IntNode,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)

__all__ = ["run", "run_all"]

Array = npt.NDArray[np.int64]
_FLOAT32_EXACT = 1 << 24
_FLOAT64_EXACT = 1 << 53


def run(network: IntegerNetwork, images: Array, *, batch: int = 64) -> Array:
    """Output tensor (N, C, H, W) of integer ``images`` (N, C, H, W).

    Images are integers in the network's input format. Work is cut into batches that stay in cache.
    """
    parts = [
        _evaluate(network, images[start : start + batch], keep=(network.output,))[network.output]
        for start in range(0, len(images), batch)
    ]
    if not parts:
        return np.zeros((0, *network.shape(network.output)), dtype=np.int64)
    return np.concatenate(parts)


def run_all(network: IntegerNetwork, images: Array) -> dict[str, Array]:
    """Every tensor of the network, the input included, by name."""
    names = (network.input_name, *(node.name for node in network.nodes))
    return _evaluate(network, images, keep=names)


def _evaluate(network: IntegerNetwork, images: Array, keep: tuple[str, ...]) -> dict[str, Array]:
    if images.shape[1:] != network.input_shape:
        raise ValueError(f"Images must have shape (N, *{network.input_shape}), not {images.shape}")
    tensors: dict[str, Array] = {network.input_name: np.asarray(images, dtype=np.int64)}
    last_use = {name: i for i, node in enumerate(network.nodes) for name in node.inputs}
    for index, node in enumerate(network.nodes):
        tensors[node.name] = _apply(network, node, [tensors[name] for name in node.inputs])
        for name in set(node.inputs):
            if last_use[name] == index and name not in keep:
                del tensors[name]
    return tensors


def _apply(network: IntegerNetwork, node: IntNode, xs: list[Array]) -> Array:
    y: Array
    match node.op:
        case Conv() as op:
            ranges = network.ranges(node.inputs[0])
            y = _conv(op, xs[0], [max(abs(r.lo), abs(r.hi)) for r in ranges])
        case Requantise() as op:
            half = (np.int64(1) << op.shift) >> 1
            y = np.clip((xs[0] * op.multiplier + half) >> op.shift, op.lo, op.hi)
        case PiecewiseLinear() as op:
            y = _piecewise_linear(op, xs[0])
        case MaxPool() as op:
            lowest = np.iinfo(np.int64).min
            x = _columns_apart(xs[0], op.pixels)
            taps = _taps(_pad(x, op.pads, lowest), op.kernel, op.strides, op.dilations)
            y = np.max(taps, axis=0)
            together = 1 if y.shape[3] == 1 else op.pixels // int(np.gcd(op.pixels, op.strides[1]))
            y = _columns_together(y, together)
        case SumPool() as op:
            y = np.sum(_taps(_pad(xs[0], op.pads, 0), op.kernel, op.strides, (1, 1)), axis=0)
        case Add() as op:
            y = np.sum([x << s for x, s in zip(xs, op.shifts, strict=True)], axis=0)
        case Concat() as op:
            y = np.concatenate([x << s for x, s in zip(xs, op.shifts, strict=True)], axis=1)
        case ArgMax():
            y = np.argmax(xs[0], axis=1, keepdims=True).astype(np.int64)
        case _:
            assert_never(node.op)
    return y


def _pad(x: Array, pads: tuple[int, int, int, int], value: int) -> Array:
    top, left, bottom, right = pads
    if not any(pads):
        return x
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    return np.pad(x, widths, constant_values=value)


def _columns_apart(x: Array, pixels: int) -> Array:
    """(N, C, H, W) of x (N, pixels * C, H, W / pixels), the columns of a group in turn."""
    count, channels, height, width = x.shape
    split = x.reshape(count, pixels, channels // pixels, height, width)
    return np.moveaxis(split, 1, 4).reshape(count, channels // pixels, height, width * pixels)


def _columns_together(x: Array, pixels: int) -> Array:
    """The inverse of :func:`_columns_apart`."""
    return np.concatenate([x[:, :, :, k::pixels] for k in range(pixels)], axis=1)


def _taps(
    x: Array, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> Array:
    """Shifted views of padded ``x``, one a kernel tap: (KH * KW, N, C, OH, OW)."""
    height = (x.shape[2] - dilations[0] * (kernel[0] - 1) - 1) // strides[0] + 1
    width = (x.shape[3] - dilations[1] * (kernel[1] - 1) - 1) // strides[1] + 1
    return np.stack(
        [
            x[
                :,
                :,
                r * dilations[0] : r * dilations[0] + (height - 1) * strides[0] + 1 : strides[0],
                s * dilations[1] : s * dilations[1] + (width - 1) * strides[1] + 1 : strides[1],
            ]
            for r in range(kernel[0])
            for s in range(kernel[1])
        ]
    )


def _conv(op: Conv, x: Array, magnitude: list[int]) -> Array:
    """Convolution as one matrix product a group, in the fastest type that is exact.

    Floating-point products of integers are exact while every partial sum stays below the
    significand's limit; ``magnitude`` bounds the absolute value of each input channel.
    """
    out_channels, group_channels = op.weight.shape[:2]
    per_group = out_channels // op.groups
    columns = _taps(_pad(x, op.pads, 0), op.kernel, op.strides, op.dilations)
    taps, count, _, height, width = columns.shape
    result = np.empty((count, out_channels, height, width), dtype=np.int64)
    for g in range(op.groups):
        rows = slice(g * per_group, (g + 1) * per_group)
        channels = slice(g * group_channels, (g + 1) * group_channels)
        weight = op.weight[rows].reshape(per_group, group_channels, taps)
        row_sums = np.abs(weight).sum(axis=2).astype(object)
        bound = max(int(b) for b in row_sums @ np.array(magnitude[channels], dtype=object))
        dtype: type[np.generic] = np.int64
        if bound < _FLOAT32_EXACT:
            dtype = np.float32
        elif bound < _FLOAT64_EXACT:
            dtype = np.float64
        # (taps, N, I, OH, OW) -> (N, taps * I, OH * OW), and the weights in the same order
        patches = columns[:, :, channels].transpose(1, 0, 2, 3, 4)
        patches = patches.reshape(count, taps * group_channels, height * width).astype(dtype)
        matrix = weight.transpose(0, 2, 1).reshape(per_group, taps * group_channels).astype(dtype)
        product = np.matmul(matrix, patches).astype(np.int64)
        result[:, rows] = product.reshape(count, per_group, height, width)
    return result + op.bias.reshape(-1, 1, 1)


def _piecewise_linear(op: PiecewiseLinear, x: Array) -> Array:
    result = np.empty_like(x)
    functions = len(op.slopes)
    for g in range(functions):
        channels = slice(None) if functions == 1 else slice(g, g + 1)
        part = x[:, channels]
        segment = np.searchsorted(op.breakpoints[g], part, side="right")
        y = op.slopes[g][segment] * part + op.offsets[g][segment]
        result[:, channels] = np.clip((y + ((1 << op.shift) >> 1)) >> op.shift, op.lo, op.hi)
    return result
