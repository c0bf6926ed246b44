"""Channels that are one number at every pixel of every image, and what that spares their readers.

A filter of zeros gives its bias everywhere, and an activation or a pool behind it what it makes of
that number. A layer that reads such a channel takes the number times its weights into its bias.
That is exact where no weight meets zeros of the padding at some pixels and the constant at others,
and always if the constant is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.network.execute import apply
from hwgen.network.shapes import average_divisors, window_counts
from hwgen.network.types import (
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    FloatArray,
    MaxPool,
    Network,
    Node,
    Shape,
    Softmax,
)
from hwgen.slim.liveness import read_channels

__all__ = ["constant_channels", "constant_obstacles", "fold_constants"]

_Mask = npt.NDArray[np.bool_]


def constant_channels(network: Network) -> dict[str, FloatArray]:
    """The constant of every channel (C,) of every tensor, NaN where it is none.

    What is constant only because of the images, or of the range of an activation, does not count.
    """
    return _fold(network)[1]


def fold_constants(network: Network) -> Network:
    """``network`` in which no weight reads a constant channel that a bias can stand for.

    Nodes and shapes stay, and the output is the same for every image but for rounding. Filters
    that are constant have no weights, and taps that meet nothing but padding are zero.
    """
    return _fold(network)[0]


def _fold(network: Network) -> tuple[Network, dict[str, FloatArray]]:
    shapes = {network.input_name: network.input_shape}
    constants = {network.input_name: np.full(network.input_shape[0], np.nan)}
    nodes = []
    for node in network.nodes:
        sources = [constants[name] for name in node.inputs]
        shapes[node.name] = node.shape
        if isinstance(node.op, Conv):
            op, constants[node.name] = _fold_into(node, shapes[node.inputs[0]], sources[0])
            nodes.append(node if op is node.op else replace(node, op=op))
        else:
            constants[node.name] = _through(node, shapes[node.inputs[0]], sources)
            nodes.append(node)
    return replace(network, nodes=tuple(nodes)), constants


@dataclass(frozen=True, eq=False)
class _Coverage:
    """Taps (KH, KW) that meet real pixels ``always``, and those that ``never`` do."""

    always: _Mask
    never: _Mask


def _coverage(op: Conv, source: Shape, target: Shape) -> _Coverage:
    always, never = [], []
    for axis in (0, 1):
        starts = np.arange(target[1 + axis]) * op.strides[axis] - op.pads[axis]
        places = starts + np.arange(op.kernel[axis])[:, None] * op.dilations[axis]
        inside = (places >= 0) & (places < source[1 + axis])
        always.append(inside.all(axis=1))
        never.append(~inside.any(axis=1))
    return _Coverage(np.logical_and.outer(*always), np.logical_or.outer(*never))


def _fold_into(node: Node, source: Shape, values: FloatArray) -> tuple[Conv, FloatArray]:
    """The convolution of ``node`` with constants ``values`` in its bias, and its own constants."""
    op = node.op
    assert isinstance(op, Conv)
    coverage = _coverage(op, source, node.shape)
    weight = op.weight
    if weight[:, :, coverage.never].any():
        weight = np.where(coverage.never, 0.0, weight)
    reads = np.any(weight, axis=(2, 3))
    bias = op.bias
    if not np.isnan(values).all():
        depth = weight.shape[1]
        owner = np.arange(len(weight)) // (len(weight) // op.groups)
        read = values[owner[:, None] * depth + np.arange(depth)]
        unsteady = np.any(weight[:, :, ~(coverage.always | coverage.never)], axis=2)
        folded = reads & ~np.isnan(read) & ((read == 0) | ~unsteady)
        if folded.any():
            amounts = np.where(folded, read, 0.0) * weight.sum(axis=(2, 3))
            bias = bias + amounts.sum(axis=1)
            weight = np.where(folded[:, :, None, None], 0.0, weight)
            reads &= ~folded
    constants = np.where(np.any(reads, axis=1), np.nan, bias)
    return (op if weight is op.weight else replace(op, weight=weight, bias=bias)), constants


def _through(node: Node, source: Shape, sources: list[FloatArray]) -> FloatArray:
    """Constants of what a node other than a convolution makes of tensors with ``sources``."""
    match node.op:
        case Concat():
            return np.concatenate(sources)
        case Add():
            total: FloatArray = np.sum(sources, axis=0)
            return total
        case Softmax() | ArgMax():
            return np.full(node.shape[0], np.nan)
        case MaxPool():
            return sources[0]
        case AveragePool() as op:
            shares = _real_shares(op, source, node.shape)
            even = np.all(shares == shares.flat[0])
            share = float(shares.flat[0]) if even else np.nan
            return np.where(sources[0] == 0, 0.0, sources[0] * (op.gain * share))
        case op:
            known = np.isfinite(sources[0])
            tensor = np.where(known, sources[0], 0.0).reshape(1, -1, 1, 1)
            return np.where(known, apply(op, [tensor]).reshape(-1), np.nan)


def _real_shares(op: AveragePool, source: Shape, target: Shape) -> FloatArray:
    """Real pixels of each window (OH, OW) of an average pool over what it divides by."""
    rows, columns = (
        window_counts(
            source[1 + axis],
            op.kernel[axis],
            op.strides[axis],
            op.pads[axis],
            target[1 + axis],
        )
        for axis in (0, 1)
    )
    shares: FloatArray = np.outer(rows, columns) / average_divisors(op, source)
    return shares


def constant_obstacles(network: Network) -> dict[str, dict[int, str | None]]:
    """Why constant channels of convolutions cannot join biases, as sentences; None if they can.

    By the convolution's name and the channel. Such a channel may stay nevertheless, because numbers
    of channels are tied by an Add or by groups.
    """
    folded, constants = _fold(network)
    read = read_channels(folded)
    return {
        node.name: {
            channel: next(_obstacles(folded, constants, read, node.name, channel), None)
            for channel in np.flatnonzero(~np.isnan(constants[node.name])).tolist()
        }
        for node, _ in network.convs()
    }


def _obstacles(
    network: Network,
    constants: dict[str, FloatArray],
    read: dict[str, _Mask],
    tensor: str,
    channel: int,
) -> Iterator[str]:
    """Whatever reads a constant channel of a network with folded constants, as sentences."""
    if tensor == network.output:
        yield f"{tensor!r} is the output of the network"
    for node in network.consumers(tensor):
        if isinstance(node.op, Conv):
            op = node.op
            depth, filters = op.weight.shape[1], len(op.weight) // op.groups
            group = slice(channel // depth * filters, (channel // depth + 1) * filters)
            if op.weight[group, channel % depth][read[node.name][group]].any():
                yield (
                    f"Layer {node.name!r} reads zeros of its padding beside the constant "
                    f"{constants[tensor][channel]:g} of {tensor!r}"
                )
            continue
        for place in _places(network, node, tensor, channel):
            if not read[node.name][place]:
                continue
            if not np.isnan(constants[node.name][place]):
                yield from _obstacles(network, constants, read, node.name, place)
            elif isinstance(node.op, Add):
                yield f"{node.name!r} adds {tensor!r} to what is not constant"
            elif isinstance(node.op, AveragePool):
                yield (
                    f"{node.name!r} counts zeros of its padding beside the constant "
                    f"{constants[tensor][channel]:g} of {tensor!r}"
                )
            else:
                yield f"{node.name!r} needs every channel of {tensor!r}"


def _places(network: Network, node: Node, tensor: str, channel: int) -> Iterator[int]:
    """Channels of what ``node`` writes, which is no convolution, that channel is part of."""
    if isinstance(node.op, ArgMax):
        yield 0
    elif isinstance(node.op, Concat):
        start = 0
        for name in node.inputs:
            if name == tensor:
                yield start + channel
            start += network.shape(name)[0]
    else:
        yield channel
