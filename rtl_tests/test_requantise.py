# amaranth: UnusedElaboratable=no
"""Requantisation against its definition: shifts, dyadic multipliers, bounds, positions."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from streambench import run_stream

from hwgen.integer.types import Requantise as RequantiseOp
from hwgen.numeric import Range
from hwgen.stream.requantise import Requantise


def _op(multiplier, shift, lo=-128, hi=127):
    return RequantiseOp(
        np.array(multiplier).reshape(-1, 1, 1), np.array(shift).reshape(-1, 1, 1), lo, hi
    )


def _frames(ranges, shape, count, seed):
    rng = np.random.default_rng(seed)
    frames = np.stack(
        [rng.integers(r.lo, r.hi, (count, *shape[1:]), endpoint=True) for r in ranges], axis=1
    )
    frames[0, :, 0, 0] = [r.lo for r in ranges]
    frames[-1, :, -1, -1] = [r.hi for r in ranges]
    return frames


def _by_definition(x, multiplier, shift, offset, lo, hi):
    """One scalar, straight from the operator's docstring, in rationals."""
    return min(max(floor(Fraction((x + offset) * multiplier, 1 << shift) + Fraction(1, 2)), lo), hi)


MIXED = {
    "identity": ([1], [0], [Range(-9, 9)], [0], -128, 127),
    "round": ([1], [3], [Range(-900, 900)], [0], -128, 127),
    "relu": ([3], [4], [Range(-900, 700)], [5], 0, 255),
    "negative": ([-5], [4], [Range(-100, 700)], [-3], -128, 127),
    "minus one": ([-1], [0], [Range(-4, 7)], [0], -128, 127),
    "up": ([40], [3], [Range(-6, 7)], [1], -50, 77),
    "zero": ([0, 7], [4, 2], [Range(-6, 7), Range(0, 3)], [9, 0], 1, 100),
    "odd bounds": ([11], [5], [Range(-1000, 2047)], [77], -37, 99),
    "never": ([1, 1], [0, 1], [Range(300, 400), Range(-7, 8)], [0, 0], -8, 7),
    "many": (
        [1, 2, 3, 45, 0, 96, 171],
        [5, 0, 9, 11, 3, 2, 12],
        [
            *(
                Range(-3000, 3000),
                Range(0, 100),
                Range(-5, 99999),
                Range(-(1 << 15), (1 << 15) - 1),
            ),
            *(Range(-1, 1), Range(0, 3), Range(-70000, -3)),
        ],
        [0, -100, 17, -1234, 7, 2, 69000],
        0,
        255,
    ),
}


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.4, 0.0), (0.0, 0.4), (0.5, 0.5)])
@pytest.mark.parametrize("name", MIXED)
def test_matches_definition(name: str, stalls: tuple[float, float]) -> None:
    multiplier, shift, ranges, offset, lo, hi = MIXED[name]
    shape = (len(ranges), 3, 4)
    block = Requantise(
        _op(multiplier, shift, lo, hi), ranges=ranges, shape=shape, offset=np.array(offset)
    )
    frames = _frames(ranges, shape, 4, seed=3)
    expected = np.array(
        [
            [
                [[_by_definition(int(v), m, s, b, lo, hi) for v in row] for row in frames[n, c]]
                for c, (m, s, b) in enumerate(zip(multiplier, shift, offset, strict=True))
            ]
            for n in range(len(frames))
        ]
    )
    np.testing.assert_array_equal(block.model(frames), expected)
    run = run_stream(
        block, frames, expected=expected, stall_in=stalls[0], stall_out=stalls[1], seed=5
    )
    if stalls == (0.0, 0.0):
        assert run.first_latency == block.latency
        assert run.cycles == len(run.produced) + block.latency


@pytest.mark.parametrize("multiplier", [1, -1, 3, -7, 10, 23, 85])
@pytest.mark.parametrize(("shift", "lo", "hi"), [(0, -99, 100), (3, -16, 15), (5, 0, 63)])
def test_exhaustive(multiplier: int, shift: int, lo: int, hi: int) -> None:
    """Every 7-bit input; the bounds of the output range are reached."""
    r = Range(-50, 77)
    block = Requantise(
        _op([multiplier], [shift], lo, hi), ranges=[r], shape=(1, 1, 128), offset=[9]
    )
    frames = np.arange(r.lo, r.hi + 1).reshape(1, 1, 1, 128)
    run = run_stream(block, frames)
    assert (run.outputs.min(), run.outputs.max()) == (
        block.output_ranges[0].lo,
        block.output_ranges[0].hi,
    )


def test_positional_multipliers() -> None:
    """An average pool that leaves out the padding: 4, 6 or 9 values, in two channels."""
    counts = np.array([[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]])
    multiplier = np.where(counts == 9, 57, np.where(counts == 6, 85, 1))[None]
    shift = np.where(counts == 4, 2, 9)[None]
    ranges = [Range(-9 * 128, 9 * 127), Range(0, 9 * 255)]
    block = Requantise(
        RequantiseOp(multiplier, shift, -128, 200), ranges=ranges, shape=(2, 3, 4), offset=[3, -7]
    )
    frames = _frames(ranges, (2, 3, 4), 4, seed=1)
    expected = np.array(
        [
            [
                [
                    [
                        _by_definition(
                            int(frames[n, c, y, x]),
                            int(multiplier[0, y, x]),
                            int(shift[0, y, x]),
                            (3, -7)[c],
                            -128,
                            200,
                        )
                        for x in range(4)
                    ]
                    for y in range(3)
                ]
                for c in range(2)
            ]
            for n in range(4)
        ]
    )
    for stall in (0.0, 0.4):
        run_stream(block, frames, expected=expected, stall_in=stall, stall_out=stall, seed=2)
    run_stream(block, frames, expected=expected, stall_in=0.2, reset_at=17)


@pytest.mark.parametrize(
    ("multiplier", "shift", "lo", "hi", "offset", "latency"),
    [
        (8, 9, -128, 127, 5, 1),
        (8, 3, -128, 127, 5, 2),
        (1, 0, -9999, 9999, 0, 1),
        (0b10101001, 9, -9999, 9999, 0, 3),
        (0b10101001, 9, 0, 255, 77, 4),
    ],
)
def test_only_what_is_needed_is_built(
    multiplier: int, shift: int, lo: int, hi: int, offset: int, latency: int
) -> None:
    """A power of two needs the constant addition alone, and a stage more where it saturates."""
    r = Range(-4000, 4000)
    block = Requantise(
        _op([multiplier], [shift], lo, hi), ranges=[r], shape=(1, 2, 2), offset=[offset]
    )
    assert block.latency == latency
    frames = _frames([r], (1, 2, 2), 3, seed=0)
    assert run_stream(block, frames).first_latency == latency


def test_single_pixel_frames_and_reset() -> None:
    ranges = [Range(-100, 100), Range(0, 50)]
    block = Requantise(_op([3, 5], [2, 1], -20, 60), ranges=ranges, shape=(2, 1, 1), offset=[1, 2])
    frames = _frames(ranges, (2, 1, 1), 9, seed=4)
    run_stream(block, frames, stall_out=0.3, reset_at=4)


def test_wrong_number_of_ranges() -> None:
    with pytest.raises(ValueError, match="one a channel"):
        Requantise(_op([1], [0]), ranges=[Range(0, 1)], shape=(2, 1, 1))
