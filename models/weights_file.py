"""Read published weights: NPZ archives and Keras files (HDF5); shared by the converting scripts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Weights", "read_hdf5", "read_npz", "require"]

Weights = dict[str, npt.NDArray[Any]]
"""Arrays of whatever data type the file has, by name."""


def require(source: object, weights: Weights, names: Iterable[str]) -> None:
    """Stop with a message if ``weights``, read from ``source``, lack any of ``names``."""
    missing = [name for name in names if name not in weights]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise SystemExit(f"{source} must hold the tensors {', '.join(missing[:3])}{more}")


def read_npz(path: Path) -> Weights:
    """Every array of an NPZ archive, by name."""
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise SystemExit(f"{path} cannot be read as an NPZ archive: {error}") from error


def read_hdf5(content: bytes) -> Weights:
    """Every data set of an HDF5 file, by its path inside the file."""
    try:
        import h5py
    except ImportError as error:
        raise SystemExit("Reading Keras files needs h5py: pip install h5py") from error
    weights: Weights = {}

    def keep(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            weights[name] = np.asarray(entry)

    try:
        with h5py.File(io.BytesIO(content)) as archive:
            archive.visititems(keep)
    except OSError as error:
        raise SystemExit(f"The weights cannot be read as an HDF5 file: {error}") from error
    return weights
