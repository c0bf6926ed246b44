"""The damped error of a linear layer's output, as a function of some of its weights.

With the moments H, r, v of what the layer reads (:mod:`hwgen.approx.moments`) a filter q with the
best bias has the squared error ``q'Hq - 2 q'r + v``. Few images do not tell all directions apart,
and what never varies says nothing at all, so that the weights w that the layer has count too:

    E(q) = q'Hq - 2 q'r + v + ridge * |q - w|^2,

with ``ridge = damping * trace(H) / n`` for n patches: w counts like so many of them, less the more
there are for each weight. That is the error for inputs with a little white noise upon them. Among
filters that are zero outside a support S the least has

    (H_SS + ridge) q_S = r_S + ridge * w_S,    E = v + ridge * |w|^2 - q_S'(r_S + ridge * w_S).

Where sums of weights must stay what they are, C q = C w, the multipliers of the constraints follow
from the same factorisation. Filters that share a support share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from hwgen.approx.moments import Moments
from hwgen.network.types import Conv, FloatArray

__all__ = ["BoolArray", "Damped", "Gain", "Solved"]

BoolArray = npt.NDArray[np.bool_]
_Indices = npt.NDArray[np.intp]

Gain = Literal["filter", "channel"]
"""Whose sum of weights stays: a filter's, or that of each of its kernels."""

_LEAST_RIDGE = 1e-7
"""Part of H's trace that keeps it positive definite beside what products of float32 lose."""
_LEAST_VARIANCE = 1e-60


@dataclass(frozen=True, eq=False)
class Solved:
    """Filters of one group that have weights at the same places, in one block of them.

    ``rows`` (F,) are the filters, ``entries`` (S,) the places, ascending, ``inverse`` (S, S) is
    that of H with the ridge there, and ``weight`` (F, S) are the weights of least error.
    """

    group: int
    rows: _Indices
    entries: _Indices
    inverse: FloatArray
    weight: FloatArray

    def without(self, gone: BoolArray) -> Solved:
        """The same with the entries ``gone`` (S,) left out, which the others make up for."""
        at, kept = np.flatnonzero(gone), np.flatnonzero(~gone)
        columns = self.inverse[np.ix_(kept, at)]
        gain = np.linalg.solve(self.inverse[np.ix_(at, at)], columns.T)
        return Solved(
            self.group,
            self.rows,
            self.entries[kept],
            self.inverse[np.ix_(kept, kept)] - columns @ gain,
            self.weight[:, kept] - self.weight[:, at] @ gain,
        )


@dataclass(frozen=True, eq=False)
class Damped:
    """Damped error of the output of each filter of one layer.

    Attributes
    ----------
    second
        (G, B, k, k) covariances H without the ridge, in the blocks of
        :class:`~hwgen.approx.moments.Moments`.
    ridge
        (G, B) what is added to H's diagonal.
    weight
        (O, K) weights that the damping pulls to.
    target
        (O, K) ``r + ridge * w``.
    constant
        (O,) error of a filter of zeros.
    taps
        Weights of a kernel.
    """

    second: FloatArray
    ridge: FloatArray
    weight: FloatArray
    target: FloatArray
    constant: FloatArray
    taps: int

    @classmethod
    def of(cls, op: Conv, moments: Moments, damping: float) -> Damped:
        """The damped error of the layer ``op``.

        Raises
        ------
        ValueError
            If ``damping`` is negative.
        """
        if not damping >= 0:
            raise ValueError(f"Damping must not be negative, not {damping!r}")
        trace = np.einsum("gbii->gb", moments.second)
        share = max(damping / moments.count, _LEAST_RIDGE)
        ridge = np.maximum(share * trace, _LEAST_VARIANCE)
        weight = op.weight.reshape(len(op.weight), -1)
        filters, entries = weight.shape
        of_entry = np.repeat(ridge, moments.second.shape[3], axis=1)[:, :entries]
        of_entry = np.repeat(of_entry, filters // op.groups, axis=0)
        return cls(
            moments.second,
            ridge,
            weight,
            moments.cross + of_entry * weight,
            moments.output_variance + (of_entry * weight**2).sum(axis=1),
            op.kernel[0] * op.kernel[1],
        )

    def fit(self, filters: Iterable[int], mask: BoolArray, gain: Gain | None) -> FloatArray:
        """(O, K) weights of least error of the ``filters`` on the ``mask`` (O, K), 0 elsewhere."""
        found = np.zeros_like(self.weight)
        for group, rows, support in self.patterns(filters, mask):
            found[np.ix_(rows, support)] = self._best(group, rows, support, gain)
        return found

    def errors(self, filters: Iterable[int], mask: BoolArray) -> FloatArray:
        """(O,) least errors of the ``filters`` on the ``mask`` (O, K); 0 for all others."""
        found = np.zeros(len(self.weight))
        for group, rows, support in self.patterns(filters, mask):
            best = self._best(group, rows, support, None)
            explained = (best * self.target[np.ix_(rows, support)]).sum(axis=1)
            # as it is never negative, what is negative is rounding
            found[rows] = np.maximum(self.constant[rows] - explained, 0.0)
        return found

    def patterns(
        self, filters: Iterable[int], mask: BoolArray
    ) -> Iterator[tuple[int, _Indices, _Indices]]:
        """Filters of one group with the same support: group, filters and entries of the support."""
        size = len(self.weight) // len(self.second)
        together: dict[tuple[int, bytes], list[int]] = {}
        for f in filters:
            together.setdefault((f // size, np.packbits(mask[f]).tobytes()), []).append(f)
        for (group, _), rows in together.items():
            yield group, np.array(rows), np.flatnonzero(mask[rows[0]])

    def solved(self, mask: BoolArray) -> Iterator[Solved]:
        """All filters on the places ``mask`` (O, I / groups, KH, KW), a block at a time."""
        flat = mask.reshape(len(mask), -1)
        for group, rows, support in self.patterns(range(len(flat)), flat):
            for at, matrix in self.blocks(group, support):
                entries = support[at]
                inverse = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
                weight = self.target[np.ix_(rows, entries)] @ inverse
                yield Solved(group, rows, entries, inverse, weight)

    def blocks(self, group: int, support: _Indices) -> Iterator[tuple[_Indices, FloatArray]]:
        """Positions in ``support`` of each block's entries, and their matrix with the ridge."""
        k = self.second.shape[3]
        for block in np.unique(support // k):
            at = np.flatnonzero(support // k == block)
            entries = support[at] - block * k
            matrix = self.second[group, block][np.ix_(entries, entries)]
            matrix.flat[:: len(at) + 1] += self.ridge[group, block]
            yield at, matrix

    def _best(self, group: int, rows: _Indices, support: _Indices, gain: Gain | None) -> FloatArray:
        """(rows, support) weights of least error."""
        target = self.target[np.ix_(rows, support)]
        sums, wanted = self._constraints(rows, support, gain)
        right = np.concatenate([target, sums]).T
        solved = np.empty_like(right)
        for at, matrix in self.blocks(group, support):
            factor: Any = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
            solved[at] = cho_solve(factor, right[at], check_finite=False)
        free, response = solved[:, : len(rows)], solved[:, len(rows) :]
        if len(sums):
            free = free - response @ np.linalg.solve(sums @ response, sums @ free - wanted)
        best: FloatArray = free.T
        return best

    def _constraints(
        self, rows: _Indices, support: _Indices, gain: Gain | None
    ) -> tuple[FloatArray, FloatArray]:
        """Sums of the support that are constrained (C, S), and what they must be (C, rows)."""
        if gain is None or not len(support):
            return np.zeros((0, len(support))), np.zeros((0, len(rows)))
        if gain == "filter":
            return np.ones((1, len(support))), self.weight[rows].sum(axis=1)[None]
        kernels = self.weight[rows].reshape(len(rows), -1, self.taps).sum(axis=2)
        channels, of = np.unique(support // self.taps, return_inverse=True)
        sums = (of == np.arange(len(channels))[:, None]).astype(np.float64)
        return sums, np.ascontiguousarray(kernels[:, channels].T)
