"""Integers as signed powers of two."""

from __future__ import annotations

import numpy as np

from hwgen.numeric import IntArray, csd

__all__ = ["signed_digits"]


def signed_digits(values: IntArray) -> IntArray:
    """Canonical signed digits of each value: the array's shape and an axis of terms (at least 1).

    Terms come in order, lowest exponent first, then zeros.
    """
    found = {w: [d.sign << d.exponent for d in csd(w)] for w in np.unique(values).tolist()}
    most = max([1, *(len(terms) for terms in found.values())])
    flat = [found[w] + [0] * (most - len(found[w])) for w in values.ravel().tolist()]
    return np.array(flat, dtype=np.int64).reshape(*values.shape, most)
