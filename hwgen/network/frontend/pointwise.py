"""Activations, and the Softmax and ArgMax that end a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.network.frontend.layout import View
from hwgen.network.frontend.lowering import Handler, Lowering, Result
from hwgen.network.frontend.read import OnnxNode
from hwgen.network.types import Activation, ArgMax, FloatArray, Softmax

__all__ = ["HANDLERS"]


def _plain(low: Lowering, node: OnnxNode) -> Result:
    """Operators without parameters that are an activation of the same name."""
    return low.pointwise(node, low.view(node), Activation(node.kind.lower()))


def _hard_swish(low: Lowering, node: OnnxNode) -> Result:
    return low.pointwise(node, low.view(node), Activation("hard_swish"))


def _gelu(low: Lowering, node: OnnxNode) -> Result:
    kinds = {"none": "gelu", "tanh": "gelu_tanh"}
    form = node.text("approximate", "none")
    if form not in kinds:
        raise node.wrong(f"its attribute 'approximate' must be 'none' or 'tanh', not {form!r}")
    return low.pointwise(node, low.view(node), Activation(kinds[form]))


def _elu(low: Lowering, node: OnnxNode) -> Result:
    """Elu, Selu and Celu: ``gamma * elu(x)`` and ``alpha * elu(x / alpha)``."""
    alpha, pre, post = node.number("alpha", 1.0), 1.0, 1.0
    if node.kind == "Selu":
        alpha = node.number("alpha", 1.67326319217681884765625)
        post = node.number("gamma", 1.05070102214813232421875)
    elif node.kind == "Celu":
        if alpha <= 0:
            raise node.unsupported(f"its alpha must be positive, not {alpha}")
        alpha, pre, post = 1.0, 1 / alpha, alpha
    return low.pointwise(node, low.view(node), Activation("elu", (np.array([alpha]),), pre, post))


def _leaky_relu(low: Lowering, node: OnnxNode) -> Result:
    slope = np.array([node.number("alpha", 0.01)])
    return low.pointwise(node, low.view(node), Activation("leaky_relu", (slope,)))


def _prelu(low: Lowering, node: OnnxNode) -> Result:
    view = low.rooted(node, low.view(node))
    slope = low.required(node, 1)
    slopes = low.per_channel(view, slope, 0.0)
    if slopes is None:
        raise node.unsupported("its slope must be a scalar or one number a channel")
    kind = "leaky_relu" if slope.size == 1 else "prelu"
    parameter: FloatArray = slope.reshape(1) if slope.size == 1 else slopes
    return low.pointwise(node, view, Activation(kind, (parameter,)))


def _hard_sigmoid(low: Lowering, node: OnnxNode) -> Result:
    parameters = (
        np.array([node.number("alpha", 0.2)]),
        np.array([node.number("beta", 0.5)]),
    )
    return low.pointwise(node, low.view(node), Activation("hard_sigmoid", parameters))


def _clip(low: Lowering, node: OnnxNode) -> Result:
    if low.opset < 11:
        lo, hi = (node.attributes.get(name) for name in ("min", "max"))
        bounds = [float(x) if isinstance(x, float) else None for x in (lo, hi)]
    else:
        bounds = [low.scalar(node, 1), low.scalar(node, 2)]
    return _bounded(low, node, low.view(node), bounds[0], bounds[1])


def _max_min(low: Lowering, node: OnnxNode) -> Result:
    """Max and Min of a tensor and one number."""
    position = 0 if isinstance(low.value(node, 0), View) else 1
    view = low.view(node, position)
    bound = low.scalar(node, 1 - position) if len(node.inputs) == 2 else None
    if bound is None:
        raise node.unsupported("hwgen takes the Max or Min of a tensor and one number alone")
    if node.kind == "Max":
        return _bounded(low, node, view, bound, None)
    return _bounded(low, node, view, None, bound)


def _bounded(low: Lowering, node: OnnxNode, view: View, lo: float | None, hi: float | None) -> View:
    lowest, highest = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
    lo = -np.inf if lo is None or lo <= lowest else lo
    hi = np.inf if hi is None or hi >= highest else hi
    if not lo <= hi or np.inf in (lo, -hi):
        raise node.wrong(f"its bounds {lo} and {hi} leave no values")
    if np.isinf(lo) and np.isinf(hi):
        return view
    if lo == 0 and np.isinf(hi):
        return low.pointwise(node, view, Activation("relu"))
    return low.pointwise(node, view, Activation("clip", (np.array([lo]), np.array([hi]))))


def _vector(low: Lowering, node: OnnxNode, axis: int) -> tuple[View, str]:
    """The input, a vector along ``axis`` in each image, and its network tensor."""
    view = low.view(node)
    inner = view.axis(axis + view.rank if axis < 0 else axis)
    if not -view.rank <= axis < view.rank or inner is None:
        raise node.unsupported("hwgen has it along the channels alone")
    if view.index.size != view.index.shape[inner]:
        raise node.unsupported(f"hwgen has it on vectors alone, not on a tensor {low.text(view)}")
    flat = replace(view, index=view.index.reshape(-1), batch=0)
    return view, low.pixels(node, flat)


def _softmax(low: Lowering, node: OnnxNode) -> Result:
    """Softmax and LogSoftmax; before operator set 13 all axes from ``axis`` on are one."""
    if low.opset < 13:
        view = low.view(node)
        axis = node.integer("axis", 1)
        ahead = view.shape(1)[: axis + view.rank if axis < 0 else axis]
        if view.batch != 0 or len(ahead) < 1 or set(ahead) != {1}:
            raise node.unsupported("hwgen has it over all channels of a vector alone")
        flat = replace(view, index=view.index.reshape(-1))
        tensor = low.pixels(node, flat)
    else:
        view, tensor = _vector(low, node, node.integer("axis", -1))
    made = low.emit(node, Softmax(log=node.kind == "LogSoftmax"), [tensor])
    flat_index = np.arange(view.index.size, dtype=np.int64)
    return View(made, flat_index.reshape(view.index.shape), view.batch)


def _arg_max(low: Lowering, node: OnnxNode) -> Result:
    if node.integer("select_last_index", 0):
        raise node.unsupported("hwgen picks the first of equal maxima; unset select_last_index")
    axis = node.integer("axis", 0)
    view, tensor = _vector(low, node, axis)
    made = low.emit(node, ArgMax(), [tensor])
    ones = (1,) * view.index.ndim
    if not node.integer("keepdims", 1):
        ones = ones[1:]
    batch = view.batch
    if batch is not None and not node.integer("keepdims", 1):
        batch -= (axis + view.rank if axis < 0 else axis) < batch
    return View(made, np.zeros(ones, dtype=np.int64), batch)


HANDLERS: dict[str, Handler] = {
    "ArgMax": _arg_max,
    "Celu": _elu,
    "Clip": _clip,
    "Elu": _elu,
    "Erf": _plain,
    "Exp": _plain,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _softmax,
    "Max": _max_min,
    "Min": _max_min,
    "Mish": _plain,
    "PRelu": _prelu,
    "Relu": _plain,
    "Selu": _elu,
    "Sigmoid": _plain,
    "Softmax": _softmax,
    "Softplus": _plain,
    "Tanh": _plain,
}
