"""The six sigmoid approximations that Cintra et al. (TNNLS 2018) compare.

All are odd and given here for x >= 0. ASG, PLAN and Quadratic I are near tanh(x / 2), Quadratic II
near tanh(x); the two linear ones are near neither. The paper multiplies each by 7/4 in place of the
trained amplitude 1.7159. The quadratics need a squarer, so only the other four are multiplierless.

Largest absolute errors, recomputed here from the definitions (and asserted by the tests):

============  ============  =============  ==========
function      tanh(x / 2)   tanh(2 x / 3)  tanh(x)
============  ============  =============  ==========
ASG           0.038         0.138          0.287
PLAN          0.038         0.138          0.287
Linear I      0.266         0.388          0.537
Linear II     0.238         0.130          0.266
Quadratic I   0.043         0.155          0.326
Quadratic II  0.306         0.178          0.043
============  ============  =============  ==========

None is near tanh(2 x / 3), which face detectors of that time were trained with: either the input is
scaled first, by 4/3 or about 1 + 1/4 + 1/16, or the mismatch is tolerated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwgen.approx.scale import nearest_dyadic
from hwgen.errors import UnsupportedError
from hwgen.network.types import Activation, FloatArray, PiecewiseLinear

__all__ = [
    "PAPER_ACTIVATIONS",
    "PLAN_CONTINUOUS",
    "PLAN_DOUBLED",
    "PaperActivation",
    "PaperName",
    "Prescale",
    "asg",
    "linear",
    "plan",
    "quadratic",
    "substitute",
    "to_piecewise",
]

PaperName = Literal["asg", "plan", "linear1", "linear2", "quadratic1", "quadratic2"]
"""The six, as an option names them."""

Prescale = Literal["match", "none"]
"""Whether the input is scaled so that the approximation meets the trained function."""

PLAN_DOUBLED = 11 / 16
"""Constant of PLAN's third piece in ``2 * plan(x) - 1``; jumps by 1/128 at 19/8."""
PLAN_CONTINUOUS = 89 / 128
"""Constant that makes PLAN continuous at 19/8; jumps by 1/128 at 5."""


@dataclass(frozen=True)
class PaperActivation:
    """One of the six functions, odd, from the reals to -1 .. 1.

    ``multiplierless`` says whether adders and shifts compute it. ``steepness`` is the s whose
    tanh(s x) it is nearest to, largest errors compared (a half or one where that is close).
    """

    name: str
    function: Callable[[FloatArray], FloatArray]
    multiplierless: bool
    steepness: float

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
    PaperActivation("asg", asg, True, 0.5),
    PaperActivation("plan", plan, True, 0.5),
    PaperActivation("linear-1", lambda x: linear(x, knee=4.0), True, 0.353),
    PaperActivation("linear-2", lambda x: linear(x, knee=2.0), True, 0.706),
    PaperActivation("quadratic-1", lambda x: quadratic(x, knee=4.0), False, 0.5),
    PaperActivation("quadratic-2", lambda x: quadratic(x, knee=2.0), False, 1.0),
)
"""The six, in the paper's order."""

_BREAKPOINTS: dict[str, tuple[float, ...]] = {
    "plan": (1.0, 19 / 8, 5.0),
    "linear-1": (4.0,),
    "linear-2": (2.0,),
}
_ASG_SEGMENTS = 8
_PRESCALE_TERMS = 3
_KNOT_BITS = 12


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


def substitute(
    op: Activation, name: PaperName, *, prescale: Prescale = "match", terms: int = 2
) -> PiecewiseLinear:
    """One of the paper's functions in place of a ``tanh`` or ``sigmoid``.

    The amplitude becomes a sum of at most ``terms`` signed powers of two: 7/4 for 1.7159. With
    ``prescale="match"`` the input is first multiplied by the sum of three that brings the function
    nearest to ``op``, for tanh(2 x / 3) and PLAN by 1 + 1/4 + 1/16; with ``"none"`` it is not, and
    the mismatch stays. A slope has the terms of the function's own, the input's and the
    amplitude's factor in a row. Breakpoints are rounded to 12 significant bits, which moves the
    function by less than 2**-12 of its amplitude.

    Raises
    ------
    UnsupportedError
        If ``op`` is of another kind or the function needs a multiplier.
    """
    paper = {each.name.replace("-", ""): each for each in PAPER_ACTIVATIONS}[name]
    if op.kind not in {"tanh", "sigmoid"}:
        raise UnsupportedError(f"Only tanh and sigmoid can become {name}, not {op.kind}")
    if not paper.multiplierless:
        raise UnsupportedError(
            f"{name.capitalize()} needs a squarer, which is a multiplier; choose another activation"
        )
    # sigmoid(x) == 1/2 + tanh(x / 2) / 2
    half = 0.5 if op.kind == "sigmoid" else 1.0
    post = float(nearest_dyadic(op.post * half, terms=terms))
    if op.pre == 0 or post == 0:
        empty = np.zeros((1, 0))
        centre = np.full((1, 1), post if op.kind == "sigmoid" else 0.0)
        return PiecewiseLinear(empty, np.zeros((1, 1)), centre)
    pre = 1.0
    if prescale == "match":
        factor = abs(op.pre) * half / paper.steepness
        pre = float(nearest_dyadic(factor, terms=_PRESCALE_TERMS))
    form = to_piecewise(paper, pre=pre, post=math.copysign(1, op.pre) * post)
    fraction, exponent = np.frexp(form.breakpoints)
    return PiecewiseLinear(
        np.ldexp(np.rint(np.ldexp(fraction, _KNOT_BITS)), exponent - _KNOT_BITS),
        form.slopes,
        form.offsets + (post if op.kind == "sigmoid" else 0.0),
    )
