"""How much of an error in each map reaches the output of a network.

To first order an error d of a layer's output changes the network's output by J d. If errors at
different pixels of different maps have nothing to do with each other, the square of that is the sum
over maps of their mean squared error times the squares of J's entries. Those follow from a few
gradients of random combinations of the outputs (Hutchinson, 1990: with signs u, the expectation of
the square of each entry of J'u is the sum of the squares of J's column).
"""

from __future__ import annotations

import math

import numpy as np

from hwgen.network.execute import Tensor, run_all
from hwgen.network.gradients import gradients
from hwgen.network.types import FloatArray, Network

__all__ = ["reach"]

_IMAGES = 32
_ALL_ELEMENTS = 1 << 27
_ELEMENTS = 1 << 24
"""Most elements of all tensors, of all images and of those worked on at a time."""
_PROBES = 2
_FLOOR = 0.01
"""Least reach of a map, relative to the mean of its layer: other images may use it."""


def reach(network: Network, images: Tensor, *, seed: int = 0) -> dict[str, FloatArray]:
    """What the mean squared error of each map adds to that of the output, relative to its square.

    Parameters
    ----------
    network
        Network up to its logits.
    images
        Images (N, C, H, W), of which some are taken.
    seed
        Of the random combinations.

    Returns
    -------
    dict
        By Conv node name (O,) float64, above 0.
    """
    size = sum(math.prod(node.shape) for node in network.nodes) + math.prod(network.input_shape)
    count = max(1, min(_IMAGES, len(images), _ALL_ELEMENTS // size))
    chosen = images[np.linspace(0, len(images) - 1, count).astype(np.intp)]
    layers = [node.name for node, _ in network.convs()]
    total = {name: np.zeros(network.shape(name)[0]) for name in layers}
    rng, square = np.random.default_rng(seed), 0.0
    step = max(1, _ELEMENTS // size)
    for at in range(0, count, step):
        tensors = run_all(network, chosen[at : at + step], dtype=np.float64)
        output = tensors[network.output]
        square += float(np.square(output).sum())
        for _ in range(_PROBES):
            signs = rng.choice([-1.0, 1.0], size=output.shape)
            for name, found in gradients(network, tensors, signs, layers).items():
                total[name] += np.square(found).sum(axis=(0, 2, 3)) / _PROBES
    return {
        name: np.maximum(each, _FLOOR * (each.mean() or 1.0)) / (square or 1.0)
        for name, each in total.items()
    }
