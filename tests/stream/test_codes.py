"""Code words of dyadic weights: digits add up, words tell them apart, the cheapest is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwgen.stream.codes import WeightCode, weight_code


def _decode(code: WeightCode, word: int) -> int:
    """The weight of a code word, from the word's documented layout."""
    total = 0
    for multiples, signed, width in zip(
        code.multiples, code.signed, code.index_widths, strict=True
    ):
        index = word & ((1 << width) - 1)
        word >>= width
        negative = signed and word & 1
        word >>= signed
        total += (-1 if negative else 1) * (0, *multiples)[index]
    assert word == 0
    return total


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-300, 300), min_size=1, max_size=40),
    st.integers(1, 16),
    st.sampled_from([1.0, 2.5, 64.0]),
)
@example([0], 8, 1.0)
@example([-1], 8, 1.0)
@example([1 << 20, -(1 << 20) + 1], 8, 1.0)
def test_words_stand_for_their_weights(weights: list[int], width: int, sharing: float) -> None:
    array = np.array(weights).reshape(1, -1)
    code = weight_code(array, width=width, sharing=sharing)
    words = code.words(array)
    assert words.shape == array.shape
    assert words.min() >= 0
    assert int(words.max()).bit_length() <= code.width
    assert [_decode(code, word) for word in words.ravel().tolist()] == weights


def test_all_bytes() -> None:
    weights = np.arange(-128, 129)
    code = weight_code(weights, width=8, sharing=8)
    assert [_decode(code, word) for word in code.words(weights).tolist()] == weights.tolist()


@pytest.mark.parametrize(
    ("weights", "digits", "width"),
    [
        ([-1, 1], 1, 2),
        ([-4, -2, -1, 0, 1, 2, 4], 1, 3),
        ([0, 1, 2, 4], 1, 2),
        (list(range(-8, 9)), 2, 6),
        (list(range(-128, 129)), 3, 11),
    ],
)
def test_code_is_short(weights: list[int], digits: int, width: int) -> None:
    """Powers of two need one digit; a byte fewer digits than its four signed powers of two."""
    code = weight_code(np.array(weights), width=8, sharing=8)
    assert (len(code.digits), code.width) == (digits, width)
