"""Networks on larger pictures than they were trained on."""

import numpy as np
import pytest
from networks import NETWORKS, Sketch

from hwgen.errors import UnsupportedError
from hwgen.flow.built import mosaics
from hwgen.integer.resize import resized
from hwgen.integer.types import ArgMax
from hwgen.sim import golden


def _unpadded():
    s = Sketch((2, 10, 8), seed=3)
    x = s.requantise(s.conv("image", 3, name="conv"))
    x = s.max_pool(x)
    x = s.requantise(s.dense(x, 4, name="fc"), lo=-128, hi=127)
    return s.done(x)


def test_every_position_is_what_the_network_gives_for_the_part_under_it() -> None:
    network = _unpadded()
    larger = resized(network, (16, 13))
    assert network.shape(network.output) == (4, 1, 1)
    assert larger.shape(larger.output) == (4, 4, 3)  # every other row and column
    pictures = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 13))
    scores = golden.run(larger, pictures)
    for row in range(4):
        for column in range(3):
            part = pictures[:, :, 2 * row :, 2 * column :][:, :, :10, :8]
            np.testing.assert_array_equal(
                scores[:, :, row, column], golden.run(network, part)[:, :, 0, 0]
            )


def test_the_decision_is_left_out() -> None:
    network = NETWORKS["classifier"]()
    assert isinstance(network.node(network.output).op, ArgMax)
    _, height, width = network.input_shape
    larger = resized(network, (height + 4, width))
    assert larger.output == network.node(network.output).inputs[0]
    assert resized(network, (height, width)) is network


def test_what_cannot_be_resized_is_refused() -> None:
    network = _unpadded()
    with pytest.raises(UnsupportedError, match="at least 10x8"):
        resized(network, (9, 8))
    residual = NETWORKS["mean"]()
    grown = resized(residual, tuple(n + 3 for n in residual.input_shape[1:]))
    assert grown.input_shape[1] == residual.input_shape[1] + 3


def test_mosaics_hold_every_image() -> None:
    images = np.arange(7.0)[:, None, None, None] * np.ones((7, 2, 3, 4))
    pictures = mosaics(images, (7, 8))
    assert pictures.shape == (2, 2, 7, 8)
    assert set(pictures.ravel()) == set(range(7))
    np.testing.assert_array_equal(pictures[0, :, 3:6, 4:], images[3])
    np.testing.assert_array_equal(mosaics(images, (3, 4)), images)
