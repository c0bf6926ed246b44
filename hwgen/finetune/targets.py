"""What the outputs of a network in training should be, and how far off they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hwgen.approx.measure import without_decision
from hwgen.finetune.execute import to_tensor
from hwgen.network.execute import run
from hwgen.network.types import Activation, FloatArray, Network

__all__ = ["Labels", "Targets"]

Labels = npt.NDArray[np.int64]

_TEMPERATURE = 2.0
_LEAST = 1e-7


@dataclass(frozen=True, eq=False)
class Targets:
    """What the outputs should be: the ``labels`` (N,), the float outputs ``reference``, or both."""

    reference: Tensor
    labels: Labels | None
    distillation: float
    probability: bool

    @classmethod
    def of(
        cls, network: Network, images: FloatArray, labels: Labels | None, distillation: float
    ) -> Targets:
        """Targets of ``images`` (N, C, H, W) as ``network`` sees them."""
        last = network.node(network.output).op
        probability = isinstance(last, Activation) and "sigmoid" in last.kind
        reference = to_tensor(run(without_decision(network), images))
        return cls(reference, labels, distillation, probability)

    def loss(self, output: Tensor, some: npt.NDArray[np.intp]) -> Tensor:
        """Mean loss of the ``output`` for the images ``some``."""
        reference = self.reference[torch.from_numpy(some)]
        decides = output.shape[2:] == (1, 1)
        if self.labels is None or not decides:
            return _distance(output, reference)
        right = _misses(output, torch.from_numpy(self.labels[some]), self.probability)
        if not self.distillation:
            return right
        share = self.distillation
        return (1 - share) * right + share * _distance(output, reference)


def _misses(output: Tensor, labels: Tensor, probability: bool) -> Tensor:
    """Cross entropy of the decisions that ``output`` (N, C, 1, 1) makes."""
    if output.shape[1] > 1:
        return F.cross_entropy(output.flatten(1), labels)
    single, target = output.flatten(), labels.to(output.dtype)
    if probability:
        return F.binary_cross_entropy(single.clamp(_LEAST, 1 - _LEAST), target)
    return F.binary_cross_entropy_with_logits(single, target)


def _distance(output: Tensor, reference: Tensor) -> Tensor:
    """How far ``output`` is from the float network's, as a distribution or relative to its power.

    Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015.
    """
    if output.shape[1] > 1 and output.shape[2:] == (1, 1):
        new, old = (F.log_softmax(t.flatten(1) / _TEMPERATURE, 1) for t in (output, reference))
        return _TEMPERATURE**2 * F.kl_div(new, old, log_target=True, reduction="batchmean")
    return ((output - reference) ** 2).mean() / (reference**2).mean().clamp_min(_LEAST)
