"""Continuous piecewise-linear functions of few segments whose slopes are dyadic.

Everything lies on grids: knots on multiples of ``h = 2**-knot_frac``, slopes on multiples of
``2**-slope_frac``, values therefore on multiples of ``2**-(knot_frac + slope_frac)``. Among all
such functions within a given error of the target the fewest segments are found by one sweep from
left to right over the states (knot, value, slope); it is a shortest path, so nothing is missed.
The sweep is compiled: it visits knots x slopes x values, up to a hundred million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from hwgen.network.types import FloatArray, PiecewiseLinear
from hwgen.numeric import IntArray

__all__ = ["End", "Grid", "Polyline", "evaluate", "fewest_segments", "slope_set"]

Function = Callable[[FloatArray], FloatArray]

_SAMPLES_A_CELL = 17
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
class End:
    """The ray beyond the first or last knot, which the segment that ends there continues.

    ``slope`` is in units of the grid; ``lo`` and ``hi`` bound its value at the knot, in real
    numbers, and may be infinite.
    """

    slope: int
    lo: float
    hi: float


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


def slope_set(smallest: float, largest: float, *, terms: int, slope_frac: int) -> IntArray:
    """Slopes from ``smallest`` to ``largest`` and 0, in units of ``2**-slope_frac``, ascending.

    Each has at most ``terms`` signed powers of two.
    """
    lowest = int(np.ceil(np.ldexp(min(smallest, 0.0), slope_frac)))
    highest = int(np.floor(np.ldexp(max(largest, 0.0), slope_frac)))
    # no power of two in a shortest sum exceeds the sum twofold
    powers = [1 << k for k in range(max(-lowest, highest, 1).bit_length() + 1)]
    digits = np.array([*(-p for p in powers), 0, *powers], dtype=np.int64)
    sums = np.zeros(1, dtype=np.int64)
    for _ in range(terms):
        sums = np.unique(sums[:, None] + digits)
    return sums[(sums >= lowest) & (sums <= highest)]


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
    first: End | None = None,
    last: End | None = None,
) -> Polyline | None:
    """The polyline of fewest segments within ``max_error`` of ``target``, or None.

    Parameters
    ----------
    target
        Function of float64 arrays, smooth between its samples, of which each cell of the knots has
        17.
    lo, hi
        First and last knot, in units of ``2**-grid.knot_frac``, ``lo < hi``.
    grid, slopes
        Where knots, slopes and values may lie; ``slopes`` in units of ``2**-grid.slope_frac``.
    max_error
        Largest error allowed at any point between the knots.
    start
        Value at ``lo``, in units of ``2**-grid.value_frac``; free if not given.
    first, last
        What must lie to the left of ``lo`` and to the right of ``hi``.
    """
    value = float(np.ldexp(1.0, -grid.value_frac))
    exact = np.asarray(target(np.ldexp(np.arange(lo, hi + 1, dtype=np.float64), -grid.knot_frac)))
    above, below = _cell_bounds(target, lo, hi, exact, grid.knot_frac)
    base = np.floor((exact - max_error) / value).astype(np.int64)
    count = int(2 * max_error / value) + 3
    window = np.arange(count)
    values = (base[[0, -1], None] + window) * value
    fits = np.abs(values[0] - exact[0]) <= max_error
    ends = np.ones(count, dtype=np.bool_)
    if start is not None:
        fits &= base[0] + window == start
    if first is not None:
        fits &= (values[0] >= first.lo) & (values[0] <= first.hi)
    if last is not None:
        ends = (values[1] >= last.lo) & (values[1] <= last.hi)
    forced = np.array(
        [-1 if end is None else np.searchsorted(slopes, end.slope) for end in (first, last)]
    )
    least, came = _sweep(
        exact, base, above, below, slopes, fits, ends, forced, float(max_error), value
    )
    return _trace(grid, lo, slopes, base, exact / value, least, came)


@numba.njit(cache=True)
def _sweep(
    exact: FloatArray,
    base: IntArray,
    above: FloatArray,
    below: FloatArray,
    slopes: IntArray,
    fits: npt.NDArray[np.bool_],
    ends: npt.NDArray[np.bool_],
    forced: IntArray,
    max_error: float,
    value: float,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Fewest segments to each knot and value, and how they came there.

    ``least`` (knots, window): segments that reach knot i with value ``base[i] + w``; ``came``
    (knots, window, 2): index of the slope that arrives there, and the knot where it began.
    ``fits`` and ``ends`` (window,) say which values the first and last knot may have, ``forced``
    the slope's index of the first and last cell, -1 for any.
    """
    knots, count = len(exact), len(fits)
    least = np.full((knots, count), _UNREACHED, dtype=np.int32)
    came = np.zeros((knots, count, 2), dtype=np.int32)
    for w in range(count):
        if fits[w]:
            least[0, w] = 0
    # segments to knot i with slope s going on, and where the last one began
    going = np.full((len(slopes), count), _UNREACHED, dtype=np.int32)
    begun = np.zeros((len(slopes), count), dtype=np.int32)
    after = np.empty(count, dtype=np.int32)
    since = np.empty(count, dtype=np.int32)
    for i in range(knots - 1):
        for s in range(len(slopes)):
            after[:] = _UNREACHED
            allowed = (i > 0 or forced[0] < 0 or forced[0] == s) and (
                i < knots - 2 or forced[1] < 0 or forced[1] == s
            )
            shift = slopes[s] - (base[i + 1] - base[i])
            for w in range(max(0, -shift), min(count, count - shift)) if allowed else range(0):
                segments, begin = going[s, w], begun[s, w]
                if least[i, w] + 1 < segments:
                    segments, begin = least[i, w] + 1, i
                if segments >= _UNREACHED:
                    continue
                left = (base[i] + w) * value - exact[i]
                right = (base[i + 1] + w + shift) * value - exact[i + 1]
                if (
                    max(left, right) + above[i] > max_error
                    or min(left, right) + below[i] < -max_error
                ):
                    continue
                after[w + shift] = segments
                since[w + shift] = begin
                if segments < least[i + 1, w + shift] and (i < knots - 2 or ends[w + shift]):
                    least[i + 1, w + shift] = segments
                    came[i + 1, w + shift, 0] = s
                    came[i + 1, w + shift, 1] = begin
            going[s] = after
            begun[s] = since
    return least, came


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
