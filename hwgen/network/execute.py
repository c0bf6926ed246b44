"""Run a float network on NumPy arrays.

Tensors have shape (N, C, H, W). In memory the channels come first, so that a convolution is one
matrix product whose result needs no reordering; what callers see are ordinary NumPy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from hwgen.errors import DataError
from hwgen.network.shapes import average_divisors, window_shape
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

__all__ = ["Tensor", "affected", "apply", "check_input", "run", "run_all", "run_suffix"]

Tensor = npt.NDArray[Any]
"""Floating-point array (N, C, H, W), float32 or float64 as the caller chose."""

_COLUMN_ELEMENTS = 1 << 20
"""Most elements of an unfolded input at a time: what stays in the cache of one core."""


def check_input(network: Network, x: Tensor) -> None:
    """Check that ``x`` holds finite images of the shape that ``network`` takes.

    Raises
    ------
    DataError
        If it does not.
    """
    if x.ndim != 4 or x.shape[1:] != network.input_shape:
        wanted = ", ".join(map(str, network.input_shape))
        last = x.ndim == 4 and x.transpose(0, 3, 1, 2).shape[1:] == network.input_shape
        hint = ": transpose them from (N, H, W, C)" if last else ""
        raise DataError(
            f"Images for network {network.name!r} must have shape (N, {wanted}), "
            f"not {x.shape}{hint}"
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"Images must be real numbers, not {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataError("Images must be finite numbers: some are NaN or infinite")


def run(
    network: Network, x: Tensor, *, batch: int = 256, dtype: npt.DTypeLike = np.float32
) -> Tensor:
    """Output (N, C, H, W) of ``network`` for the images ``x`` (N, C, H, W), in ``dtype``.

    Parameters
    ----------
    network
        What to run.
    x
        Images, of any real data type.
    batch
        Images that are worked on at a time; bounds the memory.
    dtype
        ``np.float32`` (default; within 1e-5 of the exact result on trained networks) or
        ``np.float64``.

    Raises
    ------
    DataError
        If ``x`` does not fit the network.
    """
    check_input(network, x)
    names = [node.name for node in network.nodes]
    parts = []
    for start in range(0, max(len(x), 1), batch):
        known = {network.input_name: np.asarray(x[start : start + batch], dtype=dtype)}
        parts.append(_evaluate(network, known, names, keep={network.output})[network.output])
    return np.concatenate(parts)


def run_all(
    network: Network, x: Tensor, *, batch: int = 256, dtype: npt.DTypeLike = np.float32
) -> dict[str, Tensor]:
    """Every tensor of ``network``, the input included, by name; otherwise like :func:`run`."""
    check_input(network, x)
    images = np.asarray(x, dtype=dtype)
    names = [node.name for node in network.nodes]
    return {network.input_name: images} | _in_batches(
        network, {network.input_name: images}, names, names, batch
    )


def affected(network: Network, changed: str | Collection[str]) -> tuple[str, ...]:
    """Nodes named in ``changed`` (one or several) and all that depend on them, in order.

    ``changed`` may name the input.
    """
    names = {changed} if isinstance(changed, str) else set(changed)
    for node in network.nodes:
        if not names.isdisjoint(node.inputs):
            names.add(node.name)
    return tuple(node.name for node in network.nodes if node.name in names)


def run_suffix(
    network: Network,
    cached: Mapping[str, Tensor],
    changed: str | Collection[str],
    *,
    batch: int = 256,
) -> Tensor:
    """Output of ``network`` when only the nodes named in ``changed`` differ from the cached run.

    Parameters
    ----------
    network
        The network with the changed nodes in place; all other nodes as in the cached run.
    cached
        Tensors of the earlier run (from :func:`run_all`): at least every tensor that an affected
        node reads and that is not affected itself, and the output if it is not affected.
    changed
        Name or names of the nodes whose operators changed.
    batch
        Images that are worked on at a time.

    Raises
    ------
    ValueError
        If a tensor that is needed is not cached.
    """
    names = affected(network, changed)
    if network.output not in names:
        return cached[network.output]
    inputs = {name for each in names for name in network.node(each).inputs} - set(names)
    missing = sorted(inputs - cached.keys())
    if missing:
        raise ValueError(f"Cache must hold {', '.join(missing)}")
    known = {name: cached[name] for name in sorted(inputs)}
    return _in_batches(network, known, names, [network.output], batch)[network.output]


def apply(op: Op, xs: list[Tensor]) -> Tensor:
    """What the operator ``op`` makes of the tensors ``xs``, each (N, C, H, W) of one data type."""
    x = xs[0]
    y: Tensor
    match op:
        case Conv():
            y = _conv(op, x)
        case Activation():
            y = _activation(op, x)
        case PiecewiseLinear():
            y = _piecewise_linear(op, x)
        case MaxPool():
            padded = _pad(x, op.pads, -np.inf)
            y = _pool(np.maximum, padded, op.kernel, op.strides, op.dilations)
        case AveragePool():
            top, left, bottom, right = op.pads
            below, beside = op.ceil_pads
            padded = _pad(x, (top, left, bottom + below, right + beside), 0)
            y = _pool(np.add, padded, op.kernel, op.strides, (1, 1))
            y *= (op.gain / average_divisors(op, x.shape[1:])).astype(x.dtype)
        case Add():
            y = sum(xs[1:], start=x)
        case Concat():
            y = np.concatenate([each.swapaxes(0, 1) for each in xs]).swapaxes(0, 1)
        case Quantise():
            scale, zero = x.dtype.type(op.scale), x.dtype.type(op.zero_point)
            y = (np.clip(np.rint(x / scale + zero), op.lo, op.hi) - zero) * scale
        case Softmax():
            shifted = x - x.max(axis=1, keepdims=True)
            total = np.exp(shifted).sum(axis=1, keepdims=True)
            y = shifted - np.log(total) if op.log else np.exp(shifted) / total
        case ArgMax():
            y = x.argmax(axis=1)[:, None].astype(x.dtype)
        case _:
            assert_never(op)
    return y


def _in_batches(
    network: Network,
    known: Mapping[str, Tensor],
    names: Collection[str],
    keep: Collection[str],
    batch: int,
) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {name: [] for name in keep}
    count = len(next(iter(known.values())))
    for start in range(0, max(count, 1), batch):
        piece = {name: tensor[start : start + batch] for name, tensor in known.items()}
        done = _evaluate(network, piece, names, keep=set(keep))
        for name in keep:
            parts[name].append(done[name])
    return {name: np.concatenate(tensors) for name, tensors in parts.items()}


def _evaluate(
    network: Network, tensors: dict[str, Tensor], names: Iterable[str], keep: set[str]
) -> dict[str, Tensor]:
    """Add the tensors ``names`` to ``tensors``, dropping those that are used up and not kept."""
    wanted = set(names)
    nodes = [node for node in network.nodes if node.name in wanted]
    last_use = {name: node.name for node in nodes for name in node.inputs}
    for node in nodes:
        tensors[node.name] = apply(node.op, [tensors[name] for name in node.inputs])
        for name in dict.fromkeys(node.inputs):
            if last_use[name] == node.name and name not in keep:
                del tensors[name]
    return tensors


def _pad(x: Tensor, pads: Pads, value: float) -> Tensor:
    top, left, bottom, right = pads
    if not any(pads):
        return x
    images, channels, height, width = x.shape
    padded = np.full(
        (channels, images, height + top + bottom, width + left + right), value, dtype=x.dtype
    )
    padded[:, :, top : top + height, left : left + width] = x.swapaxes(0, 1)
    return padded.swapaxes(0, 1)


def _taps(count: int, size: int, stride: int, dilation: int) -> list[slice]:
    """For each tap of a kernel along one axis, the positions that it reads in turn."""
    span = (count - 1) * stride + 1
    return [slice(k * dilation, k * dilation + span, stride) for k in range(size)]


def _conv(op: Conv, x: Tensor) -> Tensor:
    padded = _pad(x, op.pads, 0)
    size: Pair = (padded.shape[2], padded.shape[3])
    oh, ow = window_shape(size, op.kernel, op.strides, (0, 0, 0, 0), op.dilations)
    rows = _taps(oh, op.kernel[0], op.strides[0], op.dilations[0])
    columns = _taps(ow, op.kernel[1], op.strides[1], op.dilations[1])
    weight = op.weight.astype(x.dtype)
    filters, depth = weight.shape[:2]
    source = padded.swapaxes(0, 1)
    out = np.empty((filters, len(x), oh, ow), dtype=x.dtype)
    if depth == 1 and filters == op.groups:
        _depthwise(weight, source, rows, columns, out)
    else:
        elements = source.shape[0] * op.kernel[0] * op.kernel[1] * oh * ow
        step = max(1, _COLUMN_ELEMENTS // elements)
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            _matrix_product(weight, op.groups, source[:, part], rows, columns, out[:, part])
    out += op.bias.astype(x.dtype)[:, None, None, None]
    return out.swapaxes(0, 1)


def _depthwise(
    weight: Tensor, source: Tensor, rows: list[slice], columns: list[slice], out: Tensor
) -> None:
    out[:] = 0
    for r, row in enumerate(rows):
        for s, column in enumerate(columns):
            out += source[:, :, row, column] * weight[:, 0, r, s, None, None, None]


def _matrix_product(
    weight: Tensor,
    groups: int,
    source: Tensor,
    rows: list[slice],
    columns: list[slice],
    out: Tensor,
) -> None:
    channels, images = source.shape[:2]
    filters, _, oh, ow = out.shape
    unfolded = np.empty((channels, len(rows), len(columns), images, oh, ow), dtype=out.dtype)
    for r, row in enumerate(rows):
        for s, column in enumerate(columns):
            unfolded[:, r, s] = source[:, :, row, column]
    product = np.matmul(
        weight.reshape(groups, filters // groups, -1),
        unfolded.reshape(groups, -1, images * oh * ow),
    )
    out[:] = product.reshape(filters, images, oh, ow)


def _pool(
    combine: np.ufunc, padded: Tensor, kernel: Pair, strides: Pair, dilations: Pair
) -> Tensor:
    """Combine each window, first down its columns, then along its row."""
    size: Pair = (padded.shape[2], padded.shape[3])
    oh, ow = window_shape(size, kernel, strides, (0, 0, 0, 0), dilations)
    if kernel[0] == size[0]:
        x: Tensor = combine.reduce(padded, axis=2, keepdims=True)
    else:
        first, *others = _taps(oh, kernel[0], strides[0], dilations[0])
        x = padded[:, :, first].copy(order="K")
        for rows in others:
            combine(x, padded[:, :, rows], out=x)
    if kernel[1] == size[1]:
        y: Tensor = combine.reduce(x, axis=3, keepdims=True)
    else:
        first, *others = _taps(ow, kernel[1], strides[1], dilations[1])
        y = x[:, :, :, first].copy(order="K")
        for columns in others:
            combine(y, x[:, :, :, columns], out=y)
    return y


def _activation(op: Activation, x: Tensor) -> Tensor:
    parameters = [p.astype(x.dtype)[:, None, None] for p in op.parameters]
    if op.pre != 1:
        x = x * x.dtype.type(op.pre)
    match op.kind:
        case "relu":
            y = np.maximum(x, 0)
        case "leaky_relu" | "prelu":
            y = np.where(x < 0, x * parameters[0], x)
        case "clip":
            y = np.clip(x, *parameters)
        case "sigmoid":
            y = _sigmoid(x)
        case "tanh":
            y = np.tanh(x)
        case "hard_sigmoid":
            y = np.clip(x * parameters[0] + parameters[1], 0, 1)
        case "erf":
            y = erf(x)
        case "exp":
            y = np.exp(x)
        case "elu":
            y = np.where(x < 0, parameters[0] * np.expm1(np.minimum(x, 0)), x)
        case "softplus":
            y = np.logaddexp(x, 0)
        case "silu":
            y = x * _sigmoid(x)
        case "gelu":
            y = x * (1 + erf(x * math.sqrt(1 / 2))) / 2
        case "gelu_tanh":
            y = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2
        case "hard_swish":
            y = x * np.clip(x / 6 + 0.5, 0, 1)
        case "mish":
            y = x * np.tanh(np.logaddexp(x, 0))
        case _:
            raise ValueError(f"Activation must be a known kind, not {op.kind!r}")
    return y * x.dtype.type(op.post) if op.post != 1 else y


def _sigmoid(x: Tensor) -> Tensor:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, 1) / (1 + small))


def _piecewise_linear(op: PiecewiseLinear, x: Tensor) -> Tensor:
    y = np.empty_like(x)
    groups = [slice(None)] if len(op.slopes) == 1 else [slice(c, c + 1) for c in range(x.shape[1])]
    for index, group in enumerate(groups):
        part = x[:, group]
        segment = np.searchsorted(op.breakpoints[index].astype(x.dtype), part, side="right")
        slopes, offsets = op.slopes[index].astype(x.dtype), op.offsets[index].astype(x.dtype)
        y[:, group] = slopes[segment] * part + offsets[segment]
    return y
