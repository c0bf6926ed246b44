"""What fine-tuning keeps of a layer's recipe: which codes a weight may take at which scale.

A layer's weights are seen as rows that share a scale: filters, or single kernels if each kernel
has a factor of its own. A latent weight u, in units of its row's scale, becomes the number d of the
set with the least ``(u - d)**2 + penalty * terms(d)``. The costs are parabolas of one curvature, so
that the best d rises with u in steps, whose positions depend on the penalty alone. A limit on the
mean number of terms is kept by the least penalty that keeps it: the Lagrangian relaxation of the
knapsack that the limit states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.approx.filters import EXACT, rounded
from hwgen.approx.frobenius import has_one_number, term_limit
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.scale import nearest_dyadic
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import FloatArray
from hwgen.numeric import Dyadic, IntArray

__all__ = ["BIAS_BITS", "LayerRule", "Steps", "dyadic_scales"]

_BISECTIONS = 40
_SCALE_TERMS = 3
_SCALE_BITS = 8
BIAS_BITS = 16
"""Significant bits of a bias."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Magnitudes that a latent magnitude becomes, row by row.

    ``bounds`` (R, S) ascending, infinite at the end of rows with fewer steps; ``codes`` (R, S + 1)
    the numerators: a magnitude u becomes ``codes[r, number of bounds[r] <= u]``.
    """

    bounds: FloatArray
    codes: IntArray

    def __call__(self, latent: FloatArray) -> IntArray:
        """Codes of ``latent`` (R, n) with their signs, before the factors."""
        magnitude = np.abs(latent)
        steps = np.zeros(latent.shape, dtype=np.int64)
        for row, bounds in enumerate(self.bounds):
            steps[row] = np.searchsorted(bounds, magnitude[row], side="right")
        codes = np.take_along_axis(self.codes, steps, axis=1)
        return np.where(latent < 0, -codes, codes)


@dataclass(frozen=True, eq=False)
class LayerRule:
    """A layer's recipe at work.

    ``shape`` of the weights, OIHW; ``levels`` (L,) ascending magnitudes, numerators from 0 on;
    ``frac`` their fractional bits; ``factors`` (R,) of the rows, 1 unless each kernel has its own;
    ``limit``: most terms of all codes together, None without limit; ``shared``: whether the layer
    has one scale; ``free`` (R, n): weights that may change, those that are not 0 by construction.
    """

    shape: tuple[int, ...]
    levels: IntArray
    frac: int
    factors: IntArray
    limit: int | None
    shared: bool
    free: npt.NDArray[np.bool_]
    recipe: str

    @classmethod
    def of(cls, weight: FloatArray, filters: DyadicFilters) -> LayerRule | None:
        """Rule of the layer that ``filters`` replace; None if its weights stay as they are."""
        if filters.recipe == EXACT:
            return None
        recipe = parse_recipe(filters.recipe)
        if has_one_number(recipe, weight.shape):
            return None
        factors = np.ones(len(weight), dtype=np.int64)
        if filters.factors is not None:
            factors = filters.factors.reshape(-1)
        return cls(
            shape=weight.shape,
            levels=np.concatenate([[0], recipe.dyadic_set.positive]),
            frac=filters.frac,
            factors=factors,
            limit=term_limit(recipe, weight),
            shared=recipe.scale == "layer",
            free=((weight != 0) | (filters.codes != 0)).reshape(len(factors), -1),
            recipe=filters.recipe,
        )

    @property
    def rows(self) -> int:
        """Rows that the weights are seen as."""
        return len(self.factors)

    def row_scales(self, scale: FloatArray) -> FloatArray:
        """Units (R,) of the rows from the scales (O,) of the filters."""
        return np.repeat(scale, self.rows // len(scale)) * self.factors

    def steps(self, scale: FloatArray, penalty: float) -> Steps:
        """Steps at the scales (O,) of the filters if a term costs ``penalty`` in squared weight."""
        levels = np.ldexp(self.levels.astype(np.float64), -self.frac)
        row_penalty = penalty / self.row_scales(scale) ** 2
        cost = levels**2 + row_penalty[:, None] * self._terms
        every, current = np.arange(self.rows), np.zeros(self.rows, dtype=np.int64)
        bounds, codes = [], [np.zeros(self.rows, dtype=np.int64)]
        for _ in levels[1:]:
            rise = levels - levels[current][:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = (cost - cost[every, current][:, None]) / (2 * rise)
            slope[rise <= 0] = math.inf
            # of equally early steps the greatest one
            following = slope.shape[1] - 1 - np.argmin(slope[:, ::-1], axis=1)
            bound = slope[every, following]
            if not np.isfinite(bound).any():
                break
            current = np.where(np.isfinite(bound), following, current)
            bounds.append(bound)
            codes.append(self.levels[current])
        return Steps(np.stack(bounds, axis=1), np.stack(codes, axis=1))

    def penalty(self, latent: FloatArray, scale: FloatArray) -> float:
        """Least penalty found by bisection at which the codes of ``latent`` (R, n) keep the limit.

        0 without a limit or if it does not bind.
        """
        if self.limit is None or self.terms(self.steps(scale, 0.0)(latent)) <= self.limit:
            return 0.0
        # a term that costs a weight's whole square is never worth it
        low, high = 0.0, float((self.row_scales(scale)[:, None] * np.abs(latent)).max()) ** 2
        for _ in range(_BISECTIONS):
            # geometric as soon as there is a lower end: penalties are tiny where weights are
            middle = math.sqrt(low * high) if low else high / 1024
            if self.terms(self.steps(scale, middle)(latent)) <= self.limit:
                high = middle
            else:
                low = middle
        return high

    def terms(self, codes: IntArray) -> int:
        """Signed powers of two in ``codes`` (R, n), factors included."""
        return int(_csd_weights(codes * self.factors[:, None]).sum())

    def filters(self, latent: FloatArray, scale: FloatArray, bias: FloatArray) -> DyadicFilters:
        """Dyadic filters of the ``latent`` weights (R, n) at dyadic scales (O,), within the limit.

        ``bias`` (O,) is rounded.
        """
        codes = self.steps(scale, self.penalty(latent, scale))(latent)
        by_kernel = self.rows != self.shape[0]
        return DyadicFilters(
            (codes * self.factors[:, None]).reshape(self.shape),
            self.frac,
            tuple(Dyadic.exact(float(s)) for s in scale),
            rounded(bias, BIAS_BITS),
            self.recipe,
            self.factors.reshape(self.shape[:2]) if by_kernel else None,
        )

    @property
    def _terms(self) -> FloatArray:
        return _csd_weights(self.levels * self.factors[:, None]).astype(np.float64)


def dyadic_scales(scale: FloatArray) -> FloatArray:
    """The dyadic numbers nearest to ``scale``, each above 0, as filters have them."""
    near = [float(nearest_dyadic(float(s), terms=_SCALE_TERMS, bits=_SCALE_BITS)) for s in scale]
    return np.array(near)


def _csd_weights(values: IntArray) -> IntArray:
    """Signed powers of two in each of ``values``."""
    magnitude = np.abs(values)
    weights: IntArray = np.bitwise_count(magnitude ^ (3 * magnitude)).astype(np.int64)
    return weights
