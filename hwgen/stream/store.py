"""JSON forms of the pipeline plan and of the generated design, exact both ways."""

from __future__ import annotations

from hwgen import serial
from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.numeric import Range
from hwgen.shiftadd.graph import Adder, AdderGraph, Operand
from hwgen.stream.blocks import Stage
from hwgen.stream.cycles import Timing
from hwgen.stream.design import PixelLayout, StreamDesign, Tap
from hwgen.stream.plan import PipelinePlan
from hwgen.stream.programs import Loading, Program, WritableMemory
from hwgen.stream.scan import Scan

__all__ = [
    "PLAN_CLASSES",
    "design_from_json",
    "design_to_json",
    "plan_from_json",
    "plan_to_json",
]

PLAN_CLASSES = (
    Add,
    Adder,
    AdderGraph,
    ArgMax,
    Concat,
    Conv,
    MaxPool,
    Operand,
    PiecewiseLinear,
    PipelinePlan,
    Range,
    Requantise,
    Scan,
    Stage,
    SumPool,
    Timing,
)
"""Classes of what a plan holds."""

_DESIGN = (Loading, PixelLayout, Program, StreamDesign, Tap, WritableMemory)


def plan_to_json(plan: PipelinePlan) -> str:
    """JSON text of a plan."""
    return serial.dumps(plan)


def plan_from_json(text: str) -> PipelinePlan:
    """The plan that :func:`plan_to_json` wrote; :class:`DataError` if the text is damaged."""
    return serial.loads(text, PLAN_CLASSES, PipelinePlan)


def design_to_json(design: StreamDesign) -> str:
    """JSON text of a design."""
    return serial.dumps(design)


def design_from_json(text: str) -> StreamDesign:
    """The design that :func:`design_to_json` wrote; :class:`DataError` if the text is damaged."""
    return serial.loads(text, _DESIGN, StreamDesign)
