"""Sums of signed powers of two: their digits, their codes, and the shifters that form them."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Const, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data

from hwgen.numeric import IntArray, csd
from hwgen.stream.common import Registers

__all__ = [
    "code_layout",
    "pack_codes",
    "shifted_term",
    "signed_digits",
    "unpack_codes",
]


def signed_digits(values: IntArray) -> IntArray:
    """Canonical signed digits of each value: the array's shape and an axis of terms (at least 1).

    Terms come in order, lowest exponent first, then zeros.
    """
    distinct, which = np.unique(values, return_inverse=True)
    found = [[d.sign << d.exponent for d in csd(w)] for w in distinct.tolist()]
    most = max([1, *map(len, found)])
    table = np.array([terms + [0] * (most - len(terms)) for terms in found], dtype=np.int64)
    digits: IntArray = table[which].reshape(*values.shape, most)
    return digits


def code_layout(exponent_width: int) -> data.StructLayout:
    """One term: exponent, sign, presence."""
    return data.StructLayout(
        {"exponent": unsigned(exponent_width), "negative": 1, "present": unsigned(1)}
    )


def pack_codes(terms: IntArray, exponents: int) -> IntArray:
    """Code of each term, as :func:`code_layout` has it.

    Raises
    ------
    ValueError
        If a term is neither 0 nor a signed power of two with one of ``exponents`` exponents.
    """
    width = (exponents - 1).bit_length()
    magnitude = np.abs(terms)
    powers = np.left_shift(np.int64(1), np.arange(exponents))
    exponent = np.searchsorted(powers, np.maximum(magnitude, 1)).clip(max=exponents - 1)
    present = magnitude != 0
    if (magnitude != powers[exponent] * present).any():
        raise ValueError(f"Terms must be 0 or a signed power of two below 2**{exponents}")
    codes: IntArray = exponent + ((terms < 0).astype(np.int64) << width)
    return codes + (present.astype(np.int64) << (width + 1))


def unpack_codes(codes: IntArray, exponents: int) -> IntArray:
    """Term of each code, which :func:`pack_codes` inverts."""
    width = (exponents - 1).bit_length()
    power = np.left_shift(np.int64(1), codes & ((1 << width) - 1))
    sign = 1 - 2 * ((codes >> width) & 1)
    return np.asarray(sign * power * ((codes >> (width + 1)) & 1), dtype=np.int64)


def shifted_term(
    registers: Registers, x: Value, code: data.View, *, width: int, name: str
) -> tuple[Signal, Signal]:
    """``x << exponent``, complemented if negative, 0 if absent; two stages later.

    The value is modulo ``2**width``. The second value is the 1 that a complement lacks.
    """
    low = len(code.exponent) // 2
    full = min(len(x) + (1 << len(code.exponent)) - 1, width)
    masked = Mux(code.present, x, Const(0, signed(len(x)))).as_signed()
    coarse = registers.register(
        masked << (code.exponent[low:] << low), signed(full), name=f"{name}_coarse"
    )
    negative = registers.register(code.negative, 1, name=f"{name}_negative")
    fine: Value = coarse
    if low:
        amount = registers.register(code.exponent[:low], low, name=f"{name}_fine")
        fine = coarse << amount
    complement = fine[:full] ^ negative.replicate(full)
    value = registers.register(complement.as_signed(), signed(full), name=f"{name}_value")
    return value, registers.delay(negative, 1, name=f"{name}_negative")
