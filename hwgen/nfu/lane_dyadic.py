"""Lanes that add signed powers of two of their activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Value
from amaranth.lib import data

from hwgen.errors import UnsupportedError
from hwgen.nfu.dyadic import code_layout, pack_codes, shifted_term, signed_digits, unpack_codes
from hwgen.nfu.lane import Operands, check_between, check_power
from hwgen.numeric import IntArray
from hwgen.stream.common import Registers

__all__ = ["DyadicLane"]


@dataclass(frozen=True)
class DyadicLane:
    """Lane that adds ``terms`` signed powers of two of its activation a cycle.

    Parameters
    ----------
    terms : int
        Terms of a weight in one SB row, 1 to 4. A weight with more takes further rows.
    exponents : int
        Exponents 0 to ``exponents - 1``; a power of two from 2 to 16.
    """

    terms: int = 1
    exponents: int = 8

    def __post_init__(self) -> None:
        check_between("Terms of a lane", self.terms, 1, 4)
        check_power("Number of exponents of a lane", self.exponents, 16)

    @property
    def operands(self) -> int:
        """A term is an operand."""
        return self.terms

    @property
    def exponent_width(self) -> int:
        """Bits of an exponent."""
        return (self.exponents - 1).bit_length()

    @property
    def shift_width(self) -> int:
        """Rows have no power of two."""
        return 0

    def operand_width(self, activation_width: int) -> int:
        """A term has its activation's bits, a sign, and those of the greatest shift."""
        return activation_width + self.exponents

    def widths(self, tn: int, ti: int) -> list[int]:
        """A field is a term: its exponent, then its sign, then whether it is there."""
        return [self.exponent_width + 2] * (tn * ti * self.terms)

    def pack(self, terms: IntArray) -> IntArray:
        """Codes of the terms of rows."""
        return pack_codes(terms, self.exponents).reshape(len(terms), -1)

    def unpack(self, fields: IntArray, tn: int, ti: int) -> IntArray:
        """Terms of rows."""
        return unpack_codes(fields, self.exponents).reshape(len(fields), tn, ti, self.terms)

    def excess(self, magnitude: int) -> int:
        """From the exponent of the first canonical signed digit."""
        return max(0, (3 * magnitude).bit_length() - 1 - self.exponents)

    def split(self, weights: IntArray) -> IntArray:
        """The canonical signed digits of each weight, ``terms`` in a row."""
        digits = signed_digits(weights)
        largest = int(np.abs(digits).max()).bit_length() - 1
        if largest >= self.exponents:
            raise UnsupportedError(
                f"Weights have exponents up to {largest}, and the lane has {self.exponents}; "
                "give it more"
            )
        spare = -digits.shape[-1] % self.terms
        digits = np.pad(digits, [(0, 0)] * weights.ndim + [(0, spare)])
        parts = digits.reshape(*weights.shape, -1, self.terms)
        return np.moveaxis(parts, -2, -4)

    def build(
        self, registers: Registers, x: Sequence[Value], codes: Value, *, tn: int, width: int
    ) -> Operands:
        """A barrel shifter a term, split in two stages."""
        layout = code_layout(self.exponent_width)
        each = len(x) * self.terms
        found = [data.View(layout, codes.word_select(k, layout.size)) for k in range(tn * each)]
        operands = [
            shifted_term(registers, x[k // self.terms % len(x)], code, width=width, name=f"lane{k}")
            for k, code in enumerate(found)
        ]
        present = [
            registers.delay(
                Cat(code.present for code in found[n * each : (n + 1) * each]).any(),
                2,
                name=f"present{n}",
            )
            for n in range(tn)
        ]
        terms, negative = zip(*operands, strict=True)
        return Operands(terms, negative, present)
