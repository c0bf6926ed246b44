# amaranth: UnusedElaboratable=no
"""The window generator against NumPy, over shapes, paddings, stalls and resets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streambench import run_stream

from hwgen.numeric import Range
from hwgen.stream.scan import Scan
from hwgen.stream.window import Window

RANGES = (Range(0, 255), Range(-8, 7), Range(3, 9), Range(-1, 0), Range(-7, -2))


def frames(window: Window, count: int, seed: int) -> np.ndarray:
    """Frames whose first two are the corners of the ranges."""
    rng = np.random.default_rng(seed)
    low = np.array([r.lo for r in window.ranges]).reshape(-1, 1, 1)
    high = np.array([r.hi for r in window.ranges]).reshape(-1, 1, 1)
    x = rng.integers(low, high + 1, (count, *window.shape))
    x[0] = high
    x[count - 1, :, ::2] = low
    return x


def reference(x: np.ndarray, window: Window) -> np.ndarray:
    """Windows by the definition, value by value."""
    scan = window.scan
    (kh, kw), (sh, sw), (dh, dw) = scan.kernel, scan.strides, scan.dilations
    top, left = scan.pads[:2]
    out = np.empty((len(x), *window.output_shape), dtype=np.int64)
    for c, r, s in itertools.product(range(x.shape[1]), range(kh), range(kw)):
        for oy, ox in itertools.product(*map(range, scan.out_size)):
            y, z = oy * sh - top + r * dh, ox * sw - left + s * dw
            inside = 0 <= y < x.shape[2] and 0 <= z < x.shape[3]
            value = x[:, c, y, z] if inside else window.fill[c]
            out[:, (c * kh + r) * kw + s, oy, ox] = value
    return out


CASES = {
    "3x3": ((1, 5, 6), (3, 3)),
    "3x3_same": ((2, 5, 6), (3, 3), (1, 1), (1, 1, 1, 1)),
    "5x5_same": ((1, 7, 6), (5, 5), (1, 1), (2, 2, 2, 2)),
    "3x3_stride2_same": ((1, 6, 6), (3, 3), (2, 2), (1, 1, 1, 1)),
    "3x3_stride2_end": ((1, 6, 6), (3, 3), (2, 2), (0, 0, 1, 1)),
    "2x2_pool": ((3, 6, 8), (2, 2), (2, 2)),
    "2x2_pool_odd": ((1, 5, 7), (2, 2), (2, 2)),
    "1x1": ((5, 3, 4), (1, 1)),
    "1x1_stride2": ((1, 5, 4), (1, 1), (2, 2)),
    "1x1_pad": ((1, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    "1x1_pad_stride": ((1, 4, 4), (1, 1), (2, 2), (1, 1, 1, 1)),
    "full": ((1, 3, 4), (3, 3), (1, 1), (2, 2, 2, 2)),
    "wide_pads": ((1, 3, 2), (2, 3), (1, 1), (4, 5, 3, 4)),
    "asymmetric": ((1, 5, 5), (3, 4), (1, 1), (0, 2, 2, 1)),
    "dilated": ((1, 8, 7), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    "dilated_tall": ((1, 8, 4), (2, 3), (1, 2), (0, 1, 1, 1), (3, 1)),
    "narrow": ((2, 6, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
    "low": ((2, 1, 6), (3, 3), (1, 1), (1, 1, 1, 1)),
    "pixel": ((1, 1, 1), (1, 1)),
    "pixel_padded": ((1, 1, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
    "pixel_5x5": ((1, 1, 1), (5, 5), (1, 1), (2, 2, 2, 2)),
    "narrower_than_kernel": ((1, 4, 2), (3, 5), (1, 1), (1, 2, 1, 2)),
    "whole_frame": ((2, 4, 3), (4, 3)),
    "row_kernel": ((1, 4, 5), (1, 3), (1, 1), (0, 1, 0, 1)),
    "column_kernel": ((1, 5, 4), (3, 1), (1, 1), (1, 0, 1, 0)),
    "column_kernel_of_one": ((1, 5, 1), (2, 1)),
    "stride_beyond_kernel": ((1, 9, 8), (2, 2), (4, 3)),
    "trailing_rows": ((1, 7, 5), (2, 2), (5, 3)),
    "stride_wrapping": ((1, 5, 6), (3, 3), (1, 2), (1, 0, 1, 1)),
}
STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]


def build(case: str) -> Window:
    shape, *rest = CASES[case]
    ranges = RANGES[: shape[0]]
    return Window(shape, *rest, ranges=ranges)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stalls", STALLS, ids=str)
def test_window(case: str, stalls: tuple[float, float]) -> None:
    window = build(case)
    x = frames(window, 3, seed=1)
    golden = reference(x, window)
    np.testing.assert_array_equal(window.model(x), golden)
    run = run_stream(
        window,
        x,
        expected=golden,
        stall_in=stalls[0],
        stall_out=stalls[1],
        seed=2,
        deadline=200 + 20 * window.interval,
        drain=2 * window.interval,
    )
    if stalls == (0.0, 0.0):
        completed = np.flatnonzero(window.scan.gives())
        cycles = (np.arange(3)[:, None] * window.interval + completed + 1).ravel()
        np.testing.assert_array_equal(run.produced, cycles)
        assert run.produced[0] == window.latency


@pytest.mark.parametrize("case", ["3x3_same", "1x1_stride2", "wide_pads", "pixel_padded"])
@pytest.mark.parametrize("reset_at", [0, 5, 17, 33])
def test_reset_in_a_frame(case: str, reset_at: int) -> None:
    window = build(case)
    x = frames(window, 2, seed=3)
    run_stream(window, x, stall_in=0.2, stall_out=0.2, seed=4, deadline=2000, reset_at=reset_at)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window(data: st.DataObject) -> None:
    small = st.integers(1, 3)
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilations = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    least = [
        max(1, d * (k - 1) + 1 - before - after)
        for k, d, before, after in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    ]
    height, width = (data.draw(st.integers(low, low + 4)) for low in least)
    channels = data.draw(st.integers(1, 2))
    strides = data.draw(st.tuples(small, small))
    fill = data.draw(st.tuples(*[st.sampled_from([0, -8, 12])] * channels))
    window = Window(
        (channels, height, width),
        kernel,
        strides,
        pads,
        dilations,
        ranges=data.draw(st.permutations(RANGES))[:channels],
        fill=fill,
    )
    x = frames(window, 2, seed=height * 31 + width)
    golden = reference(x, window)
    np.testing.assert_array_equal(window.model(x), golden)
    for field, bounds in enumerate(window.output_ranges):
        assert bounds.lo <= golden[:, field].min() <= golden[:, field].max() <= bounds.hi
    stall_in, stall_out = data.draw(st.sampled_from(STALLS))
    run = run_stream(
        window,
        x,
        expected=golden,
        stall_in=stall_in,
        stall_out=stall_out,
        seed=5,
        deadline=200 + 20 * window.interval,
        drain=window.interval,
    )
    if stall_in == stall_out == 0:
        assert run.produced[-1] == window.interval + np.flatnonzero(window.scan.gives())[-1] + 1


def test_last_windows_come_out_with_a_slow_producer() -> None:
    """No window may wait for a pixel of a next frame, however slow the last pixels are."""
    window = build("5x5_same")
    run_stream(window, frames(window, 1, seed=6), stall_in=0.9, seed=7, deadline=3000, drain=200)


def test_scan_counts() -> None:
    same = Scan(28, 28, (5, 5), pads=(2, 2, 2, 2))
    assert same.beats == 28 * 28 + 2 * 28 + 2
    assert same.takes().sum() == 28 * 28
    assert same.gives().sum() == 28 * 28
    assert Scan(28, 28, (5, 5)).beats == 28 * 28


def test_line_buffer_is_one_memory_of_the_rows_above() -> None:
    window = Window((3, 8, 10), (3, 3), ranges=[Range(0, 255)] * 3)
    assert window.memory_bits == 2 * 10 * 3 * 8
    assert Window((3, 8, 10), (1, 3), ranges=[Range(0, 255)] * 3).memory_bits == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4, (1, 1)), "Frame must not be empty"),
        ((4, 4, (0, 1)), "Window kernel must be at least 1"),
        ((4, 4, (1, 1), (1, 1), (0, -1, 0, 0)), "Window pads must not be negative"),
        ((4, 4, (5, 1)), "does not fit the frame 4 x 4"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scan(*arguments)
    with pytest.raises(ValueError, match="has 2 ranges and 3 fill values"):
        Window((3, 4, 4), (1, 1), ranges=RANGES[:2])
