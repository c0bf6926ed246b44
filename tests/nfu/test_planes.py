"""Images as bit planes: binary networks on lanes for activations of two bits."""

from __future__ import annotations

import numpy as np
import pytest
from binary_networks import binary_images, binary_integers, binary_network
from networks import Sketch
from nfu_networks import check_compiled

from hwgen.errors import UnsupportedError
from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import BinaryLane, DyadicLane, NfuConfig
from hwgen.nfu.golden import execute
from hwgen.nfu.planes import image_planes, plane_values, plane_weights
from hwgen.sim import golden

NARROW = NfuConfig(
    tn=4,
    ti=4,
    activation_width=2,
    accumulator_width=20,
    lane=BinaryLane(8),
    nfu3_lanes=4,
    scale_terms=4,
    scale_exponents=32,
    product_width=48,
    maximum=True,
)


@pytest.mark.parametrize("signed", [False, True])
def test_planes_add_up_to_the_numbers(signed: bool) -> None:
    rng = np.random.default_rng(signed)
    x = rng.integers(-128 * signed, 256 - 128 * signed, (3, 4, 5))
    op = Conv(rng.integers(-3, 4, (2, 3, 1, 1)), np.zeros(2, np.int64))
    split = plane_weights(op, 8, signed=signed)
    bits = plane_values(x, 8)
    assert split.weight.shape == (2, 24, 1, 1)
    assert set(np.unique(bits)) == {0, 1}
    np.testing.assert_array_equal(
        np.einsum("oi,ihw->ohw", split.weight[..., 0, 0], bits),
        np.einsum("oi,ihw->ohw", op.weight[..., 0, 0], x),
    )


@pytest.mark.parametrize("pad", [0, 1])
def test_binary_network_on_two_bits(pad: int) -> None:
    network = binary_network(20 + pad, pad=pad)
    integers = binary_integers(network)
    assert image_planes(integers, NARROW) == 8
    compiled = compile_network(integers, NARROW)
    assert compiled.input.planes == 8
    images = integers.input_format.quantise(binary_images(network, 4))
    for image, expected in zip(images, golden.run(integers, images), strict=True):
        result = execute(NARROW, compiled.program, compiled.with_image(image))
        np.testing.assert_array_equal(compiled.result(result.activations), expected)
    hidden = [m for m in compiled.layers[1].layer.addends]
    assert hidden[0].op.weight.shape[1] == 5


def sketch(*, signed: bool, groups: int = 1) -> IntegerNetwork:
    s = Sketch((2, 6, 6), signed=signed, seed=3, exponents=1)
    return s.done(s.conv("image", 4, (3, 3), pads=(1, 1, 1, 1), groups=groups))


def test_signed_images() -> None:
    network = sketch(signed=True)
    assert image_planes(network, NARROW) == 8
    check_compiled(network, NARROW, seed=2)


def test_numbers_stay_where_planes_do_not_help() -> None:
    """Wide activations, another lane, too few planes, and layers with groups."""
    network = sketch(signed=False)
    wide = NfuConfig(activation_width=8, lane=BinaryLane(8))
    assert image_planes(network, wide) == 1
    for lane in (DyadicLane(), BinaryLane(7)):
        assert image_planes(network, NfuConfig(activation_width=2, lane=lane)) == 1
    grouped = sketch(signed=False, groups=2)
    assert image_planes(grouped, NARROW) == 1
    with pytest.raises(UnsupportedError, match="activations of 2 bits hold"):
        compile_network(grouped, NARROW)
