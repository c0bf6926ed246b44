"""Random small networks, to calibrate estimates of whole designs with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import (
    ArgMax,
    Conv,
    IntegerNetwork,
    IntNode,
    IntOp,
    MaxPool,
    PiecewiseLinear,
    Requantise,
)
from hwgen.network.shapes import window_shape
from hwgen.numeric import FixedFormat, Range
from hwgen.stream.forms import LayerForm

__all__ = ["folded_network", "random_network"]

_FORMS = (
    LayerForm("parallel"),
    LayerForm("rows"),
    *(LayerForm("serial", digit) for digit in (1, 2, 4, 8)),
    *(LayerForm("memory", lanes) for lanes in (1, 2, 3)),
)


def random_network(seed: int) -> IntegerNetwork:
    """Two convolution layers with activations, most with pooling, and a fully connected layer."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(10, 29))
    shape = (int(rng.integers(1, 3)), size, size)
    filters = (int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    return _layers(rng, f"random{seed}", shape, filters).network


def folded_network(seed: int) -> tuple[IntegerNetwork, dict[str, LayerForm]]:
    """A smaller network, which says what output is the greatest, and a form for each layer.

    The last, fully connected layer has its weights in memory.
    """
    rng = np.random.default_rng([seed, 1])
    size = int(rng.integers(9, 21))
    filters = (int(rng.integers(2, 4)), int(rng.integers(2, 4)))
    maker = _layers(rng, f"folded{seed}", (1, size, size), filters)
    layers = [node.origin for node, _ in maker.network.convs()]
    maker.classify()
    forms = [_FORMS[int(k)] for k in rng.integers(len(_FORMS), size=len(layers) - 1)]
    forms.append(LayerForm("memory", int(rng.choice([1, 2, 4]))))
    return maker.network, dict(zip(layers, forms, strict=True))


def _layers(
    rng: np.random.Generator, name: str, shape: tuple[int, int, int], filters: tuple[int, ...]
) -> _Maker:
    image = FixedFormat(8, 8, False)
    maker = _Maker(rng, IntegerNetwork(name, "image", shape, image, (), "image"))
    for count in filters:
        maker.convolve(count, 3, padded=bool(rng.random() < 0.4))
        maker.activate()
        if min(maker.shape[1:]) >= 8 or rng.random() < 0.3:
            maker.pool()
    maker.convolve(int(rng.integers(4, 9)), maker.shape[1], padded=False)
    maker.requantise(-127, 127)
    return maker


class _Maker:
    """A network under construction: each method appends to its output."""

    def __init__(self, rng: np.random.Generator, network: IntegerNetwork) -> None:
        self.rng, self.network = rng, network

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.network.shape(self.network.output)

    @property
    def ranges(self) -> tuple[Range, ...]:
        return self.network.ranges(self.network.output)

    def convolve(self, filters: int, size: int, *, padded: bool) -> None:
        channels = self.shape[0]
        signs = self.rng.choice([-1, 0, 1], (2, filters, channels, size, size), p=[0.3, 0.4, 0.3])
        weight = (signs << self.rng.integers(0, 6, signs.shape)).sum(axis=0)
        pads = (size // 2,) * 4 if padded else (0,) * 4
        bias = self.rng.integers(-500, 500, filters)
        rows, columns = window_shape(self.shape[1:], (size, size), (1, 1), pads, (1, 1))
        self._append(Conv(weight, bias, pads=pads), (filters, rows, columns))

    def activate(self) -> None:
        if self.rng.random() < 0.7:
            self.requantise(0, 255)
            return
        self.requantise(-512, 511)
        breaks = np.sort(self.rng.choice(800, 4, replace=False) - 400)[None]
        slopes = np.array([[0, 1, 3, 1, 0]])
        offsets = self.rng.integers(-300, 300, (1, 5))
        self._append(PiecewiseLinear(breaks, slopes, offsets, 3, -127, 127), self.shape)

    def requantise(self, lo: int, hi: int) -> None:
        channels = self.shape[0]
        multiplier = self.rng.choice([1, 2, 3, 5, 6, 9], (channels, 1, 1))
        reach = np.array([max(-r.lo, r.hi) for r in self.ranges]).reshape(-1, 1, 1) * multiplier
        shift = np.maximum(np.ceil(np.log2(reach / hi)).astype(int) - 1, 0)
        self._append(Requantise(multiplier, shift, lo, hi), self.shape)

    def classify(self) -> None:
        self._append(ArgMax(), (1, 1, 1))

    def pool(self) -> None:
        channels, height, width = self.shape
        self._append(MaxPool((2, 2), (2, 2)), (channels, height // 2, width // 2))

    def _append(self, op: IntOp, shape: tuple[int, int, int]) -> None:
        network = self.network
        name = f"t{len(network.nodes)}"
        ranges = output_ranges(op, [self.ranges], self.shape, shape)
        kind = type(op).__name__.lower()
        scale = (1.0,) * shape[0]
        node = IntNode(name, op, (network.output,), shape, ranges, scale, f"{kind}_{name}")
        self.network = replace(network, nodes=(*network.nodes, node), output=name)
