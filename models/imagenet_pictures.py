"""Write the 20 labelled ImageNet pictures of the Python package foolbox as one NPZ.

Usage: python models/imagenet_pictures.py OUT.npz [--size 227] [--wheel FOOLBOX.whl]

OUT.npz gets ``x``, uint8 (20, 3, size, size): blue, green and red, 0..255, which SqueezeNet and
VGG-16 begin by subtracting a mean from; and ``y``, the class 0..999. Each picture is resized whole,
bilinearly. The pictures belong to their photographers and are not passed on here.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path, PurePosixPath

import fetch_package
import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["load"]

PACKAGE = "foolbox==3.3.4"
PATTERN = "foolbox/data/imagenet_*.jpg"


def load(
    size: int, wheel: Path | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pictures ``x`` (20, 3, size, size), BGR, and their classes ``y`` (20,)."""
    pictures, classes = [], []
    for name, content in fetch_package.read_members(PACKAGE, PATTERN, wheel).items():
        with Image.open(io.BytesIO(content)) as picture:
            rgb = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        pictures.append(np.asarray(rgb)[:, :, ::-1].transpose(2, 0, 1))
        classes.append(int(PurePosixPath(name).stem.rsplit("_", 1)[1]))
    return np.stack(pictures), np.array(classes, dtype=np.int64)


def main() -> None:
    """Fetch, resize and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=227, help="height and width (227)")
    fetch_package.add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.size < 1:
        parser.error(f"the size must be positive, not {arguments.size}")
    x, y = load(arguments.size, arguments.wheel)
    np.savez_compressed(arguments.out, x=x, y=y)
    print(f"{arguments.out}: {len(y)} pictures of {arguments.size} x {arguments.size}")


if __name__ == "__main__":
    main()
