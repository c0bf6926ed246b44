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
    Network,
    Node,
    PiecewiseLinear,
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
    original: Network | None = None,
    shared: bool = False,
    progress: Callable[[str, float], None] = lambda layer, fraction: None,
) -> Complexity:
    """Operations of ``approx`` and of the float network that it replaces.

    Parameters
    ----------
    approx
        The approximated network.
    original
        The float network that it replaces, if its own was slimmed: channels and pixels, and the
        operations of the exact network, are those of this one's nodes. A node that was slimmed away
        costs the approximated network nothing, and one that came in the exact network nothing.
    shared
        Also look for common subexpressions, which takes seconds a layer of tens of thousands of
        weights.
    progress
        Called with the name of the linear layer whose sharing is looked for, and the share of the
        work on it that is done, 0 to 1.
    """
    exact_ones = {node.name: node for node in (original or approx.network).nodes}
    own = {node.name: node for node in approx.network.nodes}

    def layer(name: str) -> LayerComplexity | None:
        node = exact_ones.get(name) or own[name]
        if not isinstance(node.op, _COUNTED):
            return None
        exact = _exact(node) if name in exact_ones else Operations()
        dyadic = _approximated(own[name], approx) if name in own else Operations()
        after = dyadic if shared else None
        if shared and name in own and isinstance(op := own[name].op, Conv):
            filters = dict(approx.filters)[name]
            after = _shared_conv(op, filters, lambda part: progress(name, part))
        channels, height, width = node.shape
        kind = type(node.op).__name__
        return LayerComplexity(name, kind, channels, height * width, exact, dyadic, after)

    counted = [layer(name) for name in dict.fromkeys((*exact_ones, *own))]
    layers = tuple(entry for entry in counted if entry is not None)
    return Complexity(approx.network.name, layers)


_COUNTED = Conv | AveragePool | MaxPool | Activation | PiecewiseLinear | Add


def _exact(node: Node) -> Operations:
    """Operations of a node of the float network for one output pixel."""
    match node.op:
        case Conv() as op:
            return _exact_conv(op)
        case AveragePool() as op:
            divisor = op.kernel[0] * op.kernel[1]
            factor = _products(np.array([op.gain / divisor]))
            return (Operations(additions=divisor - 1) + factor).times(node.shape[0])
        case Activation() as op:
            factors = _products(np.array([op.pre, op.post]))
            return (_bare_activation(op) + factors).times(node.shape[0])
        case _:
            return _constant_free(node)


def _approximated(node: Node, approx: ApproxNetwork) -> Operations:
    """Operations of a node of the approximated network for one output pixel."""
    channels = node.shape[0]
    match node.op:
        case Conv():
            return _dyadic_conv(dict(approx.filters)[node.name])
        case AveragePool() as op:
            divisor = op.kernel[0] * op.kernel[1]
            coefficient = dict(dict(approx.pool_coefficients)[node.name])[divisor]
            return Operations(
                additions=divisor - 1 + max(0, coefficient.terms - 1),
                shifts=_dyadic_shifts(coefficient),
            ).times(channels)
        case Activation() as op:
            replaced = dict(approx.activations).get(node.name)
            # what only saturates is two bounds of a requantisation, its factors part of the scale
            return (
                _bare_activation(op).times(channels)
                if replaced is None
                else _piecewise(replaced, channels)
            )
        case _:
            return _constant_free(node)


def _constant_free(node: Node) -> Operations:
    """Operations of a node that is the same in both networks."""
    channels = node.shape[0]
    match node.op:
        case MaxPool() as op:
            return Operations(comparisons=op.kernel[0] * op.kernel[1] - 1).times(channels)
        case PiecewiseLinear() as op:
            return _piecewise(op, channels)
        case _:
            return Operations(additions=(len(node.inputs) - 1) * channels)


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


def _bare_activation(op: Activation) -> Operations:
    """Operations of the function for one value, without the factors before and behind it."""
    match op.kind:
        case "relu":
            return Operations(comparisons=1)
        case "clip":
            return Operations(comparisons=2)
        case "leaky_relu" | "prelu":
            return Operations(multiplications=1, comparisons=1)
        case "hard_sigmoid":
            return Operations(multiplications=1, additions=1, comparisons=2)
        case _:
            return Operations(functions=1)


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
