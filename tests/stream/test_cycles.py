"""The cycle model without any hardware."""

from __future__ import annotations

import pytest

from hwgen.numeric import Range
from hwgen.stream.blocks import Stage
from hwgen.stream.cycles import predict


def _pipeline(latency: int) -> Stage:
    bit = (Range(0, 1),)
    shape = (1, 5, 3)
    return Stage("a", "requantise", "a", "a", ("",), shape, (bit,), shape, bit, latency=latency)


@pytest.mark.parametrize("latency", [1, 2, 61, 62, 63, 124, 125, 200])
def test_latency_of_any_length(latency: int) -> None:
    """Items in flight are bits of words, however many these are."""
    timing = predict([_pipeline(latency)])
    assert (timing.first, timing.image) == (latency, latency + 14)
    assert (timing.period_cycles, timing.period_images) == (15, 1)
