"""Data sets in four IDX files, as MNIST and Fashion-MNIST are published."""

from __future__ import annotations

import argparse
import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["IdxImages", "Load", "add_arguments", "read_folder", "write_part"]


@dataclass(frozen=True)
class IdxImages:
    """Images uint8 (N, 1, 28, 28), 0..255, and labels uint8 (N,); N is 60,000 and 10,000."""

    train_x: npt.NDArray[np.uint8]
    train_y: npt.NDArray[np.uint8]
    test_x: npt.NDArray[np.uint8]
    test_y: npt.NDArray[np.uint8]


Load = Callable[[Path | None], IdxImages]
"""Reads a data set from the folder with its IDX files, or from where it usually is."""


def read_folder(folder: Path, md5: Mapping[str, str]) -> IdxImages:
    """The four files in ``folder`` or below, gzipped or not.

    ``md5``: the sums of their unpacked contents by the start of their names.
    """
    return IdxImages(
        _read(folder, "train-images", md5).reshape(-1, 1, 28, 28),
        _read(folder, "train-labels", md5),
        _read(folder, "t10k-images", md5).reshape(-1, 1, 28, 28),
        _read(folder, "t10k-labels", md5),
    )


def _read(folder: Path, stem: str, md5: Mapping[str, str]) -> npt.NDArray[np.uint8]:
    """The values of the one IDX file in ``folder`` (or below) whose name starts with ``stem``."""
    paths = sorted(folder.rglob(f"{stem}*ubyte*"))
    if not paths:
        raise SystemExit(f"No IDX file {stem}* in {folder}; name its folder with --idx")
    content = paths[0].read_bytes()
    if paths[0].suffix == ".gz":
        content = gzip.decompress(content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != md5[stem]:
        raise SystemExit(f"{paths[0]} is not the original file: MD5 {digest}, not {md5[stem]}")
    header = 16 if stem.endswith("images") else 8
    return np.frombuffer(content, dtype=np.uint8, offset=header)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the files are."""
    parser.add_argument("--idx", type=Path, help="folder with the four IDX files")


def write_part(description: str, load: Load) -> None:
    """The command of a script that writes one part of a data set as an NPZ."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=("test", "train"), default="test")
    parser.add_argument("--every", type=int, default=1, help="keep one image in so many (1)")
    add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.every < 1:
        parser.error(f"--every must be positive, not {arguments.every}")
    images = load(arguments.idx)
    test = arguments.part == "test"
    x, y = (images.test_x, images.test_y) if test else (images.train_x, images.train_y)
    np.savez_compressed(arguments.out, x=x[:: arguments.every], y=y[:: arguments.every])
    print(f"{arguments.out}: {len(y[:: arguments.every])} images")
