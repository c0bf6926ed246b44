"""What no piecewise-linear function can do better: a yardstick for dyadic ones.

The segments here have any slopes and need not meet, so the figures bound continuous functions with
dyadic slopes from below. A greedy walk that makes each segment as long as it can be is best among
them, and the best line on a set of points misses them by half the height of their convex hull.
"""

from __future__ import annotations

import numpy as np

from hwgen.approx.piecewise import Function
from hwgen.network.types import FloatArray

__all__ = ["least_error_bound", "segments_bound"]

_SAMPLES = 512
_BISECTIONS = 24


def segments_bound(
    function: Function, lo: float, hi: float, *, max_error: float, samples: int = _SAMPLES
) -> int:
    """Fewest segments within ``max_error`` of ``function`` at ``samples`` points of lo .. hi."""
    x = np.linspace(lo, hi, samples)
    return _walk(x, np.asarray(function(x), dtype=np.float64), max_error)


def least_error_bound(
    function: Function, lo: float, hi: float, *, segments: int, samples: int = _SAMPLES
) -> float:
    """Least error of ``segments`` segments at ``samples`` points of lo .. hi, from below."""
    x = np.linspace(lo, hi, samples)
    y = np.asarray(function(x), dtype=np.float64)
    low, high = 0.0, float(np.ptp(y)) / 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _walk(x, y, middle) <= segments:
            high = middle
        else:
            low = middle
    return low


def _walk(x: FloatArray, y: FloatArray, max_error: float) -> int:
    """Segments of a greedy walk, each as long as it can be."""
    count, start = 0, 0
    while start < len(x):
        reach, length = start + 1, 1
        while reach + length <= len(x) and _misses(x, y, start, reach + length) <= max_error:
            reach += length
            length *= 2
        while length:
            if reach + length <= len(x) and _misses(x, y, start, reach + length) <= max_error:
                reach += length
            length //= 2
        count, start = count + 1, reach
    return count


def _misses(x: FloatArray, y: FloatArray, start: int, end: int) -> float:
    """Error of the best line on the points from ``start`` up to but not including ``end``."""
    if end - start < 3:
        return 0.0
    x, y = x[start:end], y[start:end]
    upper, lower = (_lower_hull(x, sign * y) for sign in (-1.0, 1.0))
    height = np.interp(x, x[upper], y[upper]) - np.interp(x, x[lower], y[lower])
    return float(height.max()) / 2


def _lower_hull(x: FloatArray, y: FloatArray) -> list[int]:
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return hull
