"""Picture files as images of the kind that a network was made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hwgen.errors import DataError
from hwgen.network.types import FloatArray, Shape

__all__ = ["load_pictures", "pixel_range"]

_MODES = {1: "L", 3: "RGB"}
_BLACK, _WHITE = 0, 255
_KNOWN = ((0.0, 255.0), (-128.0, 127.0))


def pixel_range(known: FloatArray) -> tuple[float, float]:
    """What black and white are in images (N, C, H, W) that are ``known``: 0 and 255 of a picture.

    Whole numbers from 0 to 255 are pixels as they are, whole numbers from -128 to 127 pixels less
    128, and others from 0 to 1 pixels divided by 255.

    Raises
    ------
    DataError
        If the images are none of these.
    """
    least, greatest = float(known.min()), float(known.max())
    whole = np.array_equal(known, np.round(known))
    if not whole and least >= 0 and greatest <= 1:
        return 0.0, 1.0
    for black, white in _KNOWN:
        if whole and black <= least and greatest <= white and greatest > 1:
            return black, white
    raise DataError(
        f"Images of this network hold values from {least:g} to {greatest:g}, which are no pixels: "
        "say what black and white are with --range BLACK WHITE"
    )


def load_pictures(
    paths: Sequence[Path], shape: Shape, *, black: float, white: float, resize: bool
) -> FloatArray:
    """Images (N, C, H, W) of picture files, in grey or in colour as ``shape`` (C, H, W) is.

    0 becomes ``black`` and 255 ``white``. Pictures of another size are an error, or resized.

    Raises
    ------
    DataError
        If a file is missing or no picture, or has another size and is not to be resized.
    """
    channels, height, width = shape
    if channels not in _MODES:
        raise DataError(
            f"Pictures have 1 or 3 channels, and this network wants {channels}: give an NPZ file"
        )
    images = np.empty((len(paths), *shape))
    for number, path in enumerate(paths):
        try:
            with Image.open(path) as file:
                picture = file.convert(_MODES[channels])
        except FileNotFoundError:
            raise DataError(f"The picture {str(path)!r} does not exist") from None
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            raise DataError(f"{str(path)!r} is neither a picture nor an NPZ file") from None
        if picture.size != (width, height):
            if not resize:
                raise DataError(
                    f"The picture {str(path)!r} must have {width} x {height} pixels, not "
                    f"{picture.width} x {picture.height}: --resize changes its size"
                )
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture, dtype=np.float64).reshape(height, width, channels)
        images[number] = pixels.transpose(2, 0, 1)
    return black + (images - _BLACK) * ((white - black) / (_WHITE - _BLACK))
