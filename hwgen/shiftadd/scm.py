"""Fewest adders for one constant (single constant multiplication)."""

from __future__ import annotations

from hwgen.shiftadd import _fundamentals as f
from hwgen.shiftadd._mcm_exhaust import exhaust
from hwgen.shiftadd.mcm import odd_fundamentals

__all__ = ["scm_adders"]

_MOST_BITS = 19
_MOST_ADDERS = 5
_NO_BUDGET = 1 << 60


def scm_adders(constant: int) -> int:
    """Fewest adders of ``y = constant * x``, for constants of up to 19 bits.

    All sets of up to three intermediate fundamentals are tried, below twice the power of two that
    is above the constant, as in the published tables; up to 12 bits larger ones save nothing (an
    exhaustive search modulo 2**31 - 1, among the tests, proves it). Every constant of up to 19 bits
    needs at most five adders (Gustafsson, Dempster and Wanhammar, "Extended results for
    minimum-adder constant integer multipliers", 2002), so that those without a graph of four need
    five.

    Raises
    ------
    ValueError
        If the odd part of the constant has more than 19 bits.
    """
    targets = odd_fundamentals([constant])
    if not targets:
        return 0
    if targets[0] >> _MOST_BITS:
        raise ValueError(
            f"Constants must have an odd part of at most {_MOST_BITS} bits, not {constant!r}"
        )
    for intermediates in range(_MOST_ADDERS - 1):
        space = f.empty_space(targets)
        space.numbers[f.BUDGET] = _NO_BUDGET
        if exhaust(space, intermediates):
            return intermediates + 1
    return _MOST_ADDERS
