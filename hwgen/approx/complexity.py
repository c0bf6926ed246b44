"""Counts of operations of the exact and of the approximated network, before and after sharing.

The rules are those of Cintra et al. (TNNLS 2018): a filter of z weights costs z multiplications
and z - 1 additions, a dyadic one as many additions as signed powers of two, less one, and those of
its scale. The sum over input channels is part of z; a bias that is not 0 adds one addition. Weights
that are 0 cost nothing. A multiplication by a power of two counts as a shift and one by +1 or -1 as
nothing; weights of one magnitude are added first and multiplied once. Shifts are wires in hardware,
and are counted because software pays for them.

* An *output* is one pixel of all channels of a layer; every pixel counts as an inner one, as if its
  window met no padding. An *image* is all pixels of a layer.
* Sharing is that of common subexpressions among all filters of a layer that read the same channels
  (:mod:`hwgen.approx.sharing`); it changes additions and shifts of linear layers only. Shifts are
  then those of distinct values, so that what two sums read equally shifted counts once, and the
  power of two that is common to a filter is part of its scale, which saves shifts by itself.
* A piecewise-linear function costs a comparison a breakpoint, its costliest slope, and an addition
  if it has offsets. The squarer of a quadratic activation is a multiplication.
* The Softmax or ArgMax that ends a network, quantisers and whatever only moves data count nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hwgen.approx.costs import factored_kernels, filter_adders, scale_adders
from hwgen.approx.paper_activations import PaperActivation
from hwgen.approx.sharing import shared_sums
from hwgen.approx.types import ApproxNetwork, DyadicFilters, code_terms
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
    "FORMS",
    "Complexity",
    "Form",
    "LayerComplexity",
    "Operations",
    "count_operations",
    "filter_adders",
    "paper_activation_operations",
]

Form = Literal["exact", "approximated", "shared"]
"""The float network, the dyadic one without sharing, and the dyadic one with it."""
FORMS: tuple[Form, ...] = get_args(Form)


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
    """Operations of one node for one output pixel of all ``channels``, and its number of pixels.

    ``shared`` is None if sharing was not looked for.
    """

    name: str
    operator: str
    channels: int
    positions: int
    exact: Operations
    approximated: Operations
    shared: Operations | None = None

    def operations(self, form: Form) -> Operations:
        """Operations for one output pixel.

        Raises
        ------
        ValueError
            If sharing was not looked for.
        """
        found: Operations | None = getattr(self, form)
        if found is None:
            raise ValueError(f"Layer {self.name!r} was counted without sharing")
        return found


@dataclass(frozen=True)
class Complexity:
    """Operations of the network of the name ``network``, node by node."""

    network: str
    layers: tuple[LayerComplexity, ...]

    @property
    def forms(self) -> tuple[Form, ...]:
        """What was counted: all of :data:`FORMS`, or those before sharing."""
        counted = all(layer.shared is not None for layer in self.layers)
        return FORMS if counted else FORMS[:2]

    def per_output(self, form: Form) -> Operations:
        """Sum of one output pixel of each layer: the operators of a datapath of all layers."""
        return sum((layer.operations(form) for layer in self.layers), Operations())

    def per_image(self, form: Form) -> Operations:
        """Operations for one image."""
        layers = ((layer.operations(form), layer.positions) for layer in self.layers)
        return sum((each.times(positions) for each, positions in layers), Operations())

    @property
    def exact(self) -> Operations:
        """Operations of the exact network for one image."""
        return self.per_image("exact")

    @property
    def approximated(self) -> Operations:
        """Operations of the approximated network for one image, before sharing."""
        return self.per_image("approximated")


def count_operations(
    approx: ApproxNetwork,
    *,
    shared: bool = False,
    progress: Callable[[str, float], None] = lambda layer, fraction: None,
) -> Complexity:
    """Operations of ``approx`` and of the float network that it replaces.

    Parameters
    ----------
    approx
        The approximated network.
    shared
        Also look for common subexpressions, which takes seconds a layer of tens of thousands of
        weights.
    progress
        Called with the name of the linear layer whose sharing is looked for, and the share of the
        work on it that is done, 0 to 1.
    """
    filters, activations = dict(approx.filters), dict(approx.activations)
    pools = dict(approx.pool_coefficients)

    def layer(node: Node) -> LayerComplexity | None:
        channels, height, width = node.shape
        source = approx.network.shape(node.inputs[0])
        after: Operations | None = None
        match node.op:
            case Conv() as op:
                exact, dyadic = _exact_conv(op), _dyadic_conv(filters[node.name])
                if shared:
                    after = _shared_conv(
                        op, filters[node.name], lambda part: progress(node.name, part)
                    )
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
        kind = type(node.op).__name__
        if shared and after is None:
            after = dyadic
        return LayerComplexity(node.name, kind, channels, height * width, exact, dyadic, after)

    counted = [layer(node) for node in approx.network.nodes]
    layers = tuple(entry for entry in counted if entry is not None)
    return Complexity(approx.network.name, layers)


_PAPER_ACTIVATIONS = {
    "asg": Operations(additions=2, shifts=2),
    "plan": Operations(additions=1, shifts=1, comparisons=3),
    "linear-1": Operations(shifts=1, comparisons=1),
    "linear-2": Operations(shifts=1, comparisons=1),
    "quadratic-1": Operations(multiplications=1, additions=2, shifts=1, comparisons=1),
    "quadratic-2": Operations(multiplications=1, additions=2, shifts=1, comparisons=1),
}


def paper_activation_operations(activation: PaperActivation) -> Operations:
    """Operations of one of the paper's six functions for one value x >= 0.

    The sign, which is put aside and put back, counts nothing, nor do factors before and behind.
    The quadratics need a squarer: one multiplication, so that they are not multiplierless.
    """
    return _PAPER_ACTIVATIONS[activation.name]


def _digit_shifts(codes: IntArray, frac: int) -> IntArray:
    """Signed powers of two other than +1 and -1 in each of ``codes * 2**-frac``, same shape."""
    size = np.abs(codes)
    present = (size ^ (3 * size)) >> 1
    ones = present >> frac & 1 if 0 <= frac < 63 else np.zeros_like(codes)
    return np.asarray(code_terms(codes) - ones, dtype=np.int64)


def _code_shifts(filters: DyadicFilters) -> int:
    kernels = _digit_shifts(filters.codes, filters.frac).sum(axis=(2, 3))
    if filters.factors is not None:
        factors = filters.factors
        numbers = filters.codes // factors[:, :, None, None]
        first = _digit_shifts(numbers, filters.frac).sum(axis=(2, 3)) + _digit_shifts(factors, 0)
        kernels = np.where(factored_kernels(filters), first, kernels)
    return int(kernels.sum())


def _biases(filters: DyadicFilters) -> int:
    """Additions of biases; a filter of zeros is a constant, which is part of what follows."""
    present = np.asarray(filters.codes.reshape(len(filters.scale), -1).any(axis=1))
    return int(np.count_nonzero(filters.bias[present]))


def _dyadic_conv(filters: DyadicFilters) -> Operations:
    present = np.asarray(filters.codes.reshape(len(filters.scale), -1).any(axis=1))
    scales = (s for s, used in zip(filters.scale, present, strict=True) if used)
    shifts = _code_shifts(filters) + sum(map(_dyadic_shifts, scales))
    return Operations(additions=filter_adders(filters) + _biases(filters), shifts=shifts)


def _shared_conv(op: Conv, filters: DyadicFilters, progress: Callable[[float], None]) -> Operations:
    found = shared_sums(op, filters, progress=lambda done, blocks: progress(done / blocks))
    # a power of two that is left over is one with the scale
    rest = sum(
        _dyadic_shifts(Dyadic(scale.mantissa, scale.exponent + exponent - filters.frac))
        for scale, exponent in zip(filters.scale, found.exponents, strict=True)
        if exponent is not None
    )
    return Operations(
        additions=found.adders + scale_adders(filters) + _biases(filters),
        shifts=found.shifts + rest,
    )


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
