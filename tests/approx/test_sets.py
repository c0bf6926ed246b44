"""Sets of dyadic numbers: the ladder, sets of few terms, and what a user may write."""

import inspect
import re
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx import sets as sets_module
from hwgen.approx.scale import best_dyadic_scale
from hwgen.approx.sets import LADDER, DyadicSet, distinct, parse_set, terms_set
from hwgen.errors import DataError


@pytest.mark.parametrize(
    ("name", "positive", "adders", "width"),
    [
        ("P1", "1", 0, 2),
        ("P2", "1/2 1", 0, 3),
        ("P3", "1/2 1 2", 0, 3),
        ("P4", "1/4 1/2 1", 0, 3),
        ("P5", "1/4 1/2 3/4 1", 1, 4),
        ("P6", "1/4 1/2 1 2 4", 0, 4),
        ("P7", "1/8 1/4 3/8 1/2 5/8 3/4 7/8 1", 1, 5),
        ("P8", " ".join(f"{k}/16" for k in range(1, 17)), 2, 6),
        ("P9", " ".join(f"{k}/32" for k in range(1, 33)), 2, 7),
        ("P10", " ".join(f"{k}/64" for k in range(1, 65)), 3, 8),
        ("P11", " ".join(f"{k}/128" for k in range(1, 129)), 3, 9),
    ],
)
def test_ladder(name: str, positive: str, adders: int, width: int) -> None:
    named = next(s for s in LADDER if s.name == name)
    magnitudes = [Fraction(text) for text in positive.split()]
    expected = sorted({sign * m for m in magnitudes for sign in (-1, 0, 1)})
    assert [Fraction(v) for v in named.values] == expected
    assert max(named.adders) == adders
    assert named.max_terms == adders + 1
    assert named.code_width == width
    assert 2 ** (width - 1) < named.size == len(named.numerators) <= 2**width
    row = next(line for line in _ladder_table() if line[0] == name)
    assert [int(cell) for cell in row[-3:]] == [named.size, named.max_terms, named.code_width]


def _ladder_table() -> list[list[str]]:
    """Rows of the table in the documentation of the ladder, each as its words."""
    source = inspect.getsource(sets_module)
    return [line.split() for line in source.splitlines() if re.match(r"P\d+ ", line)]


@pytest.mark.parametrize(("terms", "lo", "hi"), [(1, -2, 0), (2, -4, 0), (2, 1, 3), (3, -3, 1)])
def test_terms_set_holds_every_short_sum(terms: int, lo: int, hi: int) -> None:
    powers = [Fraction(0)] + [
        sign * Fraction(2) ** e for e in range(lo, hi + 1) for sign in (-1, 1)
    ]
    sums = {sum(choice) for choice in product(powers, repeat=terms)}
    found = terms_set(terms, lo, hi)
    assert {Fraction(v) for v in found.values} == sums
    assert found.max_terms <= terms


def test_adders_are_terms_less_one_and_none_for_zero() -> None:
    listed = parse_set("{7, 11, 1}")
    assert listed.numerators == (-11, -7, -1, 0, 1, 7, 11)
    assert listed.terms == (3, 2, 1, 0, 1, 2, 3)
    assert listed.adders == (2, 1, 0, 0, 0, 1, 2)


def test_shifts_are_the_terms_other_than_one() -> None:
    assert parse_set("P5").shifts == (0, 1, 1, 1, 0, 1, 1, 1, 0)
    assert parse_set("{5, 1/2, 8}").shifts == (1, 1, 1, 0, 1, 1, 1)
    assert parse_set("{7/8, 6}").shifts == (2, 1, 0, 1, 2)


def test_canonical_forms() -> None:
    assert parse_set("P2").canonical == parse_set("{1,2}").canonical == (1, 2)
    assert parse_set("{3/4,6}").canonical == (1 * 3, 8 * 3)
    assert parse_set("{3/4,6}").primitive == (1, 8)
    assert parse_set("P5").canonical == parse_set("P5").primitive == (1, 2, 3, 4)


def test_sets_equal_up_to_scale_are_offered_once() -> None:
    assert [s.name for s in distinct(LADDER)] == [s.name for s in LADDER if s.name != "P4"]
    sets = map(parse_set, ["{3,6}", "P1", "P2", "{7}", "terms(1,-1,0)", "{11,43}", "{33,129}"])
    assert [s.name for s in distinct(sets)] == ["P2", "P1", "{0,33,129}"]
    assert distinct([]) == ()


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True),
    st.sampled_from([1, 3, 5, 12]),
    st.integers(-6, 6),
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_equal_up_to_scale(numbers: list[int], factor: int, shift: int) -> None:
    def listed(unit: Fraction) -> DyadicSet:
        return parse_set("{" + ",".join(str(n * unit) for n in numbers) + "}")

    plain, shifted = listed(Fraction(1)), listed(Fraction(2) ** shift)
    scaled = listed(Fraction(2) ** shift * factor)
    assert plain.canonical == shifted.canonical
    assert plain.primitive == shifted.primitive == scaled.primitive
    assert (plain.canonical == scaled.canonical) == (factor == 1)
    assert len(distinct([plain, shifted, scaled])) == 1
    assert sorted(plain.terms) == sorted(shifted.terms)
    weights = np.random.default_rng(sum(numbers)).standard_normal((3, 7))
    first, second = (best_dyadic_scale(weights, s) for s in (plain, shifted))
    np.testing.assert_array_equal(first.error, second.error)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        (" p4 ", "{0,1/4,1/2,1}"),
        ("{1, -1/2, 0.25}", "P4"),
        ("{±1/4,+-1/2,+1}", "P4"),
        ("terms( 1 , -2 , 0 )", "P4"),
        ("{0,1/2,3/4,1/4,1}", "P5"),
    ],
)
def test_a_set_may_be_written_in_several_ways(text: str, same_as: str) -> None:
    first, second = parse_set(text), parse_set(same_as)
    assert (first.numerators, first.frac) == (second.numerators, second.frac)


@given(
    st.one_of(
        st.sampled_from([s.name for s in LADDER]),
        st.builds(
            "terms({},{},{})".format, st.integers(1, 3), st.integers(-6, 0), st.integers(1, 3)
        ),
        st.lists(st.builds(Fraction, st.integers(0, 40), st.sampled_from([1, 2, 8])), min_size=1)
        .filter(any)
        .map(lambda numbers: "{" + ",".join(map(str, numbers)) + "}"),
    )
)
@settings(derandomize=True, max_examples=60)
def test_names_read_back(text: str) -> None:
    parsed = parse_set(text)
    assert parse_set(parsed.name) == parsed
    assert 0 in parsed.numerators
    assert [-n for n in reversed(parsed.numerators)] == list(parsed.numerators)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P12", r"must be one of P1 to P11, terms\(t,lo,hi\) or a list"),
        ("", "must be one of"),
        ("{1/3}", "1/3 is not dyadic, its divisor must be a power of two"),
        ("{0.1}", "1/10 is not dyadic"),
        ("{0}", "must hold a number other than 0"),
        ("{}", "'' is not a number"),
        ("{1/0}", "'1/0' is not a number"),
        ("{one}", "'one' is not a number"),
        ("{33554432}", "must fit 24 bits"),
        ("terms(0,-2,0)", "terms must be at least 1"),
        ("terms(1,0,-2)", "Lowest exponent must not exceed the highest"),
        ("terms(1,-30,0)", "must fit 24 bits"),
        ("terms(8,-20,0)", "at most 4096 numbers; use fewer terms"),
    ],
)
def test_what_is_no_set_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_set(text)


@pytest.mark.parametrize(
    ("numerators", "message"),
    [
        ((0, -1, 1), "must ascend"),
        ((-1, 0, 2), "closed under sign"),
        ((-1, 1), "hold 0"),
        ((0,), "other than 0"),
    ],
)
def test_inconsistent_numerators_are_refused(numerators: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DyadicSet("odd", numerators, 0)
