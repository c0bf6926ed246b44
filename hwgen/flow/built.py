"""The integer network as its hardware was built, perhaps for larger pictures, and images for it."""

from __future__ import annotations

import numpy as np

from hwgen.flow.testset import load_test_set
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.integer.resize import resized
from hwgen.integer.types import IntegerNetwork
from hwgen.integer.widen import grouped, widen
from hwgen.network.types import FloatArray, Pair

__all__ = [
    "built_images",
    "built_network",
    "built_pixels",
    "hardware_network",
    "mosaics",
    "scanning_network",
]


def hardware_network(workspace: Workspace, *, size: Pair | None, pixels: int) -> IntegerNetwork:
    """The integer network of a workspace as hardware computes it.

    Parameters
    ----------
    size
        Height and width of the pictures that it scans; None for the images it was trained on.
    pixels
        Neighbouring pixels of a row that it takes at once.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    UnsupportedError
        If it cannot be built for that size, or for so many pixels.
    """
    return widen(_scanning(workspace, size), pixels)


def built_network(workspace: Workspace) -> IntegerNetwork:
    """The integer network that the design of a workspace computes.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    """
    return hardware_network(workspace, size=_size(workspace), pixels=built_pixels(workspace))


def built_images(workspace: Workspace) -> FloatArray:
    """Test images (N, C, H, W) for :func:`built_network`; mosaics of them if it is larger.

    Columns come in groups if it takes several pixels at once (:mod:`hwgen.integer.widen`).

    Raises
    ------
    DataError
        If the stage that keeps them has not run.
    """
    network = integer_store.from_json(workspace.read("integer.json", made_by="approximate"))
    _, height, width = scanning_network(workspace).input_shape
    pictures = mosaics(load_test_set(workspace, network.input_shape), (height, width))
    return grouped(pictures, built_pixels(workspace))


def scanning_network(workspace: Workspace) -> IntegerNetwork:
    """The integer network for the pictures that are built for, a pixel at a time.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    """
    return _scanning(workspace, _size(workspace))


def _scanning(workspace: Workspace, size: Pair | None) -> IntegerNetwork:
    """The integer network for pictures of that size, a pixel at a time."""
    network = integer_store.from_json(workspace.read("integer.json", made_by="approximate"))
    return network if size is None else resized(network, size)


def _size(workspace: Workspace) -> Pair | None:
    """Height and width of the pictures that the design is built for, if larger than images."""
    size = workspace.record("generate").get("options", {}).get("size")
    return None if size is None else (size[0], size[1])


def built_pixels(workspace: Workspace) -> int:
    """Pixels of a row that the design takes at once."""
    return int(workspace.record("generate").get("options", {}).get("pixels", 1))


def mosaics(images: FloatArray, size: Pair) -> FloatArray:
    """Pictures of ``size`` laid out with ``images`` (N, C, H, W), each image in one or more.

    Rows of images come one below the other, cut off at the right and at the bottom.
    """
    count, channels, height, width = images.shape
    rows, columns = -(-size[0] // height), -(-size[1] // width)
    pictures = -(-count // (rows * columns))
    order = np.arange(pictures * rows * columns) % count
    tiles = images[order].reshape(pictures, rows, columns, channels, height, width)
    whole = tiles.transpose(0, 3, 1, 4, 2, 5).reshape(pictures, channels, rows * height, -1)
    found: FloatArray = whole[:, :, : size[0], : size[1]]
    return found
