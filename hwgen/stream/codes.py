"""Dyadic weights as memory codes: which shared multiple of the input each digit selects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from hwgen.numeric import IntArray, csd, csd_weight, odd_part

__all__ = ["WeightCode", "weight_code"]


@dataclass(frozen=True)
class WeightCode:
    """Every weight as a sum of few digits, each plus or minus one of few multiples of the input.

    Parameters
    ----------
    weights : tuple of int
        Distinct weights, ascending.
    digits : tuple of tuples of int
        Value of each digit (D of them) for each weight; they add up to the weight.
    """

    weights: tuple[int, ...]
    digits: tuple[tuple[int, ...], ...]

    @property
    def multiples(self) -> tuple[tuple[int, ...], ...]:
        """Magnitudes that each digit chooses from besides 0, ascending."""
        return tuple(tuple(sorted({abs(v) for v in digit} - {0})) for digit in self.digits)

    @property
    def signed(self) -> tuple[bool, ...]:
        """Whether each digit is ever negative."""
        return tuple(min(digit) < 0 for digit in self.digits)

    @property
    def index_widths(self) -> tuple[int, ...]:
        """Bits that choose each digit's magnitude: 0 for none, k for the k-th."""
        return tuple(len(multiples).bit_length() for multiples in self.multiples)

    @property
    def width(self) -> int:
        """Bits of a code word: for each digit, lowest first, its index and its sign if signed."""
        return sum(self.index_widths) + sum(self.signed)

    def words(self, weights: IntArray) -> IntArray:
        """Code word of each weight, an array of the same shape."""
        table = np.zeros(len(self.weights), dtype=np.int64)
        offset = 0
        for digit, multiples, signed, width in zip(
            self.digits, self.multiples, self.signed, self.index_widths, strict=True
        ):
            index = [(0, *multiples).index(abs(value)) for value in digit]
            table += np.array(index, dtype=np.int64) << offset
            offset += width
            if signed:
                table += np.array([value < 0 for value in digit], dtype=np.int64) << offset
                offset += 1
        return table[np.searchsorted(np.array(self.weights), weights)]


def weight_code(weights: IntArray, *, width: int, sharing: float) -> WeightCode:
    """Code for ``weights`` that needs the fewest LUTs a lane.

    Tries one digit for each signed power of two, and signed digits of 2, 3, ... bits, the last of
    which spans the whole weight. A digit costs its multiplexer, two digits an adder, and an odd
    multiple its adders, divided by the lanes that share it.

    Parameters
    ----------
    weights : int64 array
        Any integers.
    width : int
        Bits of the input that is multiplied.
    sharing : float
        Lanes that read the same input, on average.
    """
    distinct = tuple(np.unique(weights).tolist())
    span = max(abs(w) for w in distinct).bit_length()
    splits: list[Callable[[int], list[int]]] = [_powers]
    splits += [partial(_radix, bits=bits) for bits in range(2, span + 2)]
    codes = [_code(distinct, split) for split in splits]
    return min(codes, key=lambda code: _cost(code, width, sharing))


def _powers(magnitude: int) -> list[int]:
    return [digit.sign << digit.exponent for digit in reversed(csd(magnitude))]


def _radix(magnitude: int, bits: int) -> list[int]:
    digits, position = [], 0
    while magnitude:
        digit = magnitude & ((1 << bits) - 1)
        if digit > 1 << (bits - 1):
            digit -= 1 << bits
        digits.append(digit << position)
        magnitude = (magnitude - digit) >> bits
        position += bits
    return digits


def _code(weights: tuple[int, ...], split: Callable[[int], list[int]]) -> WeightCode:
    rows = [[v if w > 0 else -v for v in split(abs(w))] for w in weights]
    count = max(1, *(len(row) for row in rows))
    padded = [row + [0] * (count - len(row)) for row in rows]
    return WeightCode(weights, tuple(zip(*padded, strict=True)))


def _cost(code: WeightCode, width: int, sharing: float) -> float:
    """Estimated LUT4s a lane; the bits of the code word only settle ties."""
    luts = 0.0
    for multiples in code.multiples:
        if multiples:
            widest = width + multiples[-1].bit_length()
            luts += widest * (2 * len(multiples) / 3 + 0.5)
    span = max(1, *(abs(w).bit_length() for w in code.weights))
    luts += (len(code.digits) - 1) * (width + span)
    odd = {odd_part(m)[0] for multiples in code.multiples for m in multiples}
    luts += sum((csd_weight(m) - 1) * (width + m.bit_length()) for m in odd) / sharing
    return luts + code.width / 100
