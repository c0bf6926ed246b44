"""Continuous piecewise-linear functions of few segments whose slopes are dyadic.

Everything lies on grids: knots on multiples of ``h = 2**-knot_frac``, slopes on multiples of
``2**-slope_frac``, values therefore on multiples of ``2**-(knot_frac + slope_frac)``. Among all
such functions within a given error of the target the fewest segments are found by one sweep from
left to right over the states (knot, value, slope); it is a shortest path, so nothing is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.network.types import FloatArray, PiecewiseLinear
from hwgen.numeric import IntArray, csd_weight

__all__ = ["Grid", "Polyline", "evaluate", "fewest_segments", "slope_set"]

Function = Callable[[FloatArray], FloatArray]

_SAMPLES_A_CELL = 9
_UNREACHED = np.iinfo(np.int32).max // 2


@dataclass(frozen=True)
class Grid:
    """Where knots, slopes and values lie: numbers of fractional bits."""

    knot_frac: int
    slope_frac: int

    @property
    def value_frac(self) -> int:
        """Fractional bits of values and offsets."""
        return self.knot_frac + self.slope_frac


@dataclass(frozen=True)
class Polyline:
    """Continuous function from ``knots[0]`` to the last knot, in units of ``grid``.

    Segment s goes from ``knots[s]`` to ``knots[s + 1]`` with ``slopes[s]`` and starts at
    ``values[s]``; ``values`` has one entry a knot.
    """

    grid: Grid
    knots: tuple[int, ...]
    values: tuple[int, ...]
    slopes: tuple[int, ...]

    def mirrored(self) -> Polyline:
        """The point reflection at the first knot and value, followed by the function itself.

        The two segments that meet there have one slope and become one segment.
        """
        knot, value = self.knots[0], self.values[0]
        return Polyline(
            self.grid,
            (*(2 * knot - k for k in reversed(self.knots[1:])), *self.knots[1:]),
            (*(2 * value - v for v in reversed(self.values[1:])), *self.values[1:]),
            (*reversed(self.slopes[1:]), *self.slopes),
        )

    def to_piecewise(self, lo: float, hi: float) -> PiecewiseLinear:
        """As an operator, whose end segments go on for ever, without the segments outside lo .. hi.

        At least one segment stays.
        """
        inner = np.ldexp(np.array(self.knots[1:-1], dtype=np.float64), -self.grid.knot_frac)
        slopes = np.ldexp(np.array(self.slopes, dtype=np.float64), -self.grid.slope_frac)
        starts = np.array(
            [v - k * s for k, v, s in zip(self.knots, self.values, self.slopes, strict=False)]
        )
        offsets = np.ldexp(starts.astype(np.float64), -self.grid.value_frac)
        first = int(np.searchsorted(inner, lo, side="right"))
        last = max(first, int(np.searchsorted(inner, hi, side="left")))
        return PiecewiseLinear(
            inner[None, first:last],
            slopes[None, first : last + 1],
            offsets[None, first : last + 1],
        )


def slope_set(largest: float, *, terms: int, slope_frac: int, rising: bool) -> IntArray:
    """Slopes from 0 to ``largest`` in magnitude, in units of ``2**-slope_frac``, ascending.

    Each has at most ``terms`` signed powers of two; none is negative if ``rising``, else none is
    positive.
    """
    most = int(np.floor(np.ldexp(largest, slope_frac)))
    slopes = np.array([n for n in range(most + 1) if csd_weight(n) <= terms], dtype=np.int64)
    return slopes if rising else -slopes[::-1]


def evaluate(op: PiecewiseLinear, x: FloatArray, group: int = 0) -> FloatArray:
    """The function of ``group`` at ``x``, any shape, in float64."""
    segment = np.searchsorted(op.breakpoints[group], x, side="right")
    result: FloatArray = op.slopes[group][segment] * x + op.offsets[group][segment]
    return result


def fewest_segments(
    target: Function,
    lo: int,
    hi: int,
    *,
    grid: Grid,
    slopes: IntArray,
    max_error: float,
    start: int | None = None,
    flat_start: float | None = None,
    flat_end: float | None = None,
) -> Polyline | None:
    """The polyline of fewest segments within ``max_error`` of ``target``, or None.

    Parameters
    ----------
    target
        Function of float64 arrays, not wilder than :math:`h^2` within a knot cell.
    lo, hi
        First and last knot, in units of ``2**-grid.knot_frac``, ``lo < hi``.
    grid, slopes
        Where knots, slopes and values may lie; ``slopes`` in units of ``2**-grid.slope_frac``.
    max_error
        Largest error allowed at any point between the knots.
    start
        Value at ``lo``, in units of ``2**-grid.value_frac``; free if not given.
    flat_start, flat_end
        Limit of the target to the left of ``lo`` or right of ``hi``: the first or last slope is 0
        and its value within ``max_error`` of the limit.
    """
    value = np.ldexp(1.0, -grid.value_frac)
    exact = np.asarray(target(np.ldexp(np.arange(lo, hi + 1, dtype=np.float64), -grid.knot_frac)))
    above, below = _cell_bounds(target, lo, hi, exact, grid.knot_frac)
    base = np.floor((exact - max_error) / value).astype(np.int64)
    count = int(2 * max_error / value) + 3
    window = np.arange(count)
    zero = int(np.searchsorted(slopes, 0))
    # least[i, w]: fewest segments to knot i with value base[i] + w; came: (slope, first knot)
    least = np.full((len(exact), count), _UNREACHED, dtype=np.int32)
    came = np.zeros((len(exact), count, 2), dtype=np.int32)
    fits = np.abs((base[0] + window) * value - exact[0]) <= max_error
    if start is not None:
        fits &= base[0] + window == start
    if flat_start is not None:
        fits &= np.abs((base[0] + window) * value - flat_start) <= max_error
    least[0, fits] = 0
    going = np.full((len(slopes), count), _UNREACHED, dtype=np.int32)
    begun = np.zeros((len(slopes), count), dtype=np.int32)
    for i in range(len(exact) - 1):
        fresh = least[i] + 1 < going
        going = np.where(fresh, least[i] + 1, going)
        begun = np.where(fresh, i, begun)
        if i == 0 and flat_start is not None:
            going[np.arange(len(slopes)) != zero] = _UNREACHED
        # value index at knot i + 1 of what arrives from index w: w + shift
        source = window[None, :] - (slopes - (base[i + 1] - base[i]))[:, None]
        inside = (source >= 0) & (source < count)
        clipped = np.clip(source, 0, count - 1)
        error = (base[i + 1] + window) * value - exact[i + 1]
        error_before = (base[i] + source) * value - exact[i]
        good = (
            inside
            & (np.maximum(error, error_before) + above[i] <= max_error)
            & (np.minimum(error, error_before) + below[i] >= -max_error)
        )
        going = np.where(good, np.take_along_axis(going, clipped, axis=1), _UNREACHED)
        begun = np.take_along_axis(begun, clipped, axis=1)
        winner = np.argmin(going, axis=0)
        least[i + 1] = going[winner, window]
        came[i + 1, :, 0] = winner
        came[i + 1, :, 1] = begun[winner, window]
    if flat_end is not None:
        good = np.abs((base[-1] + window) * value - flat_end) <= max_error
        least[-1] = np.where(good, going[zero], _UNREACHED)
        came[-1, :, 0], came[-1, :, 1] = zero, begun[zero]
    return _trace(grid, lo, slopes, base, exact / value, least, came)


def _cell_bounds(
    target: Function, lo: int, hi: int, exact: FloatArray, knot_frac: int
) -> tuple[FloatArray, FloatArray]:
    """Greatest and least of (chord - target) in each cell between neighbouring knots."""
    steps = np.linspace(0.0, 1.0, _SAMPLES_A_CELL)
    x = np.ldexp(np.arange(lo, hi)[:, None] + steps, -knot_frac)
    chord = exact[:-1, None] + np.diff(exact)[:, None] * steps
    difference = chord - np.asarray(target(x))
    return difference.max(axis=1), difference.min(axis=1)


def _trace(
    grid: Grid,
    lo: int,
    slopes: IntArray,
    base: IntArray,
    exact: FloatArray,
    least: npt.NDArray[np.int32],
    came: npt.NDArray[np.int32],
) -> Polyline | None:
    """Walk back from the best last state: fewest segments, then nearest to the target."""
    last = len(base) - 1
    if least[last].min() >= _UNREACHED:
        return None
    distance = np.abs(base[last] + np.arange(least.shape[1]) - exact[last])
    state = int(np.lexsort((distance, least[last]))[0])
    knot, number = last, int(base[last]) + state
    knots, values, chosen = [lo + knot], [number], []
    while knot > 0:
        index, first = (int(n) for n in came[knot, number - int(base[knot])])
        slope = int(slopes[index])
        number -= slope * (knot - first)
        knot = first
        chosen.append(slope)
        knots.append(lo + knot)
        values.append(number)
    return Polyline(grid, tuple(knots[::-1]), tuple(values[::-1]), tuple(chosen[::-1]))
