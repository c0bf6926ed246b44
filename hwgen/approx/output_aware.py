"""Dyadic filters with the least error of a layer's output instead of its weights.

With the moments H, r of what the layer reads (:mod:`hwgen.approx.moments`) the squared error of
filter q's output is ``q'Hq - 2 q'r`` and a constant. Over a dyadic set this is the closest-vector
problem, which is hard; coordinate descent from good starts comes close. The starts are the filters
nearest to the weights, and the codes that result when each rounding error is made up for by the
entries still to come (optimal brain surgeon: Hassibi and Stork, NIPS 1992; GPTQ: Frantar et al.,
ICLR 2023). A limit on the signed powers of two of the layer is met by a price for each that rises
from sweep to sweep; what is left of the limit goes where it gains most.

Few images do not tell all directions apart. H is damped: ``damping`` times its mean diagonal times
the squared error of the weights is added to the objective.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgen.approx import _descent
from hwgen.approx._break_points import round_to
from hwgen.approx.frobenius import has_one_number, term_limit
from hwgen.approx.moments import Moments
from hwgen.approx.recipes import Recipe
from hwgen.approx.scale import magnitudes, scale_mantissas
from hwgen.approx.sets import DyadicSet
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Conv, FloatArray
from hwgen.numeric import Dyadic, IntArray, csd_weight

__all__ = ["DAMPING", "output_objective", "refine"]

DAMPING = 0.1
"""Part of H's mean diagonal that is added: best on training images that measured nothing."""

_SWEEPS = 30
_ROUNDS = 12
_CHEAPEST = 1e-5
_DEARER = 1.2
_SMALL = 1 << 12
"""Weights of a layer up to which limits are approached from both starts: on large ones they end
within a few percent of each other, so that the second is not worth its time."""
_LEAST_DAMPING = 1e-6
_LEAST_VARIANCE = 1e-60


def refine(
    op: Conv,
    filters: DyadicFilters,
    recipe: Recipe,
    moments: Moments,
    *,
    scale_terms: int = 3,
    scale_bits: int = 8,
    damping: float = DAMPING,
) -> DyadicFilters:
    """Filters like ``filters`` whose output is nearer to the float layer's; the bias stays.

    Codes of weights that are 0 stay 0.

    Parameters
    ----------
    op
        Float layer.
    filters
        Start, made by ``recipe``; the result's damped error of the output is never greater. Scales
        of single kernels (``factors``) stay as they are relative to each other.
    recipe
        Set, limit and granularity. The result has no more terms than the limit allows.
    moments
        Moments of the layer's input in the float and in the approximated network.
    scale_terms, scale_bits
        As in :func:`~hwgen.approx.filters.approximate_filters`.
    damping
        Trust in the weights against the moments, at least 0.

    Raises
    ------
    ValueError
        If ``damping`` is negative.
    """
    problem = _Problem.of(
        op,
        filters,
        recipe.dyadic_set,
        moments,
        damping,
        mantissas=scale_mantissas(scale_terms, scale_bits),
        shared=recipe.scale == "layer",
    )
    scale = np.array([float(s) for s in filters.scale]) * 2.0**-filters.frac
    start = problem.state(filters.codes.reshape(len(scale), -1), scale)
    limit = term_limit(recipe, op.weight)
    if has_one_number(recipe, op.weight.shape):
        best = problem.rescaled(start)
    else:
        best = problem.free(start) if limit is None else problem.limited(start, limit)
    codes = best.codes.astype(np.int64).reshape(op.weight.shape)
    scales = tuple(Dyadic.exact(float(s)) for s in best.scale * 2.0**filters.frac)
    return replace(filters, codes=codes, scale=scales)


def output_objective(
    op: Conv, filters: DyadicFilters, moments: Moments, *, damping: float = DAMPING
) -> float:
    """What :func:`refine` minimises: the sum over filters of the damped error of the output."""
    difference = (filters.weight - op.weight).reshape(len(op.weight), -1)
    ridge = _repeated(moments, damping * _mean_diagonal(moments))
    return float(moments.errors(filters.weight).sum() + (ridge * difference**2).sum())


def _mean_diagonal(moments: Moments) -> FloatArray:
    """(G, B) mean variance of the entries of each block, above 0."""
    mean = np.einsum("gbii->gb", moments.second) / moments.second.shape[2]
    return np.asarray(np.maximum(mean, _LEAST_VARIANCE), dtype=np.float64)


def _repeated(moments: Moments, of_block: FloatArray) -> FloatArray:
    """(O, K) from a number a block (G, B)."""
    groups, _, k, _ = moments.second.shape
    filters, entries = moments.cross.shape
    return np.repeat(np.repeat(of_block, k, axis=1)[:, :entries], filters // groups, axis=0)


@dataclass
class _State:
    """Codes (O, K), scales (O,) with the power of two of the set in them, and H times filters."""

    codes: FloatArray
    scale: FloatArray
    p: FloatArray

    def copy(self) -> _State:
        return _State(self.codes.copy(), self.scale.copy(), self.p.copy())

    def take(self, rows: npt.NDArray[np.bool_], other: _State) -> None:
        """Replace the filters ``rows`` by those of ``other``."""
        for name in ("codes", "scale", "p"):
            getattr(self, name)[rows] = getattr(other, name)[rows]


@dataclass(frozen=True, eq=False)
class _Problem:
    """Quadratic of one layer, the codes that each entry may have, and the scales allowed."""

    weight: FloatArray
    second: FloatArray
    target: FloatArray
    levels: FloatArray
    starts: IntArray
    table: IntArray
    mantissas: FloatArray
    shared: bool

    @classmethod
    def of(
        cls,
        op: Conv,
        filters: DyadicFilters,
        dyadic_set: DyadicSet,
        moments: Moments,
        damping: float,
        mantissas: FloatArray,
        shared: bool,
    ) -> _Problem:
        if not damping >= 0:
            raise ValueError(f"Damping must not be negative, not {damping!r}")
        weight = op.weight.reshape(len(op.weight), -1)
        # positive definite even without damping
        ridge = max(damping, _LEAST_DAMPING) * _mean_diagonal(moments)
        second = moments.second + ridge[..., None, None] * np.eye(moments.second.shape[2])
        target = moments.cross + _repeated(moments, ridge) * weight
        factors = filters.factors
        if factors is None:
            factors = np.ones(op.weight.shape[:2], dtype=np.int64)
        kinds, kind = np.unique(factors, return_inverse=True)
        table = np.repeat(kind.reshape(len(weight), -1), op.kernel[0] * op.kernel[1], axis=1)
        levels, starts = _levels(dyadic_set, kinds)
        # weights that are 0 stay 0: one kind more, of which no code but 0 is
        table = np.ascontiguousarray(np.where(weight == 0, len(kinds), table))
        nothing = np.full((1, starts.shape[1]), len(levels) + 1)
        nothing[0, 0] = len(levels)
        levels, starts = np.append(levels, 0.0), np.concatenate([starts, nothing])
        return cls(weight, second, target, levels, starts, table, mantissas, shared)

    def state(self, codes: npt.NDArray[np.number], scale: FloatArray) -> _State:
        state = _State(codes.astype(np.float64), scale.copy(), np.empty(codes.shape))
        _descent.products(self.second, state.codes, state.scale, state.p)
        return state

    def objective(self, state: _State) -> FloatArray:
        q = state.scale[:, None] * state.codes
        objective: FloatArray = (q * (state.p - 2 * self.target)).sum(axis=1)
        return objective

    def free(self, start: _State) -> _State:
        """Best filters without a limit, each from the start that suits it."""
        best = start.copy()
        for state in self._starts(start):
            self._descend(state)
            if self.shared:
                better = np.full(len(state.scale), self._total(state) < self._total(best))
            else:
                better = self.objective(state) < self.objective(best)
            best.take(better, state)
        return best

    def limited(self, start: _State, limit: int) -> _State:
        """Best filters with at most ``limit`` terms in the layer, never worse than ``start``."""
        best = None
        if _count(start) <= limit:
            best = start.copy()
            self._fill(best, limit)
        starts = list(self._starts(start))
        for state in starts if start.codes.size <= _SMALL else starts[-1:]:
            self._descend(state)
            energy = float(np.mean(self.weight**2) * np.einsum("gbii->gbi", self.second).mean())
            penalty = _CHEAPEST * energy
            while _count(state) > limit:
                self._descend(state, penalty)
                penalty *= _DEARER
            self._fill(state, limit)
            if best is None or self._total(state) < self._total(best):
                best = state
        assert best is not None
        return best

    def rescaled(self, start: _State) -> _State:
        """The same codes at their best scales."""
        best = start.copy()
        self._rescale(best)
        return best

    def _starts(self, start: _State) -> Iterator[_State]:
        yield start.copy()
        state = start.copy()
        upper, order = self._inverse
        _descent.compensate(
            upper, order, self._best, state.codes, state.scale, self.levels, self.starts, self.table
        )
        yield self.state(state.codes, state.scale)

    def _total(self, state: _State) -> float:
        return float(self.objective(state).sum())

    def _descend(self, state: _State, penalty: float = 0.0) -> None:
        quadratic = (self.second, self._diagonal, self.target)
        arguments = (*quadratic, state.codes, state.scale, state.p, penalty)
        sets = (self.levels, self.starts, self.table)
        if not self.shared:
            _descent.descend(*arguments, *sets, self.mantissas, _SWEEPS)
            return
        for _ in range(_ROUNDS):
            _descent.descend(*arguments, *sets, self.mantissas[:0], _SWEEPS)
            if not self._rescale(state):
                break

    def _rescale(self, state: _State) -> bool:
        """Give every filter, or the layer, its best scale; whether one changed."""
        linear = (state.codes * self.target).sum(axis=1)
        square = (state.codes * state.p).sum(axis=1) / state.scale
        if self.shared:
            linear, square = (np.full_like(each, each.sum()) for each in (linear, square))
        old = state.scale.copy()
        for f in np.flatnonzero((linear > 0) & (square > 0)):
            new = float(round_to(linear[f] / square[f], self.mantissas))
            gain = (old[f] - new) * ((old[f] + new) * square[f] - 2 * linear[f])
            if gain > 1e-12 * old[f] * linear[f]:
                state.p[f] *= new / old[f]
                state.scale[f] = new
        return bool((state.scale != old).any())

    def _fill(self, state: _State, limit: int) -> None:
        """Spend what is left of ``limit`` where it gains most, scales fitted in turns."""
        for _ in range(_ROUNDS):
            moved = self._moves(state, limit)
            if not self._rescale(state) and not moved:
                break

    def _moves(self, state: _State, limit: int) -> bool:
        room, moved = limit - _count(state), False
        size = len(state.codes) // len(self.second)

        def best(f: int) -> tuple[float, int, int, float, int]:
            rate, entry, code, added = _descent.best_move(
                self._diagonal[f // size],
                self.target[f],
                state.codes[f],
                state.scale[f],
                state.p[f],
                room,
                self.levels,
                self.starts,
                self.table[f],
            )
            return (-rate, f, entry, code, added)

        heap = [each for f in range(len(state.codes)) if (each := best(f))[2] >= 0]
        heapq.heapify(heap)
        while heap:
            _, f, entry, code, added = heapq.heappop(heap)
            if added <= room:
                change = state.scale[f] * (code - state.codes[f, entry])
                _descent.move(self.second[f // size], state.p[f], entry, change)
                state.codes[f, entry] = code
                room, moved = room - added, True
            if (following := best(f))[2] >= 0:
                heapq.heappush(heap, following)
        return moved

    @cached_property
    def _diagonal(self) -> FloatArray:
        """(G, K) diagonal of H."""
        diagonal = np.einsum("gbii->gbi", self.second).reshape(len(self.second), -1)
        return np.ascontiguousarray(diagonal[:, : self.target.shape[1]])

    @cached_property
    def _best(self) -> FloatArray:
        """(O, K) what would be best without rounding: H q = r."""
        groups, blocks, k, _ = self.second.shape
        filters, entries = self.target.shape
        padded = np.zeros((filters, blocks * k))
        padded[:, :entries] = self.target
        right = padded.reshape(groups, filters // groups, blocks, k).transpose(0, 2, 3, 1)
        solved = np.linalg.solve(self.second, right).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(solved.reshape(filters, blocks * k)[:, :entries])

    @cached_property
    def _inverse(self) -> tuple[FloatArray, IntArray]:
        """Cholesky factors of H's inverse and their order, entries of most variance first."""
        diagonal = np.einsum("gbii->gbi", self.second)
        order = np.argsort(-diagonal, axis=2, kind="stable")
        ordered = np.take_along_axis(self.second, order[..., None], axis=2)
        ordered = np.take_along_axis(ordered, order[..., None, :], axis=3)
        inverse = np.linalg.inv(ordered)
        factor = np.linalg.cholesky((inverse + inverse.swapaxes(2, 3)) / 2)
        return np.ascontiguousarray(factor.swapaxes(2, 3)), order


def _count(state: _State) -> int:
    """Signed powers of two in all codes."""
    values, counts = np.unique(np.abs(state.codes).astype(np.int64), return_counts=True)
    return sum(csd_weight(int(v)) * int(n) for v, n in zip(values, counts, strict=True))


def _levels(dyadic_set: DyadicSet, factors: IntArray) -> tuple[FloatArray, IntArray]:
    """Magnitudes of the codes for each factor by their terms, and where each number starts."""
    tables = []
    for factor in factors:
        codes = [int(n) * int(factor) for n in magnitudes(dyadic_set)]
        tables.append(sorted((csd_weight(code), code) for code in codes))
    most = max(table[-1][0] for table in tables)
    levels = [float(code) for table in tables for _, code in table]
    starts, offset = np.empty((len(tables), most + 2), dtype=np.int64), 0
    for index, table in enumerate(tables):
        starts[index] = offset + np.searchsorted([t for t, _ in table], np.arange(most + 2))
        offset += len(table)
    return np.array(levels), starts
