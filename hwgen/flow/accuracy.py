"""Accuracy of the float, the approximated and the integer network on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.approx.measure import decide, without_decision
from hwgen.flow.data import Images
from hwgen.flow.intervals import LossInterval, ShareInterval, paired_loss, share_interval
from hwgen.integer.types import IntegerNetwork
from hwgen.network.execute import run
from hwgen.network.types import Activation, ArgMax, FloatArray, Network
from hwgen.sim import golden

__all__ = ["Accuracy", "Change", "Comparison", "change", "compare", "decisions", "integer_outputs"]

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
    """The three networks side by side on ``images`` images.

    ``loss`` is the accuracy that the integer network loses against the float network and
    ``approximated_loss`` what the approximated one loses, None without labels; ``changed`` and
    ``approximated_changed`` the shares of decisions that differ from the float network's, None if
    the networks make no decision.
    """

    images: int
    float_network: Accuracy
    approximated: Accuracy
    integer: Accuracy
    loss: LossInterval | None
    approximated_loss: LossInterval | None
    changed: ShareInterval | None
    approximated_changed: ShareInterval | None


@dataclass(frozen=True)
class Change:
    """A float network beside the one that it was made of, on ``images`` images.

    ``loss`` is the accuracy that ``after`` loses against ``before``, None without labels;
    ``changed`` the share of decisions that differ, None if the networks make no decision.
    """

    images: int
    before: Accuracy
    after: Accuracy
    loss: LossInterval | None
    changed: ShareInterval | None


def change(before: Network, after: Network, images: Images) -> Change:
    """Run the float networks ``before`` and ``after`` on ``images`` and compare them."""
    before, after = _without_softmax(before), _without_softmax(after)
    outputs = run(before, images.x), run(after, images.x)
    first, second = (_accuracy(before, output, outputs[0], images.y) for output in outputs)
    was, now = (decisions(before, output) for output in outputs)
    return Change(
        len(images), first, second, loss=_loss(was, now, images.y), changed=_changed(was, now)
    )


def compare(
    network: Network, approximated: Network, integer: IntegerNetwork, images: Images
) -> Comparison:
    """Run the three networks on ``images`` and compare their decisions and outputs."""
    network, approximated = _without_softmax(network), _without_softmax(approximated)
    reference = run(network, images.x)
    outputs = (reference, run(approximated, images.x), integer_outputs(integer, images.x))
    exact_one, approximate_one, whole_one = (
        _accuracy(network, output, reference, images.y) for output in outputs
    )
    exact, approximate, whole = (decisions(network, output) for output in outputs)
    return Comparison(
        len(images),
        exact_one,
        approximate_one,
        whole_one,
        loss=_loss(exact, whole, images.y),
        approximated_loss=_loss(exact, approximate, images.y),
        changed=_changed(exact, whole),
        approximated_changed=_changed(exact, approximate),
    )


def _without_softmax(network: Network) -> Network:
    """The network up to its logits: a final Softmax is monotone and has no integer form."""
    return network if isinstance(_last_op(network), ArgMax) else without_decision(network)


def integer_outputs(network: IntegerNetwork, x: FloatArray) -> FloatArray:
    """Real outputs (N, C, H, W) of the integer network on float images, by the golden model."""
    q = golden.run(network, network.input_format.quantise(x))
    scale = np.array(network.scale(network.output)).reshape(-1, 1, 1)
    outputs: FloatArray = q * scale
    return outputs


def decisions(network: Network, output: FloatArray) -> Decisions | None:
    """Class (N,) of each output (N, C, H, W) of ``network``; None if it makes no decision."""
    last = _last_op(network)
    if isinstance(last, ArgMax):
        return np.asarray(output[:, 0, 0, 0], dtype=np.int64)
    return decide(output, probability=isinstance(last, Activation) and "sigmoid" in last.kind)


def _last_op(network: Network) -> object:
    return network.node(network.output).op


def _loss(
    exact: Decisions | None, other: Decisions | None, labels: Decisions | None
) -> LossInterval | None:
    if exact is None or other is None or labels is None:
        return None
    return paired_loss(exact == labels, other == labels)


def _changed(exact: Decisions | None, other: Decisions | None) -> ShareInterval | None:
    if exact is None or other is None:
        return None
    return share_interval(int((exact != other).sum()), len(exact))


def _accuracy(
    network: Network,
    output: FloatArray,
    reference: FloatArray,
    labels: Decisions | None,
) -> Accuracy:
    made, expected = decisions(network, output), decisions(network, reference)
    accuracy = agreement = None
    if made is not None and expected is not None:
        agreement = float(np.mean(made == expected))
        if labels is not None:
            accuracy = float(np.mean(made == labels))
    norm = float(np.linalg.norm(reference))
    error = float(np.linalg.norm(output - reference)) / norm if norm else 0.0
    return Accuracy(accuracy, agreement, error)
