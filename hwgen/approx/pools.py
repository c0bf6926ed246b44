"""Average pools without a division: dyadic numbers in place of one over the divisor."""

from __future__ import annotations

import numpy as np

from hwgen.approx.scale import nearest_dyadic
from hwgen.network.shapes import average_divisors
from hwgen.network.types import AveragePool, Shape
from hwgen.numeric import Dyadic

__all__ = ["pool_coefficients"]

_BITS = 12


def pool_coefficients(
    op: AveragePool, shape: Shape, *, terms: int = 4
) -> tuple[tuple[int, Dyadic], ...]:
    """(divisor, dyadic number near 1 / divisor) for every divisor that occurs, ascending.

    Windows that reach over the border have smaller divisors if the padding does not count; the
    full window's divisor is always there. With four terms a coefficient is within one part in 171
    of 1 / divisor, whatever the divisor (:func:`~hwgen.approx.scale.nearest_dyadic`).

    Parameters
    ----------
    op
        The pool.
    shape
        Shape (C, H, W) of its input.
    terms
        Most signed powers of two in a coefficient.
    """
    occurring = {int(d) for d in np.unique(average_divisors(op, shape))}
    divisors = sorted(occurring | {op.kernel[0] * op.kernel[1]})
    return tuple((d, nearest_dyadic(1 / d, terms=terms, bits=_BITS)) for d in divisors)
