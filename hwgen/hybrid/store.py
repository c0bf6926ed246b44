"""JSON form of the plan of a hybrid, exact both ways."""

from __future__ import annotations

from hwgen import serial
from hwgen.hybrid.plan import HybridPlan
from hwgen.hybrid.timing import UnitBeats
from hwgen.nfu.store import PLAN_CLASSES as NFU_CLASSES
from hwgen.stream.store import PLAN_CLASSES as STREAM_CLASSES

__all__ = ["plan_from_json", "plan_to_json"]

_CLASSES = (*STREAM_CLASSES, *NFU_CLASSES, HybridPlan, UnitBeats)


def plan_to_json(plan: HybridPlan) -> str:
    """JSON text of a plan."""
    return serial.dumps(plan)


def plan_from_json(text: str) -> HybridPlan:
    """The plan that :func:`plan_to_json` wrote; :class:`DataError` if the text is damaged."""
    return serial.loads(text, _CLASSES, HybridPlan)
