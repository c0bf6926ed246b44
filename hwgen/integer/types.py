"""The integer network: the contract that the golden model and all hardware implement.

Every operator has one exact integer definition, given in its docstring with x the input and y the
output. Tensors are (C, H, W) of integers; the real value of ``q`` in channel c is ``q * scale[c]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import ModelError
from hwgen.network.types import Pads, Pair, Shape
from hwgen.numeric import FixedFormat, IntArray, Range

__all__ = [
    "Add",
    "ArgMax",
    "Concat",
    "Conv",
    "IntNode",
    "IntOp",
    "IntegerNetwork",
    "MaxPool",
    "PiecewiseLinear",
    "Requantise",
    "SumPool",
]


def _freeze(array: npt.ArrayLike) -> IntArray:
    copy = np.array(array, dtype=np.int64)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class Conv:
    """``y[o] = bias[o] + sum weight[o, i, r, s] * x[...]``, exact; padding is zero.

    ``weight`` (O, I / groups, KH, KW) holds few signed powers of two an entry; ``bias`` (O,).
    """

    weight: IntArray
    bias: IntArray
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _freeze(self.weight))
        object.__setattr__(self, "bias", _freeze(self.bias))

    @property
    def kernel(self) -> Pair:
        """(height, width) of the kernel, undilated."""
        return (self.weight.shape[2], self.weight.shape[3])


@dataclass(frozen=True, eq=False)
class Requantise:
    """``y = saturate(round_shift(x * multiplier, shift), lo, hi)``.

    ``multiplier`` and ``shift`` broadcast to (C, H, W) and have shape (C, 1, 1), or (1, H, W) for
    an average pool whose divisor depends on the position. Each multiplier is a sum of few signed
    powers of two. ReLU is ``lo == 0``, clipping a tighter ``lo`` and ``hi``.
    """

    multiplier: IntArray
    shift: IntArray
    lo: int
    hi: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiplier", _freeze(self.multiplier))
        object.__setattr__(self, "shift", _freeze(self.shift))


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """``y = saturate(round_shift(slopes[g, s] * x + offsets[g, s], shift), lo, hi)``.

    s = number of ``breakpoints[g]`` that are <= x; g is the channel, or 0 if one function
    serves all. ``breakpoints`` (G, S - 1) ascending, ``slopes`` and ``offsets`` (G, S). Each slope
    is a sum of few signed powers of two.
    """

    breakpoints: IntArray
    slopes: IntArray
    offsets: IntArray
    shift: int
    lo: int
    hi: int

    def __post_init__(self) -> None:
        for name in ("breakpoints", "slopes", "offsets"):
            object.__setattr__(self, name, _freeze(getattr(self, name)))


@dataclass(frozen=True)
class MaxPool:
    """``y`` = greatest x in the window; positions in the padding do not take part.

    If x holds ``pixels`` columns of a row at each position, channel ``j * C + c`` at position b is
    channel c of column ``b * pixels + j``. Kernel, strides and pads are of columns all the same,
    and y holds ``pixels / gcd(pixels, strides[1])`` columns at each position, or one if it has one.
    """

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    pixels: int = 1


@dataclass(frozen=True)
class SumPool:
    """``y`` = sum of x over the window, padding zero; an average pool before its requantisation."""

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class Add:
    """``y = sum_k x_k << shifts[k]``, exact."""

    shifts: tuple[int, ...]


@dataclass(frozen=True)
class Concat:
    """Channels of ``x_0 << shifts[0]``, then of ``x_1 << shifts[1]``, ..., exact."""

    shifts: tuple[int, ...]


@dataclass(frozen=True)
class ArgMax:
    """``y`` (1, 1, 1) = index of the greatest channel of x (C, 1, 1), the first of equals."""


IntOp = Conv | Requantise | PiecewiseLinear | MaxPool | SumPool | Add | Concat | ArgMax


@dataclass(frozen=True)
class IntNode:
    """One integer operator: reads tensors ``inputs``, writes tensor ``name``.

    ``ranges`` (C entries) are the bounds of each channel, exact given those of the inputs;
    ``scale`` (C entries) the real value of one unit; ``origin`` the float layer it came from.
    """

    name: str
    op: IntOp
    inputs: tuple[str, ...]
    shape: Shape
    ranges: tuple[Range, ...]
    scale: tuple[float, ...]
    origin: str


@dataclass(frozen=True)
class IntegerNetwork:
    """Integer network in topological order.

    The input image is ``input_format.quantise(x)`` of the float input, shape (C, H, W).
    """

    name: str
    input_name: str
    input_shape: Shape
    input_format: FixedFormat
    nodes: tuple[IntNode, ...]
    output: str

    def node(self, name: str) -> IntNode:
        """The node that writes tensor ``name``; :class:`ModelError` if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ModelError(f"Integer network {self.name!r} has no node {name!r}")

    def shape(self, name: str) -> Shape:
        """Shape of the tensor ``name``."""
        return self.input_shape if name == self.input_name else self.node(name).shape

    def ranges(self, name: str) -> tuple[Range, ...]:
        """Exact range of each channel of the tensor ``name``."""
        if name == self.input_name:
            return (self.input_format.range,) * self.input_shape[0]
        return self.node(name).ranges

    def scale(self, name: str) -> tuple[float, ...]:
        """Real value of one unit of each channel of the tensor ``name``."""
        if name == self.input_name:
            return (self.input_format.step,) * self.input_shape[0]
        return self.node(name).scale

    def consumers(self, name: str) -> tuple[IntNode, ...]:
        """Nodes that read the tensor ``name``."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def convs(self) -> Iterator[tuple[IntNode, Conv]]:
        """Every linear layer with its operator, in order."""
        for node in self.nodes:
            if isinstance(node.op, Conv):
                yield node, node.op
