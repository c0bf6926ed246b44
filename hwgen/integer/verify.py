"""Consistency of an integer network: names, order, shapes, ranges and parameters."""

from __future__ import annotations

from hwgen.errors import VerifyError
from hwgen.integer.columns import window_columns
from hwgen.integer.ranges import output_ranges
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
from hwgen.network.shapes import window_shape
from hwgen.network.types import Shape

__all__ = ["node_shape", "verify"]


def verify(network: IntegerNetwork) -> IntegerNetwork:
    """Return ``network`` unchanged if it is consistent.

    Raises
    ------
    VerifyError
        Naming the first node that reads a later tensor, has the wrong shape, or whose ranges are
        not the ones that follow from its inputs.
    """
    known = {network.input_name}
    for node in network.nodes:
        for name in node.inputs:
            if name not in known:
                raise VerifyError(f"Node {node.name!r} reads {name!r}, not an earlier tensor")
        if node.name in known:
            raise VerifyError(f"Two tensors are named {node.name!r}")
        shape = node_shape(network, node)
        if node.shape != shape:
            raise VerifyError(f"Node {node.name!r} has shape {node.shape}, but computes {shape}")
        ranges = output_ranges(
            node.op,
            [network.ranges(name) for name in node.inputs],
            network.shape(node.inputs[0]),
            node.shape,
        )
        if ranges != node.ranges:
            raise VerifyError(
                f"Node {node.name!r} states ranges that do not follow from its inputs"
            )
        if len(node.scale) != node.shape[0]:
            raise VerifyError(f"Node {node.name!r} needs one scale a channel")
        known.add(node.name)
    if network.output not in known:
        raise VerifyError(f"The output {network.output!r} is not a tensor of the network")
    return network


def node_shape(network: IntegerNetwork, node: IntNode) -> Shape:
    """Shape of what ``node`` computes of earlier tensors of ``network``.

    Raises
    ------
    VerifyError
        If its parameters do not fit what it reads.
    """
    shapes = [network.shape(name) for name in node.inputs]
    channels, *rest = shapes[0]
    size = (rest[0], rest[1])
    match node.op:
        case Conv() as op:
            if op.weight.shape[1] * op.groups != channels or len(op.bias) != len(op.weight):
                raise VerifyError(f"Node {node.name!r} has weights that do not fit its input")
            rows, columns = window_shape(size, op.kernel, op.strides, op.pads, op.dilations)
            return (len(op.weight), rows, columns)
        case MaxPool() as op:
            whole = (size[0], size[1] * op.pixels)
            rows, columns = window_shape(whole, op.kernel, op.strides, op.pads, op.dilations)
            pixels = window_columns(op, whole[1]).pixels_out
            return (channels // op.pixels * pixels, rows, columns // pixels)
        case SumPool() as op:
            return (
                channels,
                *window_shape(size, op.kernel, op.strides, op.pads, (1, 1)),
            )
        case Requantise() as op:
            if op.multiplier.shape not in ((channels, 1, 1), (1, *size)):
                raise VerifyError(f"Node {node.name!r} has multipliers that do not fit its input")
            return shapes[0]
        case PiecewiseLinear() as op:
            if len(op.slopes) not in (1, channels):
                raise VerifyError(f"Node {node.name!r} has functions that do not fit its input")
            return shapes[0]
        case Add():
            return shapes[0]
        case Concat():
            return (sum(shape[0] for shape in shapes), *size)
        case ArgMax():
            return (1, 1, 1)
