"""The globally best scale of a filter for a dyadic set, by visiting every break-point.

For a filter W and a scale alpha the best T in the set is the nearest one, entry by entry, because
the zero-one program of Cintra et al. (TNNLS 2018) separates. As ``beta = 1 / alpha`` grows from 0,
entry i steps to its next larger magnitude at ``beta = midpoint / |w_i|``. Visiting these
break-points in order (:mod:`hwgen.approx._break_points`) and summing the steps gives ``<W,T>`` and
``<T,T>`` of every T that can be best, hence the least error ``<W,W> - <W,T>**2 / <T,T>`` over all
scales. No other (scale, T) has a smaller one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hwgen.approx._break_points import round_to, search
from hwgen.approx.recipes import Granularity
from hwgen.approx.sets import DyadicSet
from hwgen.network.types import FloatArray
from hwgen.numeric import Dyadic, IntArray, csd_weight

__all__ = [
    "ScaledCodes",
    "best_dyadic_scale",
    "best_scale",
    "magnitudes",
    "nearest_codes",
    "nearest_dyadic",
    "rows_by_scale",
    "scale_mantissas",
]

_ANY_SCALE = np.empty(0)
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class ScaledCodes:
    """F filters as ``weights[f] ~ scale[f] * codes[f] * 2**-frac``.

    ``scale`` (F,) float64 above 0; ``codes`` (F, n) int64 numerators of the set; ``error`` (F,)
    float64, the squared errors ``sum((weights - approximation)**2)``.
    """

    scale: FloatArray
    codes: IntArray
    frac: int
    error: FloatArray


def magnitudes(dyadic_set: DyadicSet) -> IntArray:
    """The set's numerators from 0 upwards, (L,) int64."""
    return np.concatenate([np.zeros(1, dtype=np.int64), dyadic_set.positive])


def rows_by_scale(weight: npt.NDArray[_Scalar], scale: Granularity) -> npt.NDArray[_Scalar]:
    """View (F, n) of a layer's weights (O, I, H, W): one row for each scale that it gets.

    ``scale`` is what shares one: a ``kernel`` (H, W), a ``filter`` (I, H, W) or the ``layer``.
    """
    outputs, inputs = weight.shape[:2]
    rows = {"kernel": outputs * inputs, "filter": outputs, "layer": 1}[scale]
    return weight.reshape(rows, weight.size // max(1, rows))


def nearest_codes(weights: FloatArray, scale: FloatArray, dyadic_set: DyadicSet) -> IntArray:
    """Numerators (F, n) of the set's elements nearest to ``weights / scale``.

    ``weights`` (F, n), ``scale`` (F,) above 0. Of two equally near, the greater magnitude.
    """
    levels = magnitudes(dyadic_set)
    midpoints = np.ldexp((levels[1:] + levels[:-1]).astype(np.float64), -1 - dyadic_set.frac)
    magnitude = np.abs(weights) / scale[:, None]
    codes: IntArray = levels[np.searchsorted(midpoints, magnitude, side="right")]
    return np.where(weights < 0, -codes, codes)


def best_scale(weights: FloatArray, dyadic_set: DyadicSet) -> ScaledCodes:
    """The scale and codes of least squared error over all positive scales, filter by filter.

    Parameters
    ----------
    weights
        (F, n) float64, one filter a row, finite.
    dyadic_set
        The set T is taken from.

    Returns
    -------
    ScaledCodes
        A filter of zeros has scale 1 and codes 0.

    Raises
    ------
    ValueError
        If ``weights`` has another number of axes or is not finite.
    """
    return _search(weights, dyadic_set, _ANY_SCALE)


def best_dyadic_scale(
    weights: FloatArray, dyadic_set: DyadicSet, *, terms: int = 3, bits: int = 8
) -> ScaledCodes:
    """Like :func:`best_scale`, with the scale a sum of at most ``terms`` signed powers of two.

    Scale and codes are chosen together: no pair of a T in the set and such a scale has a smaller
    squared error. ``bits`` limits the scale's precision: it is an integer of at most ``bits`` + 1
    bits times a power of two.

    Raises
    ------
    ValueError
        As :func:`best_scale`, and if ``terms`` or ``bits`` is out of range.
    """
    return _search(weights, dyadic_set, scale_mantissas(terms, bits))


def nearest_dyadic(x: float, *, terms: int, bits: int = 8) -> Dyadic:
    """The number nearest to ``x`` with ``terms`` signed powers of two and ``bits`` + 1 bits.

    It is within one part in ``(2 * 4**terms + 1) / 3`` of ``x`` (43 for three terms, 171 for four)
    if ``bits`` is at least ``2 * terms``, and within one in ``2**(bits + 1)`` if any number of
    terms is allowed.

    Raises
    ------
    ValueError
        If ``x`` is not finite, or ``terms`` or ``bits`` is out of range.
    """
    if not math.isfinite(x):
        raise ValueError(f"Value must be finite, not {x!r}")
    if x == 0:
        return Dyadic(0, 0)
    near = float(round_to(abs(x), scale_mantissas(terms, bits)))
    return Dyadic.exact(math.copysign(near, x))


@lru_cache(maxsize=32)
def scale_mantissas(terms: int, bits: int = 8) -> FloatArray:
    """Ascending numbers in [1, 2] with at most ``terms`` terms and ``bits`` fractional bits.

    Raises
    ------
    ValueError
        If ``terms`` or ``bits`` is out of range.
    """
    if terms < 1:
        raise ValueError(f"Number of terms must be at least 1, not {terms}")
    if not 0 <= bits <= 16:
        raise ValueError(f"Fractional bits must be 0 to 16, not {bits}")
    whole = range(1 << bits, (2 << bits) + 1)
    values = np.array([float(n) for n in whole if csd_weight(n) <= terms])
    return np.asarray(np.ldexp(values, -bits), dtype=np.float64)


def _search(weights: FloatArray, dyadic_set: DyadicSet, mantissas: FloatArray) -> ScaledCodes:
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    if weights.ndim != 2:
        raise ValueError(f"Weights must have two axes (filters, entries), not {weights.ndim}")
    if not np.isfinite(weights).all():
        raise ValueError("Weights must be finite")
    scale, error = np.empty(len(weights)), np.empty(len(weights))
    codes = np.empty(weights.shape, dtype=np.int64)
    used = np.zeros(1 + len(dyadic_set.positive), dtype=np.int64)
    search(weights, magnitudes(dyadic_set), dyadic_set.frac, mantissas, scale, codes, error, used)
    return ScaledCodes(scale, codes, dyadic_set.frac, error)
