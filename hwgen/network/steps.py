"""Steps: pointwise functions that are constant between break-points, as binary networks have them.

A step is a :class:`PiecewiseLinear` whose slopes are 0. The sign of x, and whether x is positive,
are steps with break-points at 0.
"""

from __future__ import annotations

import math

import numpy as np

from hwgen.network.types import Conv, FloatArray, Op, PiecewiseLinear

__all__ = [
    "LEAST",
    "is_step",
    "reversed_signs",
    "scaled_levels",
    "step",
    "steps_at_zero",
    "unit",
    "unit_filters",
]

LEAST = float(np.finfo(np.float32).smallest_subnormal)
"""The least positive float32: a step here tells whether x is positive, one at 0 whether x >= 0."""


def step(breakpoints: list[float], levels: list[float]) -> PiecewiseLinear:
    """The function that is ``levels[s]`` where s of the ascending ``breakpoints`` are <= x."""
    return PiecewiseLinear(np.array([breakpoints]), np.zeros((1, len(levels))), np.array([levels]))


def is_step(op: Op | None) -> bool:
    """Whether the operator is constant between its break-points."""
    return isinstance(op, PiecewiseLinear) and not op.slopes.any()


def steps_at_zero(op: Op | None) -> bool:
    """Whether a step tells no more than the sign of x, with the same levels in all channels."""
    return (
        isinstance(op, PiecewiseLinear)
        and is_step(op)
        and bool((op.offsets == op.offsets[0]).all())
        and bool(np.isin(op.breakpoints, (0, LEAST)).all())
    )


def reversed_signs(op: PiecewiseLinear, signs: FloatArray) -> PiecewiseLinear:
    """``signs[c] * op(signs[c] * x)`` for a step of two opposite levels at 0 for all channels.

    What is 1 where x >= 0 becomes 1 where x > 0, and the other way round.
    """
    (at,), (levels,) = op.breakpoints[0], op.offsets
    breakpoints = np.where(signs > 0, at, LEAST - at)[:, None]
    return PiecewiseLinear(breakpoints, np.zeros((len(signs), 2)), np.tile(levels, (len(signs), 1)))


def scaled_levels(
    op: PiecewiseLinear, scale: FloatArray, offset: FloatArray
) -> PiecewiseLinear | None:
    """``scale[c] * op(x) + offset[c]`` as one step, if its levels have a :func:`unit`."""
    if (scale != scale[0]).any() or (offset != offset[0]).any():
        return None
    levels = op.offsets * scale[0] + offset[0]
    return PiecewiseLinear(op.breakpoints, op.slopes, levels) if unit(levels) else None


def unit(levels: FloatArray) -> float | None:
    """The power of two of which all ``levels`` are -1, 0 and 1 times, if there is one."""
    largest = float(np.abs(levels).max())
    if not np.isin(levels, (-largest, 0, largest)).all() or math.frexp(largest)[0] != 0.5:
        return None
    return largest


def unit_filters(op: Conv) -> Conv:
    """``op`` with each filter of one magnitude divided by it, which keeps every output's sign.

    The weights of such a filter become -1, 0 and 1, whatever its scale was.
    """
    flat = np.abs(op.weight.reshape(len(op.weight), -1))
    largest = flat.max(axis=1)
    one = (largest > 0) & ((flat == 0) | (flat == largest[:, None])).all(axis=1)
    divisor = np.where(one, largest, 1.0)
    return Conv(
        op.weight / divisor.reshape(-1, 1, 1, 1),
        op.bias / divisor,
        op.strides,
        op.pads,
        op.dilations,
        op.groups,
    )
