"""A network on larger pictures than it was trained on: every layer slides over the whole picture.

A fully connected layer is a convolution whose kernel covers its input; on a larger picture it gives
a map instead of a vector, one position for each place of the original image. Without padding, each
position of the output is exactly what the network gives for the part of the picture under it; with
padding, layers see the picture's pixels where they saw zeros.
"""

from __future__ import annotations

from dataclasses import replace

from hwgen.errors import UnsupportedError, VerifyError
from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import ArgMax, IntegerNetwork, Requantise
from hwgen.integer.verify import node_shape, verify
from hwgen.network.types import Pair

__all__ = ["resized"]


def resized(network: IntegerNetwork, size: Pair) -> IntegerNetwork:
    """``network`` for pictures of ``size``, height and width.

    A decision at the end is left out: the output is the map of the scores.

    Raises
    ------
    UnsupportedError
        If the picture is smaller than the network's images, or an operator depends on the size.
    """
    channels, *trained = network.input_shape
    if size[0] < trained[0] or size[1] < trained[1]:
        raise UnsupportedError(
            f"Pictures must be at least {trained[0]}x{trained[1]}, the size that the network "
            f"was trained on, not {size[0]}x{size[1]}"
        )
    if size == tuple(trained):
        return network
    output = network.output
    nodes = network.nodes
    if isinstance(network.node(output).op, ArgMax):
        nodes = tuple(node for node in nodes if node.name != output)
        output = network.node(output).inputs[0]
    found = replace(network, input_shape=(channels, *size), nodes=(), output=network.input_name)
    for node in nodes:
        if isinstance(node.op, Requantise) and node.op.multiplier.shape[1:] != (1, 1):
            raise UnsupportedError(
                f"Layer {node.origin!r} divides by a number that depends on the position (an "
                "average over padding): it cannot be built for another size"
            )
        try:
            shape = node_shape(found, node)
        except VerifyError as error:
            raise UnsupportedError(f"Cannot build the network for another size: {error}") from None
        ranges = output_ranges(
            node.op,
            [found.ranges(name) for name in node.inputs],
            found.shape(node.inputs[0]),
            shape,
        )
        found = replace(found, nodes=(*found.nodes, replace(node, shape=shape, ranges=ranges)))
    return verify(replace(found, output=output))
