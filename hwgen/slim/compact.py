"""Zeros vanish: the same function with fewer channels, smaller kernels and fewer layers.

Slimming leaves zeros in weights while it searches. Here

* biases take over the constants that filters of zeros give (:mod:`hwgen.slim.constants`),
* channels that nobody reads go from all that are tied to them (:mod:`hwgen.slim.widths`), and so
  do branches of a Concat of which nothing is read,
* addends that are constant go, with the branch that computes them,
* rows and columns at the rim of a kernel that no filter uses go, with the padding that they read,
* 1x1 layers that hand on what they read go.

All of it is exact: for every image the output is the same but for the rounding of sums. A tensor
that must exist although nobody reads it keeps its first channel, with a filter of zeros. Nodes that
stay keep their names, and channels their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.network.simplify import absorb
from hwgen.network.types import (
    Add,
    Concat,
    Conv,
    FloatArray,
    Network,
    Node,
    Op,
    Pads,
)
from hwgen.numeric import IntArray
from hwgen.slim.constants import constant_channels, constant_obstacles, fold_constants
from hwgen.slim.crop import cropped
from hwgen.slim.liveness import read_channels, zero_unread
from hwgen.slim.widths import Mask, concat_slices, kept_channels, of_channels

__all__ = ["Compaction", "compact", "compaction"]

_Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Compaction:
    """A network without what its zeros made useless, and where the rest of it comes from.

    Attributes
    ----------
    network
        The compacted network.
    channels
        For every tensor that both networks have, the input included: its channels' places in the
        original, ascending.
    inputs
        The same for what each convolution of both networks reads.
    crops
        For every convolution of both networks: rows and columns cut off its kernel, as (top, left,
        bottom, right).
    removed
        Nodes of the original that are gone.
    """

    network: Network
    channels: Mapping[str, IntArray]
    inputs: Mapping[str, IntArray]
    crops: Mapping[str, Pads]
    removed: tuple[str, ...]

    @property
    def filters(self) -> dict[str, IntArray]:
        """Filters that each convolution of both networks keeps, ascending."""
        return {name: self.channels[name] for name in self.inputs}

    def narrowed(self, layer: str, array: _Array) -> _Array:
        """What belongs to the weights of ``layer`` that stay.

        Parameters
        ----------
        layer
            A convolution that stays.
        array
            One entry a weight of the original, (O, I / groups, KH, KW), or one a filter, (O,).
        """
        filters, inputs = self.channels[layer], self.inputs[layer]
        if array.ndim == 1:
            return array[filters]
        depth = array.shape[1]
        op = self.network.node(layer).op
        assert isinstance(op, Conv)
        top, left, _, _ = self.crops[layer]
        rows, columns = (slice(a, a + k) for a, k in zip((top, left), op.kernel, strict=True))
        columns_of = (inputs % depth).reshape(op.groups, -1)
        owner = np.arange(len(filters)) // (len(filters) // op.groups)
        kept: _Array = array[filters[:, None], columns_of[owner]][:, :, rows, columns]
        return kept

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why filters of zeros stay, one sentence a layer and reason."""
        found = Counter(
            (name, reason or "its number of channels is tied to that of others")
            for name, reasons in constant_obstacles(self.network).items()
            for reason in reasons.values()
        )
        return tuple(
            f"{name!r} keeps {count} filter{'s'[: count != 1]} of zeros: {reason}"
            for (name, reason), count in found.items()
        )


def compact(network: Network) -> Network:
    """The network of :func:`compaction`."""
    return compaction(network).network


def compaction(network: Network) -> Compaction:
    """Make the zeros of ``network`` vanish; see the module's description.

    Compacting what is compact changes nothing.
    """
    work = _Work(network)
    size = None
    while size != (size := _size(work.network)):
        work.fold()
        work.drop_addends()
        work.narrow()
        work.crop()
        work.drop_identities()
    return work.result(network)


def _size(network: Network) -> list[object]:
    """What gets less while there is anything to remove."""
    return [(node.name, node.inputs, node.shape, _weights(node.op)) for node in network.nodes]


def _weights(op: Op) -> tuple[object, ...]:
    return (op.weight.shape, np.count_nonzero(op.weight)) if isinstance(op, Conv) else ()


@dataclass(eq=False)
class _Work:
    """A network that is being compacted, and the origin of what it still has."""

    network: Network
    channels: dict[str, IntArray] = field(init=False)
    inputs: dict[str, IntArray] = field(init=False)
    crops: dict[str, Pads] = field(init=False)

    def __post_init__(self) -> None:
        network = self.network
        names = [network.input_name, *(node.name for node in network.nodes)]
        self.channels = {name: np.arange(network.shape(name)[0]) for name in names}
        self.inputs = {
            node.name: np.arange(network.shape(node.inputs[0])[0]) for node, _ in network.convs()
        }
        self.crops = {node.name: (0, 0, 0, 0) for node, _ in network.convs()}

    def result(self, original: Network) -> Compaction:
        nodes = {node.name: node for node in self.network.nodes}
        tensors = [original.input_name, *nodes]
        convs = [name for name in self.inputs if name in nodes]
        return Compaction(
            self.network,
            {name: self.channels[name] for name in tensors},
            {name: self.inputs[name] for name in convs},
            {name: self.crops[name] for name in convs},
            tuple(node.name for node in original.nodes if node.name not in nodes),
        )

    def fold(self) -> None:
        """Take constants into biases, and make filters zero that nobody reads."""
        self.network = zero_unread(fold_constants(self.network))

    def drop_addends(self) -> None:
        """Take constant addends out of sums.

        A sum of which one addend is left is that addend plus the constants, a depthwise 1x1
        convolution until what stands beside it takes that over.
        """
        network = self.network
        constants, read = constant_channels(network), read_channels(network)
        nodes, alone = [], []
        for node in network.nodes:
            if isinstance(node.op, Add):
                live = read[node.name]
                values = [np.where(live, constants[name], 0.0) for name in node.inputs]
                node = _without_constants(network, node, values)
                if isinstance(node.op, Conv):
                    alone.append(node.name)
            nodes.append(node)
        self.network = absorb(replace(network, nodes=tuple(nodes)), alone)

    def narrow(self) -> None:
        """Remove the channels that nobody reads, as far as the ties between channels allow."""
        network = self.network
        kept = kept_channels(network, read_channels(network))
        shapes = {network.input_name: network.input_shape}
        nodes = []
        for node in network.nodes:
            if node.name not in kept:
                continue
            op, inputs = node.op, node.inputs
            if isinstance(op, Concat):
                parts = concat_slices(network, node)
                inputs = tuple(name for name, part in parts if kept[node.name][part].any())
            else:
                op = _narrowed(op, kept[inputs[0]], kept[node.name])
            if node.name in self.inputs:
                self.inputs[node.name] = self.inputs[node.name][kept[node.inputs[0]]]
            shapes[node.name] = (int(kept[node.name].sum()), *node.shape[1:])
            nodes.append(Node(node.name, op, inputs, shapes[node.name]))
        self.channels = {name: self.channels[name][mask] for name, mask in kept.items()}
        self.network = _without(
            replace(network, nodes=tuple(nodes)),
            lambda node: isinstance(node.op, Concat) and len(node.inputs) == 1,
        )

    def crop(self) -> None:
        """Cut the rims of kernels that are zero in all filters."""
        nodes = []
        for node in self.network.nodes:
            if isinstance(node.op, Conv):
                op, cut = cropped(node.op, self.network.shape(node.inputs[0]))
                if any(cut) and node.name in self.crops:
                    self.crops[node.name] = _sum(self.crops[node.name], cut)
                node = replace(node, op=op)
            nodes.append(node)
        self.network = replace(self.network, nodes=tuple(nodes))

    def drop_identities(self) -> None:
        """Remove 1x1 convolutions that change nothing."""
        self.network = _without(self.network, lambda node: _is_identity(node.op))


def _without_constants(network: Network, node: Node, values: list[FloatArray]) -> Node:
    """An Add without the addends that are constant, ``values`` (NaN where they are not).

    A constant that is not 0 stays if more than one other addend does, or if somebody else needs
    the branch that computes it.
    """
    addends = list(zip(node.inputs, values, strict=True))
    zero = [not value.any() for _, value in addends]
    varying = [i for i, (_, value) in enumerate(addends) if np.isnan(value).any()]
    base = varying[0] if varying else 0
    others = [addend for i, addend in enumerate(addends) if i != base]
    whole = (node.inputs[base], node.name) == (network.input_name, network.output)
    if (
        len(varying) <= 1
        and not whole
        and all(not value.any() or len(network.consumers(name)) == 1 for name, value in others)
    ):
        ones = np.ones((node.shape[0], 1, 1, 1))
        total = np.sum([value for _, value in others], axis=0)
        return replace(node, op=Conv(ones, total, groups=len(ones)), inputs=(node.inputs[base],))
    inputs = tuple(name for i, (name, _) in enumerate(addends) if not zero[i])
    return replace(node, inputs=inputs) if len(inputs) > 1 else node


def _narrowed(op: Op, sources: Mask, filters: Mask) -> Op:
    """The operator on the channels ``sources``, making the channels ``filters``."""
    if sources.all() and filters.all():
        return op
    if not isinstance(op, Conv):
        return of_channels(op, filters)
    used = sources.reshape(op.groups, -1).any(axis=1)
    depth, per_group = op.weight.shape[1], len(op.weight) // op.groups
    rows, columns = np.flatnonzero(filters), np.flatnonzero(sources)
    owner = (np.cumsum(used) - 1)[rows // per_group]
    local = (columns % depth).reshape(int(used.sum()), -1)[owner]
    weight = op.weight[rows[:, None], local]
    return replace(op, weight=weight, bias=op.bias[rows], groups=int(used.sum()))


def _is_identity(op: Op) -> bool:
    """Whether ``op`` is a 1x1 convolution that hands on what it reads."""
    if not isinstance(op, Conv) or op.kernel != (1, 1) or op.strides != (1, 1):
        return False
    if any(op.pads) or op.bias.any() or len(op.weight) != op.weight.shape[1] * op.groups:
        return False
    blocks = op.weight.reshape(op.groups, op.weight.shape[1], -1)
    return bool((blocks == np.eye(op.weight.shape[1])).all())


def _without(network: Network, gone: Callable[[Node], bool]) -> Network:
    """``network`` without nodes that hand on their one input; one node stays in any case."""
    names: dict[str, str] = {}
    nodes = []
    for node in network.nodes:
        inputs = tuple(names.get(name, name) for name in node.inputs)
        whole = (inputs[0], node.name) == (network.input_name, network.output)
        if gone(node) and not whole:
            names[node.name] = inputs[0]
        else:
            nodes.append(replace(node, inputs=inputs))
    output = names.get(network.output, network.output)
    return replace(network, nodes=tuple(nodes), output=output)


def _sum(a: Pads, b: Pads) -> Pads:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
