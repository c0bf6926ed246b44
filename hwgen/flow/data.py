"""Images and labels: reading, checking and splitting them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen.approx.measure import without_decision
from hwgen.errors import DataError
from hwgen.network.types import FloatArray, Network, Shape
from hwgen.npz import DAMAGED

__all__ = ["Images", "Splits", "count_classes", "load_images", "split"]

_HELD_OUT_SHARE = 0.3
_CALIBRATION_SHARE = 0.3
_GREATEST = 1e9
"""Magnitude of input values, and one over the least: squares and formats of others overflow."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images ``x`` (N, C, H, W) as the model wants them, and class labels ``y`` (N,) if known."""

    x: FloatArray
    y: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: npt.NDArray[np.intp]) -> Images:
        """The images at ``indices``."""
        return Images(self.x[indices], None if self.y is None else self.y[indices])

    def join(self, other: Images) -> Images:
        """These images and then the ``other`` ones; without labels if either has none."""
        labels = None
        if self.y is not None and other.y is not None:
            labels = np.concatenate([self.y, other.y])
        return Images(np.concatenate([self.x, other.x]), labels)


@dataclass(frozen=True, eq=False)
class Splits:
    """Images by their use: no image is in two of the three."""

    calibration: Images
    choosing: Images
    test: Images


def count_classes(network: Network) -> int | None:
    """Classes that ``network`` tells apart, two for a single output; None if it makes a map."""
    logits = without_decision(network)
    channels, *pixels = logits.shape(logits.output)
    return max(2, channels) if pixels == [1, 1] else None


def load_images(path: Path, shape: Shape, classes: int | None = None) -> Images:
    """Read ``x`` and optionally ``y`` from an NPZ file and check them against the model's input.

    ``x`` may be of any real type; a missing channel axis is added for one-channel models. ``y``
    must be below ``classes`` if that is given.

    Raises
    ------
    DataError
        If the file is missing or damaged, or an array has the wrong shape, type or values.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if "x" not in archive:
                raise DataError(
                    f"{str(path)!r} has no array 'x' (N, C, H, W); it holds {sorted(archive)}"
                )
            x = archive["x"]
            y = archive["y"] if "y" in archive else None
    except FileNotFoundError:
        raise DataError(f"The data file {str(path)!r} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{str(path)!r} is a directory, not an NPZ file") from None
    except (OSError, *DAMAGED):
        raise DataError(f"{str(path)!r} is not an NPZ file of plain arrays") from None
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or np.iscomplexobj(x):
        raise DataError(f"Array 'x' of {str(path)!r} must hold real numbers, not {x.dtype}")
    if x.ndim == 3 and shape[0] == 1:
        x = x[:, np.newaxis]
    if x.ndim != 4 or x.shape[1:] != shape:
        raise DataError(
            f"Array 'x' of {str(path)!r} has shape {x.shape}, but the model wants "
            f"(N, {shape[0]}, {shape[1]}, {shape[2]})"
        )
    if len(x) == 0:
        raise DataError(f"Array 'x' of {str(path)!r} holds no image")
    x = x.astype(np.float64)
    if not np.isfinite(x).all():
        raise DataError(f"Array 'x' of {str(path)!r} holds values that are not finite")
    greatest = float(np.abs(x).max())
    if greatest and not 1 / _GREATEST <= greatest <= _GREATEST:
        raise DataError(
            f"The greatest value of array 'x' of {str(path)!r} must be between 1e-9 and 1e9 in "
            f"magnitude, not {greatest:g}"
        )
    if y is None:
        return Images(x, None)
    labels = _labels(y, len(x), path)
    if classes is not None and (odd := labels[(labels < 0) | (labels >= classes)]).size:
        raise DataError(
            f"Array 'y' of {str(path)!r} must hold classes from 0 to {classes - 1}, as the model "
            f"has {classes}, not {odd[0]}"
        )
    return Images(x, labels)


def _labels(y: npt.NDArray[np.generic], count: int, path: Path) -> npt.NDArray[np.int64]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,) or not (np.issubdtype(y.dtype, np.integer) or y.dtype == bool):
        raise DataError(
            f"Array 'y' of {str(path)!r} must hold one integer class an image, shape ({count},), "
            f"not {y.dtype} of shape {y.shape}"
        )
    return y.astype(np.int64)


def split(data: Images, test: Images | None, *, seed: int, calibration: int = 256) -> Splits:
    """Divide ``data`` at random; without ``test`` images, 30 % of ``data`` are held out as such.

    Of the rest at most ``calibration`` images, and at most 30 %, calibrate; the others choose.

    Raises
    ------
    DataError
        If there are too few images.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    if test is None:
        held_out = int(len(data) * _HELD_OUT_SHARE)
        test, order = data.take(order[:held_out]), order[held_out:]
    count = min(calibration, max(1, int(len(order) * _CALIBRATION_SHARE)))
    splits = Splits(data.take(order[:count]), data.take(order[count:]), test)
    if min(len(part) for part in (splits.calibration, splits.choosing, splits.test)) == 0:
        raise DataError(
            "Data must hold at least 10 images, to calibrate, to choose and to test, "
            f"not {len(data)}"
        )
    return splits
