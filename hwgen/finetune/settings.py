"""What every training asks of its settings, images and labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen.errors import DataError
from hwgen.network.execute import Tensor, check_input
from hwgen.network.types import Network

__all__ = ["FEWEST_IMAGES", "check_data", "check_settings"]

FEWEST_IMAGES = 20


def check_settings(epochs: int, batch: int, learning_rate: float, distillation: float) -> None:
    """Raise :class:`ValueError` if a setting of a training is out of range."""
    if epochs < 0 or batch < 1 or not learning_rate > 0 or not 0 <= distillation <= 1:
        raise ValueError(
            "Fine-tuning needs epochs >= 0, batch >= 1, learning_rate > 0 and distillation from "
            f"0 to 1, not {epochs}, {batch}, {learning_rate} and {distillation}"
        )


def check_data(network: Network, images: Tensor, labels: npt.NDArray[np.int64] | None) -> None:
    """Raise :class:`DataError` if ``network`` cannot be trained on the images and labels."""
    check_input(network, images)
    if len(images) < FEWEST_IMAGES:
        raise DataError(f"Fine-tuning needs at least {FEWEST_IMAGES} images, not {len(images)}")
    if labels is not None and labels.shape != (len(images),):
        raise DataError(f"Labels must be one an image, shape ({len(images)},), not {labels.shape}")
