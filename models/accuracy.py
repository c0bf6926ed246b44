"""Measure accuracy with onnxruntime.

Usage: python models/accuracy.py MODEL.onnx TEST.npz [--top 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

__all__ = ["accuracy", "decide", "outputs", "right"]


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


def right(
    values: npt.NDArray[np.float32], y: npt.NDArray[np.generic], *, top: int = 1
) -> npt.NDArray[np.bool_]:
    """Whether the class ``y`` (N,) is among the ``top`` greatest columns of each row, (N,)."""
    if top == 1:
        return np.asarray(decide(values) == y)
    # A stable sort: of equal columns the first counts, as it does for a single decision.
    best = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return np.asarray((best == y[:, None]).any(axis=1))


def accuracy(model: Path, data: Path, *, top: int = 1) -> float:
    """Share of the images ``x`` in ``data`` whose class ``y`` is among the ``top``, from 0 to 1."""
    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    return float(np.mean(right(outputs(model, x), y, top=top)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--top", type=int, default=1, help="count the best so many classes (1)")
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error(f"--top must be positive, not {arguments.top}")
    for path in (arguments.model, arguments.data):
        if not path.is_file():
            parser.error(f"no file {path}")
    print(f"{100 * accuracy(arguments.model, arguments.data, top=arguments.top):.2f} %")


if __name__ == "__main__":
    main()
