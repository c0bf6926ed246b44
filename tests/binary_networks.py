"""Small binary networks: weights of plus and minus one with a scale, signs between the layers."""

from __future__ import annotations

import numpy as np

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import ApproxNetwork
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.shapes import output_shape
from hwgen.network.simplify import simplify
from hwgen.network.steps import step
from hwgen.network.types import Conv, MaxPool, Network, Node, Op

__all__ = ["binary_images", "binary_integers", "binary_network"]


def binary_network(
    seed: int,
    *,
    shape: tuple[int, int, int] = (2, 9, 9),
    channels: tuple[int, ...] = (5, 6),
    pad: int = 1,
    classes: int = 3,
) -> Network:
    """Convolutions of 3 x 3, the last before a 2 x 2 maximum, and a dense layer; simplified.

    Every filter has a scale of its own. The first layer takes pixels 0 to 255 and does not pad; the
    others pad with zeros, which are neither 1 nor -1.
    """
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []

    def add(name: str, op: Op) -> None:
        source, of = (nodes[-1].name, nodes[-1].shape) if nodes else ("image", shape)
        nodes.append(Node(name, op, (source,), output_shape(op, [of])))

    def conv(name: str, count: int, kernel: tuple[int, int], spread: float, pad: int) -> None:
        depth = nodes[-1].shape[0] if nodes else shape[0]
        weight = rng.choice([-1.0, 1.0], size=(count, depth, *kernel))
        scale = rng.uniform(0.2, 2, size=count)
        bias = rng.normal(scale=spread * np.sqrt(weight[0].size), size=count) * scale
        add(name, Conv(weight * scale.reshape(-1, 1, 1, 1), bias, pads=(pad,) * 4))

    for index, count in enumerate(channels):
        conv(f"conv{index}", count, (3, 3), 0.5 if index else 100, pad if index else 0)
        if index == len(channels) - 1:
            add("pool", MaxPool((2, 2), (2, 2)))
        add(f"sign{index}", step([0], [-1, 1]))
    conv("dense", classes, nodes[-1].shape[1:], 0.5, 0)
    return simplify(Network("binary", "image", shape, tuple(nodes), "dense"))


def binary_images(network: Network, count: int, *, seed: int = 0) -> np.ndarray:
    """Pixels 0 to 255 (count, C, H, W), the first two images extreme."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *network.input_shape)).astype(np.float64)
    images[0], images[1] = 0, 255
    return images


def binary_integers(network: Network) -> IntegerNetwork:
    """The integer network, whose weights are those of the float one and exact."""
    recipe = parse_recipe("P4")
    filters = tuple((node.name, approximate_filters(op, recipe)) for node, op in network.convs())
    approx = ApproxNetwork(network, filters, (), ())
    return quantise(approx, calibrate(approx.to_network(), binary_images(network, 20, seed=9)))
