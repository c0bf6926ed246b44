"""Random weights in the shapes of AlexNet: ``python models/alexnet.py alexnet.npz [--seed N]``.

The convolutions are grouped as in Krizhevsky, Sutskever and Hinton (NIPS 2012), and fc6 is seen as
a convolution whose kernels cover its 6x6 input: 233,760 kernels of convolutions and 1,048,576
kernels of fc6, together 1,282,336 matrices. fc7 and fc8 have no kernels larger than 1x1.

The weights are random: they are for measuring time, memory and errors of weights, and no accuracy
can be stated with them. Their distribution follows the trained networks in this folder. There the
weights within one kernel have the kurtosis of Gaussian samples (the median over kernels is -0.3 to
-0.5 for 5x5 and -0.8 to -1.0 for 3x3, where Gaussian samples have about -0.4 and -0.8), while the
sizes of filters and of the kernels within one spread log-normally (standard deviation of the
logarithm of the root mean square: 0.1 to 0.4 over filters in most layers, 0.2 to 1 over kernels),
which gives a filter its heavy tails (median excess kurtosis 0.1 to 1.2). Hence: Gaussian kernels,
with log-normal sizes of sigma 0.3 over filters and 0.3 over kernels, at the variance of He
initialisation.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["SHAPES", "weights"]

SHAPES: dict[str, tuple[int, int, int, int]] = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 256, 6, 6),
}
"""(O, I / groups, H, W) by layer."""

_FILTER_SPREAD = 0.3
_KERNEL_SPREAD = 0.3


def weights(shape: tuple[int, int, int, int], seed: int) -> npt.NDArray[np.float32]:
    """Weights of one layer of ``shape`` (O, I, H, W)."""
    rng = np.random.default_rng(seed)
    outputs, inputs, height, width = shape
    values = rng.standard_normal(shape, dtype=np.float32)
    size = rng.lognormal(0, _KERNEL_SPREAD, (outputs, inputs))
    size *= rng.lognormal(0, _FILTER_SPREAD, (outputs, 1))
    size *= math.sqrt(2 / (inputs * height * width))
    values *= size.astype(np.float32)[:, :, None, None]
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description="Random weights in the shapes of AlexNet.")
    parser.add_argument("file", type=Path, metavar="FILE.npz")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    layers = {
        name: weights(shape, arguments.seed + index)
        for index, (name, shape) in enumerate(SHAPES.items())
    }
    np.savez(arguments.file, **layers)


if __name__ == "__main__":
    main()
