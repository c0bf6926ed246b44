"""Constants that are no weights: how far each is from what it stands for, at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.filters import rounded
from hwgen.approx.pools import pool_coefficients
from hwgen.approx.scale import nearest_dyadic
from hwgen.network.types import AveragePool
from hwgen.numeric import Dyadic


@pytest.mark.parametrize("side", range(1, 9))
def test_pool_coefficients_of_small_windows_are_within_one_part_in_256(side: int) -> None:
    op = AveragePool((side, side), (1, 1), (side // 2,) * 4)
    for divisor, coefficient in pool_coefficients(op, (1, 9, 9)):
        assert abs(float(coefficient) * divisor - 1) <= 1 / 256
        assert coefficient.terms <= 4


@pytest.mark.parametrize("side", [3, 7, 11, 13, 57, 64])
def test_pool_coefficients_are_within_one_part_in_171(side: int) -> None:
    # 171 itself is 3 * 57
    op = AveragePool((side, 3), (1, 1))
    ((divisor, coefficient),) = pool_coefficients(op, (1, 64, 64))
    assert abs(float(coefficient) * divisor - 1) <= 1 / 171


@pytest.mark.parametrize("terms", range(1, 5))
def test_factors_of_few_terms_are_as_near_as_the_worst_number_lets_them_be(terms: int) -> None:
    # the gain of a pool or a clip in a requantisation, greedy, and a filter's own scale
    worst = (2 * 4**terms + 1) // 3
    x = np.append(np.geomspace(1, 2, 2001), worst)
    greedy = max(abs(float(Dyadic.nearest(float(v), terms=terms)) / v - 1) for v in x)
    best = max(abs(float(nearest_dyadic(float(v), terms=terms)) / v - 1) for v in x)
    assert best <= greedy
    assert greedy == pytest.approx(1 / worst, rel=1e-9)
    assert best == pytest.approx(1 / worst, rel=1e-9)


@given(st.floats(1e-9, 1e9), st.integers(0, 12), st.sampled_from([1, -1]))
@settings(derandomize=True)
def test_factors_of_any_number_of_terms_are_within_half_a_unit(
    x: float, bits: int, sign: int
) -> None:
    near = float(nearest_dyadic(sign * x, terms=bits + 1, bits=bits))
    assert abs(near / (sign * x) - 1) <= 2.0 ** -(bits + 1)


@given(st.floats(1e-9, 1e9), st.integers(1, 24), st.sampled_from([1, -1]))
@settings(derandomize=True)
def test_biases_are_within_one_part_in_two_to_their_bits(x: float, bits: int, sign: int) -> None:
    near = float(rounded(np.array([sign * x]), bits)[0])
    assert abs(near / (sign * x) - 1) <= 2.0**-bits
    assert abs(Dyadic.exact(near).mantissa).bit_length() <= bits
