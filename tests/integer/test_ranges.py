"""Interval analysis against every possible input of small operators."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    IntegerNetwork,
    IntNode,
    IntOp,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.network.types import Shape
from hwgen.numeric import FixedFormat, Range
from hwgen.sim.golden import run


def _brute_force(op: IntOp, source: Shape, output: Shape, fmt: FixedFormat) -> list[Range]:
    """Extremes of each output channel over every input image, by the golden model."""
    values = range(fmt.range.lo, fmt.range.hi + 1)
    size = int(np.prod(source))
    images = np.array(list(itertools.product(values, repeat=size))).reshape(-1, *source)
    node = IntNode("y", op, ("x",), output, (Range(0, 0),) * output[0], (1.0,) * output[0], "y")
    y = run(IntegerNetwork("n", "x", source, fmt, (node,), "y"), images)
    flat = y.transpose(1, 0, 2, 3).reshape(output[0], -1)
    return [Range(int(c.min()), int(c.max())) for c in flat]


def _check(op: IntOp, source: Shape, output: Shape, fmt: FixedFormat) -> None:
    ranges = output_ranges(op, [(fmt.range,) * source[0]], source, output)
    assert list(ranges) == _brute_force(op, source, output, fmt)


@given(
    st.lists(st.integers(-5, 5), min_size=18, max_size=18),
    st.lists(st.integers(-9, 9), min_size=2, max_size=2),
    st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0), (1, 0, 1, 1)]),
    st.booleans(),
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_convolution(
    weights: list[int], bias: list[int], pads: tuple[int, int, int, int], signed: bool
) -> None:
    op = Conv(np.array(weights).reshape(2, 1, 3, 3)[:, :, :2, :2], np.array(bias), pads=pads)
    height, width = 2 + pads[0] + pads[2] - 1, 2 + pads[1] + pads[3] - 1
    _check(op, (1, 2, 2), (2, height, width), FixedFormat(2, 0, signed))


def test_padding_counts_where_zero_is_outside_the_range() -> None:
    # the input is always 2 or 3, so the corner, where padding hides taps, decides the minimum
    op = Conv(np.ones((1, 1, 2, 2)), np.zeros(1), pads=(1, 1, 0, 0))
    assert output_ranges(op, [(Range(2, 3),)], (1, 2, 2), (1, 2, 2)) == (Range(2, 12),)


def test_a_tap_that_never_meets_the_image_does_not_count() -> None:
    op = Conv(np.arange(9).reshape(1, 1, 3, 3), np.zeros(1), pads=(1, 1, 1, 1))
    assert output_ranges(op, [(Range(0, 1),)], (1, 1, 1), (1, 1, 1)) == (Range(0, 4),)


def test_grouped_convolution_reads_its_own_channels() -> None:
    op = Conv(np.array([1, 10]).reshape(2, 1, 1, 1), np.array([0, 5]), groups=2)
    ranges = output_ranges(op, [(Range(0, 3), Range(-1, 1))], (2, 1, 1), (2, 1, 1))
    assert ranges == (Range(0, 3), Range(-5, 15))


@pytest.mark.parametrize(("multiplier", "shift"), [(3, 1), (-5, 3), (1, 0), (0, 2)])
def test_requantise(multiplier: int, shift: int) -> None:
    op = Requantise(np.array(multiplier).reshape(1, 1, 1), np.array(shift).reshape(1, 1, 1), -4, 9)
    _check(op, (1, 1, 1), (1, 1, 1), FixedFormat(5, 0, True))


def test_requantise_by_position() -> None:
    multiplier, shift = np.array([[[1, 3]]]), np.array([[[0, 1]]])
    op = Requantise(multiplier, shift, -100, 100)
    _check(op, (1, 1, 2), (1, 1, 2), FixedFormat(3, 0, True))


@given(
    st.lists(st.integers(-7, 7), min_size=2, max_size=2, unique=True).map(sorted),
    st.lists(st.integers(-6, 6), min_size=3, max_size=3),
    st.lists(st.integers(-20, 20), min_size=3, max_size=3),
    st.integers(0, 3),
)
@settings(derandomize=True, max_examples=80, deadline=None)
def test_piecewise_linear(
    breakpoints: list[int], slopes: list[int], offsets: list[int], shift: int
) -> None:
    op = PiecewiseLinear(
        np.array([breakpoints]), np.array([slopes]), np.array([offsets]), shift, -12, 13
    )
    _check(op, (1, 1, 1), (1, 1, 1), FixedFormat(4, 0, True))


@pytest.mark.parametrize(
    ("op", "output"),
    [
        (MaxPool((2, 2), (1, 1)), (1, 1, 2)),
        (MaxPool((2, 2), (2, 2), (1, 1, 1, 1)), (1, 2, 2)),
        (SumPool((2, 2), (1, 1)), (1, 1, 2)),
        (SumPool((2, 2), (1, 2), (1, 1, 0, 0)), (1, 2, 2)),
    ],
)
def test_pools(op: IntOp, output: Shape) -> None:
    for signed in (False, True):
        _check(op, (1, 2, 3), output, FixedFormat(2, 0, signed))


def test_branches_and_argmax() -> None:
    a, b = (Range(-1, 2), Range(0, 3)), (Range(1, 1), Range(-2, 0))
    shape = (2, 1, 1)
    assert output_ranges(Add((0, 2)), [a, b], shape, shape) == (Range(3, 6), Range(-8, 3))
    concatenated = output_ranges(Concat((1, 0)), [a, b], shape, (4, 1, 1))
    assert concatenated == (Range(-2, 4), Range(0, 6), Range(1, 1), Range(-2, 0))
    assert output_ranges(ArgMax(), [a], shape, (1, 1, 1)) == (Range(0, 1),)
