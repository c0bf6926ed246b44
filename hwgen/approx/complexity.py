"""Counts of operations of the exact and of the approximated network, before any sharing.

The rules are those of Cintra et al. (TNNLS 2018): a filter of z weights costs z multiplications
and z - 1 additions, a dyadic one as many additions as signed powers of two, less one. The sum over
input channels is part of z; a bias that is not 0 adds one addition. A multiplication by a power of
two counts as a shift and one by +1 or -1 as nothing; weights of one magnitude are added first and
multiplied once. Shifts are wires in hardware, and are counted because software pays for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.approx.costs import filter_adders
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.network.types import (
    Activation,
    Add,
    AveragePool,
    Conv,
    FloatArray,
    MaxPool,
    Node,
    PiecewiseLinear,
    Shape,
)
from hwgen.numeric import Dyadic, IntArray, csd

__all__ = [
    "Complexity",
    "LayerComplexity",
    "Operations",
    "count_operations",
    "filter_adders",
]


@dataclass(frozen=True)
class Operations:
    """Numbers of operations; ``functions`` are evaluations of tanh and the like."""

    multiplications: int = 0
    additions: int = 0
    shifts: int = 0
    comparisons: int = 0
    functions: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.shifts + other.shifts,
            self.comparisons + other.comparisons,
            self.functions + other.functions,
        )

    def times(self, count: int) -> Operations:
        """The same operations ``count`` times."""
        return Operations(
            self.multiplications * count,
            self.additions * count,
            self.shifts * count,
            self.comparisons * count,
            self.functions * count,
        )


@dataclass(frozen=True)
class LayerComplexity:
    """Operations of one node for one output pixel of all channels, and its number of pixels."""

    name: str
    operator: str
    positions: int
    exact: Operations
    approximated: Operations


@dataclass(frozen=True)
class Complexity:
    """Operations of a whole network, node by node."""

    layers: tuple[LayerComplexity, ...]

    @property
    def exact(self) -> Operations:
        """Operations of the exact network for one image."""
        return sum((each.exact.times(each.positions) for each in self.layers), Operations())

    @property
    def approximated(self) -> Operations:
        """Operations of the approximated network for one image."""
        return sum((each.approximated.times(each.positions) for each in self.layers), Operations())


def count_operations(approx: ApproxNetwork) -> Complexity:
    """Operations of ``approx`` and of the float network that it replaces."""
    filters, activations = dict(approx.filters), dict(approx.activations)
    pools = dict(approx.pool_coefficients)

    def layer(node: Node) -> LayerComplexity | None:
        channels, height, width = node.shape
        source = approx.network.shape(node.inputs[0])
        match node.op:
            case Conv() as op:
                exact, dyadic = _exact_conv(op), _dyadic_conv(filters[node.name])
            case AveragePool() as op:
                exact, dyadic = _pool(op, source, dict(pools[node.name]))
            case MaxPool() as op:
                exact = dyadic = Operations(comparisons=op.kernel[0] * op.kernel[1] - 1)
                exact = dyadic = exact.times(channels)
            case Activation() as op:
                exact, dyadic = _activation(op, activations.get(node.name), channels)
            case PiecewiseLinear() as op:
                exact = dyadic = _piecewise(op, channels)
            case Add():
                exact = dyadic = Operations(additions=(len(node.inputs) - 1) * channels)
            case _:
                return None
        return LayerComplexity(node.name, type(node.op).__name__, height * width, exact, dyadic)

    counted = [layer(node) for node in approx.network.nodes]
    return Complexity(tuple(entry for entry in counted if entry is not None))


def _shifted(codes: IntArray, frac: int) -> int:
    """Signed powers of two other than +1 and -1 in all ``codes * 2**-frac``."""
    unique, counts = np.unique(codes, return_counts=True)
    digits = [sum(d.exponent != frac for d in csd(int(c))) for c in unique]
    return int(np.dot(digits, counts))


def _dyadic_conv(filters: DyadicFilters) -> Operations:
    present = np.asarray(filters.codes.reshape(len(filters.scale), -1).any(axis=1))
    shifts = _shifted(filters.codes, filters.frac)
    for scale, used in zip(filters.scale, present, strict=True):
        shifts += _dyadic_shifts(scale) if used else 0
    biases = int(np.count_nonzero(filters.bias[present]))
    return Operations(additions=filter_adders(filters) + biases, shifts=shifts)


def _dyadic_shifts(x: Dyadic) -> int:
    return sum(d.exponent + x.exponent != 0 for d in csd(x.mantissa))


def _exact_conv(op: Conv) -> Operations:
    total = Operations()
    for weights, bias in zip(op.weight.reshape(len(op.weight), -1), op.bias, strict=True):
        present = np.abs(weights[weights != 0])
        factors = present[:1] if len(np.unique(present)) == 1 else present
        additions = max(0, len(present) - 1) + int(bias != 0 and len(present) > 0)
        total += _products(factors) + Operations(additions=additions)
    return total


def _products(factors: FloatArray) -> Operations:
    powers = int(np.count_nonzero(np.frexp(np.abs(factors))[0] == 0.5))
    ones = int(np.count_nonzero(np.abs(factors) == 1))
    return Operations(multiplications=factors.size - powers, shifts=powers - ones)


def _pool(
    op: AveragePool, source: Shape, coefficients: dict[int, Dyadic]
) -> tuple[Operations, Operations]:
    """Operations with the full window's divisor."""
    divisor = op.kernel[0] * op.kernel[1]
    summed = Operations(additions=divisor - 1)
    coefficient = coefficients[divisor]
    exact = summed + _products(np.array([op.gain / divisor]))
    dyadic = summed + Operations(
        additions=max(0, coefficient.terms - 1), shifts=_dyadic_shifts(coefficient)
    )
    return exact.times(source[0]), dyadic.times(source[0])


def _activation(
    op: Activation, approximated: PiecewiseLinear | None, channels: int
) -> tuple[Operations, Operations]:
    match op.kind:
        case "relu":
            bare = Operations(comparisons=1)
        case "clip":
            bare = Operations(comparisons=2)
        case "leaky_relu" | "prelu":
            bare = Operations(multiplications=1, comparisons=1)
        case "hard_sigmoid":
            bare = Operations(multiplications=1, additions=1, comparisons=2)
        case _:
            bare = Operations(functions=1)
    exact = bare + _products(np.array([op.pre, op.post]))
    # what only saturates is two bounds of a requantisation, its factors part of the scale
    dyadic = bare if approximated is None else _piecewise(approximated, 1)
    return exact.times(channels), dyadic.times(channels)


def _piecewise(op: PiecewiseLinear, channels: int) -> Operations:
    """One comparison a breakpoint; then the costliest slope and one addition for the offset."""
    slopes = [Dyadic.exact(float(s)) for s in op.slopes.ravel()]
    terms = max(s.terms for s in slopes)
    offset = int(op.offsets.any())
    return Operations(
        additions=max(0, terms - 1) + offset,
        shifts=max(_dyadic_shifts(s) for s in slopes),
        comparisons=op.breakpoints.shape[1],
    ).times(channels)
