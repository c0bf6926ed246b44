"""Activation functions as piecewise-linear functions that need no multiplier.

Every slope is a sum of few signed powers of two, every breakpoint and offset lies on a fixed-point
grid, and the function is continuous and as monotone as what it replaces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hwgen.approx.piecewise import Grid, Polyline, evaluate, fewest_segments, slope_set
from hwgen.approx.scale import nearest_dyadic
from hwgen.errors import UnsupportedError
from hwgen.network.execute import apply
from hwgen.network.types import Activation, FloatArray, PiecewiseLinear

__all__ = ["activation_error", "approximate_activation", "is_saturation"]

_CURVED = ("tanh", "sigmoid", "hard_sigmoid")
_RELATIVE_ERROR = 1 / 128
_TIGHTENINGS = 5
_BISECTIONS = 12
_REFINEMENTS = 4
_SLOPE_BITS = 12
_SAMPLES = 1 << 14


def is_saturation(op: Activation) -> bool:
    """Whether the requantisation that ends a layer computes ``op`` by its two bounds alone."""
    match op.kind:
        case "relu":
            return op.pre > 0 and op.post > 0
        case "clip":
            return op.pre > 0 and op.post > 0 and all(p.size == 1 for p in op.parameters)
        case _:
            return False


def approximate_activation(
    op: Activation,
    lo: float = -math.inf,
    hi: float = math.inf,
    *,
    max_error: float | None = None,
    segments: int | None = None,
    terms: int = 2,
) -> PiecewiseLinear:
    """Piecewise-linear function near ``x -> post * kind(pre * x)`` with dyadic numbers only.

    Parameters
    ----------
    op
        The function to replace.
    lo, hi
        Range of x that matters, ``lo < hi``. Without limits the error holds on the whole line.
    max_error
        Largest error allowed for ``tanh``, ``sigmoid`` and ``hard_sigmoid``; by default 1/128 of
        the amplitude. The result has the fewest segments that keep it, and with these the least
        error. The other kinds have two or three segments, each with the nearest dyadic slope.
    segments
        Most segments allowed; the result has the least error. Give this or ``max_error``.
    terms
        Most signed powers of two in a slope.

    Raises
    ------
    ValueError
        If the range is empty, both limits are given, or no function keeps them.
    UnsupportedError
        If the kind is unknown or its parameters have no piecewise-linear form.
    """
    if not lo < hi:
        raise ValueError(f"Range of an activation needs lo < hi, not {lo} and {hi}")
    if max_error is not None and segments is not None:
        raise ValueError("Give max_error or segments, not both")
    if max_error is not None and not max_error > 0:
        raise ValueError(f"Largest error must be positive, not {max_error!r}")
    if op.pre == 0 or op.post == 0:
        return _constant(float(_function(op, 0)(np.zeros(1))[0]))
    match op.kind:
        case "relu" | "leaky_relu" | "prelu":
            return _two_sided(op, terms)
        case "clip":
            return _clipped(op, terms)
        case "tanh" | "sigmoid" | "hard_sigmoid":
            curve = _Curve(op, lo, hi, terms)
            if segments is not None:
                return curve.with_segments(segments)
            return curve.within(max_error or abs(op.post) * _RELATIVE_ERROR)
        case _:
            raise UnsupportedError(f"Activation {op.kind!r} has no piecewise-linear form")


def activation_error(
    approximation: PiecewiseLinear,
    op: Activation,
    lo: float = -math.inf,
    hi: float = math.inf,
) -> float:
    """Largest error of ``approximation`` against ``op`` on lo .. hi, measured on a fine grid.

    ``math.inf`` if it grows without end. Beyond its breakpoints and the part where the function
    bends, an infinite range needs no samples.
    """
    worst = 0.0
    for channel in range(len(approximation.slopes)):
        knots = approximation.breakpoints[channel]
        bend = max(8 / abs(op.pre) if op.pre else 0.0, float(np.abs(knots).max(initial=1.0)))
        first, last = max(lo, -4 * bend), min(hi, 4 * bend)
        x = np.union1d(
            np.linspace(first, last, _SAMPLES), knots[(first <= knots) & (knots <= last)]
        )
        exact = _function(op, channel)(x)
        error = np.abs(evaluate(approximation, x, channel) - exact)
        ends = (
            (math.isinf(lo), approximation.slopes[channel][0], 0, 1),
            (
                math.isinf(hi),
                approximation.slopes[channel][-1],
                -2,
                -1,
            ),
        )
        for infinite, slope, before, after in ends:
            own = (exact[after] - exact[before]) / (x[after] - x[before])
            if infinite and abs(own - slope) > 1e-9 * (1 + abs(slope)):
                return math.inf
        worst = max(worst, float(error.max()))
    return worst


def _function(op: Activation, channel: int) -> Callable[[FloatArray], FloatArray]:
    parameters = tuple(p[[channel if p.size > 1 else 0]] for p in op.parameters)
    single = replace(op, parameters=parameters)

    def function(x: FloatArray) -> FloatArray:
        y: FloatArray = apply(single, [x.reshape(1, 1, 1, -1)]).reshape(x.shape)
        return y

    return function


def _constant(value: float) -> PiecewiseLinear:
    empty = np.zeros((1, 0))
    return PiecewiseLinear(empty, np.zeros((1, 1)), np.full((1, 1), _rounded(value)))


def _rounded(value: float) -> float:
    """``value`` with few significant bits."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(fraction, _SLOPE_BITS)), exponent - _SLOPE_BITS)


def _slopes(values: FloatArray, terms: int) -> FloatArray:
    nearest = [float(nearest_dyadic(float(v), terms=terms, bits=_SLOPE_BITS)) for v in values]
    return np.array(nearest)


def _two_sided(op: Activation, terms: int) -> PiecewiseLinear:
    """Two slopes that meet at 0, a channel each."""
    inner = np.zeros(1) if op.kind == "relu" else op.parameters[0]
    gain = op.pre * op.post
    slopes = np.stack([_slopes(gain * inner, terms), _slopes(np.full(len(inner), gain), terms)], 1)
    if op.pre < 0:
        slopes = slopes[:, ::-1]
    return PiecewiseLinear(np.zeros((len(inner), 1)), slopes, np.zeros_like(slopes))


def _clipped(op: Activation, terms: int) -> PiecewiseLinear:
    """One slope between two bounds, a channel each."""
    bounds = np.broadcast_arrays(*op.parameters)
    if not np.isfinite(bounds).all():
        raise UnsupportedError(
            "Clip with an infinite bound needs positive factors and one bound for all channels"
        )
    slope = float(_slopes(np.array([op.pre * op.post]), terms)[0])
    ends = np.stack([b / op.pre for b in bounds], axis=1)
    knots = np.sort([[_rounded(float(end)) for end in row] for row in ends], axis=1)
    slopes = np.tile([0.0, slope, 0.0], (len(knots), 1))
    offsets = np.stack([knots[:, 0] * slope, np.zeros(len(knots)), knots[:, 1] * slope], axis=1)
    return PiecewiseLinear(knots, slopes, offsets)


@dataclass(frozen=True)
class _Curve:
    """A function that bends between two constants, and the range on which it matters."""

    op: Activation
    lo: float
    hi: float
    terms: int

    def within(self, max_error: float) -> PiecewiseLinear:
        """Fewest segments within ``max_error``, then the least error that they reach."""
        best = self._fit(max_error)
        if best is None:
            raise ValueError(
                f"No slopes of {self.terms} terms keep {self.op.kind} within {max_error}"
            )
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
        """Least error with at most ``segments`` segments."""
        best, low, high = None, 0.0, abs(self.op.post)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            fit = self._fit(middle)
            if fit is not None and fit.slopes.shape[1] <= segments:
                best, high = fit, middle
            else:
                low = middle
        if best is None:
            raise ValueError(f"{segments} segments are too few for {self.op.kind}")
        return best

    def _fit(self, max_error: float) -> PiecewiseLinear | None:
        left, right, steepest, curvature = self._bend(max_error / 4)
        if self.op.kind != "hard_sigmoid":
            right = min(right, max(abs(self.lo), abs(self.hi)))
        coarsest = (right - left) / 32
        step = min(coarsest, math.sqrt(max_error / curvature)) if curvature else coarsest / 2
        knot_frac = 1 - math.frexp(step)[1]
        slope_frac = max(3, math.ceil(math.log2(math.ldexp(8 / max_error, -knot_frac))))
        for finer in range(_REFINEMENTS):
            grid = Grid(knot_frac + (finer + 1) // 2, slope_frac + finer)
            if (polyline := self._on_grid(grid, left, right, steepest, max_error)) is not None:
                return polyline.to_piecewise(self.lo, self.hi)
        return None

    def _on_grid(
        self, grid: Grid, left: float, right: float, steepest: float, max_error: float
    ) -> Polyline | None:
        function = _function(self.op, 0)
        slopes = slope_set(
            1.5 * steepest,
            terms=self.terms,
            slope_frac=grid.slope_frac,
            rising=self._direction > 0,
        )
        first = math.floor(math.ldexp(left, grid.knot_frac))
        last = math.ceil(math.ldexp(right, grid.knot_frac))
        limits = function(np.array([-math.inf, math.inf]))
        if self.op.kind == "hard_sigmoid":
            return fewest_segments(
                function,
                first - 1,
                last + 1,
                grid=grid,
                slopes=slopes,
                max_error=max_error,
                flat_start=float(limits[0]),
                flat_end=float(limits[1]),
            )
        # tanh and sigmoid are point-symmetric: the right half and its reflection
        centre = float(function(np.zeros(1))[0])
        start = round(math.ldexp(centre, grid.value_frac))
        skew = 2 * abs(math.ldexp(start, -grid.value_frac) - centre)
        half = fewest_segments(
            function,
            0,
            last,
            grid=grid,
            slopes=slopes,
            max_error=max_error - skew,
            start=start,
            flat_end=float(limits[1]) if self._saturates(right, max_error) else None,
        )
        return half.mirrored() if half is not None else None

    @property
    def _direction(self) -> float:
        rise = self.op.pre * self.op.post
        return rise * float(self.op.parameters[0][0]) if self.op.kind == "hard_sigmoid" else rise

    def _saturates(self, right: float, max_error: float) -> bool:
        return right >= self._bend(max_error / 4)[1]

    def _bend(self, rest: float) -> tuple[float, float, float, float]:
        """Where the function is within ``rest`` of its limits, steepest slope, most curvature."""
        pre, post = abs(self.op.pre), abs(self.op.post)
        rest = min(rest / post, 0.1)
        match self.op.kind:
            case "tanh":
                return 0.0, math.atanh(1 - rest) / pre, pre * post, 0.77 * pre * pre * post
            case "sigmoid":
                return 0.0, -math.log(rest) / pre, pre * post / 4, 0.0963 * pre * pre * post
            case _:
                alpha, beta = (float(p.item()) for p in self.op.parameters)
                ends = sorted((edge - beta) / (alpha * self.op.pre) for edge in (0.0, 1.0))
                return ends[0], ends[1], abs(alpha) * pre * post, 0.0
