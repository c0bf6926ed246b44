# amaranth: UnusedElaboratable=no
"""Fully connected layers: every way to divide the work, exact words, exact cycles."""

from __future__ import annotations

import numpy as np
import pytest
from streambench import run_stream

from hwgen.integer.types import Conv
from hwgen.numeric import Range
from hwgen.stream.common import in_turns
from hwgen.stream.dense import Dense, dense_cycles, lanes_for


def _conv(outputs, per_group, height, width, *, groups=1, values, seed, bias=True):
    rng = np.random.default_rng(seed)
    weight = rng.choice(values, (outputs, per_group, height, width))
    offsets = rng.integers(-500, 500, outputs) if bias else np.zeros(outputs, dtype=np.int64)
    return Conv(weight, offsets, groups=groups)


def _frames(ranges, shape, count, seed):
    rng = np.random.default_rng(seed)
    frames = np.stack(
        [rng.integers(r.lo, r.hi, (count, *shape), endpoint=True) for r in ranges], axis=1
    )
    frames[0] = np.array([r.lo for r in ranges]).reshape(-1, 1, 1)
    frames[-1] = np.array([r.hi for r in ranges]).reshape(-1, 1, 1)
    return frames


def _by_definition(op, frames):
    """The operator's docstring in loops."""
    outputs, per_group = op.weight.shape[:2]
    y = np.zeros((len(frames), outputs, 1, 1), dtype=np.int64)
    for o in range(outputs):
        start = o // (outputs // op.groups) * per_group
        window = frames[:, start : start + per_group]
        y[:, o, 0, 0] = op.bias[o] + (window * op.weight[o]).sum(axis=(1, 2, 3))
    return y


POWERS = [-4, -2, -1, 0, 1, 2, 4]
EIGHTHS = list(range(-8, 9))
FINE = list(range(-128, 129))
TWO_TERMS = [
    s * ((1 << a) + t * (1 << b))
    for s in (1, -1)
    for a in range(7)
    for b in range(a)
    for t in (1, -1)
]

CASES = {
    # outputs, channels a group, height, width, groups, weights, lanes
    "one of each": (1, 1, 1, 1, 1, [3], 1),
    "vector": (5, 7, 1, 1, 1, FINE, 2),
    "long vector": (3, 70, 1, 1, 1, EIGHTHS, 3),
    "map": (4, 3, 2, 3, 1, TWO_TERMS, 1),
    "all lanes": (6, 2, 3, 2, 1, POWERS, 6),
    "uneven": (7, 9, 2, 2, 1, FINE, 3),
    "depthwise, all lanes": (6, 1, 3, 2, 6, EIGHTHS, 6),
    "depthwise, one lane": (6, 1, 2, 2, 6, POWERS, 1),
    "depthwise, some": (7, 1, 2, 3, 7, EIGHTHS, 3),
    "two a group": (6, 1, 2, 2, 3, FINE, 4),
    "groups of channels": (6, 3, 2, 1, 2, TWO_TERMS, 4),
    "positive weights": (3, 4, 1, 2, 1, [1, 2, 5], 2),
    "all zero": (2, 3, 1, 2, 1, [0], 1),
    "negative": (2, 3, 1, 2, 1, [-1], 2),
    "wide": (3, 2, 2, 2, 1, [-4095, 2730, 1365, 0], 2),
}


def _case(name, bias=True, **serial):
    outputs, per_group, height, width, groups, values, lanes = CASES[name]
    op = _conv(outputs, per_group, height, width, groups=groups, values=values, seed=1, bias=bias)
    kinds = (Range(-128, 127), Range(0, 255), Range(-3, 9), Range(-128, 127))
    ranges = [kinds[k % 4] for k in range(per_group * groups)]
    shape = (per_group * groups, height, width)
    return Dense(op, ranges=ranges, shape=shape, lanes=lanes, **serial)


@pytest.mark.parametrize("name", CASES)
def test_words_and_cycles(name: str) -> None:
    """Exact words; the promised latency of the first image and interval of the following."""
    block = _case(name)
    frames = _frames(block.ranges, block.shape[1:], 4, seed=2)
    expected = _by_definition(block.op, frames)
    np.testing.assert_array_equal(block.model(frames), expected)
    pixels = block.shape[1] * block.shape[2]
    deadline = 10 * (block.cycles + pixels) + 200
    run = run_stream(block, frames, expected=expected, deadline=deadline)
    assert run.produced[0] - run.accepted[0][pixels - 1] == block.latency
    assert block.cycles == dense_cycles(block.op, lanes=block.lanes)
    intervals = np.diff(run.produced)
    np.testing.assert_array_equal(intervals, max(pixels, block.cycles))


STALLS = [(0.3, 0.0), (0.0, 0.9), (0.6, 0.6)]


@pytest.mark.parametrize(("number", "name"), enumerate(CASES))
def test_stalls_and_reset(number: int, name: str) -> None:
    """Slow source and slow sink, without bias; then a reset while values come in or go out."""
    block = _case(name, bias=False)
    frames = _frames(block.ranges, block.shape[1:], 3, seed=3)
    expected = _by_definition(block.op, frames)
    pixels = block.shape[1] * block.shape[2]
    deadline = 60 * (block.cycles + pixels) + 1000
    for run in range(2):
        stall_in, stall_out = STALLS[(number + run) % 3]
        run_stream(
            block,
            frames,
            expected=expected,
            stall_in=stall_in,
            stall_out=stall_out,
            seed=number,
            deadline=deadline,
            reset_at=(None, pixels // 2, block.cycles + pixels + 5)[run * (1 + number % 2)],
        )


SERIAL = [
    ("vector", True, False),
    ("long vector", True, True),
    ("one of each", True, True),
    ("uneven", False, True),
    ("map", False, True),
    ("map", True, False),
    ("depthwise, one lane", True, True),
    ("all lanes", False, True),
    ("depthwise, some", False, True),
]


@pytest.mark.parametrize(("name", "serial_in", "serial_out"), SERIAL)
def test_serial(name: str, serial_in: bool, serial_out: bool) -> None:
    """Vectors that pass one value a beat: same words, and nothing but the beats takes longer."""
    block = _case(name, serial_in=serial_in, serial_out=serial_out)
    outputs = block.op.weight.shape[0]
    frames = _frames(block.ranges, block.shape[1:], 4, seed=2)
    expected = _by_definition(block.op, frames)
    if serial_out:
        expected = in_turns(expected)
    if serial_in:
        frames = in_turns(frames)
    np.testing.assert_array_equal(block.model(frames), expected)
    beats = frames[0, 0].size
    deadline = 10 * (block.cycles + beats + outputs) + 200
    run = run_stream(block, frames, expected=expected, deadline=deadline)
    assert run.produced[0] - run.accepted[0][beats - 1] == block.latency
    results = run.produced[:: outputs if serial_out else 1]
    interval = max(beats, block.cycles, outputs if serial_out else 1)
    np.testing.assert_array_equal(np.diff(results)[1:], interval)
    for seed, (stall_in, stall_out) in enumerate(STALLS[1:]):
        run_stream(
            block,
            frames,
            expected=expected,
            stall_in=stall_in,
            stall_out=stall_out,
            seed=seed,
            deadline=20 * deadline,
            reset_at=(None, block.cycles + beats)[seed],
        )


def test_many_weights_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many code words that are wider than the numbers of their weights."""
    monkeypatch.setattr("hwgen.stream.code_memory._WORTH_PACKING", 1 << 9)
    weights = [s * (a + b) for s in (-1, 1) for a in range(5) for b in (0, 8, 16, 24, 32)]
    op = _conv(63, 36, 2, 2, values=[*weights, -64, 64], seed=3)
    block = Dense(op, ranges=[Range(0, 255)] * 36, shape=(36, 2, 2), lanes=32)
    assert len(block.code.weights) <= 64
    assert op.weight.size * (block.code.width - 6) >= 32 << 9
    frames = _frames(block.ranges, (2, 2), 2, seed=4)
    run_stream(block, frames, expected=_by_definition(op, frames), deadline=2000)


def test_output_ranges_are_reached() -> None:
    block = _case("groups of channels")
    outputs, per_group = block.op.weight.shape[:2]
    for output, r in enumerate(block.output_ranges):
        group = output // (outputs // block.op.groups)
        extremes = np.zeros((2, *block.shape), dtype=np.int64)
        for c in range(per_group):
            channel = block.ranges[group * per_group + c]
            positive = block.op.weight[output, c] > 0
            extremes[0, group * per_group + c] = np.where(positive, channel.lo, channel.hi)
            extremes[1, group * per_group + c] = np.where(positive, channel.hi, channel.lo)
        assert block.model(extremes)[:, output, 0, 0].tolist() == [r.lo, r.hi]


@pytest.mark.parametrize("interval", [1, 30, 59, 60, 61, 119, 120, 200, 599, 600, 10_000])
def test_lanes_for_is_the_fewest(interval: int) -> None:
    op = _conv(10, 15, 2, 2, values=POWERS, seed=0)
    lanes = lanes_for(op, interval=interval)
    suffice = [k for k in range(1, 11) if dense_cycles(op, lanes=k) <= interval]
    assert lanes == (suffice[0] if suffice else 10)


def test_errors() -> None:
    with pytest.raises(ValueError, match="one group at a time, not by 4 lanes of 2 groups"):
        _case("groups of channels", serial_in=True)
    op = _conv(4, 2, 2, 2, values=POWERS, seed=0)
    ranges = [Range(0, 1)] * 2
    with pytest.raises(ValueError, match="does not fit the frame"):
        Dense(op, ranges=ranges, shape=(2, 1, 2), lanes=1)
    with pytest.raises(ValueError, match="must have 2 channels, not 3"):
        Dense(op, ranges=ranges, shape=(3, 2, 2), lanes=1)
    with pytest.raises(ValueError, match="must be 1 to 4, not 5"):
        Dense(op, ranges=ranges, shape=(2, 2, 2), lanes=5)
