"""Constant memories hold no bit column twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hwgen.nfu.blockram import distinct_columns


@given(st.lists(st.integers(0, 255), max_size=6))
def test_words_come_back(words: list[int]) -> None:
    kept, source = distinct_columns(words, 8)
    columns = [tuple(word >> bit & 1 for word in words) for bit in range(8)]
    for column, place in zip(columns, source, strict=True):
        if place is None:
            assert len(set(column)) <= 1
        else:
            assert columns[kept[place]] == column
    assert len({columns[bit] for bit in kept}) == len(kept)
    assert all(len(set(columns[bit])) == 2 for bit in kept)


def test_no_words_need_no_bits() -> None:
    assert distinct_columns([], 3) == ([], [None, None, None])
