"""The graph of the transposed matrix: every edge turned round."""

from __future__ import annotations

from collections.abc import Sequence

from hwgen.numeric import Range
from hwgen.shiftadd.build import Builder, fold_signs, prune
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["transpose"]

_BYTE = Range(-128, 127)


def transpose(graph: AdderGraph, inputs: Sequence[Range] | None = None) -> AdderGraph:
    """The graph of the transposed matrix: outputs become inputs, additions forks, forks additions.

    If every input is used and no output is zero, the graph has ``len(graph.inputs) -
    len(graph.outputs)`` adders more, at most (the transposition theorem; Bordewijk 1956).

    Parameters
    ----------
    graph : AdderGraph
        Any graph with outputs.
    inputs : sequence of Range, optional
        Values of each input of the result, by default -128..127.

    Returns
    -------
    AdderGraph
        The graph, verified to compute the transposed matrix.
    """
    ranges = (_BYTE,) * len(graph.outputs) if inputs is None else tuple(inputs)
    builder = Builder(ranges)
    count = len(graph.inputs)
    terms: list[list[Operand]] = [[] for _ in range(count + len(graph.nodes))]
    for index, output in enumerate(graph.outputs):
        if output is not None:
            terms[output.source].append(Operand(index, output.shift, output.negate))
    for value in range(count + len(graph.nodes) - 1, count - 1, -1):
        total = builder.sum(terms[value])
        if total is not None:
            node = graph.nodes[value - count]
            for operand in (node.left, node.right):
                terms[operand.source].append(
                    Operand(
                        total.source, total.shift + operand.shift, total.negate != operand.negate
                    )
                )
    outputs = [builder.sum(terms[k]) for k in range(count)]
    result = prune(fold_signs(builder.graph(outputs)))
    result.verify(graph.matrix.T)
    return result
