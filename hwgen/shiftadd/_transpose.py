"""Turning an adder graph round: from the graph of a matrix to one of its transpose."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hwgen.numeric import Range
from hwgen.shiftadd.build import Builder, fold_signs, prune
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["cancels", "transposed"]


def transposed(graph: AdderGraph, inputs: Sequence[Range]) -> AdderGraph | None:
    """Graph of the transposed matrix, with ``inputs`` in the place of ``graph``'s outputs.

    Every edge is turned round: what fanned out is summed, and what was summed fans out
    (transposition theorem; Bordewijk, "Inter-reciprocity applied to electrical networks", 1956).
    For a matrix (inputs, outputs) without zero rows and columns the result has ``outputs - inputs``
    more adders than ``graph``, if no value of that is without use.
    """
    count = len(graph.inputs)
    builder = Builder(inputs)
    parts: list[list[Operand]] = [[] for _ in range(count + len(graph.nodes))]
    for index, output in enumerate(graph.outputs):
        if output is not None:
            parts[output.source].append(Operand(index, output.shift, output.negate))
    for index in range(len(graph.nodes) - 1, -1, -1):
        total = builder.sum(parts[count + index])
        if total is not None:
            for part in (graph.nodes[index].left, graph.nodes[index].right):
                negate = total.negate != part.negate
                parts[part.source].append(Operand(total.source, total.shift + part.shift, negate))
    outputs = [builder.sum(part) for part in parts[:count]]
    result = prune(fold_signs(builder.graph(outputs)))
    return None if cancels(result) else result


def cancels(graph: AdderGraph) -> bool:
    """Whether some value is zero for random inputs."""
    values = random.Random(0).choices(range(1 << 60, 1 << 61), k=len(graph.inputs))
    for node in graph.nodes:
        total = 0
        for part in (node.left, node.right):
            term = values[part.source] << part.shift
            total += -term if part.negate else term
        if total == 0:
            return True
        values.append(total)
    return False
