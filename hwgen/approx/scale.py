"""The globally best scale of a filter for a dyadic set, by visiting every break-point.

For a filter W and a scale alpha the best T in the set is the nearest one, entry by entry, because
the zero-one program of Cintra et al. (TNNLS 2018) separates. As ``beta = 1 / alpha`` grows from 0,
entry i steps to its next larger magnitude at ``beta = midpoint / |w_i|``. Sorting these
break-points and summing the steps gives ``<W,T>`` and ``<T,T>`` of every T that can be best, hence
the least error ``<W,W> - <W,T>**2 / <T,T>`` over all scales. No other (scale, T) has a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hwgen.approx.sets import DyadicSet
from hwgen.network.types import FloatArray
from hwgen.numeric import Dyadic, IntArray, csd_weight

__all__ = [
    "ScaledCodes",
    "best_dyadic_scale",
    "best_scale",
    "nearest_codes",
    "nearest_dyadic",
]

_EVENTS_AT_ONCE = 1 << 20
"""Break-points sorted together: bounds the memory to about 100 MB."""


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


def nearest_codes(weights: FloatArray, scale: FloatArray, dyadic_set: DyadicSet) -> IntArray:
    """Numerators (F, n) of the set's elements nearest to ``weights / scale``.

    ``weights`` (F, n), ``scale`` (F,) above 0. Of two equally near, the greater magnitude.
    """
    levels = np.concatenate([[0], dyadic_set.positive])
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
    return _search(weights, dyadic_set, None)


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
    return _search(weights, dyadic_set, _mantissas(terms, bits))


def nearest_dyadic(x: float, *, terms: int, bits: int = 8) -> Dyadic:
    """The number nearest to ``x`` with ``terms`` signed powers of two and ``bits`` + 1 bits.

    Raises
    ------
    ValueError
        If ``x`` is not finite, or ``terms`` or ``bits`` is out of range.
    """
    if not math.isfinite(x):
        raise ValueError(f"Value must be finite, not {x!r}")
    if x == 0:
        return Dyadic(0, 0)
    near = float(_round_to(np.array([abs(x)]), _mantissas(terms, bits))[0])
    return Dyadic.exact(math.copysign(near, x))


@lru_cache(maxsize=32)
def _mantissas(terms: int, bits: int) -> FloatArray:
    """Ascending numbers in [1, 2] with at most ``terms`` terms and ``bits`` fractional bits."""
    if terms < 1:
        raise ValueError(f"Number of terms must be at least 1, not {terms}")
    if not 0 <= bits <= 16:
        raise ValueError(f"Fractional bits must be 0 to 16, not {bits}")
    whole = range(1 << bits, (2 << bits) + 1)
    values = np.array([float(n) for n in whole if csd_weight(n) <= terms])
    return np.asarray(np.ldexp(values, -bits), dtype=np.float64)


def _round_to(x: FloatArray, mantissas: FloatArray) -> FloatArray:
    """The ``mantissas * 2**k`` nearest to each ``x`` above 0."""
    fraction, exponent = np.frexp(x)
    midpoints = (mantissas[1:] + mantissas[:-1]) / 2
    nearest = mantissas[np.searchsorted(midpoints, 2 * fraction)]
    return np.asarray(np.ldexp(nearest, exponent - 1), dtype=np.float64)


def _search(
    weights: FloatArray, dyadic_set: DyadicSet, mantissas: FloatArray | None
) -> ScaledCodes:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 2:
        raise ValueError(f"Weights must have two axes (filters, entries), not {weights.ndim}")
    if not np.isfinite(weights).all():
        raise ValueError("Weights must be finite")
    filters, entries = weights.shape
    scale = np.ones(filters)
    codes = np.zeros((filters, entries), dtype=np.int64)
    levels = np.concatenate([[0], dyadic_set.positive])
    peak = np.abs(weights).max(axis=1, initial=0.0)
    for rows in _chunks(np.flatnonzero(peak), entries * (len(levels) - 1)):
        # Peaks moved to [1/2, 1): no break-point or square over- or underflows.
        exponent = np.frexp(peak[rows])[1]
        magnitude = np.ldexp(np.abs(weights[rows]), -exponent[:, None])
        alpha, chosen = _best_interval(magnitude, levels, mantissas)
        scale[rows] = np.ldexp(alpha, exponent + dyadic_set.frac)
        codes[rows] = np.where(weights[rows] < 0, -chosen, chosen)
    approximation = scale[:, None] * np.ldexp(codes.astype(np.float64), -dyadic_set.frac)
    error = ((weights - approximation) ** 2).sum(axis=1)
    return ScaledCodes(scale, codes, dyadic_set.frac, error)


def _chunks(rows: npt.NDArray[np.intp], events: int) -> Iterator[npt.NDArray[np.intp]]:
    count = max(1, _EVENTS_AT_ONCE // max(1, events))
    for start in range(0, len(rows), count):
        yield rows[start : start + count]


def _best_interval(
    magnitude: FloatArray, levels: IntArray, mantissas: FloatArray | None
) -> tuple[FloatArray, IntArray]:
    """Best scale (F,) and magnitudes of codes (F, n) for ``magnitude`` (F, n), no row all zero."""
    filters, entries = magnitude.shape
    steps = np.diff(levels).astype(np.float64)
    squares = np.diff(levels * levels).astype(np.float64)
    midpoints = (levels[1:] + levels[:-1]) / 2
    with np.errstate(divide="ignore", over="ignore"):
        events = (midpoints / magnitude[:, :, None]).reshape(filters, -1)
    order = np.argsort(events, axis=1)
    entry, step = np.divmod(order, len(steps))
    product = np.cumsum(np.take_along_axis(magnitude, entry, axis=1) * steps[step], axis=1)
    norm = np.cumsum(squares[step], axis=1)
    ordered = np.take_along_axis(events, order, axis=1)
    gain = np.where(np.isfinite(ordered), product * product / norm, -1.0)
    best = np.argmax(gain, axis=1)
    if mantissas is not None:
        best = _best_joint(product, norm, gain, best, mantissas)
    every = np.arange(filters)
    reached = events <= ordered[every, best][:, None]
    chosen: IntArray = levels[reached.reshape(filters, entries, -1).sum(axis=2)]
    alpha = (magnitude * chosen).sum(axis=1) / (chosen * chosen).sum(axis=1)
    return (alpha if mantissas is None else _round_to(alpha, mantissas)), chosen


def _best_joint(
    product: FloatArray,
    norm: FloatArray,
    gain: FloatArray,
    best: npt.NDArray[np.intp],
    mantissas: FloatArray,
) -> npt.NDArray[np.intp]:
    """Index (F,) of the T whose nearest allowed scale leaves the least error.

    The error is a parabola in the scale, so a T's best allowed scale is the one nearest to its own.
    Only a T whose error at its own scale is below what ``best`` reaches can do better.
    """

    def lost(rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> FloatArray:
        own = product[rows, columns] / norm[rows, columns]
        loss: FloatArray = (_round_to(own, mantissas) - own) ** 2 * norm[rows, columns]
        return loss

    every = np.arange(len(best))
    bound = gain[every, best] - lost(every, best)
    rows, columns = np.nonzero(gain >= bound[:, None])
    value = np.full(gain.shape, -np.inf)
    value[rows, columns] = gain[rows, columns] - lost(rows, columns)
    winner: npt.NDArray[np.intp] = np.argmax(value, axis=1)
    return winner
