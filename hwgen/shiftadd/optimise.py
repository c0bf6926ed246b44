"""Few-adder graphs of constant matrices: merging, two-term elimination, balanced sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from hwgen.numeric import Range, csd
from hwgen.shiftadd._anytime import Problem, Progress, anytime, quick
from hwgen.shiftadd._greedy import composed, merged
from hwgen.shiftadd._one_sided import one_sided
from hwgen.shiftadd._problem import checked_depth, checked_inputs, checked_matrix, least_depth
from hwgen.shiftadd.build import Builder, fold_signs
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.shiftadd.luts import PROFILES, luts

__all__ = ["csd_graph", "minimum_depth", "optimize"]

_LUTS = tuple(f"luts:{name}" for name in PROFILES)
_OBJECTIVES = ("adders", "bits", *_LUTS)
_LEVELS = (0, 1, 2)  # above the least depth, that are tried where registers are paid for
_LARGE = 1500  # adders from which only any depth is tried, because each takes long
_SEARCH = 0.93  # of the time; the rest is for checks


def optimize(
    matrix: npt.ArrayLike,
    *,
    inputs: Sequence[Range] | None = None,
    objective: str = "adders",
    max_depth: int | None = None,
    time_limit: float | None = None,
    effort: int = 0,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> AdderGraph:
    """Find an adder graph with few adders for ``y = x @ matrix``.

    Columns that are equal up to sign and shift are made once. Some greedy graphs are the start:
    columns may be made from each other, by a minimum spanning tree of their differences (as in
    da4ml; Gustafsson, Ohlsson and Wanhammar, "Low-complexity constant coefficient matrix
    multiplication using a minimum spanning tree approach", 2004); two-term patterns of canonical
    signed digits that save most are shared (Hartley, "Subexpression sharing in filters using
    canonic signed digit multipliers", 1996), of equally good ones that which breaks the fewest
    others; the rest of each column is added in a tree of the least possible depth. All that is
    also done for the transposed matrix, whose graph is then turned round. The best one is improved
    by a local search (:class:`~hwgen.shiftadd.improve.Improver`), which takes pieces of the graph
    away and builds them anew. A matrix whose rows, or whose columns, are all equal up to sign and
    shift or zero is solved by :func:`~hwgen.shiftadd.mcm.mcm_graph`, in one thread.

    Parameters
    ----------
    matrix : array_like
        Integers, inputs by outputs, at most 62 bits each; floats are accepted if they are whole.
    inputs : sequence of Range, optional
        Values of each input, by default -128..127.
    objective : {"adders", "bits", "luts:ice40", "luts:ecp5", "luts:gowin", "luts:xilinx", \
"luts:asic"}
        What to save: adders; adder cells (:attr:`AdderGraph.bits`); or what the graph costs in
        LUTs or gates when it is pipelined (:func:`hwgen.shiftadd.luts.luts`): the graph of the
        lowest cost is taken of one with few adders and those with few cells of several depths.
    max_depth : int, optional
        Most adders on a path; 0 means the least depth that the matrix allows
        (:func:`minimum_depth`).
    time_limit : float, optional
        Seconds of processor time for each job; None or 0: a fixed amount of work, so that the
        result is always the same. With a time limit graphs may be many adders deeper, unless
        ``max_depth`` forbids it.
    effort : int
        The fixed amount of work, in steps of the local search for each adder: some 20,000 steps
        take a second. With 0 there are so few that no graph becomes deeper by them.
    seed : int
        Seed of the random choices with a time limit; without one, the result does not depend on
        it.
    jobs : int
        Threads that search at the same time, each from the best graph of all so far; the searches
        run without Python's global lock.
    progress : callable, optional
        Called with a time limit, in this thread: ``progress(graph, seconds)``, with every better
        graph, at most about once a second, and the time on the clock since the start. During a
        search with a time limit, KeyboardInterrupt ends it: the best graph so far is returned.

    Returns
    -------
    AdderGraph
        The graph, verified to equal ``matrix``.

    Raises
    ------
    TypeError
        If the matrix does not hold numbers, or an option is of the wrong kind.
    ValueError
        If the matrix is empty, not two-dimensional, not finite, not whole or too wide; if
        ``inputs`` does not have one range for each row; if ``max_depth`` is less than the matrix
        allows; if ``time_limit``, ``effort`` or ``jobs`` is out of range.
    """
    rows = checked_matrix(matrix)
    ranges = checked_inputs(inputs, len(rows))
    if objective not in _OBJECTIVES:
        raise ValueError(f"Objective must be one of {', '.join(_OBJECTIVES)}, not {objective!r}")
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"Time limit must be at least 0 seconds, not {time_limit!r}")
    depth = checked_depth(max_depth, rows)
    if not isinstance(effort, int) or effort < 0:
        raise ValueError(f"Effort must be an integer of at least 0, not {effort!r}")
    if not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"Jobs must be an integer of at least 1, not {jobs!r}")
    wholes, outputs = merged(zip(*rows, strict=True))
    if not wholes:
        return AdderGraph(ranges, (), (None,) * len(outputs))

    def whole(core: AdderGraph) -> AdderGraph:
        parts = (o and composed(core.outputs[o.source], o) for o in outputs)
        return fold_signs(replace(core, outputs=tuple(parts)))

    def report(core: AdderGraph, seconds: float) -> None:
        if progress is not None:
            progress(whole(core), seconds)

    def within(limit: int, cells: bool, seconds: float | None, effort: int) -> AdderGraph:
        problem = Problem(list(zip(*wholes, strict=True)), ranges, limit, cells)
        one = one_sided(replace(problem, rows=rows), time_limit=seconds, seed=seed)
        if one is not None:
            return min(one, whole(quick(problem, effort)), key=problem.cost)
        if not seconds:
            return whole(quick(problem, effort))
        seconds *= _SEARCH
        return whole(anytime(problem, time_limit=seconds, seed=seed, jobs=jobs, progress=report))

    if objective in _LUTS:
        value = partial(luts, profile=objective.removeprefix("luts:"))
        limits = [least_depth(rows) + more for more in _LEVELS]
        trials = [(depth, False), (depth, True), *((x, True) for x in limits if x < depth)]
        graphs = {trials[0]: within(*trials[0], None, 0)}
        if graphs[trials[0]].adders > _LARGE:
            trials = trials[:1]
        graphs |= {trial: within(*trial, None, 0) for trial in trials[1:]}
        if time_limit or effort:
            # the search for adders gains most, wherever it starts
            cheapest = min(trials[1:], key=lambda trial: value(graphs[trial]), default=trials[0])
            promising = dict.fromkeys([trials[0], cheapest])
            seconds = time_limit and time_limit / len(promising)
            for trial in promising:
                graphs[trial] = min(graphs[trial], within(*trial, seconds, effort), key=value)
        best = min(graphs.values(), key=value)
    elif objective == "bits" and not time_limit:
        # so little search saves fewer cells than a graph with fewer adders sometimes has
        graphs = {(depth, cells): within(depth, cells, None, effort) for cells in (True, False)}
        best = min(graphs.values(), key=lambda graph: (graph.bits, graph.adders, graph.depth))
    else:
        best = within(depth, objective == "bits", time_limit, effort)
    best.verify(np.array(rows, dtype=object))
    return best


def csd_graph(matrix: npt.ArrayLike, inputs: Sequence[Range] | None = None) -> AdderGraph:
    """Adder graph in which every column sums its own canonical signed digits and shares nothing.

    The baseline of comparisons; arguments and errors as for :func:`optimize`.
    """
    rows = checked_matrix(matrix)
    builder = Builder(checked_inputs(inputs, len(rows)), share=False)
    outputs = [
        builder.sum(
            Operand(source, digit.exponent, digit.sign < 0)
            for source, row in enumerate(rows)
            for digit in csd(row[column])
        )
        for column in range(len(rows[0]))
    ]
    graph = fold_signs(builder.graph(outputs))
    graph.verify(np.array(rows, dtype=object))
    return graph


def minimum_depth(matrix: npt.ArrayLike) -> int:
    """Least adder depth of any graph of ``matrix`` (inputs, outputs).

    A graph of depth d adds at most ``2**d`` signed powers of two for each output, and no form of an
    output has fewer of them than its canonical signed digits.
    """
    return least_depth(checked_matrix(matrix))
