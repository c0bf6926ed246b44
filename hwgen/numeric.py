"""Fixed-point arithmetic: ranges, formats, dyadic numbers, rounding and saturation.

Every rule of integer arithmetic that hwgen uses is defined here once. Values are Python integers
or NumPy ``int64`` arrays; nothing here overflows silently, because callers know the exact range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

__all__ = [
    "Digit",
    "Dyadic",
    "FixedFormat",
    "IntArray",
    "Range",
    "csd",
    "csd_weight",
    "odd_part",
    "odd_parts",
    "round_shift",
    "saturate",
]

IntArray = npt.NDArray[np.int64]
_T = TypeVar("_T", int, IntArray)


@dataclass(frozen=True, order=True)
class Range:
    """Closed interval of integers ``lo .. hi``, the exact set of values a wire must carry.

    Raises
    ------
    ValueError
        If ``lo`` exceeds ``hi``.
    """

    lo: int
    hi: int

    def __post_init__(self) -> None:
        if self.lo > self.hi:
            raise ValueError(f"Range needs lo <= hi, not {self.lo} > {self.hi}")

    @property
    def signed(self) -> bool:
        """Whether a two's-complement wire is needed."""
        return self.lo < 0

    @property
    def width(self) -> int:
        """Fewest bits that hold every value (two's complement if any is negative; at least 1)."""
        if self.lo >= 0:
            return max(1, self.hi.bit_length())
        return max(max(self.hi, 0).bit_length(), (-self.lo - 1).bit_length()) + 1

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | np.integer) and self.lo <= int(value) <= self.hi

    def __add__(self, other: Range) -> Range:
        return Range(self.lo + other.lo, self.hi + other.hi)

    def scale(self, factor: int) -> Range:
        """Range of ``factor * x``."""
        ends = (self.lo * factor, self.hi * factor)
        return Range(min(ends), max(ends))

    def union(self, other: Range) -> Range:
        """Smallest range that holds both."""
        return Range(min(self.lo, other.lo), max(self.hi, other.hi))

    def clamp(self, lo: int, hi: int) -> Range:
        """Range of ``saturate(x, lo, hi)``."""
        return Range(min(max(self.lo, lo), hi), min(max(self.hi, lo), hi))


@dataclass(frozen=True)
class FixedFormat:
    """Fixed-point format: an integer ``q`` of ``width`` bits stands for ``q * 2**-frac``.

    ``frac`` may be negative or exceed ``width``.
    """

    width: int
    frac: int
    signed: bool

    def __post_init__(self) -> None:
        if self.width < 1 + self.signed:
            raise ValueError(f"Width must be at least {1 + self.signed}, not {self.width}")

    @property
    def range(self) -> Range:
        """Integers that the format holds."""
        if self.signed:
            return Range(-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1)
        return Range(0, (1 << self.width) - 1)

    @property
    def step(self) -> float:
        """Real value of one unit in the last place."""
        return math.ldexp(1.0, -self.frac)

    def quantise(self, x: npt.NDArray[np.floating]) -> IntArray:
        """Integers nearest to ``x`` (ties towards plus infinity), saturated to the format."""
        scaled = np.floor(np.ldexp(np.asarray(x, dtype=np.float64), self.frac) + 0.5)
        return np.clip(scaled, self.range.lo, self.range.hi).astype(np.int64)

    def dequantise(self, q: IntArray) -> npt.NDArray[np.float64]:
        """Real values of the integers ``q``."""
        return np.ldexp(np.asarray(q, dtype=np.float64), -self.frac)


@dataclass(frozen=True)
class Digit:
    """One signed power of two: ``sign * 2**exponent`` with ``sign`` +1 or -1."""

    exponent: int
    sign: int


def csd(value: int) -> tuple[Digit, ...]:
    """Canonical signed digits of an integer, least significant first.

    No two neighbouring digits are non-zero, and no signed-digit form has fewer non-zero digits.
    """
    return tuple(_csd_digits(value))


def _csd_digits(value: int) -> Iterator[Digit]:
    exponent = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            yield Digit(exponent, sign)
            value -= sign
        value >>= 1
        exponent += 1


def csd_weight(value: int) -> int:
    """Number of non-zero canonical signed digits of an integer."""
    return (value ^ (3 * value)).bit_count() if value >= 0 else csd_weight(-value)


def odd_parts(values: IntArray) -> IntArray:
    """Each of ``values`` (int64, any shape) without its factors of two; 0 stays 0."""
    return np.asarray(values // np.maximum(values & -values, 1))


def odd_part(value: int) -> tuple[int, int]:
    """Split a non-zero integer into ``(odd, shift)`` with ``value == odd << shift``."""
    if value == 0:
        raise ValueError("Zero has no odd part")
    shift = (value & -value).bit_length() - 1
    return value >> shift, shift


@dataclass(frozen=True)
class Dyadic:
    """Dyadic rational ``mantissa * 2**exponent``, normalised to an odd mantissa (or 0 * 2**0)."""

    mantissa: int
    exponent: int

    def __post_init__(self) -> None:
        if self.mantissa == 0:
            object.__setattr__(self, "exponent", 0)
        elif self.mantissa % 2 == 0:
            odd, shift = odd_part(self.mantissa)
            object.__setattr__(self, "mantissa", odd)
            object.__setattr__(self, "exponent", self.exponent + shift)

    @classmethod
    def nearest(cls, x: float, *, terms: int) -> Dyadic:
        """Greedy sum of at most ``terms`` signed powers of two near ``x``.

        Each step takes the power of two nearest to the remainder. The error is at most
        ``3 / (2 * 4**terms + 1)`` of ``x``: one part in 3, 11, 43, 171 for one to four terms. No
        rule has a smaller bound, because at ``(2 * 4**terms + 1) / 3`` the two nearest sums of so
        many terms are both that far away.

        Proof, for ``1 <= x < 2``: a step leaves at most a quarter of the power of two above the
        remainder, hence ``2 / 4**terms`` after all. That is enough for ``x > 3/2``. Else what is
        left after the first term is ``y = x - 1``, the error is at most ``2 / 4**terms`` and, by
        induction, ``3 * y / (2 * 4**(terms - 1) + 1)``; divided by ``1 + y``, the smaller of both
        is greatest where they are equal.

        Raises
        ------
        ValueError
            If ``x`` is not finite or ``terms`` is negative.
        """
        if not math.isfinite(x):
            raise ValueError(f"Value must be finite, not {x!r}")
        if terms < 0:
            raise ValueError(f"Number of terms must not be negative, not {terms!r}")
        total = cls(0, 0)
        remainder = x
        for _ in range(terms):
            if remainder == 0:
                break
            fraction, exponent = math.frexp(abs(remainder))
            exponent = exponent if fraction > 0.75 else exponent - 1
            total = total + cls(int(math.copysign(1, remainder)), exponent)
            remainder = x - float(total)
        return total

    @classmethod
    def exact(cls, x: float) -> Dyadic:
        """The dyadic number that a finite float is."""
        numerator, denominator = x.as_integer_ratio()
        return cls(numerator, 1 - denominator.bit_length())

    def __mul__(self, other: Dyadic) -> Dyadic:
        return Dyadic(self.mantissa * other.mantissa, self.exponent + other.exponent)

    def __add__(self, other: Dyadic) -> Dyadic:
        low = min(self.exponent, other.exponent)
        mantissa = (self.mantissa << (self.exponent - low)) + (
            other.mantissa << (other.exponent - low)
        )
        return Dyadic(mantissa, low)

    def __float__(self) -> float:
        return math.ldexp(float(self.mantissa), self.exponent)

    @property
    def terms(self) -> int:
        """Signed powers of two in the canonical form."""
        return csd_weight(self.mantissa)


@overload
def round_shift(x: int, shift: int) -> int: ...
@overload
def round_shift(x: IntArray, shift: int | IntArray) -> IntArray: ...
def round_shift(x: int | IntArray, shift: int | IntArray) -> int | IntArray:
    """``x / 2**shift`` rounded to the nearest integer, ties towards plus infinity.

    The only rounding in hwgen: one addition of ``2**(shift - 1)`` and an arithmetic shift.
    A shift of zero leaves ``x`` alone; shifts must not be negative.
    """
    if isinstance(x, int) and isinstance(shift, int):
        return (x + (1 << shift >> 1)) >> shift
    half = np.left_shift(np.int64(1), np.asarray(shift, dtype=np.int64)) >> 1
    return np.right_shift(np.asarray(x, dtype=np.int64) + half, shift)


def saturate(x: _T, lo: int, hi: int) -> _T:
    """``x`` limited to ``lo .. hi``."""
    if isinstance(x, int):
        return min(max(x, lo), hi)
    return np.clip(x, lo, hi)
