"""Training of float networks on the way to slimmer ones (extra ``train``, PyTorch).

:func:`train_sparse` makes neurons vanish, :func:`finetune_slim` brings back accuracy that removing
has cost. Both leave every zero weight zero.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt

from hwgen.errors import ModelError
from hwgen.finetune.finetune import require_torch
from hwgen.finetune.settings import FloatPlan, Penalties, check_data, silent
from hwgen.network.execute import Tensor
from hwgen.network.types import Network

__all__ = ["finetune_slim", "train_sparse"]

Labels = npt.NDArray[np.int64]
Progress = Callable[[str, float], None]


def finetune_slim(
    network: Network,
    slim: Network,
    images: Tensor,
    labels: Labels | None,
    *,
    epochs: int,
    layers: Collection[str] | None = None,
    learning_rate: float = 1e-2,
    batch: int = 16,
    seed: int = 0,
    distillation: float = 0.5,
    progress: Progress | None = None,
) -> Network:
    """Train the weights and biases of ``slim`` that are not zero.

    Weights that are zero stay so, and filters of zero weights and zero bias stay silent; layers
    whose weights are all powers of two train their biases only, since such weights cost nothing.
    The optimiser is Adam, its rate falls to 0 along a cosine. Weights are trained in units of the
    root mean square of their layer's, biases in units of its output's, so that one rate serves
    layers of any scale.

    Every tenth image does not train. The result is the state after the epoch with the least loss on
    these, or ``slim`` itself if no epoch improves on it.

    Parameters
    ----------
    network
        The network whose outputs those of ``slim`` should follow (distillation), usually what it
        was before it was slimmed.
    slim
        Where to start.
    images
        (N, C, H, W), at least 20.
    labels
        (N,) classes. Without them the outputs follow those of ``network`` only.
    epochs
        Times that every image is seen; 0 changes nothing.
    layers
        Names of the linear layers that train, all if None. What lies before the first of them runs
        once.
    learning_rate
        Greatest change of a weight in one step, in the units above.
    batch
        Images of one step.
    seed
        Seed of the order of the images.
    distillation
        Share of the loss, from 0 to 1, that pulls the outputs to those of ``network`` if there are
        labels.
    progress
        Called with the task and the share of it that is done.

    Raises
    ------
    ToolNotFoundError
        If PyTorch is not installed.
    DataError
        If the images do not fit the network, are too few, or the labels are not one an image.
    ModelError
        If one of ``layers`` is no linear layer of ``slim``.
    ValueError
        If a setting is out of range.
    """
    plan = FloatPlan(
        epochs=epochs,
        learning_rate=learning_rate,
        batch=batch,
        seed=seed,
        distillation=distillation,
        layers=_linear_layers(slim, layers),
    )
    require_torch()
    from hwgen.finetune.float_training import train_float

    check_data(slim, images, labels)
    return train_float(network, slim, images, labels, plan, progress or silent)


def train_sparse(
    network: Network,
    images: Tensor,
    labels: Labels | None,
    *,
    epochs: int,
    strengths: Mapping[str, float],
    ranks: Mapping[str, float] | None = None,
    every: int = 1,
    layers: Collection[str] | None = None,
    learning_rate: float = 2e-2,
    batch: int = 64,
    seed: int = 0,
    distillation: float = 0.5,
    progress: Progress | None = None,
) -> Network:
    """Train ``network`` by proximal forward-backward splitting until neurons vanish.

    Zhou, Alvarez, Porikli: Less is more: towards compact CNNs, 2016. Each step of gradient descent
    (forward) is followed by the proximal operator of the penalty (backward), here
    ``strength * sum of ||neuron||`` for each layer, where a neuron is all the weights of one output
    channel and its bias. Neurons of norms up to the threshold become exactly 0, weights and bias.

    The paper's forward step is stochastic gradient descent; here it is Adam's, in the units of
    :func:`finetune_slim`. A strength is therefore relative: at learning rate r a neuron shrinks by
    ``r * strength`` a step while each of its weights moves by at most about r, so that no neuron
    survives a strength above the square root of its number of weights, whatever the layer.

    The result is the state after the last epoch: shrunk, as sparse training leaves it.
    :func:`finetune_slim` afterwards lets what is left grow again.

    Parameters
    ----------
    network
        Where to start, and whose outputs the outputs should follow (distillation).
    images, labels, epochs, layers, learning_rate, batch, seed, distillation, progress
        As in :func:`finetune_slim`; all images train.
    strengths
        Strength of the penalty by linear layer; other layers have none.
    ranks
        Strength of the tensor low-rank penalty by linear layer: of the sum of the nuclear norms of
        the weights unfolded along each axis. Where a layer has both, its operators take turns,
        which minimises their sum only in the limit of small steps.
    every
        Steps between two proximal steps, whose threshold grows with it.

    Raises
    ------
    ToolNotFoundError
        If PyTorch is not installed.
    DataError
        If the images do not fit the network, are too few, or the labels are not one an image.
    ModelError
        If a penalty's layer is no linear layer that trains.
    ValueError
        If a setting is out of range.
    """
    trained = _linear_layers(network, layers)
    plan = FloatPlan(
        epochs=epochs,
        learning_rate=learning_rate,
        batch=batch,
        seed=seed,
        distillation=distillation,
        layers=trained,
    )
    penalties = [*strengths.values(), *(ranks or {}).values()]
    if every < 1 or not all(strength >= 0 for strength in penalties):
        raise ValueError(
            f"Sparse training needs every >= 1 and strengths >= 0, not {every} and {penalties}"
        )
    for name in {**strengths, **(ranks or {})}:
        if name not in trained:
            raise ModelError(
                f"Penalties must be of layers that train, {', '.join(trained)}, not {name!r}"
            )
    require_torch()
    from hwgen.finetune.float_training import train_proximal

    check_data(network, images, labels)
    return train_proximal(
        network, images, labels, plan, Penalties(strengths, ranks or {}, every), progress or silent
    )


def _linear_layers(network: Network, names: Collection[str] | None) -> tuple[str, ...]:
    """``names``, or all linear layers, in order."""
    every = [node.name for node, _ in network.convs()]
    if names is None:
        return tuple(every)
    for name in names:
        if name not in every:
            raise ModelError(f"Layers that train must be linear layers, not {name!r}")
    return tuple(name for name in every if name in names)
