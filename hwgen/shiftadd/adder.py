"""Adders and their operands: the parts of which adder graphs are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from hwgen.numeric import Range

__all__ = ["Adder", "Array", "Operand", "applied", "operand_range", "shifted_up"]

Array = npt.NDArray[Any]
"""Integers: int64 where every value provably fits, else Python integers (dtype object)."""


@dataclass(frozen=True)
class Operand:
    """``+-(source << shift)``; a negative shift divides exactly, by a power of two.

    ``source`` counts the inputs first (0, 1, ...), then the nodes.
    """

    source: int
    shift: int = 0
    negate: bool = False


@dataclass(frozen=True)
class Adder:
    """One addition or subtraction ``left + right``; at most one operand is negated."""

    left: Operand
    right: Operand

    @property
    def operands(self) -> tuple[Operand, Operand]:
        """Both operands, left first."""
        return self.left, self.right


def operand_range(span: Range, operand: Operand) -> Range:
    """Range of an operand whose source has range ``span``."""
    shift = operand.shift
    lo, hi = (
        (span.lo << shift, span.hi << shift)
        if shift >= 0
        else (span.lo >> -shift, span.hi >> -shift)
    )
    return Range(-hi, -lo) if operand.negate else Range(lo, hi)


def shifted_up(bound: int, shift: int) -> int:
    """A bound of magnitudes, of the shifted value."""
    return bound << max(shift, 0)


def applied(values: Any, operand: Operand) -> Array:
    """The operand's value, given the values by index."""
    shift = operand.shift
    value: Array = values[operand.source]
    if shift > 0:
        value = value << shift
    elif shift < 0:
        value = value >> -shift
    return -value if operand.negate else value
