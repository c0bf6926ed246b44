"""The six sigmoid approximations that Cintra et al. (TNNLS 2018) compare.

All are odd and given here for x >= 0. ASG, PLAN and Quadratic I are near tanh(x / 2), Quadratic II
near tanh(x); the two linear ones are near neither. The paper multiplies each by 7/4 in place of the
trained amplitude 1.7159. The quadratics need a squarer, so only the other four are multiplierless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwgen.network.types import FloatArray, PiecewiseLinear

__all__ = [
    "PAPER_ACTIVATIONS",
    "PLAN_CONTINUOUS",
    "PLAN_DOUBLED",
    "PaperActivation",
    "asg",
    "linear",
    "plan",
    "quadratic",
    "to_piecewise",
]

PLAN_DOUBLED = 11 / 16
"""Constant of PLAN's third piece in ``2 * plan(x) - 1``; jumps by 1/128 at 19/8."""
PLAN_CONTINUOUS = 89 / 128
"""Constant that makes PLAN continuous at 19/8; jumps by 1/128 at 5."""


@dataclass(frozen=True)
class PaperActivation:
    """One of the six functions, odd, from the reals to -1 .. 1.

    ``multiplierless`` says whether adders and shifts compute it.
    """

    name: str
    function: Callable[[FloatArray], FloatArray]
    multiplierless: bool

    def __call__(self, x: FloatArray) -> FloatArray:
        """Values at ``x``, any shape, float64."""
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(np.sign(x) * self.function(np.abs(x)), dtype=np.float64)


def asg(x: FloatArray) -> FloatArray:
    """``1 - (1 - frac(x) / 2) / 2**floor(x)`` for x >= 0."""
    whole = np.floor(x)
    return np.asarray(1 - np.ldexp(1 - (x - whole) / 2, -np.minimum(whole, 1000).astype(np.int64)))


def plan(x: FloatArray, *, constant: float = PLAN_DOUBLED) -> FloatArray:
    """PLAN for x >= 0: slopes 1/2, 1/4, 1/16 and 0, changing at 1, 19/8 and 5."""
    pieces = [x / 2, x / 4 + 1 / 4, x / 16 + constant]
    return np.asarray(np.select([x < 1, x < 19 / 8, x < 5], pieces, 1.0))


def linear(x: FloatArray, *, knee: float) -> FloatArray:
    """``min(x / knee, 1)`` for x >= 0: Linear I with knee 4, Linear II with knee 2."""
    return np.minimum(x / knee, 1.0)


def quadratic(x: FloatArray, *, knee: float) -> FloatArray:
    """``1 - (x / knee - 1)**2`` up to the knee, then 1: Quadratic I has knee 4, II has knee 2."""
    return np.asarray(np.where(x < knee, 1 - (x / knee - 1) ** 2, 1.0))


PAPER_ACTIVATIONS: tuple[PaperActivation, ...] = (
    PaperActivation("asg", asg, True),
    PaperActivation("plan", plan, True),
    PaperActivation("linear-1", lambda x: linear(x, knee=4.0), True),
    PaperActivation("linear-2", lambda x: linear(x, knee=2.0), True),
    PaperActivation("quadratic-1", lambda x: quadratic(x, knee=4.0), False),
    PaperActivation("quadratic-2", lambda x: quadratic(x, knee=2.0), False),
)
"""The six, in the paper's order."""

_BREAKPOINTS: dict[str, tuple[float, ...]] = {
    "plan": (1.0, 19 / 8, 5.0),
    "linear-1": (4.0,),
    "linear-2": (2.0,),
}
_ASG_SEGMENTS = 8


def to_piecewise(
    activation: PaperActivation, *, pre: float = 1.0, post: float = 1.0
) -> PiecewiseLinear:
    """``post * activation(pre * x)`` as a piecewise-linear operator.

    ASG, which has endlessly many segments, is cut after eight and stays at its value there, 1/256
    below 1. Give a ``pre`` and ``post`` of few signed powers of two (the paper's amplitude is 7/4)
    to keep the slopes dyadic.

    Raises
    ------
    ValueError
        If the activation is not piecewise linear, or ``pre`` is not positive.
    """
    if not activation.multiplierless:
        raise ValueError(f"Activation {activation.name} is quadratic, not piecewise linear")
    if not pre > 0:
        raise ValueError(f"Factor of the input must be positive, not {pre!r}")
    knots = np.array(_BREAKPOINTS.get(activation.name, range(1, _ASG_SEGMENTS + 1)))
    # each piece through two points inside it; the last is constant
    starts = np.concatenate([[0.0], knots[:-1]])
    first, second = starts + (knots - starts) / 4, starts + (knots - starts) / 2
    rises = (activation(second) - activation(first)) / (second - first)
    slopes = np.concatenate([rises, [0.0]])
    offsets = np.concatenate([activation(first) - rises * first, activation(knots[-1:])])
    return PiecewiseLinear(
        np.concatenate([-knots[::-1], knots])[None] / pre,
        np.concatenate([slopes[:0:-1], slopes])[None] * (pre * post),
        np.concatenate([-offsets[:0:-1], offsets])[None] * post,
    )
