"""Codes and scales nearest to the weights, with a limit on terms and scales of any granularity.

Without a limit a scale a filter or a layer is solved exactly (:mod:`hwgen.approx.scale`). With one,
two steps alternate: at fixed scales the best codes within the limit are a knapsack, solved exactly;
for fixed codes the best scale is the nearest to ``<W,T> / <T,T>``. The error never rises. Where few
terms are allowed the unconstrained scale is a bad start, because what remains are the greatest
weights; the second start takes for each row the scale that is best if a term costs what it costs
in the first solution. The better result counts.

A scale a kernel stands before the sum over input channels, so it is folded into the codes: an
integer factor of few terms a kernel, relative to the scale of the filter. The terms of the products
count. The filter's solution is one of the starts, so that the kernels' is never worse.

Filters of one weight each are all scale. A limit on their terms could only be met by leaving out
channels, and saves next to nothing, so that it does not hold for them. Instead each weight becomes
the number of the set that has fewest terms, times the scale that is nearest then: within one part
in 43 for a scale of three terms (:func:`~hwgen.approx.scale.nearest_dyadic`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.approx._break_points import round_to
from hwgen.approx._closing import class_errors, class_numbers, penalised
from hwgen.approx.choices import solve_choices
from hwgen.approx.recipes import Recipe
from hwgen.approx.scale import best_dyadic_scale, rows_by_scale, scale_mantissas
from hwgen.approx.sets import DyadicSet
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray, csd_weight

__all__ = ["Fit", "fit_codes", "has_one_number", "term_limit"]

_ROUNDS = 20
_PRICES = 3
_GRID = np.exp2(np.arange(-8, 25) / 8)
"""Scales that are tried at a price, relative to the unconstrained one: -1 to 3 octaves."""
_FACTOR_OCTAVES = 4
_GAIN = 1e-9
"""Least relative improvement that is worth another round."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Rows as ``weights[f] ~ scale[f] * codes[f] * 2**-frac``, with the set's frac.

    ``codes`` (F, n) int64 numerators of the set, without the factor; ``scale`` (F,) float64 is
    ``factor`` (F,) int64, 1 but for kernels, times what the kernels of a filter have in common.
    """

    codes: IntArray
    scale: FloatArray
    factor: IntArray
    error: float


def has_one_number(recipe: Recipe, shape: tuple[int, ...]) -> bool:
    """Whether all weights (O, I, H, W) but zeros become one number of the set, up to sign.

    That is what a limit on terms means for filters of one weight each that have their own scales.
    """
    single = math.prod(shape[1:]) == 1
    return single and recipe.mean_terms is not None and recipe.scale != "layer"


def term_limit(recipe: Recipe, weight: FloatArray) -> int | None:
    """Most signed powers of two in a layer of weights (O, I, H, W); None if any number.

    The limit is a mean over the weights that are not 0: a layer has the same with the zeros that
    slimming has left in it and after they have been taken out.
    """
    if recipe.mean_terms is None or math.prod(weight.shape[1:]) == 1:
        return None
    return int(recipe.mean_terms * np.count_nonzero(weight) + 1e-9)


def fit_codes(
    weight: FloatArray, recipe: Recipe, *, scale_terms: int = 3, scale_bits: int = 8
) -> Fit:
    """Codes and scales of small squared error for a layer's weights (O, I, H, W).

    The rows of the result are those of :func:`~hwgen.approx.scale.rows_by_scale`. Globally optimal
    for a filter's or layer's scale without a limit, else where the alternation ends.
    """
    flat = np.ascontiguousarray(rows_by_scale(weight, recipe.scale))
    if has_one_number(recipe, weight.shape):
        return _of_one_number(flat, recipe.dyadic_set, scale_mantissas(scale_terms, scale_bits))
    best = best_dyadic_scale(flat, recipe.dyadic_set, terms=scale_terms, bits=scale_bits)
    limit = term_limit(recipe, weight)
    starts = [best.scale]
    if recipe.scale == "kernel":
        whole = replace(recipe, scale="filter")
        shared = fit_codes(weight, whole, scale_terms=scale_terms, scale_bits=scale_bits).scale
        grid: _Scales = _Factors.of(best.scale, shared, scale_terms, scale_bits)
        starts.append(np.repeat(shared, weight.shape[1]))
    else:
        used = sum(csd_weight(int(n)) * int(c) for n, c in _histogram(best.codes))
        if limit is None or used <= limit:
            ones = np.ones(len(flat), dtype=np.int64)
            return Fit(best.codes, best.scale, ones, float(best.error.sum()))
        grid = _AnyScale(scale_mantissas(scale_terms, scale_bits))
    problem = _Problem(flat, recipe.dyadic_set, grid, limit)
    ends = [problem.descend(*grid.snap(start)) for start in starts]
    found, price = min(ends, key=lambda end: end[0].error)
    for _ in range(_PRICES if price else 0):
        other, price = problem.descend(*problem.best_scales(best.scale, price))
        if other.error >= found.error * (1 - _GAIN):
            break
        found = other
    return found


def _of_one_number(weights: FloatArray, dyadic_set: DyadicSet, mantissas: FloatArray) -> Fit:
    """Filters (F, 1): the number with fewest terms, the greatest of these, and nearest scales."""
    number = min(map(int, dyadic_set.positive), key=lambda n: (csd_weight(n), -n))
    codes = np.sign(weights).astype(np.int64) * number
    wanted = np.abs(weights[:, 0]) * math.ldexp(1 / number, dyadic_set.frac)
    scale = np.array([round_to(w, mantissas) if w else 1.0 for w in wanted], dtype=np.float64)
    approximation = scale[:, None] * np.ldexp(codes.astype(np.float64), -dyadic_set.frac)
    error = float(((weights - approximation) ** 2).sum())
    return Fit(codes, scale, np.ones(len(codes), dtype=np.int64), error)


def _histogram(codes: IntArray) -> Iterator[tuple[int, int]]:
    return zip(*np.unique(np.abs(codes), return_counts=True), strict=True)


@dataclass(frozen=True, eq=False)
class _AnyScale:
    """Scales of few terms that go into the requantisation, which costs the codes nothing."""

    mantissas: FloatArray

    def snap(self, scale: FloatArray) -> tuple[FloatArray, IntArray]:
        """The nearest allowed scales (F,), and the factors of the codes (F,), all 1."""
        near = np.array([round_to(s, self.mantissas) for s in scale])
        return near, np.ones(len(scale), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Factors:
    """Scales of kernels: an integer of few terms times a unit (F,), the same for a filter's."""

    unit: FloatArray
    allowed: FloatArray

    @classmethod
    def of(cls, scale: FloatArray, shared: FloatArray, terms: int, bits: int) -> _Factors:
        """Factors of at most ``terms`` terms; the greatest ``scale`` of a filter gets all bits.

        The unit is the filter's own scale, ``shared``, over a power of two, which is a factor.
        """
        kernels = len(scale) // max(1, len(shared))
        peak = scale.reshape(len(shared), kernels).max(axis=1, initial=0.0) / shared
        octaves = np.clip(np.frexp(peak)[1] - 1, -_FACTOR_OCTAVES, bits)
        unit = np.ldexp(shared, octaves - bits)
        most = 1 << (bits + _FACTOR_OCTAVES)
        allowed = [float(m) for m in range(1, most + 1) if csd_weight(m) <= terms]
        return cls(np.repeat(unit, kernels), np.array(allowed))

    def snap(self, scale: FloatArray) -> tuple[FloatArray, IntArray]:
        """The nearest allowed scales (F,), and their factors of the codes (F,)."""
        midpoints = (self.allowed[1:] + self.allowed[:-1]) / 2
        factor = self.allowed[np.searchsorted(midpoints, scale / self.unit)]
        return factor * self.unit, factor.astype(np.int64)


_Scales = _AnyScale | _Factors


@dataclass(frozen=True, eq=False)
class _Problem:
    """Rows (F, n) to be made of a set at scales of a grid, with at most ``limit`` terms."""

    weights: FloatArray
    dyadic_set: DyadicSet
    grid: _Scales
    limit: int | None

    def descend(self, scale: FloatArray, factor: IntArray) -> tuple[Fit, float]:
        """Alternate from the given scales; the end and the price of a term there."""
        found, price = self._codes(scale, factor)
        for _ in range(_ROUNDS):
            product = (self.weights * found.codes).sum(axis=1)
            norm = (found.codes * found.codes).sum(axis=1).astype(np.float64)
            some = (norm > 0) & (product > 0)
            wanted = np.ldexp(product, self.dyadic_set.frac) / np.where(some, norm, 1.0)
            other, now = self._codes(*self.grid.snap(np.where(some, wanted, found.scale)))
            if other.error >= found.error * (1 - _GAIN):
                break
            found, price = other, now
        return found, price

    def best_scales(self, start: FloatArray, price: float) -> tuple[FloatArray, IntArray]:
        """For each row the scale of the grid with the least error if a term costs ``price``."""
        best = np.full(len(start), np.inf)
        chosen, factors = self.grid.snap(start)
        for ratio in _GRID:
            scale, factor = self.grid.snap(ratio * start)
            value = np.empty(len(start))
            for rows, (numbers, first, uses, _) in self._tables(factor):
                value[rows] = penalised(
                    self.weights[rows], scale[rows], numbers, first, uses, price
                )
            better = value < best
            best[better], chosen[better] = value[better], scale[better]
            factors[better] = factor[better]
        return chosen, factors

    def _tables(self, factor: IntArray) -> Iterator[tuple[npt.NDArray[np.intp], Any]]:
        """Rows of each factor, and the set's numbers by the terms of their product with it."""
        values = np.unique(factor)
        most = max(csd_weight(int(m) * n) for m in values for n in self.dyadic_set.numerators)
        uses = np.arange(most + 1) if self.limit is not None else np.zeros(1, dtype=np.int64)
        numerators = np.array(self.dyadic_set.numerators, dtype=np.int64)
        for value in values:
            terms = np.array([csd_weight(int(value) * n) for n in self.dyadic_set.numerators])
            if self.limit is None:
                terms[:] = 0
            order = np.argsort(terms, kind="stable")
            first = np.searchsorted(terms[order], np.append(uses, uses[-1] + 1))
            numbers = np.ldexp(numerators[order].astype(np.float64), -self.dyadic_set.frac)
            yield np.flatnonzero(factor == value), (numbers, first, uses, numerators[order])

    def _codes(self, scale: FloatArray, factor: IntArray) -> tuple[Fit, float]:
        """The best codes at the given scales, and the price of a term."""
        rows, entries = self.weights.shape
        relative = self.weights / scale[:, None]
        energy = float((self.weights**2).sum()) or 1.0
        tables = list(self._tables(factor))
        uses = tables[0][1][2]
        errors = np.empty((rows, entries, len(uses)))
        for chosen, (numbers, first, _, _) in tables:
            part = np.empty((len(chosen) * entries, len(uses)))
            class_errors(relative[chosen].ravel(), numbers, first, part)
            part = part.reshape(len(chosen), entries, -1)
            errors[chosen] = part * (scale[chosen] ** 2 / energy)[:, None, None]
        limit = 0 if self.limit is None else self.limit
        found = solve_choices(errors.reshape(rows * entries, -1), uses, limit)
        assert found is not None  # every weight may be 0, which has no term
        choice = found.choice.reshape(rows, entries)
        codes = np.empty((rows, entries), dtype=np.int64)
        for chosen, (numbers, first, _, numerators) in tables:
            index = class_numbers(relative[chosen].ravel(), numbers, first, choice[chosen].ravel())
            codes[chosen] = numerators[index].reshape(len(chosen), entries)
        approximation = scale[:, None] * np.ldexp(codes.astype(np.float64), -self.dyadic_set.frac)
        error = float(((self.weights - approximation) ** 2).sum())
        return Fit(codes, scale, factor, error), found.price * energy
