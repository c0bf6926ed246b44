"""The channels of a tensor: where they enter the next layers, and their second moments."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

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

__all__ = ["channel_moments", "feature_tensor", "tensor_moments"]


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


def tensor_moments(
    network: Network, images: Tensor, tensors: Iterable[str], *, batch: int = 16
) -> dict[str, Moments]:
    """:func:`channel_moments` of the ``tensors`` of ``network``, a few images at a time.

    Memory holds all tensors for ``batch`` images, and C * C sums for each of ``tensors``.
    """
    check_input(network, images)
    sums = {name: _sums(network.shape(name)[0]) for name in tensors}
    for start in range(0, len(images), batch):
        found = run_all(network, images[start : start + batch])
        for name, each in sums.items():
            each.add(found[name].astype(np.float64))
    return {name: each.moments() for name, each in sums.items()}


def _sums(channels: int) -> Accumulator:
    """Sums for the layer that passes each channel on: its outputs are the channels themselves."""
    identity = Conv(np.eye(channels)[:, :, None, None], np.zeros(channels))
    return Accumulator(identity, most_entries=channels)
