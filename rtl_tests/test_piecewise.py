# amaranth: UnusedElaboratable=no
"""Piecewise-linear activations against their definition, on every input of small ranges."""

from __future__ import annotations

import numpy as np
import pytest
from streambench import run_stream

from hwgen.integer.types import PiecewiseLinear as PiecewiseLinearOp
from hwgen.numeric import Range
from hwgen.stream.piecewise import PiecewiseLinear

TANH = PiecewiseLinearOp(
    [[-83, -48, -27, -11, 11, 27, 48, 83]],
    [[0, 2, 7, 13, 18, 13, 7, 2, 0]],
    [[-1722, -1556, -1316, -1154, -1099 + 1099, 1154 - 1099, 217, 457, 623]],
    3,
    -128,
    127,
)
LEAKY = PiecewiseLinearOp([[0]], [[1, 8]], [[0, 0]], 3, -128, 127)
STEPS = PiecewiseLinearOp([[-3, 4, 4, 90]], [[0, 0, 0, 0, 0]], [[-7, 1, 99, 3, 8]], 0, -128, 127)
FALLING = PiecewiseLinearOp([[-20, 20]], [[-4, -19, -255]], [[100, -3, 4711]], 5, -77, 70)
LINE = PiecewiseLinearOp(np.zeros((1, 0)), [[3]], [[5]], 1, -128, 127)
FLAT = PiecewiseLinearOp([[0]], [[0, 0]], [[5, 5]], 0, -128, 127)
OPS = {
    "tanh": TANH,
    "leaky": LEAKY,
    "steps": STEPS,
    "falling": FALLING,
    "line": LINE,
    "flat": FLAT,
}


def _by_definition(op, g, x):
    s = sum(b <= x for b in op.breakpoints[g].tolist())
    total = int(op.slopes[g, s]) * x + int(op.offsets[g, s])
    rounded = (total + (1 << op.shift) // 2) // (1 << op.shift)
    return max(op.lo, min(op.hi, rounded))


@pytest.mark.parametrize("r", [Range(-128, 127), Range(0, 100), Range(-5, 3), Range(7, 7)])
@pytest.mark.parametrize("name", OPS)
def test_every_input(name: str, r: Range) -> None:
    op = OPS[name]
    frames = np.arange(r.lo, r.hi + 1).reshape(1, 1, 1, -1)
    expected = np.array([_by_definition(op, 0, x) for x in frames.ravel().tolist()])
    block = PiecewiseLinear(op, ranges=[r], shape=(1, 1, frames.shape[3]))
    np.testing.assert_array_equal(block.model(frames).ravel(), expected)
    run = run_stream(block, frames, expected=expected[:, None])
    assert (expected.min(), expected.max()) == (
        block.output_ranges[0].lo,
        block.output_ranges[0].hi,
    )
    assert run.first_latency == block.latency
    assert run.cycles == frames.size + block.latency


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)])
def test_a_function_a_channel(stalls: tuple[float, float]) -> None:
    """Channels of different depth leave together; wide inputs, of different signs."""
    rng = np.random.default_rng(0)
    op = PiecewiseLinearOp(
        np.sort(rng.integers(-600, 900, (5, 6)), axis=1),
        rng.integers(-200, 200, (5, 7)),
        rng.integers(-50_000, 50_000, (5, 7)),
        9,
        -100,
        127,
    )
    ranges = [Range(-1024, 1023), Range(0, 899), Range(-700, -1), Range(5, 5), Range(-2, 1)]
    frames = np.stack([rng.integers(r.lo, r.hi, (3, 6, 7), endpoint=True) for r in ranges], axis=1)
    expected = np.array(
        [
            [
                [[_by_definition(op, c, x) for x in row] for row in frames[n, c].tolist()]
                for c in range(5)
            ]
            for n in range(3)
        ]
    )
    block = PiecewiseLinear(op, ranges=ranges, shape=(5, 6, 7))
    np.testing.assert_array_equal(block.model(frames), expected)
    options = {"expected": expected, "stall_in": stalls[0], "stall_out": stalls[1]}
    run_stream(block, frames, seed=1, **options)
    run_stream(block, frames, seed=2, reset_at=29, **options)


def test_errors() -> None:
    with pytest.raises(ValueError, match="one a channel"):
        PiecewiseLinear(TANH, ranges=[Range(0, 1)], shape=(2, 1, 1))
    with pytest.raises(ValueError, match="must be 1 or 3"):
        PiecewiseLinear(
            PiecewiseLinearOp([[0]] * 2, [[0, 1]] * 2, [[0, 0]] * 2, 0, 0, 1),
            ranges=[Range(0, 1)] * 3,
            shape=(3, 1, 1),
        )
