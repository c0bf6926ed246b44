"""The slowest path of a whole pipeline, from those of its stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hwgen.estimate.elaborated import alike, stage_rtlil, uncollected
from hwgen.estimate.paths import TIMINGS, Ends, longest_paths
from hwgen.shiftadd.build import with_bias
from hwgen.shiftadd.schedule import schedule
from hwgen.stream.blocks import Stage

__all__ = ["CriticalPath", "critical_path"]

_NEVER = -math.inf


@dataclass(frozen=True)
class CriticalPath:
    """Stage in which the slowest path of a pipeline ends, and its nanoseconds at typical routing.

    What flip-flops take is not in it.
    """

    stage: str
    delay: float


def critical_path(stages: Sequence[Stage], family: str) -> CriticalPath:
    """Slowest path of stages in topological order.

    Valid and payload pass blocks without a register forwards, ready passes them backwards until a
    queue; no valid depends on the ready of the same stream.
    """
    found = {stage.name: _paths(alike(stage), family) for stage in stages}
    forward = {"": 0.0}
    for stage in stages:
        for end in {target for _, target in found[stage.name]}:
            if end != "register" and not end.endswith("__ready"):
                name = stage.name if end == "o" else f"{stage.name}.{end[1:]}"
                forward[name] = _settled(stage, found[stage.name], end, forward, {})
    backward: dict[str, float] = {}
    slowest = CriticalPath("", 0.0)
    for stage in reversed(stages):
        paths = found[stage.name]
        for k, source in enumerate(stage.sources):
            ready = _settled(stage, paths, f"{_input(stage, k)}__ready", forward, backward)
            backward[source] = max(ready, backward.get(source, _NEVER))
        delay = _settled(stage, paths, "register", forward, backward)
        if delay > slowest.delay:
            slowest = CriticalPath(stage.name, delay)
    return slowest


def _settled(
    stage: Stage,
    paths: dict[Ends, float],
    end: str,
    forward: dict[str, float],
    backward: dict[str, float],
) -> float:
    """When an end of a stage settles after the clock."""
    times = {"register": 0.0}
    for k, name in enumerate(stage.sources):
        times[_input(stage, k)] = forward.get(name, 0.0)
    for source, _ in paths:
        if source.endswith("__ready"):
            output = source.removesuffix("__ready")
            name = stage.name if output == "o" else f"{stage.name}.{output[1:]}"
            times[source] = backward.get(name, 0.0 if backward else _NEVER)
    found = [times[a] + delay for (a, b), delay in paths.items() if b == end and a in times]
    return max(found, default=_NEVER)


def _input(stage: Stage, k: int) -> str:
    return "i" if len(stage.sources) == 1 else f"i{k}"


@lru_cache(maxsize=4096)
def _paths(stage: Stage, family: str) -> dict[Ends, float]:
    if stage.form == "adders":
        return _of_graph(stage, family)
    with uncollected():
        return longest_paths(stage_rtlil(stage), family)


def _of_graph(stage: Stage, family: str) -> dict[Ends, float]:
    """Paths of an adder graph with its registers: the widest adders, and the clock enable."""
    assert stage.graph is not None
    timing = TIMINGS[family]
    network = with_bias(stage.graph, stage.bias or [0] * len(stage.graph.outputs))
    adders = sorted(network.node_bits, reverse=True)[: stage.depth]
    total = sum(timing.into + timing.carry * bits + timing.out for bits in adders)
    plan = schedule(network, adders_per_stage=stage.depth)
    enable = timing.level / 2
    held = enable + enable + timing.wire(plan.registers(network))
    return {
        ("register", "register"): max(total, held),
        ("i", "register"): total,
        ("register", "o"): 0.0,
        ("register", "i__ready"): enable,
        ("o__ready", "register"): held,
        ("o__ready", "i__ready"): enable,
    }
