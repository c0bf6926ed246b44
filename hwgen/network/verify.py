"""Check that a float network is well formed."""

from __future__ import annotations

from hwgen.errors import VerifyError
from hwgen.network.shapes import output_shape
from hwgen.network.types import ArgMax, Network, Shape, Softmax

__all__ = ["verify"]


def verify(network: Network) -> None:
    """Check names, order, shapes and parameters of every node of ``network``.

    Raises
    ------
    VerifyError
        With the first fault: a name that occurs twice, a tensor read before it is written, a shape
        that is not what the operator makes of its inputs, parameters that do not fit or are not
        finite, a Softmax or ArgMax that is not at the end, or an output that no node writes.
    """
    if len(network.input_shape) != 3 or min(network.input_shape) < 1:
        raise VerifyError(
            f"Input of network {network.name!r} must be (C, H, W) of at least 1 each, "
            f"not {network.input_shape}"
        )
    shapes: dict[str, Shape] = {network.input_name: network.input_shape}
    last: set[str] = set()
    for node in network.nodes:
        if node.name in shapes:
            raise VerifyError(f"Tensor {node.name!r} is written twice")
        for name in node.inputs:
            if name not in shapes:
                raise VerifyError(f"Node {node.name!r} reads {name!r} before it is written")
            if name in last and not isinstance(node.op, ArgMax):
                raise VerifyError(f"Node {node.name!r} reads {name!r}, which must be the output")
        try:
            shape = output_shape(node.op, [shapes[name] for name in node.inputs])
        except VerifyError as error:
            raise VerifyError(f"Node {node.name!r}: {error}") from None
        if shape != node.shape:
            raise VerifyError(f"Node {node.name!r} makes {shape}, not {node.shape}")
        shapes[node.name] = shape
        if isinstance(node.op, Softmax | ArgMax):
            last.add(node.name)
    if network.output not in shapes:
        raise VerifyError(f"Output {network.output!r} of network {network.name!r} is not written")
