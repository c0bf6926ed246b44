"""Small integer networks made by hand, for tests of whole pipelines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    IntegerNetwork,
    IntNode,
    IntOp,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.integer.verify import verify
from hwgen.network.shapes import window_shape
from hwgen.network.types import Shape
from hwgen.numeric import FixedFormat

__all__ = ["NETWORKS", "Sketch", "images_for"]


class Sketch:
    """A network under construction; each method appends an operator and returns its tensor.

    Weights are 0 or signed powers of two with one of ``exponents`` exponents; all those of a filter
    are multiplied by a power of two up to ``2**guard``.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        signed: bool = False,
        seed: int = 0,
        exponents: int = 4,
        guard: int = 0,
    ) -> None:
        self.exponents, self.guard = exponents, guard
        self.rng = np.random.default_rng(seed)
        self.network = IntegerNetwork(
            "sketch", "image", shape, FixedFormat(8, 8 - signed, signed), (), "image"
        )

    def add(self, op: IntOp, *inputs: str, shape: Shape, name: str = "") -> str:
        network = self.network
        name = name or f"t{len(network.nodes)}"
        ranges = output_ranges(
            op, [network.ranges(i) for i in inputs], network.shape(inputs[0]), shape
        )
        node = IntNode(name, op, inputs, shape, ranges, (1.0,) * shape[0], name.split(".")[0])
        self.network = IntegerNetwork(
            network.name,
            network.input_name,
            network.input_shape,
            network.input_format,
            (*network.nodes, node),
            name,
        )
        return name

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        groups: int = 1,
        name: str = "",
        reduced: float = 0.0,
    ) -> str:
        """``reduced`` is the share of filters that have weights in one tap alone."""
        shape = self.network.shape(x)
        size = (outputs, shape[0] // groups, *kernel)
        signs = self.rng.integers(-1, 2, size)
        weight = signs << self.rng.integers(0, self.exponents, size)
        if self.guard:
            weight <<= self.rng.integers(0, self.guard + 1, (outputs, 1, 1, 1))
        if reduced:
            tap = np.zeros(kernel, dtype=np.int64)
            tap[tuple(self.rng.integers(kernel))] = 1
            weight[self.rng.random(outputs) < reduced] *= tap
        bias = self.rng.integers(-300, 300, outputs)
        op = Conv(weight, bias, strides, pads, dilations, groups)
        out = window_shape(shape[1:], kernel, strides, pads, dilations)
        return self.add(op, x, shape=(outputs, *out), name=name)

    def requantise(self, x: str, *, lo: int = 0, hi: int = 255, name: str = "") -> str:
        shape = self.network.shape(x)
        ranges = self.network.ranges(x)
        multiplier = self.rng.choice([1, 2, 3, 5], (shape[0], 1, 1))
        widths = [r.scale(int(k)).width for r, k in zip(ranges, multiplier.ravel(), strict=True)]
        shifts = [max(0, w - 8 - int(self.rng.integers(0, 2))) for w in widths]
        op = Requantise(multiplier, np.array(shifts).reshape(-1, 1, 1), lo, hi)
        return self.add(op, x, shape=shape, name=name)

    def max_pool(self, x: str, kernel: int = 2, stride: int = 2, pad: int = 0) -> str:
        return self.max_pool_of(x, (kernel, kernel), (stride, stride), (pad,) * 4)

    def max_pool_of(
        self,
        x: str,
        kernel: tuple[int, int],
        strides: tuple[int, int],
        pads: tuple[int, int, int, int],
    ) -> str:
        shape = self.network.shape(x)
        out = window_shape(shape[1:], kernel, strides, pads, (1, 1))
        return self.add(MaxPool(kernel, strides, pads), x, shape=(shape[0], *out))

    def sum_pool(
        self,
        x: str,
        kernel: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> str:
        shape = self.network.shape(x)
        out = window_shape(shape[1:], kernel, strides, pads, (1, 1))
        return self.add(SumPool(kernel, strides, pads), x, shape=(shape[0], *out))

    def dense(self, x: str, outputs: int, name: str = "") -> str:
        return self.conv(x, outputs, self.network.shape(x)[1:], name=name)

    def done(self, x: str) -> IntegerNetwork:
        network = self.network
        return verify(
            IntegerNetwork(
                network.name,
                network.input_name,
                network.input_shape,
                network.input_format,
                network.nodes,
                x,
            )
        )


def images_for(network: IntegerNetwork, count: int, seed: int = 0) -> np.ndarray:
    """Random images, the first two at the ends of the range."""
    bounds = network.input_format.range
    rng = np.random.default_rng(seed)
    images = rng.integers(bounds.lo, bounds.hi + 1, (count, *network.input_shape))
    images[0] = bounds.hi
    images[1:2] = bounds.lo
    return images


def chain() -> IntegerNetwork:
    s = Sketch((1, 10, 9))
    x = s.requantise(s.conv("image", 3, pads=(1, 1, 1, 1), name="conv1.sum"), name="conv1")
    x = s.max_pool(x)
    x = s.requantise(s.conv(x, 4, name="conv2.sum"), name="conv2")
    x = s.requantise(s.dense(x, 6, name="fc1.sum"), name="fc1", lo=-128, hi=127)
    x = s.requantise(s.dense(x, 3, name="fc2.sum"), name="fc2", lo=-128, hi=127)
    return s.done(x)


def classifier() -> IntegerNetwork:
    s = Sketch((2, 6, 6), signed=True, seed=1)
    x = s.requantise(s.conv("image", 3, strides=(2, 2), pads=(1, 1, 1, 1)), lo=-128, hi=127)
    x = s.requantise(s.dense(x, 5), lo=-512, hi=511)
    return s.done(s.add(ArgMax(), x, shape=(1, 1, 1)))


def bare() -> IntegerNetwork:
    """A convolution alone, whose bias nothing takes over."""
    s = Sketch((2, 5, 4), seed=2)
    return s.done(s.conv("image", 2, kernel=(2, 3), pads=(0, 1, 1, 0)))


def depthwise() -> IntegerNetwork:
    s = Sketch((4, 7, 6), seed=3)
    x = s.requantise(s.conv("image", 4, groups=4, pads=(1, 1, 1, 1)))
    x = s.requantise(s.conv(x, 6, kernel=(1, 1), groups=2))
    x = s.requantise(s.conv(x, 2, kernel=(1, 1), strides=(2, 2)))
    return s.done(x)


def pools() -> IntegerNetwork:
    s = Sketch((2, 9, 8), seed=4)
    x = s.sum_pool("image", (2, 2), (2, 2))
    x = s.requantise(x)
    x = s.max_pool(x, 3, 2, 1)
    x = s.requantise(s.sum_pool(x, (2, 2)))
    return s.done(x)


def mean() -> IntegerNetwork:
    s = Sketch((2, 5, 6), seed=5)
    x = s.requantise(s.conv("image", 3))
    x = s.requantise(s.sum_pool(x, s.network.shape(x)[1:]))
    x = s.conv(x, 2, kernel=(1, 1))
    return s.done(x)


def tanh() -> IntegerNetwork:
    s = Sketch((1, 6, 6), signed=True, seed=6)
    x = s.requantise(s.conv("image", 2), lo=-512, hi=511)
    op = PiecewiseLinear(
        np.array([[-100, 0, 100]]),
        np.array([[1, 4, 3, 1]]),
        np.array([[-300, 0, 0, 200]]),
        3,
        -128,
        127,
    )
    x = s.add(op, x, shape=s.network.shape(x))
    return s.done(x)


def residual() -> IntegerNetwork:
    s = Sketch((2, 7, 6), seed=7)
    x = s.requantise(s.conv("image", 3, pads=(1, 1, 1, 1)))
    y = s.requantise(s.conv(x, 3, pads=(1, 1, 1, 1)))
    y = s.requantise(s.conv(y, 3, pads=(1, 1, 1, 1)), lo=-128, hi=127)
    x = s.requantise(s.add(Add((0, 1)), y, x, shape=s.network.shape(x)))
    z = s.requantise(s.conv(x, 4, strides=(2, 2), pads=(1, 1, 1, 1)), lo=-128, hi=127)
    w = s.requantise(s.conv(x, 4, kernel=(1, 1), strides=(2, 2)), lo=-128, hi=127)
    return s.done(s.requantise(s.add(Add((0, 0)), z, w, shape=s.network.shape(z))))


def inception() -> IntegerNetwork:
    s = Sketch((2, 6, 6), seed=8)
    a = s.requantise(s.conv("image", 2, kernel=(1, 1)))
    b = s.requantise(s.conv("image", 2, kernel=(5, 5), pads=(2, 2, 2, 2)))
    c = s.max_pool("image", 3, 1, 1)
    x = s.add(Concat((0, 1, 0)), a, b, c, shape=(6, 6, 6))
    return s.done(s.requantise(s.conv(x, 2)))


def twice() -> IntegerNetwork:
    """A tensor added to itself, and an output that is read inside as well."""
    s = Sketch((2, 4, 4), seed=9)
    x = s.requantise(s.conv("image", 2, pads=(1, 1, 1, 1)))
    y = s.add(Add((0, 2)), x, x, shape=s.network.shape(x))
    s.conv(y, 2)
    return s.done(y)


def vectors() -> IntegerNetwork:
    """Fully connected layers with all that can read what they give one value a beat."""
    s = Sketch((2, 6, 6), signed=True, seed=10)
    x = s.requantise(s.dense("image", 8, name="a.sum"), lo=-512, hi=511, name="a.wide")
    op = PiecewiseLinear(
        np.array([[-90, 0, 110]]),
        np.array([[1, 4, 3, 1]]),
        np.array([[-270, 0, 0, 220]]),
        3,
        -128,
        127,
    )
    x = s.add(op, x, shape=s.network.shape(x), name="a")
    x = s.requantise(s.dense(x, 12, name="b.sum"), lo=-128, hi=127, name="b")
    y = s.requantise(s.conv(x, 12, (1, 1), groups=2, name="c.sum"), lo=-128, hi=127, name="c")
    x = s.add(Add((0, 1)), x, y, shape=s.network.shape(x), name="d")
    x = s.requantise(s.dense(x, 7, name="e.sum"), lo=-512, hi=511, name="e")
    return s.done(x)


def small() -> IntegerNetwork:
    """A first layer with too many outputs to give them in turns, and a last without rounding."""
    s = Sketch((1, 3, 3), signed=True, seed=11)
    x = s.requantise(s.dense("image", 12, name="a.sum"), lo=-128, hi=127, name="a")
    x = s.requantise(s.dense(x, 8, name="b.sum"), lo=-128, hi=127, name="b")
    return s.done(s.dense(x, 7, name="c"))


NETWORKS: dict[str, Callable[[], IntegerNetwork]] = {
    f.__name__: f
    for f in (
        chain,
        classifier,
        bare,
        depthwise,
        pools,
        mean,
        tanh,
        residual,
        inception,
        twice,
        vectors,
        small,
    )
}
