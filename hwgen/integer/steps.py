"""Steps behind a linear layer: the exact sum is compared with a threshold.

What a filter's sum is compared with is ``-bias / unit`` in units of the sum. It is rounded to the
integer that gives the same answer for every sum, so a step costs no accuracy, whatever the bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwgen.approx.types import DyadicFilters
from hwgen.network import types as real
from hwgen.network.steps import LEAST, steps_at_zero, unit
from hwgen.numeric import IntArray

__all__ = ["Step", "step_of", "threshold"]


@dataclass(frozen=True)
class Step:
    """A step at 0: ``levels`` of -1, 0 and 1, ascending, in units of ``scale``, a power of two.

    With two levels, ``closed`` says of each channel, or of all, that the second is taken at 0
    itself; three are the sign.
    """

    levels: tuple[int, ...]
    scale: float
    closed: tuple[bool, ...]


def step_of(op: real.Op) -> Step | None:
    """The step that ``op`` is, if :func:`threshold` can build it."""
    if not isinstance(op, real.PiecewiseLinear) or not steps_at_zero(op):
        return None
    scale = unit(op.offsets)
    if scale is None:
        return None
    levels = tuple((op.offsets[0] / scale).astype(int).tolist())
    if levels not in {(-1, 1), (0, 1), (-1, 0, 1)}:
        return None
    if len(levels) == 3 and (op.breakpoints != (0, LEAST)).any():
        return None
    return Step(levels, scale, closed=tuple((op.breakpoints[:, 0] == 0).tolist()))


def threshold(
    filters: DyadicFilters, step: Step, source: float, reach: int
) -> tuple[IntArray, IntArray]:
    """Weights and bias (O,) of the integer convolution that, clipped to the levels, is the step.

    A filter's codes lose their common divisor. For levels -1 and 1 a sum counts twice and the bias
    is odd, so that it is never 0.

    Parameters
    ----------
    filters
        The layer's filters.
    step
        What is behind it.
    source
        Real value of one unit of its input.
    reach
        Greatest magnitude of its input, in units.
    """
    divisors = [int(np.gcd.reduce(code, axis=None)) or 1 for code in filters.codes]
    weight = filters.codes // np.array(divisors, dtype=np.int64).reshape(-1, 1, 1, 1)
    doubled = step.levels[0] == -1
    biases = []
    closed = step.closed * (1 if len(step.closed) > 1 else len(filters.scale))
    for o, scale in enumerate(filters.scale):
        one = Fraction(float(scale)) * Fraction(source) * divisors[o] / 2**filters.frac
        weight[o] *= (one > 0) - (one < 0)
        limit = int(np.abs(weight[o]).sum()) * reach + 1
        at = -Fraction(float(filters.bias[o])) / abs(one or 1)
        at = min(max(at, Fraction(-limit)), Fraction(limit))
        if len(step.levels) == 3 and at.denominator == 1:
            biases.append(-2 * int(at))
            continue
        least = math.ceil(at) if closed[o] else math.floor(at) + 1
        biases.append(1 - 2 * least if doubled else 1 - least)
    return weight << int(doubled), np.array(biases, dtype=np.int64)
