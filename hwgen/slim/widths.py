"""Which channels of a network must stay when what nobody reads goes.

Numbers of channels are tied: a pointwise operator or a pool has the channels of what it reads, an
Add those of all that it adds, and the groups of a convolution have equally many each. Where a
channel is read by somebody, all that are tied to it stay as well, unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen.network.types import (
    Activation,
    ArgMax,
    Concat,
    Conv,
    Network,
    Node,
    Op,
    PiecewiseLinear,
    Softmax,
)

__all__ = ["Mask", "concat_slices", "kept_channels", "of_channels"]

Mask = npt.NDArray[np.bool_]


def kept_channels(network: Network, read: Mapping[str, Mask]) -> dict[str, Mask]:
    """Channels (C,) of every tensor that stay: the fewest around ``read`` that the ties allow.

    Where the groups of a convolution must be filled up, the first unread channels stay, and where
    nobody reads a tensor that must exist, its first channel does. The input keeps all.

    Parameters
    ----------
    network
        The network.
    read
        Channels of every tensor that are read (:func:`~hwgen.slim.liveness.read_channels`).

    Returns
    -------
    dict
        The tensors that the output still needs. A Concat has lost the inputs of which it keeps
        nothing (:func:`concat_slices`).
    """
    kept = {name: mask.copy() for name, mask in read.items()}
    kept[network.input_name][:] = True
    needed = {network.output}
    size = -1
    while size != (size := len(needed) + sum(int(mask.sum()) for mask in kept.values())):
        for node in reversed(network.nodes):
            if node.name in needed:
                _tie(network, node, kept, needed)
    return {name: mask for name, mask in kept.items() if name in needed | {network.input_name}}


def _tie(network: Network, node: Node, kept: dict[str, Mask], needed: set[str]) -> None:
    """Let everything stay that ``node`` needs for what stays of it, which is not nothing."""
    out = kept[node.name]
    match node.op:
        case Conv() as op:
            _tie_groups(op, kept[node.inputs[0]], out)
            needed.update(node.inputs)
        case Concat():
            for name, part in concat_slices(network, node):
                if out[part].any():
                    out[part] |= kept[name]
                    kept[name] |= out[part]
                    needed.add(name)
        case Softmax() | ArgMax():
            kept[node.inputs[0]][:] = True
            needed.update(node.inputs)
        case _:
            for name in node.inputs:
                out |= kept[name]
            for name in node.inputs:
                kept[name] |= out
            needed.update(node.inputs)


def _tie_groups(op: Conv, sources: Mask, filters: Mask) -> None:
    sides = [mask.reshape(op.groups, -1) for mask in (sources, filters)]
    used = np.any(np.concatenate(sides, axis=1), axis=1)
    for side in sides:
        most = max(1, int(side[used].sum(axis=1).max()))
        for group in np.flatnonzero(used):
            lacking = most - int(side[group].sum())
            side[group, np.flatnonzero(~side[group])[:lacking]] = True


def concat_slices(network: Network, node: Node) -> tuple[tuple[str, slice], ...]:
    """Each input of a Concat with the channels of the result that it becomes."""
    ends = np.cumsum([network.shape(name)[0] for name in node.inputs]).tolist()
    return tuple(
        (name, slice(start, end))
        for name, start, end in zip(node.inputs, [0, *ends], ends, strict=False)
    )


def of_channels(op: Op, channels: Mask) -> Op:
    """What ``op``, which does the same to every channel or to each its own, does to ``channels``.

    No convolution: that has its channels in its weights.
    """
    match op:
        case Activation():
            return replace(
                op, parameters=tuple(p if len(p) == 1 else p[channels] for p in op.parameters)
            )
        case PiecewiseLinear() if len(op.slopes) > 1:
            return PiecewiseLinear(
                op.breakpoints[channels], op.slopes[channels], op.offsets[channels]
            )
        case _:
            return op
