"""Convolutions and matrix products."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hwgen.network.frontend.layout import View, is_identity
from hwgen.network.frontend.lowering import Handler, Lowering, Result
from hwgen.network.frontend.read import MAX_ELEMENTS, OnnxNode
from hwgen.network.frontend.windows import window
from hwgen.network.types import Conv, FloatArray

__all__ = ["HANDLERS"]


def _conv(low: Lowering, node: OnnxNode) -> Result:
    tensor = low.image(node)
    weight = low.required(node, 1)
    if weight.ndim != 4 or weight.size == 0:
        raise node.unsupported(f"weights must be (O, I, KH, KW), not {weight.shape}")
    kernel = (weight.shape[2], weight.shape[3])
    if node.integers("kernel_shape", kernel) != kernel:
        raise node.wrong(f"kernel_shape contradicts weights of shape {weight.shape}")
    bias = low.numbers(node, 2)
    if bias is None:
        bias = np.zeros(len(weight))
    place = window(node, kernel, low.shapes[tensor])
    groups = node.integer("group", 1)
    op = Conv(weight, bias, place.strides, place.pads, place.dilations, groups)
    return low.result(low.emit(node, op, [tensor]))


def _gemm(low: Lowering, node: OnnxNode) -> Result:
    left, right = low.value(node, 0), low.value(node, 1)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if isinstance(right, View) and not isinstance(left, View):
        raise node.unsupported("its weights must be the second factor")
    view, weight = low.view(node), low.required(node, 1)
    if view.rank != 2 or weight.ndim != 2:
        raise node.wrong("both factors must have two dimensions")
    if node.integer("transA", 0):
        view = view.transposed((1, 0))
    weight = weight if node.integer("transB", 0) else weight.T
    result = _dense(low, node, view, alpha * weight)
    bias = low.numbers(node, 2)
    if bias is None:
        return result
    return low.scaled(node, result, np.ones(()), beta * bias)


def _matmul(low: Lowering, node: OnnxNode) -> Result:
    if not isinstance(low.value(node, 0), View):
        raise node.unsupported("its weights must be the second factor")
    view, weight = low.view(node), low.required(node, 1)
    while weight.ndim > 2 and len(weight) == 1:
        weight = weight[0]
    if weight.ndim != 2:
        raise node.unsupported(f"its weights must have two dimensions, not {weight.ndim}")
    if view.index.ndim == 0 or view.axis(view.rank - 1) is None:
        raise node.unsupported("it would mix the images of a batch")
    depth = view.index.shape[-1]
    if view.index.size == depth:
        flat = replace(view, index=view.index.reshape(depth), batch=view.batch and 0)
        made = _dense(low, node, flat, weight.T)
        shape = (*view.index.shape[:-1], weight.shape[1])
        return replace(made, index=made.index.reshape(shape), batch=view.batch)
    return _pointwise_product(low, node, view, weight)


def _pointwise_product(low: Lowering, node: OnnxNode, view: View, weight: FloatArray) -> View:
    """Matrix product over the last axis of (N, H, W, C) or (N, H * W, C): a 1x1 convolution."""
    depth, outputs = weight.shape
    if view.index.shape[-1] != depth or view.batch != 0:
        raise node.wrong(f"weights {weight.shape} do not fit {low.text(view)}")
    size = low.shapes[view.tensor][1:]
    positions = view.index.shape[:-1]
    if math.prod(positions) != math.prod(size):
        raise node.unsupported(f"hwgen cannot multiply {low.text(view)} as pixels")
    image = replace(view, index=view.index.reshape(*size, depth).transpose(2, 0, 1))
    op = Conv(weight.T.reshape(outputs, depth, 1, 1), np.zeros(outputs))
    made = low.result(low.emit(node, op, [low.pixels(node, image)]))
    return replace(made, index=made.index.transpose(1, 2, 0).reshape(*positions, outputs))


def _dense(low: Lowering, node: OnnxNode, view: View, weight: FloatArray) -> View:
    """Fully connected layer with ``weight`` (outputs, inputs) on a vector (N, inputs)."""
    if view.batch not in {0, None} or view.index.ndim != 1:
        raise node.unsupported("it would mix the images of a batch")
    outputs, depth = weight.shape
    if depth != view.index.size or 0 in weight.shape:
        raise node.wrong(f"weights {weight.T.shape} do not fit {low.text(view)}")
    shape = low.shapes[view.tensor]
    if outputs * math.prod(shape) > max(MAX_ELEMENTS, weight.size):
        raise node.unsupported(f"it would need more than {MAX_ELEMENTS} weights")
    full = weight
    if not is_identity(view.index, (math.prod(shape),)):
        full = np.zeros((math.prod(shape), outputs))
        taken = np.flatnonzero(view.index >= 0)
        np.add.at(full, view.index[taken], weight.T[taken])
        full = full.T
    op = Conv(full.reshape(outputs, *shape), np.zeros(outputs))
    tensor = low.emit(node, op, [view.tensor])
    return View(tensor, np.arange(outputs, dtype=np.int64), view.batch)


HANDLERS: dict[str, Handler] = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
