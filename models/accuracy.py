"""Measure accuracy with onnxruntime: ``python models/accuracy.py MODEL.onnx TEST.npz``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

__all__ = ["accuracy", "decide", "outputs"]


def outputs(model: Path, x: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """First output for the images ``x`` (N, C, H, W) of any dtype, as (N, K)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    size = entry.shape[0] if isinstance(entry.shape[0], int) else 250
    results = [
        session.run(None, {entry.name: x[start : start + size].astype(np.float32)})[0]
        for start in range(0, len(x), size)
    ]
    return np.concatenate(results).reshape(len(x), -1)


def decide(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Class of every row: the greatest column, or whether a single column is positive."""
    if values.shape[1] == 1:
        return (values[:, 0] > 0).astype(np.int64)
    return values.argmax(axis=1).astype(np.int64)


def accuracy(model: Path, data: Path) -> float:
    """Share of the images ``x`` in ``data`` whose class is ``y``, from 0 to 1."""
    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    return float(np.mean(decide(outputs(model, x)) == y))


if __name__ == "__main__":
    print(f"{100 * accuracy(Path(sys.argv[1]), Path(sys.argv[2])):.2f} %")
