"""Activation functions as piecewise-linear functions that need no multiplier.

Every slope is a sum of few signed powers of two, every breakpoint and offset lies on a fixed-point
grid, and the function is continuous and as monotone as what it replaces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwgen.approx.minimax import Tail, approximate_callable
from hwgen.approx.piecewise import evaluate
from hwgen.approx.scale import nearest_dyadic
from hwgen.errors import UnsupportedError
from hwgen.network.execute import apply
from hwgen.network.types import Activation, FloatArray, PiecewiseLinear

__all__ = ["activation_error", "amplitude", "approximate_activation", "is_saturation"]

_RELATIVE_ERROR = 1 / 128
_SYMMETRIC = frozenset({"tanh", "sigmoid", "erf"})
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
        Largest error allowed for the kinds that bend; by default 1/128 of the :func:`amplitude`.
        The result has the fewest segments that keep it, and with these nearly the least error.
        The others (``relu``, ``leaky_relu``, ``prelu``, ``clip``) have two or three segments, each
        with the nearest dyadic slope.
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
        case kind if kind in _TAILS or kind in {"hard_sigmoid", "elu"}:
            if max_error is None and segments is None:
                max_error = _RELATIVE_ERROR * amplitude(op, lo, hi)
            left, right = _tails(op)
            try:
                return approximate_callable(
                    _function(op, 0),
                    lo,
                    hi,
                    max_error=max_error,
                    segments=segments,
                    terms=terms,
                    left=left,
                    right=right,
                    symmetry="point" if op.kind in _SYMMETRIC else "none",
                ).function
            except ValueError as error:
                raise ValueError(f"{error} for {op.kind}") from None
        case _:
            raise UnsupportedError(f"Activation {op.kind!r} has no piecewise-linear form")


def amplitude(op: Activation, lo: float = -math.inf, hi: float = math.inf) -> float:
    """What errors of ``op`` are relative to: its factor, or for ``exp`` its peak on lo .. hi.

    Raises
    ------
    UnsupportedError
        If ``exp`` grows without end on lo .. hi.
    """
    if op.kind != "exp":
        return abs(op.post)
    greatest = max(op.pre * lo, op.pre * hi)
    if greatest > math.log(np.finfo(np.float64).max):
        raise UnsupportedError(f"Activation 'exp' needs a bounded range, not {lo} .. {hi}")
    return abs(op.post) * math.exp(greatest)


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


_RISING = (Tail(), Tail(slope=1.0))
_TAILS: dict[str, tuple[Tail | None, Tail | None]] = {
    "tanh": (Tail(offset=-1.0), Tail(offset=1.0)),
    "erf": (Tail(offset=-1.0), Tail(offset=1.0)),
    "sigmoid": (Tail(), Tail(offset=1.0)),
    "exp": (Tail(), None),
    **dict.fromkeys(("softplus", "silu", "gelu", "gelu_tanh", "hard_swish", "mish"), _RISING),
}
"""Lines that a kind approaches at minus and plus infinity."""


def _tails(op: Activation) -> tuple[Tail | None, Tail | None]:
    """The lines that ``op`` approaches at minus and plus infinity."""
    match op.kind:
        case "hard_sigmoid":
            alpha, beta = (float(p.item()) for p in op.parameters)
            level = min(max(beta, 0.0), 1.0)
            pair: tuple[Tail | None, ...] = (Tail(), Tail(offset=1.0))[:: -1 if alpha < 0 else 1]
            if alpha == 0:
                pair = (Tail(offset=level), Tail(offset=level))
        case "elu":
            pair = (Tail(offset=-float(op.parameters[0].item())), Tail(slope=1.0))
        case _:
            pair = _TAILS[op.kind]
    lines = [
        None if t is None else Tail(t.slope * op.pre * op.post, t.offset * op.post) for t in pair
    ]
    return (lines[1], lines[0]) if op.pre < 0 else (lines[0], lines[1])


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
