"""Gradients of a function of a network's output by its tensors, backwards through the operators.

Pointwise functions are differentiated by central differences, which for those that are smooth is
right to about nine digits; where they have a kink, within 1e-5 of it, the slope is between the two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import assert_never

import numpy as np

from hwgen.network.execute import Tensor, apply
from hwgen.network.shapes import average_divisors
from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Op,
    Pads,
    Pair,
    PiecewiseLinear,
    Quantise,
    Softmax,
)

__all__ = ["gradients"]

_STEP = 1e-5


def gradients(
    network: Network, tensors: Mapping[str, Tensor], by_output: Tensor, wanted: Collection[str]
) -> dict[str, Tensor]:
    """Gradient by each tensor that is ``wanted``, of its shape (N, C, H, W).

    Parameters
    ----------
    network
        Float network that does not end in a Softmax or ArgMax.
    tensors
        All its tensors for some images, in float64, from :func:`~hwgen.network.execute.run_all`.
    by_output
        Gradient by the output, (N, C, H, W).
    wanted
        Names of tensors, the input if it is to be among them. One that the output does not depend
        on has a gradient of 0.

    Raises
    ------
    ValueError
        If there is a Softmax or ArgMax.
    """
    known = {network.output: by_output}
    found: dict[str, Tensor] = {}
    for node in reversed(network.nodes):
        gradient = known.pop(node.name, None)
        if gradient is None:
            continue
        if node.name in wanted:
            found[node.name] = gradient
        xs = [tensors[name] for name in node.inputs]
        for name, each in zip(
            node.inputs, _backwards(node.op, xs, tensors[node.name], gradient), strict=True
        ):
            known[name] = known[name] + each if name in known else each
    return {
        name: found[name] if name in found else known.get(name, np.zeros_like(tensors[name]))
        for name in wanted
    }


def _backwards(op: Op, xs: list[Tensor], y: Tensor, gradient: Tensor) -> list[Tensor]:
    """Gradients by the inputs ``xs`` of ``op``, which makes ``y`` of them."""
    x = xs[0]
    match op:
        case Conv():
            return [_through_conv(op, x, gradient)]
        case Activation() | PiecewiseLinear():
            step = _STEP * np.maximum(1.0, np.abs(x))
            rise = apply(op, [x + step]) - apply(op, [x - step])
            return [gradient * rise / (2 * step)]
        case Quantise():
            # straight through within the range, as in training with quantisers
            lo, hi = ((end - op.zero_point) * op.scale for end in (op.lo, op.hi))
            return [gradient * ((x >= lo) & (x <= hi))]
        case MaxPool():
            return [_through_max(op, x, y, gradient)]
        case AveragePool():
            top, left, bottom, right = op.pads
            pads = (top, left, bottom + op.ceil_pads[0], right + op.ceil_pads[1])
            each = gradient * (op.gain / average_divisors(op, x.shape[1:]))
            sums = _Window(x, pads, op.kernel, op.strides, (1, 1), gradient.shape)
            for at in sums.taps:
                sums.total[at] += each
            return [sums.inner]
        case Add():
            return [gradient] * len(xs)
        case Concat():
            ends = np.cumsum([each.shape[1] for each in xs])[:-1]
            return list(np.split(gradient, ends, axis=1))
        case Softmax() | ArgMax():
            raise ValueError(f"Gradients must start before a {type(op).__name__}")
        case _:
            assert_never(op)


class _Window:
    """Sums over what the taps of a sliding window read of ``x``, with its padding around."""

    def __init__(
        self,
        x: Tensor,
        pads: Pads,
        kernel: Pair,
        strides: Pair,
        dilations: Pair,
        shape: tuple[int, ...],
    ) -> None:
        self._size, (top, left, bottom, right) = x.shape[2:], pads
        self._corner = (top, left)
        height, width = self._size
        self.total = np.zeros((*x.shape[:2], height + top + bottom, width + left + right))
        spans = [(count - 1) * stride + 1 for count, stride in zip(shape[2:], strides, strict=True)]
        self.taps = [
            (
                slice(None),
                slice(None),
                slice(r * dilations[0], r * dilations[0] + spans[0], strides[0]),
                slice(s * dilations[1], s * dilations[1] + spans[1], strides[1]),
            )
            for r in range(kernel[0])
            for s in range(kernel[1])
        ]

    @property
    def inner(self) -> Tensor:
        """What belongs to ``x`` itself."""
        (top, left), (height, width) = self._corner, self._size
        return self.total[:, :, top : top + height, left : left + width]


def _through_conv(op: Conv, x: Tensor, gradient: Tensor) -> Tensor:
    images, filters, *pixels = gradient.shape
    sums = _Window(x, op.pads, op.kernel, op.strides, op.dilations, gradient.shape)
    by_group = gradient.reshape(images, op.groups, filters // op.groups, -1)
    weight = op.weight.reshape(op.groups, filters // op.groups, op.weight.shape[1], -1)
    for tap, at in enumerate(sums.taps):
        product = np.matmul(weight[..., tap].swapaxes(1, 2), by_group)
        sums.total[at] += product.reshape(images, -1, *pixels)
    return sums.inner


def _through_max(op: MaxPool, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """The gradient goes to the greatest of each window, the first of equals."""
    top, left, bottom, right = op.pads
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(x, around, constant_values=-np.inf)
    sums = _Window(x, op.pads, op.kernel, op.strides, op.dilations, gradient.shape)
    free = np.ones(gradient.shape, dtype=np.bool_)
    for at in sums.taps:
        greatest = free & (padded[at] == y)
        sums.total[at] += gradient * greatest
        free &= ~greatest
    return sums.inner
