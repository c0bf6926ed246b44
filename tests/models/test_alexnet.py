"""The matrices of AlexNet: their number, and weights that follow the stated distribution."""

import math

import numpy as np
from alexnet import SHAPES, weights


def test_the_matrices_are_those_of_alexnet() -> None:
    kernels = {name: outputs * inputs for name, (outputs, inputs, _, _) in SHAPES.items()}
    assert list(kernels.values()) == [288, 12_288, 98_304, 73_728, 49_152, 1_048_576]
    assert sum(kernels.values()) - kernels["fc6"] == 233_760
    assert sum(kernels.values()) == 1_282_336
    assert SHAPES["fc6"][2:] == (6, 6)


def test_weights_have_the_stated_sizes_and_repeat() -> None:
    found = weights(SHAPES["conv3"], seed=2)
    assert found.dtype == np.float32
    assert found.shape == SHAPES["conv3"]
    np.testing.assert_array_equal(found, weights(SHAPES["conv3"], seed=2))
    assert not np.array_equal(found, weights(SHAPES["conv3"], seed=3))
    filters = np.log(np.sqrt((found.reshape(384, -1).astype(float) ** 2).mean(axis=1)))
    assert abs(filters.std() - 0.3) < 0.04
    assert abs(math.exp(filters.mean()) * math.sqrt(256 * 9 / 2) - math.exp(0.3**2)) < 0.1
