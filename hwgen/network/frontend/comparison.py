"""Signs and comparisons with constants, as binary networks write the sign of an activation."""

from __future__ import annotations

import numpy as np

from hwgen.network.frontend.layout import View
from hwgen.network.frontend.lowering import Handler, Lowering, Result
from hwgen.network.frontend.read import OnnxNode
from hwgen.network.steps import LEAST, step

__all__ = ["HANDLERS"]

_ONE = np.ones(())

_SWAPPED = {
    "Greater": "Less",
    "GreaterOrEqual": "LessOrEqual",
    "Less": "Greater",
    "LessOrEqual": "GreaterOrEqual",
}
"""What a comparison is with its operands exchanged."""

_STEPS = {
    "Greater": step([LEAST], [0, 1]),
    "GreaterOrEqual": step([0], [0, 1]),
    "Less": step([0], [1, 0]),
    "LessOrEqual": step([LEAST], [1, 0]),
}
"""Each comparison with 0, as 0 and 1."""


def _sign(low: Lowering, node: OnnxNode) -> Result:
    return low.pointwise(node, low.view(node), step([0, LEAST], [-1, 0, 1]))


def _compare(low: Lowering, node: OnnxNode) -> Result:
    """A tensor and constants: where it holds, as 0 and 1."""
    first = isinstance(low.value(node, 0), View)
    view, bound = low.view(node, 1 - first), low.required(node, int(first))
    kind = node.kind if first else _SWAPPED[node.kind]
    if bound.any():
        view = low.scaled(node, view, _ONE, -bound)
    return low.pointwise(node, view, _STEPS[kind])


def _where(low: Lowering, node: OnnxNode) -> Result:
    """One of two constants, as a comparison says; opposite ones are a scale times 1 and -1."""
    chosen, other = low.required(node, 1), low.required(node, 2)
    view = low.view(node)
    if (chosen + other).any():
        return low.scaled(node, view, chosen - other, other)
    return low.scaled(node, low.scaled(node, view, 2 * _ONE, -_ONE), chosen, 0 * _ONE)


HANDLERS: dict[str, Handler] = {
    "Greater": _compare,
    "GreaterOrEqual": _compare,
    "Less": _compare,
    "LessOrEqual": _compare,
    "Sign": _sign,
    "Where": _where,
}
