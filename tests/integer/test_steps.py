"""Layers that end in a step: integer thresholds against exact real numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from binary_networks import binary_images, binary_integers, binary_network
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.types import DyadicFilters
from hwgen.integer.steps import Step, step_of, threshold
from hwgen.network.execute import run, run_all
from hwgen.network.steps import LEAST, reversed_signs, step
from hwgen.numeric import Dyadic, FixedFormat
from hwgen.sim import golden

STEPS = {
    "sign": step([0, LEAST], [-1, 0, 1]),
    "closed": step([0], [-1, 1]),
    "open": step([LEAST], [-0.5, 0.5]),
    "bits": step([0], [0, 2]),
    "open bits": step([LEAST], [0, 1]),
    "each its own": reversed_signs(step([0], [-1, 1]), np.array([1.0, -1, 1])),
}


@pytest.mark.parametrize("kind", STEPS)
@given(st.integers(0, 1 << 32))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_every_input_is_on_the_right_side(kind: str, seed: int) -> None:
    """All inputs of a layer of two taps; biases on the grid of its sums, and beside it."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-3, 4, (3, 2, 1, 1)) * 3
    scale = tuple(Dyadic(int(rng.integers(-3, 4)), int(rng.integers(-4, 3))) for _ in codes)
    unit = float(scale[0]) or 1.0
    bias = np.array([3 * unit * rng.integers(-9, 10) / 8, rng.normal(), 0.0])
    filters = DyadicFilters(codes, 2, scale, bias, "k/4")
    found = step_of(STEPS[kind])
    assert found is not None
    weight, offset = threshold(filters, found, 1 / 8, 4)
    x = np.stack(np.meshgrid(np.arange(-4, 5), np.arange(-4, 5)), axis=0).reshape(2, -1)
    sums = weight[:, :, 0, 0] @ x + offset[:, None]
    clipped = np.clip(sums, found.levels[0], found.levels[-1]) * found.scale
    for o, row in enumerate(clipped.tolist()):
        one = Fraction(float(scale[o])) / 4 / 8
        for got, taps in zip(row, (codes[o, :, 0, 0] @ x).tolist(), strict=True):
            real = one * taps + Fraction(float(bias[o]))
            channel = o % len(STEPS[kind].offsets)
            breakpoints = STEPS[kind].breakpoints[channel].tolist()
            segment = sum(Fraction(b) <= real for b in breakpoints)
            assert got == STEPS[kind].offsets[channel, segment]


def test_steps_that_are_not_built_so() -> None:
    for op in (step([1], [-1, 1]), step([0], [-0.7, 0.7]), step([0], [1, -1]), step([0], [-1, 0])):
        assert step_of(op) is None
    assert step_of(step([0], [-2, 2])) == Step((-1, 1), 2.0, closed=(True,))


@pytest.mark.parametrize("pad", [0, 1])
def test_binary_network_decides_as_in_real_numbers(pad: int) -> None:
    """Bit for bit up to the last layer, on 8-bit images, at the zeros of the padding too."""
    network = binary_network(pad, pad=pad)
    integers = binary_integers(network)
    assert integers.input_format == FixedFormat(8, 0, signed=False)
    images = binary_images(network, 40)
    quantised = integers.input_format.quantise(images)
    found = golden.run_all(integers, quantised)
    real = run_all(network, images, dtype=np.float64)
    for name in ("sign0", "pool"):
        np.testing.assert_array_equal(found[name], real[name])
        assert set(np.unique(found[name])) == {-1, 1}
    np.testing.assert_array_equal(
        found[integers.output].argmax(axis=1), run(network, images, dtype=np.float64).argmax(axis=1)
    )
    assert [r.width for r in integers.ranges("sign0")] == [2] * 5
