"""The test images, kept in the workspace for verification."""

from __future__ import annotations

import io

import numpy as np

from hwgen.flow.data import Images, load_images
from hwgen.flow.workspace import Workspace
from hwgen.network.types import FloatArray, Shape

__all__ = ["TEST_SET", "encode_test_set", "load_test_set"]

TEST_SET = "test_images.npz"


def encode_test_set(images: Images) -> bytes:
    """NPZ file with the images ``x`` (N, C, H, W), in a small data type that is exact."""
    x = images.x
    for dtype in (np.uint8, np.float32):
        narrow = np.clip(x, 0, 255).astype(dtype) if dtype is np.uint8 else x.astype(dtype)
        if np.array_equal(narrow, x):
            break
    else:
        narrow = x
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=narrow)
    return buffer.getvalue()


def load_test_set(workspace: Workspace, shape: Shape) -> FloatArray:
    """Test images (N, C, H, W) that :func:`encode_test_set` kept.

    Raises
    ------
    DataError
        If the stage that keeps them has not run.
    """
    return load_images(workspace.path(TEST_SET), shape).x
