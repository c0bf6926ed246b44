# amaranth: UnusedElaboratable=no
"""Vectors one value a beat: requantisation with constants in memory, and collection."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from streambench import run_stream

from hwgen.integer.types import Conv
from hwgen.integer.types import Requantise as RequantiseOp
from hwgen.numeric import Range
from hwgen.stream.common import pixel_signature
from hwgen.stream.dense import Dense
from hwgen.stream.serial import Gather, SerialRequantise

STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]
CASES = {
    "one": ([3], [4], [Range(-900, 700)], [5], 0, 255),
    "shifts": ([1, 1, 1], [0, 3, 7], [Range(-9, 9), Range(0, 90), Range(-999, 5)], None, -8, 7),
    "free": ([3, -5, 1], [2, 4, 0], [Range(-9, 9), Range(0, 90), Range(-1, 5)], [1, 2, 3], -99, 99),
    "up": ([40, 12], [3, 0], [Range(-6, 7), Range(0, 3)], [1, -1], -50, 77),
    "zero": ([0, 7, 0], [4, 2, 1], [Range(-6, 7), Range(0, 3), Range(-9, 0)], [9, 0, 1], 1, 100),
    "all zero": ([0, 0], [4, 0], [Range(-6, 7), Range(0, 3)], [9, 0], -1, 100),
    "many": (
        [1, 2, 3, 45, 0, 96, 171, 80, 5],
        [5, 0, 9, 11, 3, 2, 12, 4, 9],
        [
            *(Range(-3000, 3000), Range(0, 100), Range(-5, 99999), Range(-(1 << 15), 1 << 15)),
            *(Range(-1, 1), Range(0, 3), Range(-70000, -3), Range(-99, 60), Range(-7777, 8000)),
        ],
        [0, -100, 17, -1234, 7, 2, 69000, 12, 0],
        0,
        255,
    ),
}


def _frames(ranges, count, seed):
    rng = np.random.default_rng(seed)
    frames = np.stack([rng.integers(r.lo, r.hi, count, endpoint=True) for r in ranges], axis=1)
    frames[0], frames[-1] = [r.lo for r in ranges], [r.hi for r in ranges]
    return frames[:, None, :, None]


def _by_definition(x, multiplier, shift, offset, lo, hi):
    return min(max(floor(Fraction((x + offset) * multiplier, 1 << shift) + Fraction(1, 2)), lo), hi)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("name", CASES)
def test_requantise(name: str, stalls: tuple[float, float]) -> None:
    multiplier, shift, ranges, offset, lo, hi = CASES[name]
    op = RequantiseOp(
        np.array(multiplier).reshape(-1, 1, 1), np.array(shift).reshape(-1, 1, 1), lo, hi
    )
    block = SerialRequantise(op, ranges=ranges, offset=offset)
    frames = _frames(ranges, 12, seed=1)
    offsets = offset or [0] * len(ranges)
    expected = np.array(
        [
            [
                _by_definition(x, m, s, b, lo, hi)
                for x, m, s, b in zip(row, multiplier, shift, offsets, strict=True)
            ]
            for row in frames[:, 0, :, 0].tolist()
        ]
    )[:, None, :, None]
    np.testing.assert_array_equal(block.model(frames), expected)
    for k, r in enumerate(block.value_ranges):
        assert (expected[:, 0, k].min(), expected[:, 0, k].max()) == (r.lo, r.hi)
    options = {"expected": expected, "stall_in": stalls[0], "stall_out": stalls[1]}
    run = run_stream(block, frames, seed=1, **options)
    if stalls == (0.0, 0.0):
        assert run.first_latency == block.latency
        assert run.cycles == frames.size + block.latency
    run_stream(block, frames, seed=2, reset_at=frames.size // 2, **options)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_gather(channels: int, stalls: tuple[float, float]) -> None:
    ranges = [(Range(-8, 7), Range(0, 200), Range(-3, 1))[k % 3] for k in range(channels)]
    frames = _frames(ranges, 9, seed=channels)
    expected = frames[:, 0, :, 0][:, :, None, None]
    block = Gather(ranges)
    np.testing.assert_array_equal(block.model(frames), expected)
    options = {"expected": expected, "stall_in": stalls[0], "stall_out": stalls[1]}
    run = run_stream(block, frames, seed=3, **options)
    if stalls == (0.0, 0.0):
        assert list(run.produced) == [channels * (n + 1) - 1 + block.latency for n in range(9)]
    run_stream(block, frames, seed=4, reset_at=channels + 3, **options)


class _Tail(wiring.Component):
    """Dense, requantise, dense, one value a beat in between."""

    def __init__(self, first, second, requantise, ranges, lanes):
        self.a = Dense(
            first, ranges=ranges, shape=(len(ranges), 1, 1), lanes=lanes, serial_out=True
        )
        self.b = SerialRequantise(requantise, ranges=self.a.value_ranges, offset=first.bias)
        self.c = Dense(
            second,
            ranges=self.b.value_ranges,
            shape=(len(first.bias), 1, 1),
            lanes=1,
            serial_in=True,
        )
        super().__init__(
            {
                "i": In(pixel_signature(self.a.input_ranges)),
                "o": Out(pixel_signature(self.c.output_ranges)),
            }
        )

    def model(self, x):
        return self.c.model(self.b.model(self.a.model(x)))

    def elaborate(self, platform):
        m = Module()
        m.submodules.a, m.submodules.b, m.submodules.c = self.a, self.b, self.c
        wiring.connect(m, wiring.flipped(self.i), self.a.i)
        wiring.connect(m, self.a.o, self.b.i)
        wiring.connect(m, self.b.o, self.c.i)
        wiring.connect(m, self.c.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("stalls", STALLS)
def test_chain_of_layers(stalls: tuple[float, float]) -> None:
    rng = np.random.default_rng(5)
    first = Conv(rng.integers(-8, 9, (7, 5, 1, 1)), np.zeros(7))
    second = Conv(rng.integers(-8, 9, (3, 7, 1, 1)), rng.integers(-50, 50, 3))
    op = RequantiseOp(rng.choice([3, 5, 9], (7, 1, 1)), rng.integers(5, 8, (7, 1, 1)), 0, 127)
    ranges = [Range(-128, 127)] * 5
    frames = _frames(ranges, 8, seed=3)[:, 0, :, 0][:, :, None, None]
    hidden = np.floor_divide(
        2 * (frames[:, :, 0, 0] @ first.weight[:, :, 0, 0].T) * op.multiplier.ravel()
        + 2 ** op.shift.ravel(),
        2 ** (op.shift.ravel() + 1),
    ).clip(0, 127)
    expected = (hidden @ second.weight[:, :, 0, 0].T + second.bias)[:, :, None, None]
    run_stream(
        _Tail(first, second, op, ranges, lanes=3),
        frames,
        expected=expected,
        stall_in=stalls[0],
        stall_out=stalls[1],
        deadline=5000,
        drain=200,
    )
