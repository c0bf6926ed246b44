"""Pipeline stages for the values of an adder graph, with the fewest delay registers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from hwgen.shiftadd.graph import AdderGraph

__all__ = ["Schedule", "schedule"]


@dataclass(frozen=True)
class Schedule:
    """When each value of an adder graph is computed and last read.

    Stages count from 1 to ``stages``, with a register after each. ``made`` is the stage in which
    each value, inputs first, is computed (1 for inputs); ``read`` the last stage that reads it,
    ``stages + 1`` for outputs. The value passes through ``read - made`` registers, none if
    ``read <= made``.
    """

    stages: int
    made: tuple[int, ...]
    read: tuple[int, ...]

    def registers(self, graph: AdderGraph) -> int:
        """Bits of all registers; constants need none."""
        return sum(
            span.width * max(0, read - made)
            for span, made, read in zip(graph.ranges, self.made, self.read, strict=True)
            if span.lo != span.hi
        )


def schedule(graph: AdderGraph, *, adders_per_stage: int = 1) -> Schedule:
    """Assign every node of ``graph`` to a pipeline stage.

    The bits of the registers are the fewest possible: no stage holds a path of more than
    ``adders_per_stage`` adders if every node is at least a stage after those that begin such a
    path to it, and choosing the stages is then a linear program with a totally unimodular matrix
    (retiming; Leiserson and Saxe, "Retiming synchronous circuitry", 1991).
    """
    stages = pipeline_stages(graph, adders_per_stage=adders_per_stage)
    count = len(graph.inputs)
    made = [1] * count + _stages(graph, stages, adders_per_stage)
    read = [0] * len(made)
    for index, node in enumerate(graph.nodes, start=count):
        for operand in (node.left, node.right):
            read[operand.source] = max(read[operand.source], made[index])
    for output in graph.outputs:
        if output is not None:
            read[output.source] = stages + 1
    return Schedule(stages, tuple(made), tuple(read))


def pipeline_stages(graph: AdderGraph, *, adders_per_stage: int = 1) -> int:
    """Stages of the pipeline: at least 1, so that outputs are registered."""
    return max(1, -(-graph.depth // adders_per_stage))


def _stages(graph: AdderGraph, stages: int, adders_per_stage: int) -> list[int]:
    """Stage of every node, 1 .. stages, for the fewest register bits."""
    count, nodes = len(graph.inputs), len(graph.nodes)
    if nodes == 0:
        return []
    values = count + nodes
    last = stages + 1
    # Variables: the stage of every value, then the stage until which it is kept.
    weights = np.array([0 if r.lo == r.hi else r.width for r in graph.ranges], dtype=np.float64)
    above: list[int] = []
    below: list[int] = []
    gap: list[int] = []
    for value, node in enumerate(graph.nodes, start=count):
        for source in (node.left.source, node.right.source):
            above += [value, values + source]
            below += [source, value]
            gap += [0, 0]
    for value, starts in enumerate(_path_starts(graph, adders_per_stage), start=count):
        above += [value] * len(starts)
        below += starts
        gap += [1] * len(starts)
    above += [values + value for value in range(values)]
    below += range(values)
    gap += [0] * values
    edges = len(gap)
    rows = np.arange(edges)
    matrix = csr_array(
        (
            np.concatenate([np.ones(edges), -np.ones(edges)]),
            (np.concatenate([rows, rows]), np.concatenate([below, above])),
        ),
        shape=(edges, 2 * values),
    )
    bounds = np.empty((2 * values, 2))
    bounds[:, 0], bounds[:, 1] = 1, last
    bounds[:count, 1] = 1
    bounds[count:values, 1] = stages
    for output in graph.outputs:
        if output is not None:
            bounds[values + output.source, 0] = last
    result = linprog(
        np.concatenate([-weights, weights]),
        A_ub=matrix,
        b_ub=-np.array(gap, dtype=np.float64),
        bounds=bounds,
        method="highs-ds",
    )
    if result.x is None:
        return [-(-depth // adders_per_stage) for depth in graph.depths[count:]]
    return [round(stage) for stage in result.x[count:values]]


def _path_starts(graph: AdderGraph, adders: int) -> list[list[int]]:
    """For every node, the nodes from which a path of ``adders`` further adders leads to it."""
    count = len(graph.inputs)
    reach = [{value} for value in range(count, count + len(graph.nodes))]
    for _ in range(adders):
        reach = [
            {
                start
                for operand in (node.left, node.right)
                if operand.source >= count
                for start in reach[operand.source - count]
            }
            for node in graph.nodes
        ]
    return [sorted(starts) for starts in reach]
