"""Run a network in PyTorch, with gradients that pass straight through what rounds.

Tensors have shape (N, C, H, W), as in :mod:`hwgen.network.execute`, whose results these are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwgen.network.shapes import average_divisors
from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    FloatArray,
    MaxPool,
    Network,
    Node,
    Op,
    Pads,
    PiecewiseLinear,
    Quantise,
    Softmax,
)

__all__ = ["run_suffix", "run_torch", "straight_through", "to_tensor"]

_POINTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "exp": torch.exp,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "hard_swish": F.hardswish,
    "mish": F.mish,
}


def straight_through(forward: Tensor, backward: Tensor) -> Tensor:
    """``forward`` as a value, with the gradient of ``backward``."""
    return backward + (forward - backward).detach()


def to_tensor(array: FloatArray) -> Tensor:
    """``array`` in single precision."""
    return torch.from_numpy(np.array(array, dtype=np.float32))


def run_torch(
    network: Network,
    x: Tensor,
    layers: Mapping[str, tuple[Tensor, Tensor]],
    smooth: Mapping[str, Op] | None = None,
) -> Tensor:
    """Output of ``network`` for the images ``x``.

    Parameters
    ----------
    network
        What to run.
    x
        Images (N, C, H, W), float32.
    layers
        Weights (OIHW) and biases (O,) of linear layers, by node name, in place of the network's.
    smooth
        Operators by node name whose gradient stands in for that of the network's own operator.
    """
    return run_suffix(network, {network.input_name: x}, layers, smooth)


def run_suffix(
    network: Network,
    known: Mapping[str, Tensor],
    layers: Mapping[str, tuple[Tensor, Tensor]],
    smooth: Mapping[str, Op] | None = None,
) -> Tensor:
    """Output of ``network`` behind the tensors ``known``, by name; otherwise :func:`run_torch`."""
    tensors = dict(known)
    for node in _needed(network, known):
        inputs = [tensors[name] for name in node.inputs]
        if isinstance(node.op, Conv):
            weight, bias = layers.get(node.name) or (
                to_tensor(node.op.weight),
                to_tensor(node.op.bias),
            )
            y = _conv(node.op, inputs[0], weight, bias)
        else:
            y = _apply(node.op, inputs)
            if smooth and node.name in smooth:
                y = straight_through(y, _apply(smooth[node.name], inputs))
        tensors[node.name] = y
    return tensors[network.output]


def _needed(network: Network, known: Collection[str]) -> list[Node]:
    """Nodes, in order, that the output needs behind the tensors ``known``."""
    wanted, nodes = {network.output}, []
    for node in reversed(network.nodes):
        if node.name in wanted and node.name not in known:
            wanted.update(node.inputs)
            nodes.append(node)
    return nodes[::-1]


def _conv(op: Conv, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(_pad(x, op.pads, 0.0), weight, bias, op.strides, 0, op.dilations, op.groups)


def _pad(x: Tensor, pads: Pads, value: float) -> Tensor:
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _apply(op: Op, xs: list[Tensor]) -> Tensor:
    x = xs[0]
    match op:
        case Conv():
            return _conv(op, x, to_tensor(op.weight), to_tensor(op.bias))
        case Activation():
            return _activation(op, x)
        case PiecewiseLinear():
            return _piecewise_linear(op, x)
        case MaxPool():
            padded = _pad(x, op.pads, -float("inf"))
            return F.max_pool2d(padded, op.kernel, op.strides, 0, op.dilations)
        case AveragePool():
            top, left, bottom, right = op.pads
            below, beside = op.ceil_pads
            padded = _pad(x, (top, left, bottom + below, right + beside), 0.0)
            total = F.avg_pool2d(padded, op.kernel, op.strides, divisor_override=1)
            _, channels, height, width = x.shape
            return total * to_tensor(op.gain / average_divisors(op, (channels, height, width)))
        case Add():
            return torch.stack(xs).sum(dim=0)
        case Concat():
            return torch.cat(xs, dim=1)
        case Quantise():
            ends = [(end - op.zero_point) * op.scale for end in (op.lo, op.hi)]
            inside = x.clamp(*ends)
            whole = (x / op.scale + op.zero_point).round().clamp(op.lo, op.hi)
            return straight_through((whole - op.zero_point) * op.scale, inside)
        case Softmax():
            return F.log_softmax(x, dim=1) if op.log else F.softmax(x, dim=1)
        case ArgMax():
            return x.argmax(dim=1, keepdim=True).to(x.dtype)
        case _:
            assert_never(op)


def _activation(op: Activation, x: Tensor) -> Tensor:
    parameters = [to_tensor(p).reshape(-1, 1, 1) for p in op.parameters]
    x = op.pre * x
    match op.kind:
        case "leaky_relu" | "prelu":
            y = torch.where(x < 0, x * parameters[0], x)
        case "clip":
            y = torch.minimum(torch.maximum(x, parameters[0]), parameters[1])
        case "hard_sigmoid":
            y = (x * parameters[0] + parameters[1]).clamp(0, 1)
        case "elu":
            y = torch.where(x < 0, parameters[0] * torch.expm1(x.clamp_max(0)), x)
        case "gelu_tanh":
            y = F.gelu(x, approximate="tanh")
        case _ if op.kind in _POINTWISE:
            y = _POINTWISE[op.kind](x)
        case _:
            raise ValueError(f"Activation must be a known kind, not {op.kind!r}")
    return op.post * y


def _piecewise_linear(op: PiecewiseLinear, x: Tensor) -> Tensor:
    channels = x.shape[1]
    flat = x.transpose(0, 1).reshape(channels, -1).contiguous()
    knots, slopes, offsets = (
        to_tensor(values).expand(channels, -1).contiguous()
        for values in (op.breakpoints, op.slopes, op.offsets)
    )
    segment = torch.searchsorted(knots, flat.detach(), right=True)
    y = slopes.gather(1, segment) * flat + offsets.gather(1, segment)
    return y.reshape(channels, len(x), *x.shape[2:]).transpose(0, 1)
