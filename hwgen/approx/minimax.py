"""Minimax piecewise-linear approximation of any function, with dyadic slopes.

Given an error, the fewest segments; given a number of segments, the least error. The knots, slopes
and values lie on grids that are fine beside the error, and on them the search misses nothing (see
:mod:`hwgen.approx.piecewise`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwgen.approx.piecewise import (
    End,
    Function,
    Grid,
    Polyline,
    evaluate,
    fewest_segments,
    slope_set,
)
from hwgen.approx.scale import nearest_dyadic
from hwgen.errors import UnsupportedError
from hwgen.network.types import FloatArray, PiecewiseLinear
from hwgen.numeric import Dyadic, IntArray

__all__ = ["Fit", "Symmetry", "Tail", "approximate_callable", "measured_error"]

Symmetry = Literal["none", "point"]

_SAME = 1e-9
_SLOPE_BITS = 12
_SAMPLES = 1 << 14
_OUTLINE = 1 << 11
_OCTAVES = 20
_MOST_CELLS = 1 << 10
_FEWEST_CELLS = 32
_VALUES_AN_ERROR = 3  # the error is 2**3 units of the values on the coarsest grid
_FINER = ((2, 1), (2, 3))  # further bits of knots and of slopes
_TIGHTENINGS = 5
_BISECTIONS = 14
_RANGE_OF_ERRORS = 2.0**20

# |x| from 2**-20 to 2**20, and 0
_MAGNITUDES = np.exp2(np.linspace(-_OCTAVES, _OCTAVES, 64 * 2 * _OCTAVES + 1))
_EVERYWHERE = np.concatenate([-_MAGNITUDES[::-1], [0.0], _MAGNITUDES])


@dataclass(frozen=True)
class Tail:
    """The line ``slope * x + offset`` that a function approaches at an infinite end."""

    slope: float = 0.0
    offset: float = 0.0

    def __call__(self, x: FloatArray) -> FloatArray:
        """Values at ``x``, any shape, float64."""
        return np.asarray(self.slope * x + self.offset, dtype=np.float64)


@dataclass(frozen=True)
class Fit:
    """A piecewise-linear function and its largest ``error`` on the range, as measured.

    The error is infinite if an end is infinite and its tail's slope is no sum of the allowed
    number of signed powers of two.
    """

    function: PiecewiseLinear
    error: float

    @property
    def segments(self) -> int:
        """Number of linear pieces."""
        return int(self.function.slopes.shape[1])


def approximate_callable(
    function: Function,
    lo: float = -math.inf,
    hi: float = math.inf,
    *,
    max_error: float | None = None,
    segments: int | None = None,
    terms: int = 2,
    left: Tail | None = None,
    right: Tail | None = None,
    symmetry: Symmetry = "none",
) -> Fit:
    """Continuous piecewise-linear function near ``function``, without a multiplier.

    Every slope is a sum of at most ``terms`` signed powers of two, every breakpoint and offset
    lies on a fixed-point grid. The result rises or falls wherever the function does so throughout.

    Parameters
    ----------
    function
        Any function of float64 arrays, finite and continuous on lo .. hi.
    lo, hi
        The range, ``lo < hi``. An infinite end needs its tail.
    max_error
        Largest error allowed; the result has the fewest segments that the grids allow, and with
        these nearly the least error.
    segments
        Most segments allowed; the result has nearly the least error. Give this or ``max_error``.
    terms
        Most signed powers of two in a slope.
    left, right
        Line that the function approaches to the left or right. With it a finite end may be far
        away at no cost. A tail whose slope is no sum of ``terms`` signed powers of two gets a
        near one; the error then grows beyond the part where the function bends.
    symmetry
        ``"point"`` if ``f(-x) - f(0) == f(0) - f(x)``: the result then has this symmetry too.

    Raises
    ------
    ValueError
        If the range is empty, not exactly one limit is given, or nothing keeps the limit.
    UnsupportedError
        If an end is infinite and has no tail, or the function is not finite on the range.
    """
    if not lo < hi:
        raise ValueError(f"Range of a function needs lo < hi, not {lo} and {hi}")
    if (max_error is None) == (segments is None):
        raise ValueError("Give either max_error or segments")
    if max_error is not None and not max_error > 0:
        raise ValueError(f"Largest error must be positive, not {max_error!r}")
    if terms < 1:
        raise ValueError(f"Number of terms must be at least 1, not {terms!r}")
    for name, end, tail in (("lo", lo, left), ("hi", hi, right)):
        if math.isinf(end) and tail is None:
            raise UnsupportedError(
                f"Range must have a finite {name}, since the function approaches no line there"
            )
    search = _Search(function, lo, hi, left, right, terms, symmetry)
    if segments is not None:
        form = search.with_segments(segments)
    else:
        assert max_error is not None
        form = search.within(max_error)
    return Fit(form, measured_error(form, function, lo, hi, left=left, right=right))


def measured_error(
    form: PiecewiseLinear,
    function: Function,
    lo: float = -math.inf,
    hi: float = math.inf,
    *,
    left: Tail | None = None,
    right: Tail | None = None,
    group: int = 0,
) -> float:
    """Largest error of ``form``'s function ``group`` on lo .. hi, on a fine grid of samples.

    ``math.inf`` if an end is infinite and the slope there is not that of the function's tail.
    """
    knots = form.breakpoints[group]
    for end, tail, slope in (
        (lo, left, form.slopes[group][0]),
        (hi, right, form.slopes[group][-1]),
    ):
        if math.isinf(end) and (tail is None or abs(tail.slope - slope) > _SAME * (1 + abs(slope))):
            return math.inf
    first = lo if math.isfinite(lo) else 4 * min(-1.0, knots.min(initial=0.0))
    last = hi if math.isfinite(hi) else 4 * max(1.0, knots.max(initial=0.0))
    ends = (min(first, last - 1), max(last, first + 1)) if math.isinf(hi - lo) else (lo, hi)
    x = np.concatenate([np.linspace(*ends, _SAMPLES), knots, _EVERYWHERE, *_finite(lo, hi)])
    x = x[(x >= lo) & (x <= hi)]
    return float(np.abs(evaluate(form, x, group) - _values(function, x)).max())


def _finite(*ends: float) -> Iterator[FloatArray]:
    yield from (np.array([end]) for end in ends if math.isfinite(end))


def _short(slope: float, terms: int) -> Dyadic | None:
    """``slope`` as a sum of ``terms`` signed powers of two, if it is one but for rounding."""
    near = nearest_dyadic(slope, terms=terms, bits=_SLOPE_BITS)
    return near if abs(float(near) - slope) <= _SAME * abs(slope) else None


def _values(function: Function, x: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        return np.asarray(function(x), dtype=np.float64)


@dataclass(frozen=True)
class _Region:
    """Where knots are needed, and the rays beyond as offsets of a tail at ``lo`` and ``hi``."""

    lo: float
    hi: float
    first: Tail | None
    last: Tail | None


@dataclass(frozen=True)
class _Search:
    """The function, the range and what is allowed."""

    function: Function
    lo: float
    hi: float
    left: Tail | None
    right: Tail | None
    terms: int
    symmetry: Symmetry

    def within(self, max_error: float) -> PiecewiseLinear:
        """Fewest segments within ``max_error``, then nearly the least error that they reach."""
        best = self._fit(max_error)
        if best is None:
            raise ValueError(f"No slopes of {self.terms} terms keep the error within {max_error}")
        low, high = max_error / 4, max_error
        for _ in range(_TIGHTENINGS):
            middle = (low + high) / 2
            tighter = self._fit(middle)
            if tighter is not None and tighter.slopes.shape <= best.slopes.shape:
                best, high = tighter, middle
            else:
                low = middle
        return best

    def with_segments(self, segments: int) -> PiecewiseLinear:
        """Nearly the least error with at most ``segments`` segments."""
        best, high = None, self._largest_error()
        low = high / _RANGE_OF_ERRORS
        for _ in range(_BISECTIONS):
            middle = math.sqrt(low * high)
            fit = self._fit(middle)
            if fit is not None and fit.slopes.shape[1] <= segments:
                best, high = fit, middle
            else:
                low = middle
        if best is None:
            raise ValueError(f"{segments} segments are too few")
        return best

    def _largest_error(self) -> float:
        """An error that a segment or two keep: the height of what is not tail, twice."""
        x = np.concatenate([_EVERYWHERE, *_finite(self.lo, self.hi)])
        x = x[(x >= self.lo) & (x <= self.hi)]
        y = _values(self.function, x)
        with np.errstate(all="ignore"):
            heights = [np.abs(y - tail(x)) for tail in (self.left, self.right) if tail is not None]
        if not heights:
            return float(np.ptp(y)) or 1.0
        return 2 * float(np.nanmax(np.min(heights, axis=0))) or 1.0

    def _fit(self, max_error: float) -> PiecewiseLinear | None:
        region = self._region(max_error / 4)
        x = np.linspace(region.lo, region.hi, _OUTLINE + 1)
        y = _values(self.function, x)
        if not np.isfinite(y).all():
            raise UnsupportedError("Function must be finite on its range")
        dx = (region.hi - region.lo) / _OUTLINE
        rises = np.diff(y) / dx
        curvature = float(np.abs(np.diff(rises)).max()) / dx
        width = region.hi - region.lo
        variation = max(float(np.ptp(rises)), 1e-9 * float(np.abs(rises).max(initial=0.0)))
        step = width / _FEWEST_CELLS
        if curvature > 0 and variation > 0:
            # a cell in which no line is far from the function need not be smaller
            needed = max(math.sqrt(max_error / curvature), max_error / variation)
            step = max(width / _MOST_CELLS, min(step, needed))
        knot_frac = 1 - math.frexp(step)[1]
        slope_frac = math.ceil(math.log2(1 / max_error)) + _VALUES_AN_ERROR - knot_frac
        tails = [_short(t.slope, self.terms) for t in (region.first, region.last) if t is not None]
        # a slope must also fit over a good part of the whole, and be a tail's if it can
        fewest = [math.ceil(math.log2(width / max_error)) - 4]
        fewest += [-slope.exponent for slope in tails if slope is not None and slope.mantissa]
        for knots, slopes in _FINER:
            grid = Grid(knot_frac + knots, max([slope_frac + slopes, *fewest]))
            polyline = self._on_grid(grid, region, rises, max_error)
            if polyline is not None:
                form = polyline.to_piecewise(self.lo, self.hi)
                inner = np.clip(np.concatenate([x, form.breakpoints[0]]), self.lo, self.hi)
                error = np.abs(evaluate(form, inner) - _values(self.function, inner)).max()
                if error <= max_error:
                    return form
        return None

    def _on_grid(
        self, grid: Grid, region: _Region, rises: FloatArray, max_error: float
    ) -> Polyline | None:
        tails = [t.slope for t in (region.first, region.last) if t is not None]
        negligible = 1e-9 * float(np.abs(rises).max(initial=0.0))
        steepest = [
            2 * float(extreme) if abs(extreme) > negligible else 0.0
            for extreme in (min(rises.min(), *tails, 0.0), max(rises.max(), *tails, 0.0))
        ]
        slopes = slope_set(*steepest, terms=self.terms, slope_frac=grid.slope_frac)
        start = None
        if self.symmetry == "point":
            centre = float(_values(self.function, np.zeros(1))[0])
            start = round(math.ldexp(centre, grid.value_frac))
            max_error -= 2 * abs(math.ldexp(start, -grid.value_frac) - centre)
        first = math.floor(math.ldexp(region.lo, grid.knot_frac)) - (region.first is not None)
        last = math.ceil(math.ldexp(region.hi, grid.knot_frac)) + (region.last is not None)
        found = fewest_segments(
            self._extended(math.ldexp(1.0, -grid.knot_frac)),
            first,
            max(last, first + 1),
            grid=grid,
            slopes=slopes,
            max_error=max_error,
            start=start,
            first=self._end(
                region.first, math.ldexp(first, -grid.knot_frac), grid, slopes, -1, max_error
            ),
            last=self._end(
                region.last, math.ldexp(last, -grid.knot_frac), grid, slopes, 1, max_error
            ),
        )
        return found.mirrored() if found is not None and start is not None else found

    def _end(
        self,
        tail: Tail | None,
        knot: float,
        grid: Grid,
        slopes: IntArray,
        side: int,
        max_error: float,
    ) -> End | None:
        """The ray beyond ``knot``, whose error there is at most ``max_error`` if it can be."""
        if tail is None:
            return None
        slope = math.ldexp(tail.slope, grid.slope_frac)
        nearest = int(slopes[np.argmin(np.abs(slopes - slope))])
        if abs(nearest - slope) > _SAME * abs(slope):
            return End(nearest, -math.inf, math.inf)
        x = _EVERYWHERE[side * _EVERYWHERE >= side * knot]
        rest = np.concatenate([[0.0], _values(self.function, x) - tail(x)])
        at = float(tail(np.array(knot)))
        return End(nearest, at + float(rest.max()) - max_error, at + float(rest.min()) + max_error)

    def _region(self, rest: float) -> _Region:
        """The part of the range where the function is not within ``rest`` of its tails."""
        lo, hi = self.lo, self.hi
        if self.symmetry == "point":
            lo, hi = 0.0, max(abs(lo), abs(hi))
        x = np.concatenate([_EVERYWHERE, *_finite(lo, hi)])
        x = np.unique(x[(x >= lo) & (x <= hi)])
        left = None if self.symmetry == "point" else self.left
        begin, first = self._bend(left, x, rest)
        end, last = self._bend(self.right, x[::-1], rest)
        if begin >= end:  # the tails cross where both are near
            begin, end = end, begin
        if begin == end:
            begin, end = begin - 1, end + 1
        return _Region(begin, end, first, last)

    def _bend(self, tail: Tail | None, x: FloatArray, rest: float) -> tuple[float, Tail | None]:
        """Where the function leaves ``tail`` along ``x``; no tail if it begins off it."""
        if tail is None:
            return float(x[0]), None

        def near(points: FloatArray) -> np.ndarray:
            return np.asarray(np.abs(_values(self.function, points) - tail(points)) <= rest)

        off = np.flatnonzero(~near(x))
        if off.size == 0:
            return float(x[np.argmin(np.abs(x))]), tail
        if off[0] == 0:
            return float(x[0]), None
        inside, outside = float(x[off[0] - 1]), float(x[off[0]])
        for _ in range(12):
            middle = (inside + outside) / 2
            if near(np.array([middle]))[0]:
                inside = middle
            else:
                outside = middle
        return inside, tail

    def _extended(self, step: float) -> Callable[[FloatArray], FloatArray]:
        """The function, beyond a finite end of the range continued by the line through its last
        ``step``, since knots do not lie at the ends."""
        lo, hi = self.lo, self.hi
        if self.symmetry == "point":
            lo, hi = -math.inf, max(abs(lo), abs(hi))
        step = min(step, hi - lo)

        def extended(x: FloatArray) -> FloatArray:
            y = _values(self.function, np.clip(x, lo, hi))
            for end, inner, beyond in ((lo, lo + step, x < lo), (hi, hi - step, x > hi)):
                if math.isfinite(end) and beyond.any():
                    pair = _values(self.function, np.array([end, inner]))
                    y = np.where(
                        beyond, pair[0] + (x - end) * (pair[1] - pair[0]) / (inner - end), y
                    )
            return y

        return extended
