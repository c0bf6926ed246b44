"""Write Fashion-MNIST's 10,000 official test images as one npz, as the network fashion takes them.

Usage: python models/fashion_mnist.py OUT.npz [--part train] [--every 10] [--idx FOLDER]

``--part train`` writes the 60,000 training images instead. Of these, the network fashion has not
been trained on every tenth: ``--part train --every 10`` writes those 6,000, to choose with.

FOLDER holds the four IDX files, gzipped or not, as https://github.com/zalandoresearch/fashion-mnist
publishes them in ``data/fashion``. Without it they are read where Debian's package
``dataset-fashion-mnist`` installs them, ``/usr/share/datasets/fashion-mnist``.
"""

from __future__ import annotations

from pathlib import Path

from idx_images import IdxImages, read_folder, write_part

__all__ = ["load"]

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MD5 = {
    "train-images": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels": "15d484375f8d13e6eb1aabb0c3f46965",
}


def load(folder: Path | None) -> IdxImages:
    """All 70,000 images from the IDX files in ``folder``, or from Debian's package without it."""
    if folder is None and not DEBIAN.is_dir():
        raise SystemExit(f"No folder {DEBIAN}: apt install dataset-fashion-mnist, or use --idx")
    return read_folder(folder or DEBIAN, MD5)


if __name__ == "__main__":
    write_part(__doc__, load)
