"""What the benchmarks that train share: images to train on and to choose with, and decisions."""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np
import numpy.typing as npt

from hwgen.approx.measure import decide, without_decision
from hwgen.flow.data import Images
from hwgen.network.execute import Tensor, run
from hwgen.network.types import Network

__all__ = ["COPIES", "right", "split", "with_copies"]

_CHOOSING = 12
"""One training image in so many chooses instead of training."""


def mirrored(x: Tensor) -> Tensor:
    """Left to right."""
    return x[..., ::-1]


def shifted(x: Tensor) -> Tensor:
    """Each by a pixel in one of eight directions; the edge is repeated."""
    directions = np.random.default_rng(0).integers(-1, 2, size=(len(x), 2))
    directions[~directions.any(axis=1), 0] = 1
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = x.shape[2:]
    moved = np.empty_like(x)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            some = (directions == (down, right)).all(axis=1)
            moved[some] = wide[some, :, 1 - down :, 1 - right :][:, :, :height, :width]
    return moved


COPIES: dict[str, Callable[[Tensor], Tensor]] = {"mirrored": mirrored, "shifted": shifted}
"""Ways to make another image of the same class."""


def with_copies(images: Images, copies: str | None) -> Images:
    """``images`` and a copy of each, if they are to be copied."""
    return images if copies is None else images.join(Images(COPIES[copies](images.x), images.y))


def split(images: Images) -> tuple[Images, Images]:
    """Images to train on, and every twelfth, to choose with."""
    if images.y is None:
        raise click.UsageError("Training images need labels")
    chooses = np.arange(len(images)) % _CHOOSING == 0
    return images.take(np.flatnonzero(~chooses)), images.take(np.flatnonzero(chooses))


def right(network: Network, images: Images) -> npt.NDArray[np.bool_]:
    """Whether each image is decided right, (N,)."""
    return np.asarray(decide(run(without_decision(network), images.x)) == images.y)
