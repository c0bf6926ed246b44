"""The best n taps of a kernel, whichever they are: elimination by the error of the output.

An NFU skips a tap for a tile of filters whatever its place, and a datapath pays for no weight that
is 0, so that the taps that stay need not form a rectangle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from hwgen.approx.moments import Moments
from hwgen.network.types import Conv, FloatArray, Pair
from hwgen.numeric import IntArray
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.fitting import DAMPING

__all__ = ["TapOrder", "order_taps"]


@dataclass(frozen=True, eq=False)
class TapOrder:
    """Taps of a kernel in the order in which some filters can best do without them.

    Attributes
    ----------
    kernel
        Height and width.
    taps
        (taps, 2) int64, row and column of each tap, the first to go first.
    errors
        (taps + 1,) float64, damped squared error of the filters' outputs, summed, without the first
        0, 1, ... of them.
    """

    kernel: Pair
    taps: IntArray
    errors: FloatArray

    def mask(self, count: int) -> BoolArray:
        """(KH, KW) the last ``count`` taps, those that are worth most."""
        mask = np.zeros(self.kernel, dtype=np.bool_)
        kept = self.taps[len(self.taps) - count :]
        mask[kept[:, 0], kept[:, 1]] = True
        return mask


def order_taps(
    op: Conv, filters: Iterable[int], moments: Moments, *, damping: float = DAMPING
) -> TapOrder:
    """Taps in the order of a greedy elimination by the error of the outputs of ``filters``.

    One order for all of them. Each step removes the tap, of all input channels, that costs least
    once the other weights have made up for it (optimal brain surgeon: Hassibi and Stork, NIPS 1992,
    for the weights of a tap at a time): with A the inverse of the matrix of the weights that are
    left, removing those of a tap T costs ``w_T' A_TT^-1 w_T`` for each filter.
    """
    damped = Damped.of(op, moments, damping)
    chosen = list(filters)
    present = (op.weight != 0).reshape(len(op.weight), -1)
    count = op.kernel[0] * op.kernel[1]
    parts = [
        _Elimination.of(damped, group, rows, support)
        for group, rows, support in damped.patterns(chosen, present)
    ]
    left, order = list(range(count)), []
    errors = [sum(part.error for part in parts)]
    while left:
        costs = [sum(part.cost(tap) for part in parts) for tap in left]
        tap = left.pop(int(np.argmin(costs)))
        parts = [part.without(tap) for part in parts]
        order.append(divmod(tap, op.kernel[1]))
        errors.append(sum(part.error for part in parts))
    return TapOrder(op.kernel, np.array(order, dtype=np.int64), np.array(errors))


@dataclass(frozen=True, eq=False)
class _Elimination:
    """Filters of one support S whose weights go tap after tap.

    ``weight`` (F, S) is best on what is left, ``inverse`` (S, S) that of the matrix there, and
    ``tap`` (S,) where each weight stands.
    """

    weight: FloatArray
    inverse: FloatArray
    tap: npt.NDArray[np.intp]
    error: float

    @classmethod
    def of(
        cls, damped: Damped, group: int, rows: npt.NDArray[np.intp], support: npt.NDArray[np.intp]
    ) -> _Elimination:
        inverse = np.zeros((len(support), len(support)))
        for at, matrix in damped.blocks(group, support):
            inverse[np.ix_(at, at)] = cho_solve(cho_factor(matrix, lower=True), np.eye(len(at)))
        target = damped.target[np.ix_(rows, support)]
        weight = target @ inverse
        error = float((damped.constant[rows] - (weight * target).sum(axis=1)).sum())
        return cls(weight, inverse, support % damped.taps, max(error, 0.0))

    def cost(self, tap: int) -> float:
        """How much the error grows without ``tap``."""
        gone = self.tap == tap
        w = self.weight[:, gone]
        return float((w * self._multipliers(gone)).sum())

    def without(self, tap: int) -> _Elimination:
        """The same without ``tap``; what is left makes up for it."""
        gone = self.tap == tap
        across = self.inverse[np.ix_(gone, ~gone)]
        response = np.linalg.solve(self.inverse[np.ix_(gone, gone)], across)
        weight = self.weight[:, ~gone] - self._multipliers(gone) @ across
        inverse = self.inverse[np.ix_(~gone, ~gone)] - across.T @ response
        return replace(
            self,
            weight=weight,
            inverse=inverse,
            tap=self.tap[~gone],
            error=self.error + self.cost(tap),
        )

    def _multipliers(self, gone: BoolArray) -> FloatArray:
        """(F, gone) forces that hold the weights at 0."""
        within = self.inverse[np.ix_(gone, gone)]
        found = np.linalg.solve(within, self.weight[:, gone].T).T
        return np.asarray(found, dtype=np.float64)
