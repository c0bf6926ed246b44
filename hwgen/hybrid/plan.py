"""The plan of a hybrid: the first layers as a pipeline, the others as the program of an NFU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hwgen.hybrid.timing import UnitBeats, hybrid_timing, least_depth, queued
from hwgen.integer.split import split
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.design import NfuPlan, PlannedSystem, plan_system
from hwgen.stream.cycles import Timing, predict
from hwgen.stream.forms import LayerForm
from hwgen.stream.plan import PipelinePlan, plan_pipeline

__all__ = ["HybridPlan", "PlannedHybrid", "plan_front", "plan_hybrid"]


@dataclass(frozen=True)
class HybridPlan:
    """What a hybrid is and what an image takes.

    ``cut`` is the tensor that passes from ``front`` to ``unit``, through a queue of ``queue``
    pixels at the end of the front; ``beats`` are what the unit does with it, and ``timing`` is that
    of both together.
    """

    network: str
    cut: str
    front: PipelinePlan
    unit: NfuPlan
    queue: int
    beats: UnitBeats
    timing: Timing


@dataclass(frozen=True, eq=False)
class PlannedHybrid:
    """A plan, and the NFU with its compiled program, before there is Verilog."""

    plan: HybridPlan
    unit: PlannedSystem


def plan_hybrid(
    network: IntegerNetwork,
    *,
    cut: str,
    tile: tuple[int, int],
    depth: int = 512,
    single_port: bool = False,
    folding: Mapping[str, LayerForm] = MappingProxyType({}),
    slack: float = 1 / 16,
    family: str | None = None,
    effort: int = 0,
    jobs: int = 1,
) -> PlannedHybrid:
    """Plan ``network`` as a pipeline up to the tensor ``cut`` and an NFU behind it.

    ``tile``, ``depth`` and ``single_port`` are those of :func:`hwgen.nfu.design.plan_system`, the
    others those of :func:`plan_front`, and both raise the same.
    """
    first, second = split(network, cut)
    unit = plan_system(second, tile=tile, depth=depth, single_port=single_port)
    return plan_front(
        first, unit, folding=folding, slack=slack, family=family, effort=effort, jobs=jobs
    )


def plan_front(
    first: IntegerNetwork,
    unit: PlannedSystem,
    *,
    folding: Mapping[str, LayerForm] = MappingProxyType({}),
    slack: float = 1 / 16,
    family: str | None = None,
    effort: int = 0,
    jobs: int = 1,
) -> PlannedHybrid:
    """Plan the network ``first`` as a pipeline before ``unit``, which has the rest of the network.

    ``folding``, ``family``, ``effort`` and ``jobs`` are those of
    :func:`hwgen.stream.plan.plan_pipeline`, of the layers before the cut. Images may take longer by
    ``slack``, as a fraction, if that makes the queue before the NFU shorter.

    Raises
    ------
    UnsupportedError
        If there is nothing to build.
    DataError
        If the folding names a layer that is not before the cut.
    """
    front = plan_pipeline(first, jobs=jobs, family=family, effort=effort, folding=folding)
    beats = UnitBeats.of(unit)
    queue = least_depth(front.stages, front.output, beats, slack=slack)
    stages, output = queued(front.stages, front.output, queue)
    plan = HybridPlan(
        network=first.name,
        cut=first.output,
        front=replace(front, stages=stages, output=output, timing=predict(stages)),
        unit=unit.plan,
        queue=queue,
        beats=beats,
        timing=hybrid_timing(stages, beats),
    )
    return PlannedHybrid(plan, unit)
