"""A network cut in two at a tensor, so that two machines compute it one behind the other."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce

from hwgen.errors import DataError, UnsupportedError
from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import ArgMax, IntegerNetwork
from hwgen.integer.verify import verify
from hwgen.numeric import FixedFormat, Range

__all__ = ["cut_tensor", "cuts", "split"]


def cuts(network: IntegerNetwork) -> tuple[str, ...]:
    """Tensors at which a network can be cut, in order.

    All that the output needs passes through such a tensor, one unit of each of its channels has the
    same real value, a power of two, and more than a decision is behind it.
    """
    needed = _needed(network, network.output)
    live = [node for node in network.nodes if node.name in needed]
    found = []
    for place, node in enumerate(live, start=1):
        behind = live[place:]
        given = {network.input_name, *(before.name for before in live[:place])}
        passing = {name for reader in behind for name in reader.inputs} & given
        decides = all(isinstance(reader.op, ArgMax) for reader in behind)
        if passing == {node.name} and not decides and _is_even(network, node.name):
            found.append(node.name)
    return tuple(found)


def cut_tensor(network: IntegerNetwork, name: str) -> str:
    """The tensor that a user means by the name of a tensor or of a layer.

    Of a layer it is the last one that can be cut.

    Raises
    ------
    DataError
        If the network cannot be cut there; the text says where it can.
    """
    possible = cuts(network)
    named = [x for x in possible if name in (x, network.node(x).origin)]
    if named:
        return name if name in named else named[-1]
    places = ", ".join(dict.fromkeys(network.node(x).origin for x in possible))
    raise DataError(
        f"A network must be cut behind one of its layers through which all passes, "
        f"{places or 'of which it has none'}, not {name!r}"
    )


def split(network: IntegerNetwork, tensor: str) -> tuple[IntegerNetwork, IntegerNetwork]:
    """What computes ``tensor``, one of :func:`cuts`, and what computes the output of it.

    The image of the second is the tensor, in the narrowest format that holds it. Where the tensor
    does not use all numbers of the format, ranges in the second network are wider.

    Raises
    ------
    UnsupportedError
        If the network cannot be cut there.
    """
    if tensor not in cuts(network):
        raise UnsupportedError(f"Network {network.name!r} cannot be cut at {tensor!r}")
    front = _needed(network, tensor)
    behind = _needed(network, network.output) - front
    first = replace(
        network, nodes=tuple(n for n in network.nodes if n.name in front), output=tensor
    )
    second = replace(
        network,
        input_name=tensor,
        input_shape=network.shape(tensor),
        input_format=_format(network, tensor),
        nodes=(),
        output=tensor,
    )
    for node in network.nodes:
        if node.name in behind:
            ranges = output_ranges(
                node.op,
                [second.ranges(name) for name in node.inputs],
                second.shape(node.inputs[0]),
                node.shape,
            )
            second = replace(second, nodes=(*second.nodes, replace(node, ranges=ranges)))
    return verify(first), verify(replace(second, output=network.output))


def _needed(network: IntegerNetwork, name: str) -> set[str]:
    """Names of a tensor and of all, but for the image, that it is computed of."""
    found = {name}
    for node in reversed(network.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found - {network.input_name}


def _is_even(network: IntegerNetwork, name: str) -> bool:
    """Whether one unit of each channel has the same value, a power of two."""
    scales = set(network.scale(name))
    return len(scales) == 1 and math.frexp(scales.pop())[0] == 0.5


def _format(network: IntegerNetwork, name: str) -> FixedFormat:
    whole = reduce(Range.union, network.ranges(name))
    _, exponent = math.frexp(network.scale(name)[0])
    return FixedFormat(max(whole.width, 1 + whole.signed), 1 - exponent, whole.signed)
