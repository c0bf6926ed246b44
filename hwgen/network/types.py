"""The float network: a straight-line graph of a few canonical operators on (C, H, W) tensors.

Import lowers every ONNX operator onto these: a fully connected layer is a convolution whose kernel
covers its whole input, a per-channel affine map is a depthwise 1x1 convolution, a zero pad, a
channel permutation or a strided slice is a 1x1 convolution with weights 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import ModelError

__all__ = [
    "Activation",
    "Add",
    "ArgMax",
    "AveragePool",
    "Concat",
    "Conv",
    "FloatArray",
    "MaxPool",
    "Network",
    "Node",
    "Op",
    "Pads",
    "Pair",
    "PiecewiseLinear",
    "Quantise",
    "Shape",
    "Softmax",
]

FloatArray = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
"""(channels, height, width); a vector of n is (n, 1, 1)."""
Pair = tuple[int, int]
"""(vertical, horizontal)."""
Pads = tuple[int, int, int, int]
"""(top, left, bottom, right), each at least 0."""


def _freeze(array: npt.ArrayLike) -> FloatArray:
    copy = np.array(array, dtype=np.float64)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution (cross-correlation) with zero padding; ``weight`` OIHW, ``bias`` (O,).

    ``weight`` has shape (O, I / groups, KH, KW). Covers fully connected layers (kernel as large as
    the input), depthwise layers (groups == I) and every linear map within a pixel (1x1).
    """

    weight: FloatArray
    bias: FloatArray
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
class Activation:
    """Pointwise function ``post * kind(pre * x)``.

    ``kind`` is one of ``relu``, ``leaky_relu``, ``prelu``, ``clip``, ``sigmoid``, ``tanh``,
    ``hard_sigmoid``, ``erf``, ``exp``, ``elu``, ``softplus``, ``silu`` (x times the sigmoid of x),
    ``gelu`` (x times the normal distribution of x), ``gelu_tanh`` (its usual approximation),
    ``hard_swish`` and ``mish``. ``parameters``, each of shape (1,) or (C,): slope of ``leaky_relu``
    and ``prelu``; (lo, hi) of ``clip``, of which one may be infinite; (alpha, beta) of
    ``hard_sigmoid``, ``clip(alpha * x + beta, 0, 1)``; alpha of ``elu``, ``alpha * (exp(x) - 1)``
    below 0.
    """

    kind: str
    parameters: tuple[FloatArray, ...] = ()
    pre: float = 1.0
    post: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(_freeze(p) for p in self.parameters))


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """Pointwise ``slopes[g, s] * x + offsets[g, s]``, s = number of ``breakpoints[g]`` <= x.

    ``breakpoints`` (G, S - 1) ascending, ``slopes`` and ``offsets`` (G, S), with G = 1 or C.
    """

    breakpoints: FloatArray
    slopes: FloatArray
    offsets: FloatArray

    def __post_init__(self) -> None:
        for name in ("breakpoints", "slopes", "offsets"):
            object.__setattr__(self, name, _freeze(getattr(self, name)))


@dataclass(frozen=True)
class MaxPool:
    """Maximum over a window; padding never wins. ``ceil_mode`` is already folded into ``pads``."""

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)


@dataclass(frozen=True)
class AveragePool:
    """``gain`` times the mean over a window.

    ``pads`` are zeros that count in the divisor only if ``count_include_pad``; ``ceil_pads``
    (bottom, right) extend the window past them and never count (ONNX ``ceil_mode``).
    """

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    count_include_pad: bool = False
    ceil_pads: Pair = (0, 0)
    gain: float = 1.0


@dataclass(frozen=True)
class Add:
    """Sum of two or more tensors of one shape."""


@dataclass(frozen=True)
class Concat:
    """Concatenation of two or more tensors along the channels."""


@dataclass(frozen=True)
class Quantise:
    """Uniform quantiser of activations (QDQ pair or QONNX ``Quant``).

    ``q = clip(round(x / scale + zero_point), lo, hi)``, and back to real numbers as
    ``(q - zero_point) * scale``. Ties round to the even integer, as ONNX has it.
    """

    scale: float
    zero_point: float
    lo: int
    hi: int


@dataclass(frozen=True)
class Softmax:
    """Softmax, or its logarithm, over the channels of a vector; only at the end of a network."""

    log: bool = False


@dataclass(frozen=True)
class ArgMax:
    """Index of the greatest channel, the first of equals; only at the end of a network."""


Op = (
    Conv
    | Activation
    | PiecewiseLinear
    | MaxPool
    | AveragePool
    | Add
    | Concat
    | Quantise
    | Softmax
    | ArgMax
)


@dataclass(frozen=True)
class Node:
    """One operator: reads the tensors ``inputs``, writes the tensor ``name`` of ``shape``."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Network:
    """Float network in topological order; ``input_name`` and every node name a tensor (C, H, W)."""

    name: str
    input_name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str

    def node(self, name: str) -> Node:
        """The node that writes tensor ``name``; :class:`ModelError` if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ModelError(f"Network {self.name!r} has no node {name!r}")

    def shape(self, name: str) -> Shape:
        """Shape of the tensor ``name``."""
        return self.input_shape if name == self.input_name else self.node(name).shape

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Nodes that read the tensor ``name``."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def convs(self) -> Iterator[tuple[Node, Conv]]:
        """Every linear layer with its operator, in order."""
        for node in self.nodes:
            if isinstance(node.op, Conv):
                yield node, node.op

    @property
    def parameters(self) -> int:
        """Weights and biases that are not zero by construction of the import."""
        return sum(int(np.count_nonzero(op.weight)) + op.bias.size for _, op in self.convs())
