"""Write CIFAR-10 images as the networks here take them.

Usage: python models/cifar_data.py IMAGES OUT.npz [--part train] [--count 4000] [--every 40]

IMAGES is the data set as its author publishes it, ``cifar-10-binary.tar.gz``, of which the test or
the training part is read, or an NPZ with ``x``, uint8 RGB (N, 32, 32, 3), and ``y``, class 0..9.
OUT.npz gets ``x``, uint8 (N, 3, 32, 32), RGB 0..255, and ``y``: every CIFAR-10 network here takes
just that and has its normalisation inside.
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from weights_file import read_npz

__all__ = ["read"]

Images = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

FILES = {
    "test": ("test_batch.bin",),
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
}
RECORD = 1 + 3 * 32 * 32
"""Bytes of an image in the binary files: its class, then the red, the green, and the blue plane."""


def read(path: Path, part: str) -> Images:
    """Images (N, 3, 32, 32) and classes (N,): one ``part`` of the archive, or all of an NPZ."""
    return _from_npz(path) if path.suffix == ".npz" else _from_archive(path, FILES[part])


def _from_npz(path: Path) -> Images:
    arrays = read_npz(path)
    x, y = arrays.get("x"), arrays.get("y")
    if x is None or y is None:
        raise SystemExit(f"{path} must hold x and y, not {', '.join(arrays) or 'nothing'}")
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (32, 32, 3) or y.shape != x.shape[:1]:
        raise SystemExit(
            f"{path} must hold x, uint8 (N, 32, 32, 3), and y (N,), not x, {x.dtype} {x.shape}, "
            f"and y {y.shape}"
        )
    return x.transpose(0, 3, 1, 2), y.astype(np.uint8)


def _from_archive(path: Path, names: tuple[str, ...]) -> Images:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                file = archive.extractfile(member) if name in names else None
                if file is not None:
                    found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SystemExit(f"{path} cannot be read as CIFAR-10's archive: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise SystemExit(f"{path} must hold {', '.join(missing)}: take cifar-10-binary.tar.gz")
    content = b"".join(found[name] for name in names)
    if len(content) % RECORD:
        raise SystemExit(f"{path} must hold images of {RECORD} bytes, not {len(content)} bytes")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def main() -> None:
    """Convert the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--part", choices=tuple(FILES), default="test", help="of the published archive (test)"
    )
    parser.add_argument("--count", type=int, help="keep the first so many images (all)")
    parser.add_argument("--every", type=int, default=1, help="keep every so many images (1)")
    arguments = parser.parse_args()
    if arguments.every < 1 or (arguments.count is not None and arguments.count < 1):
        parser.error("--count and --every must be positive")
    x, y = read(arguments.images, arguments.part)
    keep = slice(None, arguments.count, arguments.every)
    np.savez_compressed(arguments.out, x=x[keep], y=y[keep])
    print(f"{arguments.out}: {len(y[keep])} images")


if __name__ == "__main__":
    main()
