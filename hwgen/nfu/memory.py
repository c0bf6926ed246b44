"""What lies in memory for an NFU: packed SB rows, packed words of the table, and activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import UnsupportedError
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.dyadic import pack_codes, signed_digits, unpack_codes
from hwgen.numeric import IntArray

__all__ = [
    "MemoryImage",
    "multiplier_terms",
    "pack_activations",
    "pack_rows",
    "pack_scales",
    "unpack_rows",
    "unpack_scales",
    "word_width",
]


@dataclass(frozen=True, eq=False)
class MemoryImage:
    """Memory as the ports of an NFU see it.

    Parameters
    ----------
    rows : tuple of int
        Packed SB rows.
    tables : tuple of int
        Packed words of NFU-3's table.
    activations : int64 array
        Activations, one an element; a multiple of Tn and of Ti of them.
    """

    rows: tuple[int, ...]
    tables: tuple[int, ...]
    activations: IntArray


def word_width(config: NfuConfig, port: str) -> int:
    """Bits of a word of a load port."""
    activations = config.ti * config.activation_width
    return {"sb": config.row_width, "nbin": activations, "table": config.table_width}[port]


def _pack(fields: Sequence[tuple[IntArray, int]]) -> tuple[int, ...]:
    """Words of columns (words, n) of fields of a width each, the first field lowest."""
    words = [0] * len(fields[0][0])
    offset = 0
    for columns, width in fields:
        for column in columns.T.tolist():
            for k, value in enumerate(column):
                words[k] |= (value & ((1 << width) - 1)) << offset
            offset += width
    return tuple(words)


def _unpack(words: Sequence[int], widths: Sequence[int]) -> IntArray:
    """Unsigned fields (words, fields) of the given widths, the first lowest."""
    result = np.zeros((len(words), len(widths)), dtype=np.int64)
    for k, word in enumerate(words):
        for n, width in enumerate(widths):
            result[k, n] = word & ((1 << width) - 1)
            word >>= width
    return result


def pack_rows(
    config: NfuConfig, terms: IntArray, offsets: npt.ArrayLike, last: npt.ArrayLike
) -> tuple[int, ...]:
    """SB rows with their index words.

    Parameters
    ----------
    terms : int64 array
        (rows, tn, ti, operands of a lane), which the lane's kind bounds.
    offsets : int array
        NBin offset of each row.
    last : bool array
        Whether each row ends its output group.

    Raises
    ------
    ValueError
        If a term is not one of the lane's.
    """
    codes = config.lane.pack(terms)
    widths = config.lane.widths(config.tn, config.ti)
    return _pack(
        [
            (np.asarray(offsets, dtype=np.int64).reshape(-1, 1), config.offset_width),
            (np.asarray(last, dtype=np.int64).reshape(-1, 1), 1),
            *((codes[:, k : k + 1], width) for k, width in enumerate(widths)),
        ]
    )


def unpack_rows(config: NfuConfig, words: Sequence[int]) -> tuple[IntArray, IntArray, IntArray]:
    """Terms, offsets and last flags of SB rows, as :func:`pack_rows` takes them."""
    widths = config.lane.widths(config.tn, config.ti)
    fields = _unpack(words, [config.offset_width, 1, *widths])
    terms = config.lane.unpack(fields[:, 2:], config.tn, config.ti)
    return terms, fields[:, 0], fields[:, 1]


def pack_scales(
    config: NfuConfig, terms: IntArray, constants: IntArray, breakpoints: IntArray | None = None
) -> tuple[int, ...]:
    """Words of NFU-3's table, ``config.turns`` for each output group.

    Parameters
    ----------
    terms : int64 array
        (words, nfu3_lanes, terms of a scale): 0 or plus or minus a power of two.
    constants : int64 array
        (words, nfu3_lanes): what is added before the shift.
    breakpoints : int64 array or None
        (words, nfu3_lanes): least value of each segment, for functions; the first is not used.

    Raises
    ------
    ValueError
        If a term is not one of the scale's.
    """
    width = config.scale_exponent_width
    codes = pack_codes(terms, config.scale_exponents)
    fields = []
    for channel in range(config.nfu3_lanes):
        fields.append((constants[:, channel : channel + 1], config.product_width))
        fields.append((codes[:, channel], width + 2))
        if config.function is not None:
            begins = np.zeros_like(constants) if breakpoints is None else breakpoints
            fields.append((begins[:, channel : channel + 1], config.function.width))
    return _pack(fields)


def multiplier_terms(config: NfuConfig, multipliers: IntArray, *, what: str) -> IntArray:
    """Signed powers of two of multipliers of NFU-3, as :func:`pack_scales` takes them.

    Parameters
    ----------
    multipliers : int64 array
        Of any shape; the result has an axis of ``config.scale_terms`` terms more.
    what : str
        What they are, for the error.

    Raises
    ------
    UnsupportedError
        If one has more terms, or a greater exponent, than NFU-3 with ``config``.
    """
    terms = signed_digits(multipliers)
    if terms.shape[-1] > config.scale_terms:
        raise UnsupportedError(
            f"{what} have up to {terms.shape[-1]} terms, and NFU-3 has {config.scale_terms}; "
            "give it more"
        )
    largest = int(np.abs(terms).max()).bit_length() - 1
    if largest >= config.scale_exponents:
        raise UnsupportedError(
            f"{what} have exponents up to {largest}, and NFU-3 has {config.scale_exponents}; "
            "give it more"
        )
    spare = config.scale_terms - terms.shape[-1]
    return np.pad(terms, [(0, 0)] * multipliers.ndim + [(0, spare)])


def unpack_scales(config: NfuConfig, words: Sequence[int]) -> tuple[IntArray, IntArray, IntArray]:
    """Terms, constants, breakpoints (0 without functions) of words, as :func:`pack_scales` has."""
    width = config.scale_exponent_width
    one = [config.product_width, *[width + 2] * config.scale_terms]
    if config.function is not None:
        one.append(config.function.width)
    shape = (len(words), config.nfu3_lanes, len(one))
    fields = _unpack(words, one * config.nfu3_lanes).reshape(shape)
    terms = unpack_codes(fields[:, :, 1 : 1 + config.scale_terms], config.scale_exponents)
    constants = _signed(fields[:, :, 0], config.product_width)
    if config.function is None:
        return terms, constants, np.zeros_like(constants)
    return terms, constants, _signed(fields[:, :, -1], config.function.width)


def _signed(bits: IntArray, width: int) -> IntArray:
    sign = np.int64(1) << (width - 1)
    return np.asarray((bits ^ sign) - sign, dtype=np.int64)


def pack_activations(config: NfuConfig, activations: IntArray, count: int) -> tuple[int, ...]:
    """Words of ``count`` activations each, of which they keep what they have room for.

    Parameters
    ----------
    activations : int64 array
        Activations, a multiple of ``count`` of them.
    """
    return _pack([(activations.reshape(-1, count), config.activation_width)])
