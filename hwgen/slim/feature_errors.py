"""What a layer's output loses with some of the maps that it reads, before anything is run.

With the moments of what the layer reads, the least damped error of its output on any places of
weights is known (:mod:`hwgen.slim._damped`). With A the inverse of the matrix of the places that
there are and w the best weights on them, doing without the places B costs

    w_B' (A_BB)^-1 w_B

for each filter, if the other weights make up for them: the Schur complement of the places that
stay (optimal brain surgeon: Hassibi and Stork, NIPS 1992, for many weights at a time). One inverse
thus rates any number of blocks of maps.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hwgen.approx.moments import Moments
from hwgen.network.types import Conv, FloatArray
from hwgen.slim._damped import Damped
from hwgen.slim.fitting import DAMPING

__all__ = ["feature_errors"]

_LEAST_VARIANCE = 1e-60


def feature_errors(
    op: Conv,
    moments: Moments,
    blocks: Iterable[Iterable[int]] | None = None,
    *,
    damping: float = DAMPING,
) -> FloatArray:
    """How much the damped error of the layer's output grows without each block of maps, relative.

    Parameters
    ----------
    op
        Layer; its weights that are 0 are gone already.
    moments
        Of what it reads, with the outputs that it should have.
    blocks
        Channels that would go together; by default each channel by itself.
    damping
        As in :func:`~hwgen.slim.fitting.fit_weights`.

    Returns
    -------
    ndarray
        One number a block: the squared errors of all filters over the variances of all outputs.
        At 1 there is nothing left to tell.
    """
    depth, taps = op.weight.shape[1], op.kernel[0] * op.kernel[1]
    chosen = [[c] for c in range(op.groups * depth)] if blocks is None else [[*b] for b in blocks]
    members = np.zeros((len(chosen), op.groups * depth), dtype=np.bool_)
    for block, channels in enumerate(chosen):
        members[block, channels] = True
    damped = Damped.of(op, moments, damping)
    present = (op.weight != 0).reshape(len(op.weight), -1)
    found = np.zeros(len(members))
    for group, rows, support in damped.patterns(range(len(present)), present):
        for at, matrix in damped.blocks(group, support):
            inverse = np.linalg.inv(matrix)
            weight = damped.target[np.ix_(rows, support[at])] @ inverse
            channel = group * depth + support[at] // taps
            for block, member in enumerate(members):
                gone = np.flatnonzero(member[channel])
                lost = weight[:, gone].T
                found[block] += (lost * np.linalg.solve(inverse[np.ix_(gone, gone)], lost)).sum()
    return found / max(float(moments.output_variance.sum()), _LEAST_VARIANCE)
