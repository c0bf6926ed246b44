"""What the NFU must know of a kind of lane.

A kind is one class, which holds its parameters, how its weights become SB rows, and its hardware:
:class:`hwgen.nfu.lane_dyadic.DyadicLane`, :class:`hwgen.nfu.lane_int.IntLane` and
:class:`hwgen.nfu.lane_binary.BinaryLane`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from amaranth.hdl import Value

from hwgen.numeric import IntArray
from hwgen.stream.common import Registers

__all__ = ["Lane", "Operands", "check_between", "check_power"]


def check_between(what: str, value: int, lo: int, hi: int) -> None:
    """Refuse a parameter that is not from ``lo`` to ``hi``."""
    if not lo <= value <= hi:
        raise ValueError(f"{what} must be from {lo} to {hi}, not {value!r}")


def check_power(what: str, value: int, hi: int) -> None:
    """Refuse a parameter that is not a power of two from 2 to ``hi``."""
    if not 2 <= value <= hi or value & (value - 1):
        raise ValueError(f"{what} must be a power of two from 2 to {hi}, not {value!r}")


@dataclass(frozen=True)
class Operands:
    """What the lanes of a tile give to the adder trees, two cycles after the row.

    ``terms[k] + negative[k]`` is one operand; operands vary fastest, then inputs, then neurons.
    ``present`` says of each neuron whether the row has a weight for it. The sums of the row count
    ``2**shift`` times, if there is a shift.
    """

    terms: Sequence[Value]
    negative: Sequence[Value]
    present: Sequence[Value]
    shift: Value | None = None


class Lane(Protocol):
    """A kind of lane.

    The terms of rows are arrays (rows, Tn, Ti, :attr:`operands`): a weight is the sum of its terms.
    """

    @property
    def operands(self) -> int:
        """Values that a lane gives to its adder tree in a cycle."""

    @property
    def shift_width(self) -> int:
        """Bits of the power of two that a row's sums are multiplied by, 0 if there is none."""

    def operand_width(self, activation_width: int) -> int:
        """Bits of an operand, signed."""

    def widths(self, tn: int, ti: int) -> list[int]:
        """Bits of each field of a row's codes, the lowest first."""

    def pack(self, terms: IntArray) -> IntArray:
        """Fields (rows, fields) of rows; :class:`ValueError` if they are not the lane's."""

    def unpack(self, fields: IntArray, tn: int, ti: int) -> IntArray:
        """Terms of rows, which :meth:`pack` inverts."""

    def excess(self, magnitude: int) -> int:
        """By which power of two a weight of this magnitude exceeds the lane's; 0 if it does not."""

    def split(self, weights: IntArray) -> IntArray:
        """Rows (..., parts, Tn, Ti, operands) that add up to weights (..., Tn, Ti).

        Rows without a weight may be left out. :class:`UnsupportedError` if the lane has not what
        the weights need.
        """

    def build(
        self, registers: Registers, x: Sequence[Value], codes: Value, *, tn: int, width: int
    ) -> Operands:
        """The lanes of Tn neurons and as many inputs as ``x`` has; terms are modulo 2**width."""
