# amaranth: UnusedElaboratable=no
"""Sums over whole frames."""

from __future__ import annotations

import numpy as np
import pytest
from streambench import run_stream

from hwgen.integer.types import SumPool
from hwgen.numeric import Range
from hwgen.stream.accumulate import Accumulate

RANGES = [Range(-128, 127), Range(0, 255), Range(3, 9), Range(-9, -2)]


def _frames(size, count, seed):
    rng = np.random.default_rng(seed)
    frames = np.stack(
        [rng.integers(r.lo, r.hi, (count, *size), endpoint=True) for r in RANGES], axis=1
    )
    frames[0] = np.array([r.lo for r in RANGES]).reshape(-1, 1, 1)
    frames[-1] = np.array([r.hi for r in RANGES]).reshape(-1, 1, 1)
    return frames


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.7), (0.4, 0.4)])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (8, 8)])
def test_sums(size: tuple[int, int], stalls: tuple[float, float]) -> None:
    block = Accumulate(SumPool(size, (1, 1)), ranges=RANGES, shape=(4, *size))
    frames = _frames(size, 5, seed=1)
    expected = np.zeros((5, 4, 1, 1), dtype=np.int64)
    for row in range(size[0]):
        for column in range(size[1]):
            expected[:, :, 0, 0] += frames[:, :, row, column]
    np.testing.assert_array_equal(block.model(frames), expected)
    assert [(r.lo, r.hi) for r in block.output_ranges] == list(
        zip(expected[0].ravel().tolist(), expected[-1].ravel().tolist(), strict=True)
    )
    options = {"expected": expected, "stall_in": stalls[0], "stall_out": stalls[1]}
    run = run_stream(block, frames, seed=3, **options)
    if stalls == (0.0, 0.0):
        pixels = size[0] * size[1]
        assert list(run.produced) == [pixels * (n + 1) - 1 + block.latency for n in range(5)]
    run_stream(block, frames, seed=4, reset_at=size[0] * size[1] + 1, **options)


def test_errors() -> None:
    with pytest.raises(ValueError, match="must cover the input"):
        Accumulate(SumPool((2, 2), (1, 1)), ranges=RANGES, shape=(4, 3, 2))
    with pytest.raises(ValueError, match="one a channel"):
        Accumulate(SumPool((3, 2), (1, 1)), ranges=RANGES, shape=(3, 3, 2))
