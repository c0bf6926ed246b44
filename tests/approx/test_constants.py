"""Constants that are no weights: how far each is from what it stands for, at most."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.approx.pools import pool_coefficients
from hwgen.approx.scale import nearest_dyadic
from hwgen.network.types import AveragePool
from hwgen.numeric import Dyadic


@pytest.mark.parametrize("side", range(1, 9))
def test_pool_coefficients_are_within_one_part_in_256(side: int) -> None:
    op = AveragePool((side, side), (1, 1), (side // 2,) * 4)
    for divisor, coefficient in pool_coefficients(op, (1, 9, 9)):
        assert abs(float(coefficient) * divisor - 1) <= 1 / 256
        assert coefficient.terms <= 4


def test_factors_of_three_terms() -> None:
    # the gain of a pool or a clip in a requantisation, greedy, and a filter's own scale
    x = np.geomspace(1, 2, 2001)
    greedy = max(abs(float(Dyadic.nearest(float(v), terms=3)) / v - 1) for v in x)
    assert greedy <= 1 / 43
    best = max(abs(float(nearest_dyadic(float(v), terms=3)) / v - 1) for v in x)
    assert best <= greedy
