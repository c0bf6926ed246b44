"""Kinds of lanes: how weights become rows, and rows become words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.errors import UnsupportedError
from hwgen.nfu.config import BinaryLane, DyadicLane, IntLane, NfuConfig
from hwgen.nfu.memory import pack_rows, unpack_rows

_LANES = [DyadicLane(1, 4), DyadicLane(3, 16), IntLane(2), IntLane(16), BinaryLane()]
_LANES += [BinaryLane(5), BinaryLane(8)]


def _weights(rng: np.random.Generator, lane: object, shape: tuple[int, ...]) -> np.ndarray:
    match lane:
        case DyadicLane():
            return rng.integers(-1 << (lane.exponents - 2), 1 << (lane.exponents - 2), shape)
        case IntLane():
            return rng.integers(-1 << (lane.bits - 1), 1 << (lane.bits - 1), shape)
        case BinaryLane(planes=1):
            return rng.integers(-1, 2, shape)
        case _:
            return rng.integers(-1 << (lane.planes - 2), 1 << (lane.planes - 2), shape)


@pytest.mark.parametrize("lane", _LANES, ids=repr)
@given(st.integers(0, 1 << 32), st.sampled_from([1, 2, 4, 16]), st.sampled_from([1, 2, 4, 16]))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_rows_add_up_to_the_weights(lane, seed: int, tn: int, ti: int) -> None:
    """Split into rows, packed into words, unpacked, and added up."""
    rng = np.random.default_rng(seed)
    config = NfuConfig(tn=tn, ti=ti, nfu3_lanes=1, lane=lane)
    weights = _weights(rng, lane, (2, 3, tn, ti))
    split = lane.split(weights)
    parts = split.shape[2]
    assert split.shape == (2, 3, parts, tn, ti, lane.operands)
    rows = split.reshape(-1, *split.shape[3:])
    offsets, last = rng.integers(0, 256, len(rows)), rng.integers(0, 2, len(rows))
    words = pack_rows(config, rows, offsets, last)
    assert max(words) < 1 << config.row_width
    for got, want in zip(unpack_rows(config, words), (rows, offsets, last), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(split.sum(axis=(2, 5)), weights)


@pytest.mark.parametrize(("lane", "rows"), [(DyadicLane(1, 8), 4), (DyadicLane(2, 8), 2)])
def test_a_weight_of_many_terms_takes_many_rows(lane: DyadicLane, rows: int) -> None:
    weights = np.full((4, 4), 0b1010101)
    weights[2:] = 1
    assert lane.split(weights).any(axis=(1, 2, 3)).sum() == rows


def test_rows_of_binary_weights_and_powers() -> None:
    """A row for each power of two, whatever the others."""
    lane = BinaryLane(8)
    whole = np.array([[1, -1, 1, 1]] * 4)
    assert lane.split(whole << 7).any(axis=(1, 2, 3)).sum() == 1
    assert lane.split(whole * [1, 2, 4, 128]).any(axis=(1, 2, 3)).sum() == 4
    assert lane.split(whole * 5).any(axis=(1, 2, 3)).sum() == 2
    assert lane.excess(1 << 9) == 2


def test_rows_of_binary_weights() -> None:
    """One if no weight is 0 or each neuron has its own input, otherwise one a set of inputs."""
    lane = BinaryLane()
    whole = np.array([[1, -1, 1, 1]] * 4)
    assert lane.split(whole).any(axis=(1, 2, 3)).sum() == 1
    whole[2:, 3] = 0
    assert lane.split(whole).any(axis=(1, 2, 3)).sum() == 2
    assert lane.split(np.eye(4, dtype=np.int64)).any(axis=(1, 2, 3)).sum() == 1
    assert lane.split(np.eye(4, dtype=np.int64)[::-1]).any(axis=(1, 2, 3)).sum() == 4
    for tn, ti in ((2, 8), (8, 2)):
        band = np.zeros((tn, ti), dtype=np.int64)
        band[range(2), range(2)] = -1
        assert lane.split(band).any(axis=(1, 2, 3)).sum() == 1
        assert lane.split(np.roll(band, 2, axis=tn < ti)).any(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize(
    ("lane", "weights", "message"),
    [
        (DyadicLane(1, 4), 15, "Weights have exponents up to 4, and the lane has 4; give it more"),
        (IntLane(4), 8, "Weights reach from 8 to 8, and the lane has 4 bits; give it more"),
        (IntLane(4), -9, "Weights reach from -9 to -9, and the lane has 4 bits"),
        (BinaryLane(), 2, "Weights reach from 2 to 2, and the lane has 1 and -1"),
        (BinaryLane(3), 7, "Weights reach from 7 to 7, and the lane has 3 powers of two"),
    ],
)
def test_weights_that_the_lane_has_not(lane, weights: int, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        lane.split(np.full((1, 1), weights))


@pytest.mark.parametrize(
    ("lane", "row", "message"),
    [
        (DyadicLane(1, 8), [[3]], r"Terms must be 0 or a signed power of two below 2\*\*8"),
        (DyadicLane(1, 8), [[256]], r"Terms must be 0 or a signed power of two below 2\*\*8"),
        (IntLane(8), [[128]], "Weights must be from -128 to 127"),
        (BinaryLane(), [[2]], "Weights must be 1 or -1 where a row's neurons and inputs meet"),
        (BinaryLane(8), [[256]], "Weights must be 1 or -1 where a row's neurons and inputs meet"),
        (BinaryLane(8), [[2, -1]], "Weights must be 1 or -1 where a row's neurons and inputs meet"),
        (BinaryLane(), [[0, 1], [1, 0]], "Weights must be 1 or -1 where a row's neurons and inp"),
    ],
)
def test_rows_that_the_lane_has_not(lane, row: list[list[int]], message: str) -> None:
    terms = np.array(row)[None, :, :, None]
    config = NfuConfig(tn=terms.shape[1], ti=terms.shape[2], lane=lane)
    with pytest.raises(ValueError, match=message):
        pack_rows(config, terms, [0], [1])


def test_bits_of_a_row() -> None:
    """Of 16 weights: eight bits each, five, or one with masks of eight bits, and a bit."""
    for lane, bits in ((IntLane(8), 128), (DyadicLane(1, 8), 80), (BinaryLane(), 16 + 9)):
        assert NfuConfig(lane=lane).codes_width == bits


def test_bad_parameters() -> None:
    with pytest.raises(ValueError, match="Bits of a weight must be from 2 to 16, not 17"):
        IntLane(17)
