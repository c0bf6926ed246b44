"""ArgMax against its definition, with ties everywhere."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from streambench import run_stream

from hwgen.numeric import Range
from hwgen.stream.argmax import ArgMax


def _first_greatest(pixel: list[int]) -> int:
    return pixel.index(max(pixel))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_input(channels: int) -> None:
    """All pixels of up to four channels that hold -2 .. 1."""
    pixels = np.array(list(product(range(-2, 2), repeat=channels)))
    expected = np.array([[_first_greatest(pixel.tolist())] for pixel in pixels])
    block = ArgMax([Range(-2, 1)] * channels)
    np.testing.assert_array_equal(block.model(pixels[:, :, None, None])[:, :, 0, 0], expected)
    run = run_stream(block, pixels, expected=expected)
    assert run.first_latency == block.latency
    assert run.cycles == len(pixels) + block.latency


@pytest.mark.parametrize("channels", [5, 7, 10, 17])
@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)])
def test_mixed_ranges(channels: int, stalls: tuple[float, float]) -> None:
    ranges = [
        (Range(-8, 7), Range(0, 9), Range(-100, 3), Range(5, 6), Range(-1, -1))[k % 5]
        for k in range(channels)
    ]
    rng = np.random.default_rng(channels)
    pixels = np.stack([rng.integers(r.lo, r.hi, 60, endpoint=True) for r in ranges], axis=1)
    expected = np.array([[_first_greatest(pixel.tolist())] for pixel in pixels])
    run_stream(
        ArgMax(ranges), pixels, expected=expected, stall_in=stalls[0], stall_out=stalls[1], seed=1
    )
    run_stream(ArgMax(ranges), pixels, expected=expected, stall_out=stalls[1], reset_at=23)
