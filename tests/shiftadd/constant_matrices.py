"""Random constant matrices and input ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from hwgen.numeric import Range

__all__ = ["corners", "problems", "ranges"]


@st.composite
def ranges(draw: st.DrawFn, limit: int = 12) -> Range:
    """A small range, at either side of zero or around it."""
    lo, hi = sorted(draw(st.tuples(*[st.integers(-limit, limit)] * 2)))
    return Range(lo, hi)


@st.composite
def problems(draw: st.DrawFn, size: int = 5, limit: int = 300) -> tuple[Any, tuple[Range, ...]]:
    """A matrix (inputs, outputs), with repeated, shifted and zero columns, and input ranges."""
    rows, columns = draw(st.integers(1, size)), draw(st.integers(1, size))
    entry = st.one_of(st.just(0), st.sampled_from([1, -1, 2, -4]), st.integers(-limit, limit))
    matrix = np.array([[draw(entry) for _ in range(columns)] for _ in range(rows)], dtype=np.int64)
    if columns > 1 and draw(st.booleans()):
        matrix[:, -1] = matrix[:, 0] * draw(st.sampled_from([1, -1, 2, -8]))
    if rows > 1 and draw(st.booleans()):
        matrix[-1] = matrix[0] * draw(st.sampled_from([1, -1, 4]))
    order = draw(st.sampled_from(["C", "F"]))
    return np.asarray(matrix, order=order), tuple(draw(ranges()) for _ in range(rows))


def corners(inputs: tuple[Range, ...], *, count: int = 32, seed: int = 0) -> npt.NDArray[np.int64]:
    """Input vectors (N, inputs): all extreme ones if few, else some, then random ones."""
    if len(inputs) <= 6:
        grid = np.meshgrid(*[[r.lo, r.hi] for r in inputs], indexing="ij")
        extreme = np.stack([g.ravel() for g in grid], axis=1)
    else:
        ends = np.array([[r.lo, r.hi] for r in inputs])
        picks = np.random.default_rng(seed).integers(0, 2, (count, len(inputs)))
        extreme = np.concatenate([ends.T, ends[np.arange(len(inputs)), picks]])
    rng = np.random.default_rng(seed)
    lows, highs = [r.lo for r in inputs], [r.hi for r in inputs]
    return np.concatenate([extreme, rng.integers(lows, highs, (count, len(inputs)), endpoint=True)])
