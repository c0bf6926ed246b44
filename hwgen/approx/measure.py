"""What an approximation costs in quality: decisions, and distance of outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.approx.types import ApproxNetwork
from hwgen.errors import DataError
from hwgen.network.execute import Tensor
from hwgen.network.types import Activation, ArgMax, Network, Softmax
from hwgen.numeric import csd_weight

__all__ = ["Loss", "Yardstick", "decide", "mean_terms", "without_decision"]


def without_decision(network: Network) -> Network:
    """The network up to its logits: without the ArgMax and Softmax that end it."""
    last = network.node(network.output) if network.nodes else None
    if last is None or not isinstance(last.op, ArgMax | Softmax):
        return network
    nodes = tuple(node for node in network.nodes if node is not last)
    return without_decision(replace(network, nodes=nodes, output=last.inputs[0]))


def decide(output: Tensor, *, probability: bool = False) -> npt.NDArray[np.int64] | None:
    """Class (N,) of each output (N, C, 1, 1); None if the output is a map, not a vector.

    The greatest channel decides. A single channel decides between class 0 and 1 by its sign, or
    by whether it exceeds one half if it is a ``probability``.
    """
    if output.shape[2:] != (1, 1):
        return None
    if output.shape[1] == 1:
        return np.asarray(output[:, 0, 0, 0] > (0.5 if probability else 0.0), dtype=np.int64)
    return np.asarray(output[:, :, 0, 0].argmax(axis=1), dtype=np.int64)


def mean_terms(approx: ApproxNetwork) -> float:
    """Signed powers of two in the codes of all linear layers, over the number of their weights."""
    terms = weights = 0
    for _, filters in approx.filters:
        codes, counts = np.unique(np.abs(filters.codes), return_counts=True)
        terms += sum(csd_weight(int(c)) * int(n) for c, n in zip(codes, counts, strict=True))
        weights += filters.codes.size
    return terms / weights if weights else 0.0


@dataclass(frozen=True)
class Loss:
    """How far an approximation is from the float network.

    ``loss`` is what the budget limits: accuracy lost in shares of 1 if there are labels, decisions
    that changed if there are none, the relative error for networks that make no decision.
    ``spoiled`` is the share of images that were decided right and no longer would be if the outputs
    were ``safety`` times as far off: wrong decisions that became right by chance do not make up for
    it, and images that have just stayed right count.
    ``error`` is the root-mean-square difference of the outputs relative to the float outputs.
    """

    loss: float
    spoiled: float
    error: float


@dataclass(frozen=True, eq=False)
class Yardstick:
    """The float network's outputs on the choosing split, and the labels if there are any."""

    reference: Tensor
    labels: npt.NDArray[np.int64] | None
    probability: bool
    safety: float = 1.0

    @classmethod
    def of(
        cls, network: Network, reference: Tensor, labels: npt.NDArray[np.integer] | None
    ) -> Yardstick:
        """Yardstick for ``network``, whose float outputs are ``reference`` (N, C, H, W).

        Raises
        ------
        DataError
            If there are no images or not one label an image.
        """
        if len(reference) == 0:
            raise DataError("Choosing an approximation needs at least one image")
        last = network.node(network.output).op
        probability = isinstance(last, Activation) and "sigmoid" in last.kind
        if labels is None or decide(reference) is None:
            return cls(reference, None, probability)
        flat = np.asarray(labels).reshape(-1)
        if len(flat) != len(reference):
            raise DataError(f"Labels must be one an image, not {len(flat)} for {len(reference)}")
        return cls(reference, flat.astype(np.int64), probability)

    @property
    def metric(self) -> str:
        """What a loss means: ``accuracy``, ``agreement`` or ``error``."""
        if self.labels is not None:
            return "accuracy"
        return "error" if decide(self.reference) is None else "agreement"

    def measure(self, output: Tensor) -> Loss:
        """Loss of ``output``, same shape as the reference."""
        norm = float(np.linalg.norm(self.reference))
        error = float(np.linalg.norm(output - self.reference)) / (norm or 1.0)
        expected = decide(self.reference, probability=self.probability)
        decided = decide(output, probability=self.probability)
        further = self.reference + self.safety * (output - self.reference)
        doubtful = decide(further, probability=self.probability)
        if expected is None or decided is None or doubtful is None:
            return Loss(error, error, error)
        if self.labels is None:
            changed = float(np.mean(decided != expected))
            return Loss(changed, float(np.mean(doubtful != expected)), error)
        was, still = expected == self.labels, decided == self.labels
        loss = float(int(was.sum()) - int(still.sum())) / len(decided)
        return Loss(loss, float(np.mean(was & (doubtful != self.labels))), error)

    def take(self, indices: npt.NDArray[np.intp]) -> Yardstick:
        """The same for the images ``indices`` only."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, reference=self.reference[indices], labels=labels)
