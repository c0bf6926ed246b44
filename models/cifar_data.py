"""Turn CIFAR-10 images (N, 32, 32, 3) into the (N, 3, 32, 32) that the networks here take.

Usage: python models/cifar_data.py IMAGES.npz OUT.npz [--every 10]

IMAGES.npz holds ``x``, uint8 RGB, and ``y``, uint8 class 0..9.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np


def main() -> None:
    """Convert the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="keep every so many images (1)")
    arguments = parser.parse_args()
    with np.load(arguments.images) as archive:
        x, y = archive["x"][:: arguments.every], archive["y"][:: arguments.every]
    np.savez_compressed(arguments.out, x=x.transpose(0, 3, 1, 2), y=y)
    print(f"{arguments.out}: {len(y)} images")


if __name__ == "__main__":
    main()
