"""Fixed-point arithmetic: exhaustive where the space is small."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.numeric import (
    Dyadic,
    FixedFormat,
    Range,
    csd,
    csd_weight,
    odd_part,
    round_shift,
    saturate,
)


def test_width_is_the_fewest_bits_that_hold_every_value() -> None:
    for lo, hi in itertools.product(range(-20, 21), repeat=2):
        if lo > hi:
            continue
        r = Range(lo, hi)
        fits = [
            bits
            for bits in range(1, 8)
            if (0 <= lo and hi < 1 << bits)
            or (lo < 0 and -(1 << (bits - 1)) <= lo and hi < 1 << (bits - 1))
        ]
        assert r.width == fits[0], r
        assert r.signed == (lo < 0)


def test_range_arithmetic_is_exact() -> None:
    for lo, hi in itertools.combinations_with_replacement(range(-4, 5), 2):
        values = range(lo, hi + 1)
        for factor in range(-3, 4):
            scaled = [factor * v for v in values]
            assert Range(lo, hi).scale(factor) == Range(min(scaled), max(scaled))
        clamped = [saturate(v, -2, 3) for v in values]
        assert Range(lo, hi).clamp(-2, 3) == Range(min(clamped), max(clamped))
        assert Range(lo, hi) + Range(1, 5) == Range(lo + 1, hi + 5)
        assert Range(lo, hi).union(Range(0, 0)) == Range(min(lo, 0), max(hi, 0))
        assert lo in Range(lo, hi)
        assert hi + 1 not in Range(lo, hi)


def test_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="lo <= hi"):
        Range(1, 0)


def test_csd_is_exact_minimal_and_sparse() -> None:
    fewest = _fewest_digits(limit=300)
    for value in range(-300, 301):
        digits = csd(value)
        assert sum(d.sign << d.exponent for d in digits) == value
        assert all(b.exponent - a.exponent >= 2 for a, b in itertools.pairwise(digits))
        assert len(digits) == csd_weight(value) == fewest[value]


def _fewest_digits(limit: int) -> dict[int, int]:
    """Length of the shortest sum of signed powers of two, by breadth-first search."""
    powers = [s << e for e in range(12) for s in (1, -1)]
    known = {0: 0}
    frontier = [0]
    while frontier:
        reached = {v + p: known[v] + 1 for v in frontier for p in powers if abs(v + p) <= 2048}
        frontier = [value for value in reached if value not in known]
        known |= {value: reached[value] for value in frontier}
    return {value: digits for value, digits in known.items() if abs(value) <= limit}


def test_odd_part() -> None:
    for value in [*range(-64, 0), *range(1, 65)]:
        odd, shift = odd_part(value)
        assert odd % 2 == 1
        assert odd << shift == value
    with pytest.raises(ValueError, match="no odd part"):
        odd_part(0)


def test_round_shift_is_nearest_with_ties_upwards() -> None:
    for shift in range(6):
        xs = np.arange(-200, 201)
        expected = [math.floor(Fraction(int(x), 1 << shift) + Fraction(1, 2)) for x in xs]
        assert [round_shift(int(x), shift) for x in xs] == expected
        assert round_shift(xs, shift).tolist() == expected
    per_element = round_shift(np.array([5, 5, 5]), np.array([0, 1, 2]))
    assert per_element.tolist() == [5, 3, 1]


def test_quantise_every_step_and_saturate() -> None:
    for signed in (False, True):
        fmt = FixedFormat(5, 3, signed)
        q = np.arange(fmt.range.lo, fmt.range.hi + 1)
        assert fmt.quantise(fmt.dequantise(q)).tolist() == q.tolist()
        assert fmt.quantise(np.array([-1e9, 1e9])).tolist() == [fmt.range.lo, fmt.range.hi]
        assert fmt.quantise(np.array([0.0624, 0.0625])).tolist() == [0, 1]
    assert FixedFormat(8, -2, False).step == 4.0
    with pytest.raises(ValueError, match="Width must be"):
        FixedFormat(1, 0, True)


@given(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6), st.integers(1, 6))
@settings(derandomize=True)
def test_nearest_dyadic_has_few_terms_and_small_error(x: float, terms: int) -> None:
    approximation = Dyadic.nearest(x, terms=terms)
    assert approximation.terms <= terms
    assert abs(float(approximation) - x) <= abs(x) * 3 / (2 * 4**terms + 1) * (1 + 1e-12)


@pytest.mark.parametrize("terms", range(1, 5))
def test_error_of_nearest_dyadic_reaches_its_bound_and_no_more(terms: int) -> None:
    # all numbers of 13 bits, those in the middle between two sums among them
    for whole in range(1 << 12, 1 << 13):
        error = abs(Fraction(float(Dyadic.nearest(float(whole), terms=terms))) - whole)
        assert error * (2 * 4**terms + 1) <= 3 * whole
    worst = (2 * 4**terms + 1) // 3
    error = abs(Fraction(float(Dyadic.nearest(float(worst), terms=terms))) - worst)
    assert error * (2 * 4**terms + 1) == 3 * worst


def test_two_term_dyadic_is_the_best_there_is() -> None:
    candidates = sorted(
        {s << e for e in range(12) for s in (1, -1)}
        | {
            (a << i) + (b << j)
            for i in range(12)
            for j in range(12)
            for a in (1, -1)
            for b in (1, -1)
        }
    )
    for x in range(1, 400):
        best = min(abs(c - x) for c in candidates)
        assert abs(float(Dyadic.nearest(float(x), terms=2)) - x) == best


@given(st.integers(-1000, 1000), st.integers(-9, 9), st.integers(-1000, 1000), st.integers(-9, 9))
@settings(derandomize=True)
def test_dyadic_arithmetic_is_exact(a: int, i: int, b: int, j: int) -> None:
    x, y = Dyadic(a, i), Dyadic(b, j)
    exact_x, exact_y = Fraction(a) * Fraction(2) ** i, Fraction(b) * Fraction(2) ** j
    assert Fraction(float(x + y)) == exact_x + exact_y
    assert Fraction(float(x * y)) == exact_x * exact_y
    assert Dyadic.exact(float(x)) == x
    assert x.mantissa % 2 == 1 or x == Dyadic(0, 0)


def test_nearest_dyadic_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        Dyadic.nearest(math.nan, terms=2)
    with pytest.raises(ValueError, match="negative"):
        Dyadic.nearest(1.0, terms=-1)
