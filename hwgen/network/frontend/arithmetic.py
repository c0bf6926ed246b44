"""Sums, products with constants, normalisation and the joining of branches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from hwgen.network.frontend.layout import View
from hwgen.network.frontend.lowering import Handler, Lowering, Result
from hwgen.network.frontend.read import OnnxNode
from hwgen.network.types import Add, Concat, FloatArray

__all__ = ["HANDLERS"]

_ONE = np.ones(())
_ZERO = np.zeros(())


def _add(low: Lowering, node: OnnxNode) -> Result:
    """Add and Sum."""
    views = [k for k in range(len(node.inputs)) if isinstance(low.value(node, k), View)]
    total = _sum(low, node, [low.view(node, k) for k in views])
    for position in set(range(len(node.inputs))) - set(views):
        total = low.scaled(node, total, _ONE, low.required(node, position))
    return total


def _sub(low: Lowering, node: OnnxNode) -> Result:
    left, right = low.value(node, 0), low.value(node, 1)
    if not isinstance(right, View):
        return low.scaled(node, low.view(node), _ONE, -low.required(node, 1))
    negative = low.scaled(node, low.view(node, 1), -_ONE, _ZERO)
    if not isinstance(left, View):
        return low.scaled(node, negative, _ONE, low.required(node, 0))
    return _sum(low, node, [low.view(node, 0), negative])


def _sum(low: Lowering, node: OnnxNode, views: list[View]) -> View:
    first = views[0]
    if any(view.shape(low.batch) != first.shape(low.batch) for view in views):
        raise node.unsupported("hwgen adds tensors of equal shape alone, without broadcasting")
    if len(views) == 1:
        return first
    rooted = [low.rooted(node, view) for view in views]
    first = rooted[0]
    if all(_aligned(low, a, b) for a, b in pairwise(rooted)):
        tensor = low.emit(node, Add(), [view.tensor for view in rooted])
        return replace(first, tensor=tensor)
    tensor = low.emit(node, Add(), [low.pixels(node, view) for view in rooted])
    flat = np.arange(first.index.size, dtype=np.int64)
    return View(tensor, flat.reshape(first.index.shape), first.batch)


def _same(a: View, b: View) -> bool:
    return a.batch == b.batch and np.array_equal(a.index, b.index)


def _aligned(low: Lowering, a: View, b: View) -> bool:
    return _same(a, b) and low.shapes[a.tensor] == low.shapes[b.tensor]


def _mul(low: Lowering, node: OnnxNode) -> Result:
    left, right = low.value(node, 0), low.value(node, 1)
    if isinstance(left, View) and isinstance(right, View):
        raise node.unsupported("hwgen cannot multiply two tensors that depend on the image")
    position = 0 if isinstance(left, View) else 1
    return low.scaled(node, low.view(node, position), low.required(node, 1 - position), _ZERO)


def _div(low: Lowering, node: OnnxNode) -> Result:
    if isinstance(low.value(node, 1), View):
        raise node.unsupported("hwgen cannot divide by a tensor that depends on the image")
    divisor = low.required(node, 1)
    if not np.all(np.abs(divisor) > np.finfo(np.float64).tiny):
        raise node.wrong("it divides by zero")
    return low.scaled(node, low.view(node), 1 / divisor, _ZERO)


def _neg(low: Lowering, node: OnnxNode) -> Result:
    return low.scaled(node, low.view(node), -_ONE, _ZERO)


def _batch_normalization(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node)
    if node.integer("training_mode", 0) or node.integer("spatial", 1) != 1:
        raise node.unsupported("export the model for inference, with statistics per channel")
    if any(node.outputs[1:]):
        raise node.unsupported("export the model for inference, with one output of this node")
    scale, bias, mean, variance = (low.required(node, k) for k in range(1, 5))
    if view.batch != 0 or view.index.ndim == 0:
        raise node.unsupported("it needs images (N, C, H, W) or vectors (N, C)")
    channels = view.index.shape[0]
    if any(each.shape != (channels,) for each in (scale, bias, mean, variance)):
        raise node.wrong(f"its statistics must have one number for each of {channels} channels")
    spread = variance + node.number("epsilon", 1e-5)
    if spread.min() <= 0:
        raise node.wrong("its variance plus epsilon must be positive")
    gain = scale / np.sqrt(spread)
    shape = (channels, *(1,) * (view.index.ndim - 1))
    offset = bias - gain * mean
    return low.scaled(node, view, gain.reshape(shape), offset.reshape(shape))


def _concat(low: Lowering, node: OnnxNode) -> Result:
    positions = range(len(node.inputs))
    views = [low.view(node, k) for k in positions if isinstance(low.value(node, k), View)]
    first = views[0]
    axis = node.integer("axis", 1)
    axis = axis + first.rank if axis < 0 else axis
    inner = first.axis(axis) if 0 <= axis < first.rank else None
    if inner is None:
        raise node.unsupported("hwgen cannot concatenate along the batch")
    if any(view.batch != first.batch for view in views):
        raise node.unsupported("its inputs have their images along different axes")
    rooted = [low.rooted(node, view) for view in views]
    if len({low.shapes[view.tensor][1:] for view in rooted}) > 1:
        rooted = [_as_vector(low, node, view) for view in rooted]
    if len({low.shapes[view.tensor][1:] for view in rooted}) > 1:
        raise node.unsupported("hwgen concatenates images of equal height and width, or vectors")
    tensors = list(dict.fromkeys(view.tensor for view in rooted))
    sizes = [int(np.prod(low.shapes[tensor])) for tensor in tensors]
    starts = dict(zip(tensors, np.cumsum([0, *sizes[:-1]]), strict=True))
    remaining = iter(rooted)
    parts = []
    for position in positions:
        if isinstance(low.value(node, position), View):
            view = next(remaining)
            parts.append(np.where(view.index < 0, -1, view.index + starts[view.tensor]))
        else:
            parts.append(_zeros(low, node, position, first))
    try:
        index = np.concatenate(parts, axis=inner)
    except ValueError:
        raise node.wrong("its inputs differ in more than the axis of concatenation") from None
    tensor = tensors[0] if len(tensors) == 1 else low.emit(node, Concat(), tensors)
    return View(tensor, index, first.batch)


def _as_vector(low: Lowering, node: OnnxNode, view: View) -> View:
    if view.index.ndim != 1:
        return view
    flat = np.arange(view.index.size, dtype=np.int64)
    return replace(view, tensor=low.pixels(node, view), index=flat)


def _zeros(low: Lowering, node: OnnxNode, position: int, like: View) -> np.ndarray:
    constant: FloatArray = low.required(node, position)
    if constant.any() or constant.ndim != like.rank:
        raise node.unsupported("hwgen can append zeros, but no other constants, to a tensor")
    dims = list(constant.shape)
    if like.batch is not None:
        del dims[like.batch]
    return np.full(dims, -1, dtype=np.int64)


HANDLERS: dict[str, Handler] = {
    "Add": _add,
    "BatchNormalization": _batch_normalization,
    "Concat": _concat,
    "Div": _div,
    "Mul": _mul,
    "Neg": _neg,
    "Sub": _sub,
    "Sum": _add,
}
