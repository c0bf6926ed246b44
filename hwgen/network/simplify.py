"""Exact rewrites of a float network that leave fewer, larger layers.

Import makes one node an ONNX node. Here scalings join the convolutions, pools and activations
beside them, rearrangements join the weights that read them, and what no longer matters is dropped.
Every rewrite keeps the output for every input, rounding of floating point apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from hwgen.network.shapes import output_shape
from hwgen.network.steps import (
    is_step,
    reversed_signs,
    scaled_levels,
    steps_at_zero,
    unit_filters,
)
from hwgen.network.types import (
    Activation,
    Add,
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
    Shape,
)

__all__ = ["absorb", "simplify"]

_STRAIGHT = frozenset({"relu", "leaky_relu", "prelu", "clip"})
"""Activations whose factors rather join a convolution."""


def simplify(network: Network) -> Network:
    """The same function in canonical form: see the module's description."""
    graph = _Graph(network)
    graph.prune()
    for rules in (_FIRST, _RULES):
        while any(_apply(graph, rule) for rule in rules):
            pass
    return graph.network()


def absorb(network: Network, names: Iterable[str]) -> Network:
    """The same function with the nodes ``names``, depthwise 1x1 convolutions, in what is beside.

    Each joins the convolution before it or all those behind it, where that is exact, or stays.
    """
    graph = _Graph(network)
    for name in names:
        before = (_drop_identity, _affine_into_conv_before)
        if not any(rule(graph, graph.nodes[name]) for rule in before):
            for reader in graph.readers(name):
                _affine_into_conv_after(graph, reader)
    graph.prune()
    return graph.network()


@dataclass(eq=False)
class _Graph:
    """A network whose nodes can be replaced; nodes that nothing reads vanish at the end."""

    source: Network

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.source.nodes}
        self.output = self.source.output

    def shape(self, name: str) -> Shape:
        return self.nodes[name].shape if name in self.nodes else self.source.input_shape

    def op(self, name: str) -> Op | None:
        """Operator that writes the tensor ``name``; ``None`` for the input."""
        return self.nodes[name].op if name in self.nodes else None

    def readers(self, name: str) -> list[Node]:
        return [node for node in self.nodes.values() if name in node.inputs]

    def alone(self, name: str) -> bool:
        """Whether a single node reads ``name``; then the network does not return it either."""
        return len(self.readers(name)) == 1

    def put(self, name: str, op: Op, source: str) -> None:
        """Let the node ``name`` apply ``op`` to the tensor ``source``."""
        shape = output_shape(op, [self.shape(source)])
        self.nodes[name] = replace(self.nodes[name], op=op, inputs=(source,), shape=shape)

    def drop(self, name: str) -> None:
        """Remove the node ``name``; whoever read it reads its input."""
        (source,) = self.nodes.pop(name).inputs
        for node in self.readers(name):
            inputs = tuple(source if each == name else each for each in node.inputs)
            self.nodes[node.name] = replace(node, inputs=inputs)
        if self.output == name:
            self.output = source

    def prune(self) -> None:
        """Remove nodes that do not reach the output."""
        needed = {self.output}
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        self.nodes = {name: node for name, node in self.nodes.items() if name in needed}

    def network(self) -> Network:
        """The network as it stands."""
        return replace(self.source, nodes=tuple(self.nodes.values()), output=self.output)


_Rule = Callable[[_Graph, Node], bool]
"""Tries one rewrite at one node; says whether it changed the graph."""


def _apply(graph: _Graph, rule: _Rule) -> bool:
    changed = False
    for name in list(graph.nodes):
        if name in graph.nodes:
            changed |= rule(graph, graph.nodes[name])
    graph.prune()
    return changed


def _is_pointwise(op: Op | None) -> bool:
    """Whether the operator is a convolution that works within a pixel."""
    return (
        isinstance(op, Conv)
        and op.kernel == (1, 1)
        and op.strides == (1, 1)
        and op.pads == (0, 0, 0, 0)
    )


def _gains(op: Op | None) -> FloatArray | None:
    """Scale of each channel if ``op`` is ``scale[c] * x + bias[c]``, otherwise ``None``."""
    if isinstance(op, Conv) and _is_pointwise(op) and op.groups == len(op.weight):
        return op.weight.reshape(-1) if op.weight.shape[1] == 1 else None
    return None


def _factor(op: Op | None) -> float | None:
    """The number that ``op`` multiplies everything by, otherwise ``None``."""
    gains = _gains(op)
    if gains is None or not isinstance(op, Conv) or op.bias.any() or (gains != gains[0]).any():
        return None
    return float(gains[0])


def _is_selection(op: Op | None) -> bool:
    """Whether each output of the convolution is one input element or zero."""
    if not isinstance(op, Conv) or op.bias.any() or np.count_nonzero(op.weight) > len(op.weight):
        return False
    entries = op.weight.reshape(len(op.weight), -1)
    return bool(np.isin(entries, (0, 1)).all() and (entries.sum(axis=1) <= 1).all())


def _scale_into_activation(graph: _Graph, node: Node) -> bool:
    """A factor before tanh or the like becomes its ``pre``."""
    op = node.op
    if not isinstance(op, Activation) or op.kind in _STRAIGHT:
        return False
    factor = _factor(graph.op(node.inputs[0]))
    if factor is None:
        return False
    graph.put(node.name, replace(op, pre=op.pre * factor), graph.nodes[node.inputs[0]].inputs[0])
    return True


def _scale_after_activation(graph: _Graph, node: Node) -> bool:
    """A factor after tanh or the like becomes its ``post``."""
    factor = _factor(node.op)
    before = graph.op(node.inputs[0])
    if factor is None or not isinstance(before, Activation) or not graph.alone(node.inputs[0]):
        return False
    if before.kind in _STRAIGHT:
        return False
    scaled = replace(before, post=before.post * factor)
    graph.put(node.inputs[0], scaled, graph.nodes[node.inputs[0]].inputs[0])
    graph.drop(node.name)
    return True


def _drop_identity(graph: _Graph, node: Node) -> bool:
    """A factor of one goes."""
    if _factor(node.op) != 1:
        return False
    graph.drop(node.name)
    return True


def _affine_into_conv_before(graph: _Graph, node: Node) -> bool:
    """``scale * conv(x) + offset`` is one convolution."""
    gains = _gains(node.op)
    before = graph.op(node.inputs[0])
    if gains is None or not isinstance(before, Conv) or not graph.alone(node.inputs[0]):
        return False
    assert isinstance(node.op, Conv)
    if _is_selection(before) and _joins_readers(graph, node):
        return False
    weight = before.weight * gains[:, None, None, None]
    merged = replace(before, weight=weight, bias=before.bias * gains + node.op.bias)
    graph.put(node.inputs[0], merged, graph.nodes[node.inputs[0]].inputs[0])
    graph.drop(node.name)
    return True


def _joins_readers(graph: _Graph, node: Node) -> bool:
    """Whether every reader of ``scale * x + offset`` is a convolution that can absorb it."""
    assert isinstance(node.op, Conv)
    offset = bool(node.op.bias.any())
    return node.name != graph.output and all(
        isinstance(reader.op, Conv) and not (offset and any(reader.op.pads))
        for reader in graph.readers(node.name)
    )


def _affine_into_pool_before(graph: _Graph, node: Node) -> bool:
    """A factor joins an average pool's ``gain``; anything else makes it a depthwise convolution."""
    gains = _gains(node.op)
    before = graph.op(node.inputs[0])
    if gains is None or not isinstance(before, AveragePool) or not graph.alone(node.inputs[0]):
        return False
    assert isinstance(node.op, Conv)
    source = graph.nodes[node.inputs[0]].inputs[0]
    factor = _factor(node.op)
    if factor is not None:
        graph.put(node.inputs[0], replace(before, gain=before.gain * factor), source)
    else:
        if (any(before.pads) and not before.count_include_pad) or any(before.ceil_pads):
            return False
        mean = before.gain * gains / (before.kernel[0] * before.kernel[1])
        weight = np.broadcast_to(mean[:, None, None, None], (len(gains), 1, *before.kernel))
        pool = Conv(weight, node.op.bias, before.strides, before.pads, groups=len(gains))
        graph.put(node.inputs[0], pool, source)
    graph.drop(node.name)
    return True


def _affine_into_conv_after(graph: _Graph, node: Node) -> bool:
    """``conv(scale * x + offset)`` is one convolution, unless the offset would miss the padding."""
    before = graph.op(node.inputs[0])
    merged = _after_affine(node.op, before)
    if merged is None:
        return False
    graph.put(node.name, merged, graph.nodes[node.inputs[0]].inputs[0])
    return True


def _affine_through_pool(graph: _Graph, node: Node) -> bool:
    """Growing functions do not change which pixel is greatest: the convolution takes them."""
    pool = graph.nodes.get(node.inputs[0])
    if pool is None or not isinstance(pool.op, MaxPool) or not graph.alone(pool.name):
        return False
    before = graph.op(pool.inputs[0])
    gains = _gains(before)
    merged = _after_affine(node.op, before)
    if gains is None or merged is None or not (gains > 0).all():
        return False
    graph.put(pool.name, pool.op, graph.nodes[pool.inputs[0]].inputs[0])
    graph.put(node.name, merged, pool.name)
    return True


def _after_affine(op: Op, before: Op | None) -> Conv | None:
    """``op`` after ``before``, ``scale[c] * x + offset[c]``, as one convolution if there is one."""
    gains = _gains(before)
    if not isinstance(op, Conv) or gains is None:
        return None
    assert isinstance(before, Conv)
    if any(op.pads) and before.bias.any():
        return None
    depth = op.weight.shape[1]
    filters = len(op.weight) // op.groups
    owner = np.arange(len(op.weight)) // filters
    channel = owner[:, None] * depth + np.arange(depth)
    offsets = (op.weight.sum(axis=(2, 3)) * before.bias[channel]).sum(axis=1)
    return replace(op, weight=op.weight * gains[channel][:, :, None, None], bias=op.bias + offsets)


def _scale_around_activation(graph: _Graph, node: Node) -> bool:
    """A factor that no convolution takes joins the activation beside it."""
    op = node.op
    before = graph.op(node.inputs[0])
    if isinstance(op, Activation):
        factor = _factor(before)
        if factor is None:
            return False
        graph.put(
            node.name, replace(op, pre=op.pre * factor), graph.nodes[node.inputs[0]].inputs[0]
        )
        return True
    factor = _factor(op)
    if factor is None or not isinstance(before, Activation) or not graph.alone(node.inputs[0]):
        return False
    scaled = replace(before, post=before.post * factor)
    graph.put(node.inputs[0], scaled, graph.nodes[node.inputs[0]].inputs[0])
    graph.drop(node.name)
    return True


def _selection_into_conv_after(graph: _Graph, node: Node) -> bool:
    """A convolution reads picked, reordered or padded elements where they are."""
    op = node.op
    before = graph.op(node.inputs[0])
    if not isinstance(op, Conv) or not isinstance(before, Conv) or not _is_selection(before):
        return False
    source = graph.nodes[node.inputs[0]].inputs[0]
    covers = op.kernel == (1, 1) and not any(op.pads) and graph.shape(node.inputs[0])[1:] == (1, 1)
    if before.kernel == (1, 1) and before.strides == (1, 1):
        merged = _through_channels(op, before)
    elif before.kernel == (1, 1) and op.kernel == (1, 1) and not any(op.pads):
        strides = (before.strides[0] * op.strides[0], before.strides[1] * op.strides[1])
        merged = _through_channels(replace(op, strides=strides), before)
    elif covers and op.groups == 1 and before.groups == 1:
        weight = np.einsum("oi,ikrs->okrs", op.weight[:, :, 0, 0], before.weight)
        merged = replace(before, weight=weight, bias=op.bias)
    else:
        return False
    if merged is None:
        return False
    graph.put(node.name, merged, source)
    return True


def _through_channels(op: Conv, before: Conv) -> Conv | None:
    """``op`` after ``before``, a 1x1 selection that may pad."""
    top, left, bottom, right = op.pads
    above, beside, below, beyond = before.pads
    pads: Pads = (top + above, left + beside, bottom + below, right + beyond)
    if before.groups == len(before.weight) and bool(before.weight.all()):
        return replace(op, pads=pads)
    if op.groups == 1 and before.groups == 1:
        weight = np.einsum("oirs,ik->okrs", op.weight, before.weight[:, :, 0, 0])
        return replace(op, weight=weight, pads=pads)
    return None


def _selection_into_conv_before(graph: _Graph, node: Node) -> bool:
    """Filters come out in the order in which they are read."""
    op = node.op
    before = graph.op(node.inputs[0])
    if not isinstance(before, Conv) or before.groups != 1 or not graph.alone(node.inputs[0]):
        return False
    if not isinstance(op, Conv) or not _is_pointwise(op) or not _is_selection(op):
        return False
    if op.groups != 1 or (op.weight.sum(axis=(1, 2, 3)) == 0).any():
        return False
    order = op.weight[:, :, 0, 0].argmax(axis=1)
    if len(set(order.tolist())) != len(order):
        return False
    merged = replace(before, weight=before.weight[order], bias=before.bias[order])
    graph.put(node.inputs[0], merged, graph.nodes[node.inputs[0]].inputs[0])
    graph.drop(node.name)
    return True


def _pad_into_pool(graph: _Graph, node: Node) -> bool:
    """Zeros around the input of a pool become its padding where that is the same."""
    op = node.op
    before = graph.op(node.inputs[0])
    if not isinstance(before, Conv) or _gains(replace(before, pads=(0, 0, 0, 0))) is None:
        return False
    if not _is_selection(before) or not before.weight.all():
        return False
    source = graph.nodes[node.inputs[0]].inputs[0]
    match op:
        case AveragePool() if op.count_include_pad or not any(op.pads):
            merged: Op = replace(op, pads=_sum(op.pads, before.pads), count_include_pad=True)
        case MaxPool() if not any(op.pads) and _never_negative(graph, source):
            if any(
                pad >= op.kernel[k % 2] or op.dilations[k % 2] > 1
                for k, pad in enumerate(before.pads)
            ):
                return False
            merged = replace(op, pads=before.pads)
        case _:
            return False
    graph.put(node.name, merged, source)
    return True


def _sum(a: Pads, b: Pads) -> Pads:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def _merge_of_equals(graph: _Graph, node: Node) -> bool:
    """A sum or concatenation of copies of one tensor is a convolution of it."""
    source, *others = node.inputs
    if not isinstance(node.op, Add | Concat) or set(others) != {source}:
        return False
    channels = graph.shape(source)[0]
    if isinstance(node.op, Add):
        weight = np.full((channels, 1, 1, 1), float(len(node.inputs)))
        graph.put(node.name, Conv(weight, np.zeros(channels), groups=channels), source)
    else:
        copies = np.tile(np.eye(channels), (len(node.inputs), 1))
        graph.put(node.name, Conv(copies[:, :, None, None], np.zeros(len(copies))), source)
    return True


def _affine_into_step_before(graph: _Graph, node: Node) -> bool:
    """``scale * step(x) + offset`` is a step, unless its levels would not be powers of two."""
    gains = _gains(node.op)
    before = graph.op(node.inputs[0])
    if gains is None or not isinstance(before, PiecewiseLinear) or not is_step(before):
        return False
    assert isinstance(node.op, Conv)
    merged = scaled_levels(before, gains, node.op.bias)
    if merged is None or not graph.alone(node.inputs[0]):
        return False
    graph.put(node.inputs[0], merged, graph.nodes[node.inputs[0]].inputs[0])
    graph.drop(node.name)
    return True


def _step_through_pool(graph: _Graph, node: Node) -> bool:
    """A step that never falls comes before a maximum, next to what it takes the sign of."""
    pool = graph.nodes.get(node.inputs[0])
    if pool is None or not isinstance(pool.op, MaxPool) or not graph.alone(pool.name):
        return False
    if not isinstance(node.op, PiecewiseLinear) or not is_step(node.op):
        return False
    if (np.diff(node.op.offsets, axis=1) < 0).any():
        return False
    graph.put(pool.name, node.op, pool.inputs[0])
    graph.put(node.name, pool.op, pool.name)
    return True


def _sign_through_affine_and_pool(graph: _Graph, node: Node) -> bool:
    """The sign of ``scale * maximum + offset`` is, up to its sign, the maximum of signs.

    Where the scale is negative the sign is reversed behind the maximum, which costs the layer after
    nothing.
    """
    affine = graph.nodes.get(node.inputs[0])
    op, gains = node.op, _gains(affine.op) if affine is not None else None
    if affine is None or gains is None or not graph.alone(affine.name) or not gains.all():
        return False
    if not isinstance(op, PiecewiseLinear) or not steps_at_zero(op) or op.offsets.shape != (1, 2):
        return False
    pool = graph.nodes.get(affine.inputs[0])
    if pool is None or not isinstance(pool.op, MaxPool) or not graph.alone(pool.name):
        return False
    before = graph.op(pool.inputs[0])
    if op.offsets.sum() != 0 or not isinstance(before, Conv) or not graph.alone(pool.inputs[0]):
        return False
    assert isinstance(affine.op, Conv)
    size, signs = np.abs(gains), np.sign(gains)
    bias = before.bias * size + affine.op.bias * signs
    scaled = replace(before, weight=before.weight * size[:, None, None, None], bias=bias)
    graph.put(pool.inputs[0], scaled, graph.nodes[pool.inputs[0]].inputs[0])
    graph.put(pool.name, reversed_signs(op, signs), pool.inputs[0])
    graph.put(affine.name, pool.op, pool.name)
    reverse = Conv(signs[:, None, None, None], np.zeros(len(signs)), groups=len(signs))
    graph.put(node.name, reverse, affine.name)
    return True


def _unit_filters_before_step(graph: _Graph, node: Node) -> bool:
    """The scale of a filter of which only the sign is used is 1, if it has a scale."""
    before = graph.op(node.inputs[0])
    if not steps_at_zero(node.op) or not isinstance(before, Conv):
        return False
    merged = unit_filters(before)
    if np.array_equal(merged.weight, before.weight) or not graph.alone(node.inputs[0]):
        return False
    graph.put(node.inputs[0], merged, graph.nodes[node.inputs[0]].inputs[0])
    return True


def _never_negative(graph: _Graph, name: str) -> bool:
    """Whether the tensor ``name`` cannot hold a negative number."""
    node = graph.nodes.get(name)
    match node.op if node is not None else None:
        case Activation(kind="relu" | "sigmoid" | "hard_sigmoid" | "softplus" | "exp") as op:
            return op.post >= 0
        case Activation(kind="clip") as op:
            return op.post >= 0 and bool(op.parameters[0].min() >= 0)
        case AveragePool() as op if op.gain < 0:
            return False
        case AveragePool() | MaxPool() | Add() | Concat() if node is not None:
            return all(_never_negative(graph, each) for each in node.inputs)
        case _:
            return False


_FIRST: tuple[_Rule, ...] = (_drop_identity, _scale_into_activation, _scale_after_activation)
_RULES: tuple[_Rule, ...] = (
    _drop_identity,
    _affine_into_step_before,
    _merge_of_equals,
    _affine_into_conv_before,
    _affine_into_pool_before,
    _affine_into_conv_after,
    _affine_through_pool,
    _selection_into_conv_after,
    _selection_into_conv_before,
    _pad_into_pool,
    _scale_around_activation,
    _step_through_pool,
    _sign_through_affine_and_pool,
    _unit_filters_before_step,
)
