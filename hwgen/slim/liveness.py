"""Which channels anybody reads: what nobody reads may be zero without a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen.network.types import ArgMax, Concat, Conv, Network, Node, Softmax

__all__ = ["read_channels", "zero_unread"]

Mask = npt.NDArray[np.bool_]


def read_channels(network: Network) -> dict[str, Mask]:
    """Channels (C,) of every tensor, the input included, on which the output may depend.

    A weight of zero reads nothing, nor does a filter whose own map nobody reads.
    """
    read = {node.name: np.zeros(node.shape[0], dtype=bool) for node in network.nodes}
    read[network.input_name] = np.zeros(network.input_shape[0], dtype=bool)
    read[network.output][:] = True
    for node in reversed(network.nodes):
        live = read[node.name]
        match node.op:
            case Conv() as op:
                taken = (op.weight != 0).any(axis=(2, 3)) & live[:, None]
                by_group = taken.reshape(op.groups, -1, taken.shape[1]).any(axis=1)
                read[node.inputs[0]] |= by_group.reshape(-1)
            case Concat():
                start = 0
                for name in node.inputs:
                    read[name] |= live[start : start + len(read[name])]
                    start += len(read[name])
            case Softmax() | ArgMax():
                read[node.inputs[0]][:] = True
            case _:
                for name in node.inputs:
                    read[name] |= live
    return read


def zero_unread(network: Network) -> Network:
    """``network`` with every filter zero, weights and bias, whose map nobody reads.

    Exact: the output is the same for every input.
    """
    read = read_channels(network)

    def zeroed(node: Node) -> Node:
        live = read[node.name]
        if not isinstance(node.op, Conv) or live.all():
            return node
        weight = np.where(live[:, None, None, None], node.op.weight, 0.0)
        return replace(node, op=replace(node.op, weight=weight, bias=node.op.bias * live))

    return replace(network, nodes=tuple(zeroed(node) for node in network.nodes))
