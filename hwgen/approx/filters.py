"""Dyadic filters of one linear layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.approx.frobenius import fit_codes
from hwgen.approx.moments import Moments
from hwgen.approx.output_aware import refine
from hwgen.approx.recipes import Recipe
from hwgen.approx.types import DyadicFilters, code_terms
from hwgen.network.types import Conv, FloatArray
from hwgen.numeric import Dyadic, IntArray

__all__ = [
    "EXACT",
    "approximate_filters",
    "exact_filters",
    "output_aware_filters",
    "rounded",
    "squared_error",
]

EXACT = "exact"
"""``recipe`` of filters that are kept as they are because each weight is a power of two."""

_EXACT_SPAN = 15


def approximate_filters(
    op: Conv,
    recipe: Recipe,
    *,
    scale_terms: int = 3,
    scale_bits: int = 8,
    bias_bits: int = 16,
    moments: Moments | None = None,
) -> DyadicFilters:
    """The nearest dyadic filters of the layer ``op``, each at its globally best dyadic scale.

    With ``moments`` the layer's output is nearest instead of its weights.

    Weights that are 0 stay 0: what slimming has removed does not come back. A layer whose weights
    are all 0 or signed powers of two (a permutation, a pad, a shift) is kept
    exactly, whatever the set.

    Parameters
    ----------
    op
        Float layer.
    recipe
        How the weights become dyadic.
    scale_terms, scale_bits
        Most signed powers of two in a filter's scale, and its precision in bits.
    bias_bits
        Significant bits of the bias.
    moments
        Moments of what the layer reads. The filters then have the least error of the output that
        descent from the nearest ones finds (:mod:`hwgen.approx.output_aware`), and the bias makes
        the mean of the output right.
    """
    if moments is not None:
        nearest = approximate_filters(
            op, recipe, scale_terms=scale_terms, scale_bits=scale_bits, bias_bits=bias_bits
        )
        return output_aware_filters(
            op,
            nearest,
            recipe,
            moments,
            scale_terms=scale_terms,
            scale_bits=scale_bits,
            bias_bits=bias_bits,
        )
    bias = rounded(op.bias, bias_bits)
    if (exact := exact_filters(op, bias)) is not None:
        return exact
    fit = fit_codes(op.weight, recipe, scale_terms=scale_terms, scale_bits=scale_bits)
    codes, frac = fit.codes.reshape(op.weight.shape), recipe.dyadic_set.frac
    if recipe.scale != "kernel":
        repeats = len(op.weight) // len(fit.scale)
        scale = tuple(Dyadic.exact(float(s)) for s in fit.scale) * repeats
        return DyadicFilters(codes, frac, scale, bias, recipe.name)
    factors = fit.factor.reshape(codes.shape[:2])
    unit = fit.scale.reshape(codes.shape[:2])[:, 0] / factors[:, 0]
    common = _common(codes, factors)
    factors = factors // common[:, None]
    scale = tuple(Dyadic.exact(float(s)) for s in unit * common)
    codes = codes * factors[:, :, None, None]
    return DyadicFilters(codes, frac, scale, bias, recipe.name, factors)


def _common(codes: IntArray, factors: IntArray) -> IntArray:
    """(O,) what can move from the ``factors`` (O, I) of all kernels of a filter to its scale.

    That is what they have in common, unless the products with the ``codes`` (O, I, H, W) had more
    terms without it: 129 has two, and 43 has four. Powers of two cost no terms.
    """
    common: IntArray = np.gcd.reduce(factors, axis=1)
    shift: IntArray = common & -common

    def terms(divisor: IntArray) -> IntArray:
        products = codes * (factors // divisor[:, None])[:, :, None, None]
        return np.asarray(code_terms(products).sum(axis=(1, 2, 3)), dtype=np.int64)

    return np.where(terms(common) <= terms(shift), common, shift)


def output_aware_filters(
    op: Conv,
    nearest: DyadicFilters,
    recipe: Recipe,
    moments: Moments,
    *,
    scale_terms: int = 3,
    scale_bits: int = 8,
    bias_bits: int = 16,
) -> DyadicFilters:
    """What :func:`approximate_filters` makes with ``moments``, from the ``nearest`` filters.

    Filters that are exact keep their weights; only their bias follows the mean of the input. A
    filter whose weights and bias are all 0 has been removed and stays so.
    """
    filters = nearest
    if nearest.recipe != EXACT:
        filters = refine(
            op,
            nearest,
            recipe,
            moments,
            scale_terms=scale_terms,
            scale_bits=scale_bits,
        )
    removed = ~op.weight.any(axis=(1, 2, 3)) & (op.bias == 0)
    bias = np.where(removed, 0.0, moments.bias(filters.weight))
    return replace(filters, bias=rounded(bias, bias_bits))


def exact_filters(op: Conv, bias: FloatArray) -> DyadicFilters | None:
    """The weights themselves as codes, if all are 0 or signed powers of two of similar size."""
    fraction, exponent = np.frexp(op.weight)
    present = op.weight != 0
    if not present.any() or (np.abs(fraction[present]) != 0.5).any():
        return None
    low, high = int(exponent[present].min()) - 1, int(exponent[present].max()) - 1
    if high - low > _EXACT_SPAN:
        return None
    frac = max(0, -low) if high <= _EXACT_SPAN else -low
    codes = np.ldexp(op.weight, frac).astype(np.int64)
    return DyadicFilters(codes, frac, (Dyadic(1, 0),) * len(op.weight), bias, EXACT)


def rounded(x: FloatArray, bits: int) -> FloatArray:
    """``x`` rounded to ``bits`` significant bits, within one part in ``2**bits`` of each entry."""
    fraction, exponent = np.frexp(x)
    whole = np.rint(np.ldexp(fraction, bits))
    return np.asarray(np.ldexp(whole, exponent - bits), dtype=np.float64)


def squared_error(op: Conv, filters: DyadicFilters) -> float:
    """Squared error of the weights relative to their energy; 0 for a layer of zeros."""
    energy = float((op.weight**2).sum())
    return float(((op.weight - filters.weight) ** 2).sum()) / energy if energy else 0.0
