"""The channels of a tensor: where they enter the next layers, and their second moments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from hwgen.approx.moments import Accumulator, Moments
from hwgen.network.execute import Tensor, check_input, run_all
from hwgen.network.types import (
    Activation,
    AveragePool,
    Conv,
    MaxPool,
    Network,
    PiecewiseLinear,
    Quantise,
)

__all__ = ["channel_moments", "feature_tensor", "in_batches", "tensor_moments"]

_ELEMENTS = 1 << 25
"""Most elements of a batch's tensors: 128 MB in float32."""


def feature_tensor(network: Network, name: str) -> str:
    """The tensor in which the channels of the node ``name`` enter whatever mixes or joins them.

    That is the last one that is reached through activations and pools which alone read what is
    before them.
    """
    readers = network.consumers(name)
    while name != network.output and len(readers) == 1:
        if not isinstance(
            readers[0].op, Activation | PiecewiseLinear | Quantise | MaxPool | AveragePool
        ):
            break
        name = readers[0].name
        readers = network.consumers(name)
    return name


def channel_moments(exact: Tensor, seen: Tensor | None = None) -> Moments:
    """Moments of the channels of one tensor over images and pixels, about their means.

    Parameters
    ----------
    exact
        (N, C, H, W), what is to be approximated.
    seen
        The same tensor of the network as it is, out of which it is to be approximated; None: the
        same. ``second`` is then the covariance of these channels, (1, 1, C, C), and ``cross``
        (C, C) has that of each exact channel (row) with each of them.
    """
    sums = _sums(exact.shape[1])
    sums.add(exact, seen)
    return sums.moments()


def in_batches(
    network: Network,
    images: Tensor,
    *,
    elements: int = _ELEMENTS,
    dtype: npt.DTypeLike = np.float32,
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """All tensors of ``network`` for some of the ``images`` after the other, and for which.

    So many images at a time that their tensors have at most ``elements`` together, or one image.

    Raises
    ------
    DataError
        If the images do not fit the network.
    """
    check_input(network, images)
    each = sum(math.prod(node.shape) for node in network.nodes)
    step = max(1, elements // max(1, each))
    for start in range(0, len(images), step):
        part = slice(start, min(start + step, len(images)))
        yield part, run_all(network, images[part], dtype=dtype)


def tensor_moments(
    network: Network, images: Tensor, tensors: Iterable[str], *, elements: int = _ELEMENTS
) -> dict[str, Moments]:
    """:func:`channel_moments` of the ``tensors`` of ``network``, in batches (:func:`in_batches`).

    Memory holds the tensors of a batch, and C * C sums for each of ``tensors``.
    """
    sums = {name: _sums(network.shape(name)[0]) for name in tensors}
    for _, found in in_batches(network, images, elements=elements):
        for name, each in sums.items():
            each.add(found[name].astype(np.float64))
    return {name: each.moments() for name, each in sums.items()}


def _sums(channels: int) -> Accumulator:
    """Sums for the layer that passes each channel on: its outputs are the channels themselves."""
    identity = Conv(np.eye(channels)[:, :, None, None], np.zeros(channels))
    return Accumulator(identity, most_entries=channels)
