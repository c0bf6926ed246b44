"""Sets of dyadic numbers that a weight may be replaced by: data, not code."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwgen.errors import DataError
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray, csd, csd_weight

__all__ = ["LADDER", "DyadicSet", "distinct", "parse_set", "terms_set"]

_MOST_ELEMENTS = 4096
_MOST_BITS = 24


@dataclass(frozen=True)
class DyadicSet:
    """Finite set of dyadic numbers ``numerator * 2**-frac``, closed under sign, with 0 in it.

    Parameters
    ----------
    name
        What :func:`parse_set` reads back, such as ``P4`` or ``terms(2,-4,0)``.
    numerators
        Ascending integers; a layer stores its weights as these codes.
    frac
        Number of fractional bits, at least 0.

    Raises
    ------
    ValueError
        If the numerators are not ascending, not closed under sign, have no 0 or nothing else, or
        need more than 24 bits.
    """

    name: str
    numerators: tuple[int, ...]
    frac: int

    def __post_init__(self) -> None:
        numbers = self.numerators
        if list(numbers) != sorted(set(numbers)):
            raise ValueError(f"Numerators must ascend, not {numbers!r}")
        if 0 not in numbers or any(-number not in numbers for number in numbers):
            raise ValueError(f"Numerators must hold 0 and be closed under sign, not {numbers!r}")
        if len(numbers) < 3:
            raise ValueError("Dyadic set must hold a number other than 0")
        if self.frac < 0:
            raise ValueError(f"Fractional bits must not be negative, not {self.frac}")
        if numbers[-1].bit_length() > _MOST_BITS:
            raise ValueError(f"Numerators must fit {_MOST_BITS} bits, not {numbers[-1]}")

    @property
    def values(self) -> FloatArray:
        """The numbers themselves, ascending."""
        return np.ldexp(np.array(self.numerators, dtype=np.float64), -self.frac)

    @property
    def size(self) -> int:
        """How many numbers there are, 0 and negative ones included."""
        return len(self.numerators)

    @property
    def positive(self) -> IntArray:
        """The numerators above 0, ascending."""
        return np.array([n for n in self.numerators if n > 0], dtype=np.int64)

    @property
    def terms(self) -> tuple[int, ...]:
        """Signed powers of two in each numerator, in canonical form."""
        return tuple(csd_weight(n) for n in self.numerators)

    @property
    def adders(self) -> tuple[int, ...]:
        """Adders that each numerator needs by itself: one less than its terms, 0 for 0."""
        return tuple(max(0, terms - 1) for terms in self.terms)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Signed powers of two other than +-1 in each number: the shifts that software pays for."""
        return tuple(sum(d.exponent != self.frac for d in csd(n)) for n in self.numerators)

    @property
    def max_terms(self) -> int:
        """Signed powers of two in the costliest numerator."""
        return max(self.terms)

    @property
    def code_width(self) -> int:
        """Bits that tell the numbers apart in a memory (an index into :attr:`numerators`)."""
        return (self.size - 1).bit_length()

    @property
    def canonical(self) -> tuple[int, ...]:
        """The positive numbers times the power of two that makes them integers not all even.

        Equal for sets that differ by a power of two; these cost the same, and where the scale is
        free they approximate equally.
        """
        least = min(int(n & -n) for n in self.positive)
        return tuple(int(n) // least for n in self.positive)

    @property
    def primitive(self) -> tuple[int, ...]:
        """The positive numbers as integers without a common divisor.

        Equal for sets that differ by any positive factor: where the scale is free these approximate
        equally, but may differ in cost.
        """
        divisor = math.gcd(*map(int, self.positive))
        return tuple(int(n) // divisor for n in self.positive)


def _from_magnitudes(name: str, magnitudes: set[Fraction]) -> DyadicSet:
    frac = max(m.denominator.bit_length() - 1 for m in magnitudes)
    numbers = {sign * int(m * 2**frac) for m in magnitudes for sign in (-1, 1)}
    return DyadicSet(name, tuple(sorted(numbers | {0})), frac)


def _named(name: str, *magnitudes: str) -> DyadicSet:
    return _from_magnitudes(name, {Fraction(m) for m in magnitudes})


def _uniform(name: str, frac: int) -> DyadicSet:
    return DyadicSet(name, tuple(range(-(1 << frac), (1 << frac) + 1)), frac)


LADDER: tuple[DyadicSet, ...] = (
    _named("P1", "1"),
    _named("P2", "1/2", "1"),
    _named("P3", "1/2", "1", "2"),
    _named("P4", "1/4", "1/2", "1"),
    _named("P5", "1/4", "1/2", "3/4", "1"),
    _named("P6", "1/4", "1/2", "1", "2", "4"),
    _uniform("P7", 3),
    _uniform("P8", 4),
    _uniform("P9", 5),
    _uniform("P10", 6),
    _uniform("P11", 7),
)
"""Named sets, roughly from coarse to fine.

=====  ==============================  ====  =====  ==========
name   positive numbers                size  terms  code width
=====  ==============================  ====  =====  ==========
P1     1                               3     1      2
P2     1/2, 1                          5     1      3
P3     1/2, 1, 2                       7     1      3
P4     1/4, 1/2, 1                     7     1      3
P5     1/4, 1/2, 3/4, 1                9     2      4
P6     1/4, 1/2, 1, 2, 4               11    1      4
P7     k/8 up to 1                     17    2      5
P8     k/16 up to 1                    33    3      6
P9     k/32 up to 1                    65    3      7
P10    k/64 up to 1                    129   4      8
P11    k/128 up to 1                   257   4      9
=====  ==============================  ====  =====  ==========

P1 to P8 are hwgen's own ladder of the kind of sets that Cintra et al. (TNNLS 2018) evaluate as D1
to D8, whose definitions are not public; P9 to P11 continue it. P3 and P4 are equal up to scale:
with a free scale they give the same approximations, see :func:`distinct`.
"""


def distinct(sets: Iterable[DyadicSet]) -> tuple[DyadicSet, ...]:
    """The sets without those that equal another one up to a positive scale, in the same order.

    Of sets that are equal up to scale the one with the fewest terms stays, of several the first.
    """
    kept: dict[tuple[int, ...], DyadicSet] = {}
    for candidate in sets:
        known = kept.setdefault(candidate.primitive, candidate)
        if sum(candidate.terms) < sum(known.terms):
            kept[candidate.primitive] = candidate
    return tuple(kept.values())


_TERMS = re.compile(r"terms\(\s*(\d+)\s*,\s*([+-]?\d+)\s*,\s*([+-]?\d+)\s*\)")
_NUMBER = re.compile(r"(?:±|\+-|\+|-)?\s*(\d{1,9}(?:/\d{1,9}|\.\d{1,24})?)")


def terms_set(terms: int, lo: int, hi: int) -> DyadicSet:
    """All sums of at most ``terms`` signed powers of two, each from ``2**lo`` to ``2**hi``.

    Raises
    ------
    ValueError
        If ``terms`` is below 1, ``lo`` above ``hi``, or the set would be too large (24 bits a
        number, 4096 numbers).
    """
    if terms < 1:
        raise ValueError(f"Number of terms must be at least 1, not {terms}")
    if lo > hi:
        raise ValueError(f"Lowest exponent must not exceed the highest, not {lo} > {hi}")
    if hi - lo >= _MOST_BITS or hi >= _MOST_BITS or lo < -_MOST_BITS:
        raise ValueError(f"Exponents must fit {_MOST_BITS} bits, not {lo} to {hi}")
    low = min(lo, 0)
    powers = [sign << (e - low) for e in range(lo, hi + 1) for sign in (-1, 1)]
    reached = {0}
    for _ in range(terms):
        grown = reached | {number + power for number in reached for power in powers}
        if grown == reached:
            break
        if len(grown) > _MOST_ELEMENTS:
            raise ValueError(
                f"Dyadic set must hold at most {_MOST_ELEMENTS} numbers; use fewer terms or a "
                f"smaller span of exponents than {terms} terms from {lo} to {hi}"
            )
        reached = grown
    return DyadicSet(f"terms({terms},{lo},{hi})", tuple(sorted(reached)), -low)


def parse_set(text: str) -> DyadicSet:
    """The set that a user wrote as a name, as ``terms(t,lo,hi)`` or as ``{0,1/4,1/2,1}``.

    A listed set is closed under sign and gets 0 by itself. ``parse_set(s.name)`` is ``s``.

    Raises
    ------
    DataError
        If the text is none of these, or a listed number is not dyadic.
    """
    compact = text.strip()
    for named in LADDER:
        if compact.upper() == named.name:
            return named
    try:
        if match := _TERMS.fullmatch(compact):
            return terms_set(*(int(group) for group in match.groups()))
        if compact.startswith("{") and compact.endswith("}"):
            return _listed(compact)
    except ValueError as error:
        raise DataError(f"Dyadic set {compact!r} is not usable: {error}") from None
    raise DataError(
        f"Dyadic set must be one of {LADDER[0].name} to {LADDER[-1].name}, terms(t,lo,hi) or a "
        f"list such as {{0,1/4,1/2,1}}, not {compact!r}"
    )


def _listed(text: str) -> DyadicSet:
    magnitudes = set()
    for item in text[1:-1].split(","):
        match = _NUMBER.fullmatch(item.strip())
        if match is None:
            raise ValueError(f"{item.strip()!r} is not a number")
        try:
            number = Fraction(match.group(1))
        except ZeroDivisionError:
            raise ValueError(f"{item.strip()!r} is not a number") from None
        if number.denominator & (number.denominator - 1):
            raise ValueError(f"{number} is not dyadic, its divisor must be a power of two")
        magnitudes.add(number)
    listed = ",".join(str(m) for m in sorted(magnitudes | {Fraction(0)}))
    return _from_magnitudes(f"{{{listed}}}", magnitudes)
