"""Accuracy of the float, the approximated and the integer network on the same images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.flow.data import Images
from hwgen.integer.types import IntegerNetwork
from hwgen.network.execute import run
from hwgen.network.types import Activation, ArgMax, FloatArray, Network, Softmax
from hwgen.sim import golden

__all__ = ["Accuracy", "Comparison", "compare", "decide", "integer_outputs"]

Decisions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Accuracy:
    """How one network does on a set of images.

    ``accuracy`` is the share of right decisions, or None without labels; ``agreement`` the share
    of decisions equal to the float network's; ``error`` the root-mean-square difference of the
    outputs from the float network's, relative to theirs. Decisions exist for vectors only.
    """

    accuracy: float | None
    agreement: float | None
    error: float


@dataclass(frozen=True)
class Comparison:
    """The three networks side by side on ``images`` images."""

    images: int
    float_network: Accuracy
    approximated: Accuracy
    integer: Accuracy


def compare(
    network: Network, approximated: Network, integer: IntegerNetwork, images: Images
) -> Comparison:
    """Run the three networks on ``images`` and compare their decisions and outputs."""
    network, approximated = _without_softmax(network), _without_softmax(approximated)
    reference = run(network, images.x)
    outputs = (reference, run(approximated, images.x), integer_outputs(integer, images.x))
    return Comparison(len(images), *(_accuracy(network, o, reference, images.y) for o in outputs))


def _without_softmax(network: Network) -> Network:
    """The network up to its logits: a final Softmax is monotone and has no integer form."""
    last = network.node(network.output)
    if not isinstance(last.op, Softmax):
        return network
    kept = tuple(node for node in network.nodes if node is not last)
    return replace(network, nodes=kept, output=last.inputs[0])


def integer_outputs(network: IntegerNetwork, x: FloatArray) -> FloatArray:
    """Real outputs (N, C, H, W) of the integer network on float images, by the golden model."""
    q = golden.run(network, network.input_format.quantise(x))
    scale = np.array(network.scale(network.output)).reshape(-1, 1, 1)
    outputs: FloatArray = q * scale
    return outputs


def decide(network: Network, output: FloatArray) -> Decisions | None:
    """Class of each image (N,) from ``output`` (N, C, 1, 1); None if the output is no vector.

    The greatest channel decides; a single channel decides between class 0 and 1 by its sign, or,
    if it ends in a sigmoid, by whether it exceeds one half.
    """
    if output.shape[2:] != (1, 1):
        return None
    if isinstance(_last_op(network), ArgMax):
        return output[:, 0, 0, 0].astype(np.int64)
    if output.shape[1] == 1:
        last = _last_op(network)
        probability = isinstance(last, Activation) and "sigmoid" in last.kind
        decisions: Decisions = (output[:, 0, 0, 0] > (0.5 if probability else 0.0)).astype(np.int64)
    else:
        decisions = np.argmax(output[:, :, 0, 0], axis=1).astype(np.int64)
    return decisions


def _last_op(network: Network) -> object:
    return network.node(network.output).op


def _accuracy(
    network: Network,
    output: FloatArray,
    reference: FloatArray,
    labels: Decisions | None,
) -> Accuracy:
    decisions, expected = decide(network, output), decide(network, reference)
    accuracy = agreement = None
    if decisions is not None and expected is not None:
        agreement = float(np.mean(decisions == expected))
        if labels is not None:
            accuracy = float(np.mean(decisions == labels))
    norm = float(np.linalg.norm(reference))
    error = float(np.linalg.norm(output - reference)) / norm if norm else 0.0
    return Accuracy(accuracy, agreement, error)
