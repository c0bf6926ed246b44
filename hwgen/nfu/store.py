"""JSON form of the plan of an NFU system, exact both ways."""

from __future__ import annotations

from hwgen import serial
from hwgen.nfu.config import CONFIG_CLASSES
from hwgen.nfu.design import NfuPlan
from hwgen.nfu.image import MemoryMap, Region
from hwgen.nfu.loadable import Room

__all__ = ["PLAN_CLASSES", "plan_from_json", "plan_to_json"]

PLAN_CLASSES = (*CONFIG_CLASSES, MemoryMap, NfuPlan, Region, Room)
"""Classes of what a plan holds."""


def plan_to_json(plan: NfuPlan) -> str:
    """JSON text of a plan."""
    return serial.dumps(plan)


def plan_from_json(text: str) -> NfuPlan:
    """The plan that :func:`plan_to_json` wrote; :class:`DataError` if the text is damaged."""
    return serial.loads(text, PLAN_CLASSES, NfuPlan)
