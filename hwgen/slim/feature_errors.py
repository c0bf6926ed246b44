"""What a layer's output loses with some of the maps that it reads, before anything is run.

With the moments of what the layer reads, the least damped error of its output on any places of
weights is known (:mod:`hwgen.slim._damped`). With A the inverse of the matrix of the places that
there are and w the best weights on them, doing without the places B costs

    w_B' (A_BB)^-1 w_B

for each filter, if the other weights make up for them: the Schur complement of the places that
stay (optimal brain surgeon: Hassibi and Stork, NIPS 1992, for many weights at a time). One inverse
thus rates every map, and follows the maps that go one after the other.
"""

from __future__ import annotations

import numpy as np

from hwgen.approx.moments import Moments
from hwgen.network.types import Conv, FloatArray
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.fitting import DAMPING

__all__ = ["FeatureErrors", "feature_errors"]

_LEAST_VARIANCE = 1e-60


class FeatureErrors:
    """A layer from which the maps that it reads are dropped one after the other.

    Parameters
    ----------
    damped
        The layer's error as a function of its weights.
    mask
        (O, I / groups, KH, KW), where it has weights.
    reach
        (O,) what the error of each filter counts.
    """

    def __init__(self, damped: Damped, mask: BoolArray, reach: FloatArray) -> None:
        self._depth, self._taps = mask.shape[1], damped.taps
        self._reach, self._parts = reach, list(damped.solved(mask))
        self._maps = len(damped.second) * self._depth

    @property
    def read(self) -> BoolArray:
        """(I,) maps of which the layer has a weight."""
        found = np.zeros(self._maps, dtype=np.bool_)
        for part in self._parts:
            found[part.group * self._depth + part.entries // self._taps] = True
        return found

    def increases(self) -> FloatArray:
        """(I,) what the loss of each map adds to the error, as if the others stayed."""
        found = np.zeros(self._maps)
        for part in self._parts:
            channels, first, counts = np.unique(
                part.entries // self._taps, return_index=True, return_counts=True
            )
            reach = self._reach[part.rows]
            for count in np.unique(counts):
                of = counts == count
                at = first[of][:, None] + np.arange(count)
                blocks = part.inverse[at[:, :, None], at[:, None, :]]
                lost = part.weight[:, at].transpose(1, 2, 0)
                solved = np.linalg.solve(blocks, lost)
                added = (lost * solved * reach).sum(axis=(1, 2))
                found[part.group * self._depth + channels[of]] += added
        return found

    def drop(self, channel: int) -> None:
        """Fit the others to make up for the map ``channel``."""
        group, within = divmod(channel, self._depth)
        for index, part in enumerate(self._parts):
            gone = part.entries // self._taps == within
            if part.group == group and gone.any():
                self._parts[index] = part.without(gone)


def feature_errors(op: Conv, moments: Moments, *, damping: float = DAMPING) -> FloatArray:
    """How much the damped error of the layer's output grows without each map, relative.

    Parameters
    ----------
    op
        Layer; its weights that are 0 are gone already.
    moments
        Of what it reads, with the outputs that it should have.
    damping
        As in :func:`~hwgen.slim.fitting.fit_weights`.

    Returns
    -------
    ndarray
        (I,) squared errors of all filters over the variances of all outputs. At 1 there is nothing
        left to tell.
    """
    damped, alike = Damped.of(op, moments, damping), np.ones(len(op.weight))
    errors = FeatureErrors(damped, op.weight != 0, alike).increases()
    return errors / max(float(moments.output_variance.sum()), _LEAST_VARIANCE)
