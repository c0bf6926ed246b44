"""What every training asks of its settings, images and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import DataError
from hwgen.network.execute import Tensor, check_input
from hwgen.network.types import Network

__all__ = ["FEWEST_IMAGES", "FloatPlan", "Penalties", "Plan", "check_data", "silent"]

FEWEST_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train: ``epochs`` over the images in batches of ``batch``, Adam at ``learning_rate``
    (in the units of what is trained), which falls to 0 along a cosine, shuffled by ``seed``;
    ``distillation`` is the share of the loss that pulls the outputs to the float network's, all of
    it without labels.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """

    epochs: int
    learning_rate: float
    batch: int
    seed: int
    distillation: float

    def __post_init__(self) -> None:
        if (
            self.epochs < 0
            or self.batch < 1
            or not self.learning_rate > 0
            or not 0 <= self.distillation <= 1
        ):
            raise ValueError(
                "Fine-tuning needs epochs >= 0, batch >= 1, learning_rate > 0 and distillation "
                f"from 0 to 1, not {self.epochs}, {self.batch}, {self.learning_rate} and "
                f"{self.distillation}"
            )


@dataclass(frozen=True, kw_only=True)
class FloatPlan(Plan):
    """How to train, and the ``layers`` that train."""

    layers: tuple[str, ...]


@dataclass(frozen=True)
class Penalties:
    """Strengths of the penalties by layer: ``groups`` of the sum of the norms of its neurons,
    ``ranks`` of the nuclear norms of its unfolded weights, applied every so many steps.
    """

    groups: Mapping[str, float]
    ranks: Mapping[str, float]
    every: int


def check_data(network: Network, images: Tensor, labels: npt.NDArray[np.int64] | None) -> None:
    """Raise :class:`DataError` if ``network`` cannot be trained on the images and labels."""
    check_input(network, images)
    if len(images) < FEWEST_IMAGES:
        raise DataError(f"Fine-tuning needs at least {FEWEST_IMAGES} images, not {len(images)}")
    if labels is not None and labels.shape != (len(images),):
        raise DataError(f"Labels must be one an image, shape ({len(images)},), not {labels.shape}")


def silent(task: str, fraction: float) -> None:
    """Report no progress."""
