"""Matrices of rank one: all inputs are joined into one, or all outputs are one dot product."""

from __future__ import annotations

from collections.abc import Sequence

from hwgen.numeric import csd_weight
from hwgen.shiftadd._anytime import Problem, quick
from hwgen.shiftadd._greedy import merged
from hwgen.shiftadd._problem import BYTE, DEEPEST
from hwgen.shiftadd._transpose import transposed
from hwgen.shiftadd.build import Builder, prune
from hwgen.shiftadd.graph import Adder, AdderGraph, Operand
from hwgen.shiftadd.mcm import mcm_graph

__all__ = ["one_sided"]

_NARROW_BITS = 20


def one_sided(problem: Problem, *, time_limit: float | None, seed: int) -> AdderGraph | None:
    """A graph by multiple constant multiplication, or None if the matrix or the depth forbids it.

    It suits matrices whose rows, or whose columns, are all equal up to sign and shift or zero.
    With one column, it is the transpose of a graph with one input.
    """
    rows, members = merged(problem.rows)
    if len(rows) == 1:
        return _one_input(problem, rows[0], members, time_limit, seed)
    columns, references = merged(zip(*problem.rows, strict=True))
    if len(columns) != 1:
        return None
    graph = mcm_graph(
        columns[0],
        BYTE,
        time_limit=time_limit,
        seed=seed,
        start=_start(columns[0], Problem([columns[0]], (BYTE,), DEEPEST, by_bits=False)),
    )
    turned = transposed(graph, problem.inputs)
    if turned is None or turned.depth > problem.depth:
        return None
    outputs = tuple(_composed(turned.outputs[0], r) for r in references)
    return AdderGraph(turned.inputs, turned.nodes, outputs)


def _one_input(
    problem: Problem,
    constants: Sequence[int],
    members: Sequence[Operand | None],
    time_limit: float | None,
    seed: int,
) -> AdderGraph | None:
    """The product of ``constants`` and the sum of the inputs, shifted and signed as ``members``."""
    builder = Builder(problem.inputs)
    joined = builder.sum(
        Operand(place, m.shift, m.negate) for place, m in enumerate(members) if m is not None
    )
    assert joined is not None
    depth = problem.depth - builder.depths[joined.source]
    if max(map(csd_weight, constants)) > 1 << depth:
        return None
    span = builder.spans[joined.source]
    constants = [-c if joined.negate else c for c in constants]
    graph = mcm_graph(
        constants,
        span,
        max_depth=depth,
        by_bits=problem.by_bits,
        time_limit=time_limit,
        seed=seed,
        start=_start(constants, Problem([constants], (span,), depth, problem.by_bits)),
    )
    before = len(builder.inputs) + len(builder.nodes) - 1

    def moved(operand: Operand) -> Operand:
        source = joined.source if operand.source == 0 else operand.source + before
        return Operand(source, operand.shift, operand.negate)

    nodes = (*builder.nodes, *(Adder(moved(n.left), moved(n.right)) for n in graph.nodes))
    outputs = tuple(
        None if o is None else _composed(moved(o), Operand(0, joined.shift)) for o in graph.outputs
    )
    return prune(AdderGraph(problem.inputs, nodes, outputs))


def _start(constants: Sequence[int], problem: Problem) -> AdderGraph | None:
    """A graph of wide constants, for which a start from digits is better; None for narrow ones."""
    return quick(problem) if max(map(abs, constants)) >> _NARROW_BITS else None


def _composed(inner: Operand | None, outer: Operand | None) -> Operand | None:
    """``outer`` applied to the value of ``inner``."""
    if inner is None or outer is None:
        return None
    return Operand(inner.source, inner.shift + outer.shift, inner.negate != outer.negate)
