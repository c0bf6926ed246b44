"""What the operators of an integer network are on an NFU: sums, or maxima, of convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from hwgen.errors import UnsupportedError
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
from hwgen.nfu.planes import plane_weights
from hwgen.numeric import IntArray

__all__ = ["Addend", "Layer", "lower"]


@dataclass(frozen=True, eq=False)
class Addend:
    """A convolution of the stored tensor ``tensor``; the bias of ``op`` is the layer's."""

    tensor: str
    op: Conv


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of the NFU.

    Parameters
    ----------
    node : IntNode
        The operator whose sums (or greatest values) NFU-2 computes.
    addends : tuple of Addend
        What is summed up; in a layer with ``maximum`` there is one, whose weights are 0 and 1, and
        the greatest of its products is taken.
    scale : Requantise or None
        What NFU-3 does with the sums; None if they are stored as they are.
    output : str
        Stored tensor that the layer writes.
    function : PiecewiseLinear or None
        What NFU-3 applies to the sums, or to what ``scale`` makes of them.
    """

    node: IntNode
    addends: tuple[Addend, ...]
    scale: Requantise | None
    output: str
    maximum: bool = False
    function: PiecewiseLinear | None = None

    @property
    def keeps_shifts(self) -> bool:
        """Whether it hands on the elements of its input, whatever their shifts."""
        return isinstance(self.node.op, MaxPool | Concat)

    @property
    def channelwise(self) -> bool:
        """Whether an output channel is made of the same channel of each input."""
        return all(
            addend.op.groups == len(addend.op.weight) and addend.op.weight.shape[1] == 1
            for addend in self.addends
        )

    @property
    def bias(self) -> IntArray:
        """Constant (C,) of each sum."""
        return np.sum([addend.op.bias for addend in self.addends], axis=0, dtype=np.int64)


def lower(network: IntegerNetwork, *, planes: int = 1) -> tuple[list[Layer], str]:
    """Layers of ``network`` in order, and the stored tensor from which the output is read.

    With ``planes``, the image lies in memory as its bits (:mod:`hwgen.nfu.planes`).

    An ArgMax at the end is left to who reads the output. Concatenations are no layers, apart from
    copies ``NAME/k`` of those of their inputs that are needed elsewhere too: the others are written
    where the concatenation lies.

    Raises
    ------
    UnsupportedError
        If an operator is none of the NFU's.
    """
    output = network.output
    if output != network.input_name and isinstance(network.node(output).op, ArgMax):
        output = network.node(output).inputs[0]
    layers = [layer for node in network.nodes for layer in _layers(network, node)]
    if planes > 1:
        layers = [_of_planes(network, layer, planes) for layer in layers]
    return layers, output


def _of_planes(network: IntegerNetwork, layer: Layer, planes: int) -> Layer:
    """The layer, whose convolutions of the image are of its planes."""
    signed = network.input_format.signed
    addends = tuple(
        replace(addend, op=plane_weights(addend.op, planes, signed=signed))
        if addend.tensor == network.input_name
        else addend
        for addend in layer.addends
    )
    return replace(layer, addends=addends)


def _layers(network: IntegerNetwork, node: IntNode) -> Iterator[Layer]:
    channels = len(node.ranges)
    match node.op:
        case Conv() as op:
            yield _scaled(network, node, (Addend(node.inputs[0], op),))
        case SumPool() as op:
            ones = np.ones((channels, 1, *op.kernel), dtype=np.int64)
            pool = Conv(ones, np.zeros(channels, np.int64), op.strides, op.pads, groups=channels)
            yield _scaled(network, node, (Addend(node.inputs[0], pool),))
        case MaxPool() as op:
            ones = np.ones((channels, 1, *op.kernel), dtype=np.int64)
            zeros = np.zeros(channels, np.int64)
            pool = Conv(ones, zeros, op.strides, op.pads, op.dilations, groups=channels)
            yield Layer(node, (Addend(node.inputs[0], pool),), None, node.name, maximum=True)
        case Add() as op:
            pairs = zip(node.inputs, op.shifts, strict=True)
            addends = tuple(Addend(name, _identity(channels, shift)) for name, shift in pairs)
            yield _scaled(network, node, addends)
        case Requantise() | PiecewiseLinear():
            if not _is_fused(network, node):
                addends = (Addend(node.inputs[0], _identity(channels)),)
                # the ranges of the sums are those of the input
                ranges = network.ranges(node.inputs[0])
                yield _finished(network, replace(node, ranges=ranges), addends, node)
        case Concat():
            for k, name in enumerate(node.inputs):
                if not is_part(network, name):
                    shape, ranges = network.shape(name), network.ranges(name)
                    copy = IntNode(
                        *(node.name, node.op, (name,), shape, ranges),
                        *(network.scale(name), node.origin),
                    )
                    addend = Addend(name, _identity(shape[0]))
                    yield Layer(copy, (addend,), None, f"{node.name}/{k}")
        case ArgMax():
            if node.name != network.output:
                raise UnsupportedError(
                    f"Layer {node.name!r}: ArgMax is left to who reads the output, so nothing can "
                    "follow it"
                )
        case _:
            assert_never(node.op)


def is_part(network: IntegerNetwork, tensor: str) -> bool:
    """Whether a tensor lies in the concatenation that reads it, and nowhere else."""
    consumers = network.consumers(tensor)
    return (
        tensor not in (network.input_name, network.output)
        and len(consumers) == 1
        and isinstance(consumers[0].op, Concat)
        and consumers[0].inputs.count(tensor) == 1
    )


def _identity(channels: int, shift: int = 0) -> Conv:
    weight = np.full((channels, 1, 1, 1), 1 << shift, dtype=np.int64)
    return Conv(weight, np.zeros(channels, np.int64), groups=channels)


def _scaled(network: IntegerNetwork, node: IntNode, addends: tuple[Addend, ...]) -> Layer:
    """The layer whose sums are those of ``node``, with what it is fused with."""
    consumers = network.consumers(node.name)
    if len(consumers) == 1 and _is_fused(network, consumers[0]):
        return _finished(network, node, addends, consumers[0])
    return Layer(node, addends, None, node.name)


def _finished(
    network: IntegerNetwork, sums: IntNode, addends: tuple[Addend, ...], node: IntNode
) -> Layer:
    """The layer whose sums are handed to ``node``, and to a function behind it that is fused."""
    if isinstance(node.op, PiecewiseLinear):
        return Layer(sums, addends, None, node.name, function=node.op)
    assert isinstance(node.op, Requantise)
    consumers = network.consumers(node.name)
    if len(consumers) == 1 and _is_fused(network, consumers[0]):
        function = consumers[0].op
        assert isinstance(function, PiecewiseLinear)
        return Layer(sums, addends, node.op, consumers[0].name, function=function)
    return Layer(sums, addends, node.op, node.name)


def _is_fused(network: IntegerNetwork, node: IntNode) -> bool:
    """Whether NFU-3 applies ``node`` to its input before that is stored."""
    source = node.inputs[0]
    if source in (network.input_name, network.output) or len(network.consumers(source)) > 1:
        return False
    match node.op:
        case Requantise():
            return isinstance(network.node(source).op, Conv | SumPool | Add)
        case PiecewiseLinear():
            return isinstance(network.node(source).op, Requantise)
        case _:
            return False
