"""Lanes that multiply: DianNao's, and those for parts that have multipliers to spare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Value, signed

from hwgen.errors import UnsupportedError
from hwgen.nfu.lane import Operands, check_between
from hwgen.numeric import IntArray
from hwgen.stream.common import Registers

__all__ = ["IntLane"]


@dataclass(frozen=True)
class IntLane:
    """Lane that multiplies its activation by a weight of ``bits`` bits, exactly.

    DianNao's are truncated multipliers of 16 bits.

    Parameters
    ----------
    bits : int
        Bits of a weight, which is signed; 2 to 16.
    """

    bits: int = 8

    def __post_init__(self) -> None:
        check_between("Bits of a weight", self.bits, 2, 16)

    @property
    def operands(self) -> int:
        """A product is an operand."""
        return 1

    @property
    def shift_width(self) -> int:
        """Rows have no power of two."""
        return 0

    def operand_width(self, activation_width: int) -> int:
        """A product of an activation, which may be unsigned, and a weight."""
        return activation_width + self.bits

    def widths(self, tn: int, ti: int) -> list[int]:
        """A field is a weight."""
        return [self.bits] * (tn * ti)

    def pack(self, terms: IntArray) -> IntArray:
        """Weights of rows in two's complement."""
        half = 1 << (self.bits - 1)
        if terms.size and (terms.min() < -half or terms.max() >= half):
            raise ValueError(f"Weights must be from {-half} to {half - 1}")
        return terms.reshape(len(terms), -1) & (2 * half - 1)

    def unpack(self, fields: IntArray, tn: int, ti: int) -> IntArray:
        """Terms of rows."""
        half = 1 << (self.bits - 1)
        return np.asarray((fields ^ half) - half, dtype=np.int64).reshape(len(fields), tn, ti, 1)

    def excess(self, magnitude: int) -> int:
        """From the bits of a magnitude and a sign."""
        return max(0, magnitude.bit_length() + 1 - self.bits)

    def split(self, weights: IntArray) -> IntArray:
        """A row takes the weights as they are."""
        half = 1 << (self.bits - 1)
        if weights.size and (weights.min() < -half or weights.max() >= half):
            raise UnsupportedError(
                f"Weights reach from {weights.min()} to {weights.max()}, and the lane has "
                f"{self.bits} bits; give it more"
            )
        return weights[..., None, :, :, None]

    def build(
        self, registers: Registers, x: Sequence[Value], codes: Value, *, tn: int, width: int
    ) -> Operands:
        """Registers before and behind each multiplier, as the multipliers of FPGAs have them."""
        inputs = [registers.register(a, a.shape(), name=f"x{i}") for i, a in enumerate(x)]
        terms: list[Value] = []
        present = []
        for n in range(tn):
            row = codes.word_select(n, len(x) * self.bits)
            present.append(registers.delay(row.any(), 2, name=f"present{n}"))
            for i, a in enumerate(inputs):
                weight = registers.register(
                    row.word_select(i, self.bits), signed(self.bits), name=f"weight{n}_{i}"
                )
                exact = len(a) + self.bits
                product = registers.register(
                    a * weight, signed(min(exact, width)), name=f"product{n}_{i}"
                )
                terms.append(product)
        return Operands(terms, [Const(0, 1)] * len(terms), present)
