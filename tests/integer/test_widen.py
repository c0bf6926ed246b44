"""Networks whose columns come in groups compute what they did before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, Sketch, images_for

from hwgen.errors import UnsupportedError
from hwgen.integer.columns import Columns
from hwgen.integer.types import ArgMax, Concat, IntegerNetwork, MaxPool, PiecewiseLinear
from hwgen.integer.widen import grouped, ungrouped, widen
from hwgen.sim.golden import run, run_all


def check(network: IntegerNetwork, pixels: int) -> IntegerNetwork:
    """Widen a network and compare every tensor, and its range, with the original's."""
    wide = widen(network, pixels)
    images = images_for(network, 3)
    golden = run_all(network, images)
    for name, found in run_all(wide, grouped(images, pixels)).items():
        for bounds, channel in zip(wide.ranges(name), np.moveaxis(found, 1, 0), strict=True):
            assert bounds.lo <= channel.min() <= channel.max() <= bounds.hi
        if name in golden:
            together = found.shape[1] // golden[name].shape[1]
            np.testing.assert_array_equal(ungrouped(found, together), golden[name])
    return wide


@settings(derandomize=True, max_examples=80, deadline=None)
@given(data=st.data())
def test_any_window(data: st.DataObject) -> None:
    """One linear layer, pool or maximum, with what may follow it."""
    pixels = data.draw(st.integers(2, 4))
    kind = data.draw(st.sampled_from(["conv", "max", "sum"]))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    strides = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    most = 3 if kind == "conv" else min(kernel) - 1
    pads = data.draw(st.tuples(*[st.integers(0, most)] * 4))
    dilation = 1 if kind == "sum" else data.draw(st.integers(1, 2))
    # The width that gives whole groups, of which there may be any number.
    step = pixels // np.gcd(pixels, strides[1])
    extent = dilation * (kernel[1] - 1) + 1
    widths = [
        w
        for w in range(pixels, 40, pixels)
        if w + pads[1] + pads[3] >= extent
        and ((w + pads[1] + pads[3] - extent) // strides[1] + 1) % step == 0
    ]
    if not widths:
        return
    width = data.draw(st.sampled_from(widths[:4]))
    groups = data.draw(st.sampled_from([1, 2]))
    s = Sketch((2, 6, width), signed=True, seed=data.draw(st.integers(0, 99)))
    match kind:
        case "conv":
            x = s.conv("image", 4, kernel, strides, pads, (1, dilation), groups)
        case "sum":
            x = s.sum_pool("image", kernel, strides, pads)
        case _:
            op = MaxPool(kernel, strides, pads, (1, dilation))
            rows = (6 + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
            columns = (width + pads[1] + pads[3] - extent) // strides[1] + 1
            x = s.add(op, "image", shape=(2, rows, columns))
    check(s.done(s.requantise(x, lo=-128, hi=127)), pixels)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("depthwise", 2),
        ("residual", 2),
        ("residual", 3),
        ("inception", 2),
        ("mean", 2),
        ("pools", 4),
        ("tanh", 2),
        ("classifier", 6),
        ("twice", 2),
    ],
)
def test_networks(name: str, pixels: int) -> None:
    wide = check(NETWORKS[name](), pixels)
    assert wide.input_shape[2] * pixels == NETWORKS[name]().input_shape[2]


def test_functions_of_each_channel_and_joined_channels() -> None:
    s = Sketch((2, 3, 8), signed=True)
    tables = (np.array([[-9], [20]]), np.array([[1, 2], [3, 1]]), np.array([[0, 4], [5, 1]]))
    x = s.add(PiecewiseLinear(*tables, 1, -64, 63), "image", shape=(2, 3, 8))
    y = s.requantise(s.conv("image", 3, (1, 1)))
    x = s.add(Concat((1, 0)), x, y, shape=(5, 3, 8))
    check(s.done(s.conv(x, 2)), 2)


def test_groups_are_columns() -> None:
    x = np.arange(2 * 3 * 1 * 6).reshape(2, 3, 1, 6)
    np.testing.assert_array_equal(grouped(x, 2)[:, 3:], x[..., 1::2])
    np.testing.assert_array_equal(ungrouped(grouped(x, 3), 3), x)


def test_what_cannot_be_grouped_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"must divide the 9 columns .* not 2"):
        widen(NETWORKS["chain"](), 2)
    with pytest.raises(UnsupportedError, match=r"Layer 't0': Rows must fill groups of 4"):
        widen(NETWORKS["bare"](), 4)
    s = Sketch((1, 1, 2))
    with pytest.raises(UnsupportedError, match=r"fill groups of 2 .* not 2 and 1 columns|compares"):
        widen(s.done(s.add(ArgMax(), "image", shape=(1, 1, 1))), 2)
    assert widen(NETWORKS["chain"](), 1).input_shape == (1, 10, 9)


def test_strides_make_groups_smaller() -> None:
    columns = Columns(12, 2, 2, 1, 0, 0, 4)
    assert (columns.pixels_out, columns.stride_out, columns.kernel_out) == (2, 1, 1)
    same = Columns(12, 3, 1, 1, 1, 1, 4)
    assert (same.pixels_out, same.kernel_out, same.left_out, same.right_out) == (4, 3, 1, 1)
    assert run(NETWORKS["tanh"](), images_for(NETWORKS["tanh"](), 1)).shape[1:] == (2, 4, 4)
