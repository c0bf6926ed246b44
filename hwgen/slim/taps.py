"""The best n taps of a kernel, whichever they are, by the error of the output.

An NFU skips a tap for a tile of filters whatever its place, and a datapath pays for no weight that
is 0, so that the taps that stay need not form a rectangle.

Taps go one after the other, each time that which costs least once the other weights have made up
for it (optimal brain surgeon: Hassibi and Stork, NIPS 1992, for the weights of a tap at a time), or
come one after the other, each time that which gains most. Neither is always better. Both are the
same steps: with weights w that are best for the matrix H of a support, removing those of a tap T
costs ``w_T' A_TT^-1 w_T`` with A = H^-1, and what is left has ``A_RR - A_RT A_TT^-1 A_TR``; with
the target t, adding those of a tap gains ``t_T' H_TT^-1 t_T``, and what is left to explain has the
same complement of H.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from hwgen.approx.moments import Moments
from hwgen.network.types import Conv, FloatArray
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.fitting import DAMPING

__all__ = ["TapChoice", "choose_taps"]


@dataclass(frozen=True, eq=False)
class TapChoice:
    """The best taps that were found, for every number of taps from 0 to that of the kernel.

    Attributes
    ----------
    masks
        (taps + 1, KH, KW) bool, ``masks[n]`` with n taps. They need not lie within each other.
    errors
        (taps + 1,) float64, damped squared error of the filters' outputs on them, summed.
    """

    masks: BoolArray
    errors: FloatArray


def choose_taps(
    op: Conv, filters: Iterable[int], moments: Moments, *, damping: float = DAMPING
) -> TapChoice:
    """Taps for the ``filters``, which share them, with little error of their outputs.

    Weights that are 0 stay 0; a tap on which there are no others costs nothing.

    Parameters
    ----------
    op
        Layer.
    filters
        Filters, such as a tile of an NFU.
    moments
        Moments of what the layer reads.
    damping
        As in :func:`~hwgen.slim.fitting.fit_weights`.
    """
    damped, chosen = Damped.of(op, moments, damping), list(filters)
    taps = op.kernel[0] * op.kernel[1]
    present = (op.weight != 0).reshape(len(op.weight), -1)
    forward, backward = [], []
    for group, rows, support in damped.patterns(chosen, present):
        matrix = np.zeros((len(support), len(support)))
        inverse = np.zeros_like(matrix)
        for at, block in damped.blocks(group, support):
            matrix[np.ix_(at, at)] = block
            inverse[np.ix_(at, at)] = cho_solve(cho_factor(block, lower=True), np.eye(len(at)))
        target = damped.target[np.ix_(rows, support)]
        forward.append(_Rest(target, matrix, support % taps))
        backward.append(_Rest(target @ inverse, inverse, support % taps))
    masks = np.zeros((taps + 1, taps), dtype=np.bool_)
    errors = np.full(taps + 1, float(damped.constant[chosen].sum()))
    for count, (tap, gain) in enumerate(_sweep(forward, taps, largest=True)):
        masks[count + 1] = masks[count]
        masks[count + 1, tap] = True
        errors[count + 1 :] -= gain
    left, error = np.ones(taps, dtype=np.bool_), float(errors[taps])
    for count, (tap, cost) in enumerate(_sweep(backward, taps, largest=False)):
        left[tap] = False
        error += cost
        if error < errors[taps - 1 - count]:
            masks[taps - 1 - count], errors[taps - 1 - count] = left, error
    return TapChoice(masks.reshape(-1, *op.kernel), np.maximum(errors, 0.0))


def _sweep(parts: list[_Rest], taps: int, *, largest: bool) -> Iterator[tuple[int, float]]:
    """Taps in their order, and what each costs or gains."""
    left = list(range(taps))
    while left:
        costs = [sum(part.cost(tap) for part in parts) for tap in left]
        best = int(np.argmax(costs) if largest else np.argmin(costs))
        yield left[best], costs[best]
        tap = left.pop(best)
        parts = [part.without(tap) for part in parts]


@dataclass(frozen=True, eq=False)
class _Rest:
    """Filters of one support, as far as it has not been decided on.

    ``values`` (F, S) are weights or targets, ``matrix`` (S, S) what belongs to them, and ``tap``
    (S,) where each stands.
    """

    values: FloatArray
    matrix: FloatArray
    tap: npt.NDArray[np.intp]

    def cost(self, tap: int) -> float:
        """What deciding on ``tap`` costs or gains."""
        at = self.tap == tap
        return float((self.values[:, at] * self._multipliers(at)).sum())

    def without(self, tap: int) -> _Rest:
        """What is left to decide on behind ``tap``."""
        at = self.tap == tap
        across = self.matrix[np.ix_(at, ~at)]
        response = np.linalg.solve(self.matrix[np.ix_(at, at)], across)
        values = self.values[:, ~at] - self._multipliers(at) @ across
        return _Rest(values, self.matrix[np.ix_(~at, ~at)] - across.T @ response, self.tap[~at])

    def _multipliers(self, at: BoolArray) -> FloatArray:
        """(F, at) forces that hold the values at 0."""
        found = np.linalg.solve(self.matrix[np.ix_(at, at)], self.values[:, at].T).T
        return np.asarray(found, dtype=np.float64)
