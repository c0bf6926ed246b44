"""What each operator makes of its inputs: checks of its parameters and the resulting shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from hwgen.errors import VerifyError
from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    FloatArray,
    MaxPool,
    Op,
    Pads,
    Pair,
    PiecewiseLinear,
    Quantise,
    Shape,
    Softmax,
)

__all__ = ["ACTIVATIONS", "average_divisors", "output_shape", "window_counts", "window_shape"]

ACTIVATIONS = {
    "relu": 0,
    "leaky_relu": 1,
    "prelu": 1,
    "clip": 2,
    "sigmoid": 0,
    "tanh": 0,
    "hard_sigmoid": 2,
    "erf": 0,
    "exp": 0,
    "elu": 1,
    "softplus": 0,
    "silu": 0,
    "gelu": 0,
    "gelu_tanh": 0,
    "hard_swish": 0,
    "mish": 0,
}
"""Number of parameters of each kind of :class:`Activation`."""


def output_shape(op: Op, inputs: Sequence[Shape]) -> Shape:
    """Shape of what ``op`` makes of tensors of the shapes ``inputs``.

    Raises
    ------
    VerifyError
        If the operator's parameters are inconsistent in themselves or with the inputs.
    """
    many = isinstance(op, Add | Concat)
    if len(inputs) < 2 if many else len(inputs) != 1:
        raise VerifyError(
            f"{type(op).__name__} needs {'two inputs or more' if many else 'one input'}, "
            f"not {len(inputs)}"
        )
    shape = inputs[0]
    match op:
        case Conv():
            return _conv(op, shape)
        case Activation():
            _check_activation(op, shape)
            return shape
        case PiecewiseLinear():
            _check_piecewise(op, shape)
            return shape
        case MaxPool():
            return _pool(op, shape, op.pads, op.dilations)
        case AveragePool():
            _check_finite("gain of AveragePool", np.array(op.gain))
            top, left, bottom, right = op.pads
            below, beside = op.ceil_pads
            if below < 0 or beside < 0:
                raise VerifyError(f"ceil_pads must not be negative, not {op.ceil_pads}")
            return _pool(op, shape, (top, left, bottom + below, right + beside), (1, 1))
        case Add():
            if any(other != shape for other in inputs):
                raise VerifyError(
                    f"Add needs inputs of one shape, not {', '.join(map(str, inputs))}"
                )
            return shape
        case Concat():
            if any(other[1:] != shape[1:] for other in inputs):
                found = ", ".join(map(str, inputs))
                raise VerifyError(f"Concat needs inputs of one height and width, not {found}")
            return (sum(other[0] for other in inputs), *shape[1:])
        case Quantise():
            _check_finite("scale and zero point of Quantise", np.array([op.scale, op.zero_point]))
            if op.scale <= 0 or op.lo > op.hi:
                raise VerifyError(
                    f"Quantise needs a positive scale and lo <= hi, not {op.scale}, "
                    f"{op.lo} and {op.hi}"
                )
            return shape
        case Softmax() | ArgMax():
            if shape[1:] != (1, 1):
                raise VerifyError(f"{type(op).__name__} needs a vector, not a tensor {shape}")
            return shape if isinstance(op, Softmax) else (1, 1, 1)
        case _:
            assert_never(op)


def window_shape(size: Pair, kernel: Pair, strides: Pair, pads: Pads, dilations: Pair) -> Pair:
    """Number of window positions along height and width; not positive if the kernel is too large.

    Parameters
    ----------
    size, kernel, strides, dilations
        (vertical, horizontal), in pixels; the kernel undilated.
    pads
        (top, left, bottom, right), in pixels.
    """
    top, left, bottom, right = pads
    return (
        (size[0] + top + bottom - (kernel[0] - 1) * dilations[0] - 1) // strides[0] + 1,
        (size[1] + left + right - (kernel[1] - 1) * dilations[1] - 1) // strides[1] + 1,
    )


def window_counts(
    size: int, kernel: int, stride: int, begin: int, outputs: int, dilation: int = 1
) -> FloatArray:
    """How many taps of each of ``outputs`` windows along one axis fall on ``size`` real pixels."""
    starts = np.arange(outputs) * stride - begin
    first = np.clip(-(starts // dilation), 0, kernel)
    end = np.clip(-((starts - size) // dilation), 0, kernel)
    counts: FloatArray = np.maximum(end - first, 0).astype(np.float64)
    return counts


def average_divisors(op: AveragePool, shape: Shape) -> FloatArray:
    """Divisor of each window of an average pool on a tensor of ``shape``: (OH, OW), each >= 1."""
    _, oh, ow = output_shape(op, [shape])
    top, left, bottom, right = op.pads
    height, width = shape[1:]
    if op.count_include_pad:
        height, width, top, left = height + top + bottom, width + left + right, 0, 0
    rows = window_counts(height, op.kernel[0], op.strides[0], top, oh)
    columns = window_counts(width, op.kernel[1], op.strides[1], left, ow)
    return np.outer(rows, columns)


def _check_finite(what: str, values: FloatArray) -> None:
    if not np.isfinite(values).all():
        raise VerifyError(f"The {what} must be finite numbers")


def _check_window(strides: Pair, pads: Pads, dilations: Pair) -> None:
    if min(*strides, *dilations) < 1:
        raise VerifyError(
            f"Strides and dilations must be at least 1, not {strides} and {dilations}"
        )
    if min(pads) < 0:
        raise VerifyError(f"Pads must not be negative, not {pads}")


def _positions(shape: Shape, kernel: Pair, strides: Pair, pads: Pads, dilations: Pair) -> Pair:
    positions = window_shape(shape[1:], kernel, strides, pads, dilations)
    if min(positions) < 1:
        raise VerifyError(
            f"A kernel of {kernel} with dilations {dilations} does not fit an input {shape} "
            f"with pads {pads}"
        )
    return positions


def _conv(op: Conv, shape: Shape) -> Shape:
    if op.weight.ndim != 4 or op.weight.size == 0:
        raise VerifyError(f"Weights must have shape (O, I, KH, KW), not {op.weight.shape}")
    filters, depth = op.weight.shape[:2]
    if op.bias.shape != (filters,):
        raise VerifyError(f"Bias must have shape ({filters},), not {op.bias.shape}")
    _check_window(op.strides, op.pads, op.dilations)
    if op.groups < 1 or filters % op.groups or depth * op.groups != shape[0]:
        raise VerifyError(
            f"{filters} filters in {op.groups} groups over {depth} channels each "
            f"do not fit an input of {shape[0]} channels"
        )
    _check_finite("weights", op.weight)
    _check_finite("biases", op.bias)
    return (filters, *_positions(shape, op.kernel, op.strides, op.pads, op.dilations))


def _pool(op: MaxPool | AveragePool, shape: Shape, pads: Pads, dilations: Pair) -> Shape:
    if min(op.kernel) < 1:
        raise VerifyError(f"Kernel must be at least 1, not {op.kernel}")
    _check_window(op.strides, op.pads, dilations)
    positions = _positions(shape, op.kernel, op.strides, pads, dilations)
    for axis in (0, 1):
        size, begin = shape[1 + axis], pads[axis]
        if isinstance(op, AveragePool) and op.count_include_pad:
            size, begin = size + op.pads[axis] + op.pads[axis + 2], 0
        counts = window_counts(
            size, op.kernel[axis], op.strides[axis], begin, positions[axis], dilations[axis]
        )
        if counts.min() < 1:
            raise VerifyError(
                f"A window of {op.kernel} with pads {pads} lies wholly in the padding of {shape}"
            )
    return (shape[0], *positions)


def _check_activation(op: Activation, shape: Shape) -> None:
    if op.kind not in ACTIVATIONS:
        raise VerifyError(f"Activation must be one of {', '.join(ACTIVATIONS)}, not {op.kind!r}")
    if len(op.parameters) != ACTIVATIONS[op.kind]:
        raise VerifyError(
            f"Activation {op.kind} needs {ACTIVATIONS[op.kind]} parameters, "
            f"not {len(op.parameters)}"
        )
    _check_finite("factors of an activation", np.array([op.pre, op.post]))
    for parameter in op.parameters:
        if parameter.shape not in {(1,), (shape[0],)}:
            raise VerifyError(
                f"Parameters of {op.kind} must have shape (1,) or ({shape[0]},), "
                f"not {parameter.shape}"
            )
        if op.kind != "clip":
            _check_finite(f"parameters of {op.kind}", parameter)
    if op.kind == "clip":
        lo, hi = op.parameters
        if not np.all(lo <= hi) or np.any(lo == np.inf) or np.any(hi == -np.inf):
            raise VerifyError("Clip needs bounds with lo <= hi")


def _check_piecewise(op: PiecewiseLinear, shape: Shape) -> None:
    groups, segments = op.slopes.shape if op.slopes.ndim == 2 else (0, 0)
    fits = op.offsets.shape == (groups, segments)
    fits = fits and op.breakpoints.shape == (groups, segments - 1)
    if not fits or segments < 1 or groups not in {1, shape[0]}:
        raise VerifyError(
            f"PiecewiseLinear on {shape[0]} channels cannot have breakpoints "
            f"{op.breakpoints.shape}, slopes {op.slopes.shape} and offsets {op.offsets.shape}"
        )
    for name in ("breakpoints", "slopes", "offsets"):
        _check_finite(f"{name} of a piecewise linear function", getattr(op, name))
    if np.any(np.diff(op.breakpoints, axis=1) < 0):
        raise VerifyError("Breakpoints of a piecewise linear function must ascend")
