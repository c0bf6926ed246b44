# amaranth: UnusedElaboratable=no
"""Pipelines that take several pixels of a row a beat, against the golden model of one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Sketch, images_for
from streambench import run_stream

from hwgen.integer.types import IntegerNetwork
from hwgen.integer.widen import grouped, widen
from hwgen.sim.golden import run
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import plan_pipeline


def small(width: int = 8) -> IntegerNetwork:
    s = Sketch((1, 7, width), seed=3)
    x = s.requantise(s.conv("image", 2, pads=(1, 1, 1, 1)), lo=0, hi=255)
    x = s.max_pool_of(x, (2, 2), (2, 2), (1, 0, 0, 0))
    x = s.requantise(s.conv(x, 3, kernel=(2, 3), pads=(0, 1, 0, 1)), lo=-128, hi=127)
    return s.done(s.requantise(s.dense(x, 3), lo=-512, hi=511))


def maxima() -> IntegerNetwork:
    """Overlapping maxima with padding, in groups before and behind."""
    s = Sketch((2, 5, 12), signed=True, seed=4)
    x = s.requantise(s.conv("image", 2, (1, 2), pads=(0, 1, 0, 0)), lo=-128, hi=127)
    return s.done(s.max_pool_of(x, (3, 3), (1, 1), (1, 1, 1, 1)))


def sums() -> IntegerNetwork:
    s = Sketch((2, 4, 8), seed=5)
    x = s.requantise(s.sum_pool("image", (2, 2), (2, 1), (0, 0, 0, 1)))
    return s.done(s.requantise(s.sum_pool(x, s.network.shape(x)[1:])))


CASES = {
    "two": (small(), 2),
    "four": (small(), 4),
    "narrow": (small(4), 4),
    "maxima": (maxima(), 3),
    "sums": (sums(), 4),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.4, 0.3), (0.9, 0.0)], ids=str)
def test_several_pixels_a_beat(case: str, stalls: tuple[float, float]) -> None:
    network, pixels = CASES[case]
    plan = plan_pipeline(widen(network, pixels))
    images = images_for(network, 3)
    golden = run(network, images)
    together = plan.output_stage.output_shape[0] // golden.shape[1]
    result = run_stream(
        Pipeline(plan),
        grouped(images, pixels),
        expected=grouped(golden, together),
        stall_in=stalls[0],
        stall_out=stalls[1],
        seed=1,
        deadline=int(20 * (plan.timing.image + 3 * plan.timing.interval)) + 500,
        drain=int(2 * plan.timing.image),
    )
    if not any(stalls):
        assert result.produced[0] == plan.timing.first
        assert plan.timing.interval < plan_pipeline(network).timing.interval


@pytest.mark.parametrize("reset_at", [3, 17, 29])
def test_reset_in_an_image(reset_at: int) -> None:
    network, pixels = CASES["two"]
    images = images_for(network, 3, seed=6)
    run_stream(
        Pipeline(plan_pipeline(widen(network, pixels))),
        grouped(images, pixels),
        expected=run(network, images),
        stall_in=0.1,
        stall_out=0.1,
        seed=2,
        deadline=4000,
        reset_at=reset_at,
    )


@settings(derandomize=True, max_examples=12, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.integers(1, 2),
    before=st.integers(0, 3),
    pixels=st.sampled_from([2, 4]),
    seed=st.integers(0, 99),
)
def test_any_maximum(
    kernel: tuple[int, int], stride: int, before: int, pixels: int, seed: int
) -> None:
    """Maxima over columns of several beats, padded so that the groups are whole."""
    left = min(before, kernel[1] - 1)
    s = Sketch((2, 4, 8), signed=True, seed=seed)
    x = s.requantise(s.conv("image", 2, (1, 1)), lo=-100, hi=127)
    right = (kernel[1] - stride - left) % (8 if stride == 1 else 4)
    if right >= kernel[1]:
        return
    x = s.max_pool_of(x, kernel, (1, stride), (kernel[0] - 1, left, 0, right))
    network = s.done(x)
    if network.shape(x)[2] % max(1, pixels // stride):
        return
    images = images_for(network, 2, seed=seed)
    golden = run(network, images)
    plan = plan_pipeline(widen(network, pixels))
    together = plan.output_stage.output_shape[0] // 2
    run_stream(
        Pipeline(plan),
        grouped(images, pixels),
        expected=grouped(golden, together),
        stall_in=0.2,
        stall_out=0.2,
        seed=seed,
    )
    assert np.prod(plan.output_stage.output_shape) == np.prod(network.shape(x))
