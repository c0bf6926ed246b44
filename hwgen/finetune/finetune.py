"""Fine-tuning of the dyadic weights by straight-through estimation (extra ``train``, PyTorch)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hwgen.approx.types import ApproxNetwork
from hwgen.errors import ToolNotFoundError
from hwgen.finetune.settings import Plan, check_data, silent
from hwgen.network.execute import Tensor
from hwgen.network.types import Network

__all__ = ["finetune", "require_torch"]

_NO_TORCH = "Fine-tuning needs PyTorch, which is not installed; run pip install 'hwgen[train]'"


def require_torch() -> None:
    """Raise :class:`ToolNotFoundError` if PyTorch is not installed; does not load it."""
    if importlib.util.find_spec("torch") is None:
        raise ToolNotFoundError(_NO_TORCH)


def finetune(
    network: Network,
    approx: ApproxNetwork,
    images: Tensor,
    labels: npt.NDArray[np.int64] | None,
    *,
    epochs: int,
    learning_rate: float = 5e-3,
    batch: int = 64,
    seed: int = 0,
    distillation: float = 0.5,
    progress: Callable[[str, float], None] | None = None,
) -> ApproxNetwork:
    """Train the dyadic weights, scales and biases of ``approx`` on ``images``.

    The network runs with the numbers that the hardware has: codes of each layer's set within its
    limit of terms, dyadic scales, rounded biases, activations and pools as approximated. Gradients
    pass the rounding unchanged to latent weights (Bengio, Leonard, Courville: Estimating or
    propagating gradients through stochastic neurons, 2013), which start where ``approx`` is. Sets,
    limits and structure stay. What is zero both in the float network that ``approx`` approximates
    and in its codes stays zero, and filters without weights and bias stay silent: a network that
    was slimmed stays slim.

    Every tenth image does not train. The result is the state after the epoch with the least loss on
    these, or ``approx`` itself if no epoch improves on it.

    Parameters
    ----------
    network
        The float network whose outputs the outputs should follow: the one that ``approx``
        approximates, or what that one was before it was slimmed.
    approx
        Where to start.
    images
        (N, C, H, W), at least 20.
    labels
        (N,) classes. Without them the outputs follow the float network's (distillation).
    epochs
        Times that every image is seen; 0 changes nothing.
    learning_rate
        Greatest change of a weight in one step, in units of its filter's scale.
    batch
        Images of one step.
    seed
        Seed of the order of the images.
    distillation
        Share of the loss, from 0 to 1, that pulls the outputs to the float network's if there are
        labels.
    progress
        Called with the task and the share of it that is done.

    Raises
    ------
    ToolNotFoundError
        If PyTorch is not installed.
    DataError
        If the images do not fit the network, are too few, or the labels are not one an image.
    ValueError
        If a setting is out of range.
    """
    plan = Plan(
        epochs=epochs,
        learning_rate=learning_rate,
        batch=batch,
        seed=seed,
        distillation=distillation,
    )
    require_torch()
    from hwgen.finetune.training import train

    check_data(approx.network, images, labels)
    return train(network, approx, images, labels, plan, progress or silent)
