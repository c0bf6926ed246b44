"""Few-adder graphs of constant matrices: what suits a matrix, its objective and its time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from hwgen.numeric import Range, csd
from hwgen.shiftadd._anytime import Problem, Progress, anytime, quick
from hwgen.shiftadd._greedy import composed, merged
from hwgen.shiftadd._one_sided import one_sided
from hwgen.shiftadd._problem import checked_depth, checked_inputs, checked_matrix, least_depth
from hwgen.shiftadd.bounds import Bound, lower_bound
from hwgen.shiftadd.build import Builder, fold_signs
from hwgen.shiftadd.exact import optimal_graph, suits
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.shiftadd.luts import PROFILES, luts

__all__ = ["Solution", "csd_graph", "minimum_depth", "optimize", "solve"]

_LUTS = tuple(f"luts:{name}" for name in PROFILES)
_OBJECTIVES = ("adders", "bits", *_LUTS)
_LEVELS = (0, 1, 2)  # above the least depth, that are tried where registers are paid for
_LARGE = 1500  # adders from which only any depth is tried, because each takes long
_SEARCH = 0.93  # of the time; the rest is for checks
_EXACT = 0.5  # of the time for the exhaustive search of a small matrix
_TRIALS = 100  # of the exhaustive search for each unit of effort
_PROOF = 100_000  # trials of the exhaustive search if the proof is asked for


@dataclass(frozen=True)
class Solution:
    """An adder graph, and how few adders any graph of its matrix has at least."""

    graph: AdderGraph
    bound: Bound

    @property
    def proved_optimal(self) -> bool:
        """Whether no graph has fewer adders."""
        return self.graph.adders == self.bound.adders


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
    shift or zero is solved by :func:`~hwgen.shiftadd.mcm.mcm_graph`, in one thread. If adders are
    saved, an exhaustive search (:func:`~hwgen.shiftadd.exact.optimal_graph`) of matrices that are
    small enough has half of the time, or as many trials as suit the effort.

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
        Seconds of processor time for each job, but on the clock for the exhaustive search; None or
        0: a fixed amount of work, so that the result is always the same. With a time limit graphs
        may be many adders deeper, unless ``max_depth`` forbids it.
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
    return solve(
        matrix,
        inputs=inputs,
        objective=objective,
        max_depth=max_depth,
        time_limit=time_limit,
        effort=effort,
        seed=seed,
        jobs=jobs,
        progress=progress,
        trials=_TRIALS * effort if isinstance(effort, int) else 0,
    ).graph


def solve(
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
    trials: int = _PROOF,
) -> Solution:
    """Find an adder graph as :func:`optimize` does, and a lower bound of its adders.

    The bound holds for graphs of any depth, whatever is saved.

    Parameters
    ----------
    trials : int
        Without a time limit, the work of the exhaustive search of small matrices: some 50,000 take
        a second.

    Other parameters, and errors, are those of :func:`optimize`.
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
    bound = lower_bound(rows)
    making = _Making(rows, ranges, depth, time_limit or 0, effort, seed, jobs, progress)
    if not any(map(any, rows)):
        graph = AdderGraph(ranges, (), (None,) * len(rows[0]))
    elif objective in _LUTS:
        graph = _fewest_luts(making, objective.removeprefix("luts:"))
    elif objective == "bits":
        graph = _fewest_cells(making)
    elif not suits(rows):
        graph = making.graph()
    else:
        graph, bound = _fewest_adders(making, bound, trials)
    graph.verify(np.array(rows, dtype=object))
    return Solution(graph, bound)


@dataclass(frozen=True)
class _Making:
    """What makes graphs of a checked matrix that is not zero; ``seconds`` 0 means no limit."""

    rows: list[list[int]]
    inputs: tuple[Range, ...]
    depth: int
    seconds: float
    effort: int
    seed: int
    jobs: int
    progress: Progress | None

    def at_once(self) -> _Making:
        """The same without time or effort."""
        return replace(self, seconds=0, effort=0)

    def graph(self, *, by_bits: bool = False) -> AdderGraph:
        """A graph with few adders, or few cells."""
        wholes, outputs = merged(zip(*self.rows, strict=True))

        def whole(core: AdderGraph) -> AdderGraph:
            parts = (o and composed(core.outputs[o.source], o) for o in outputs)
            return fold_signs(replace(core, outputs=tuple(parts)))

        def report(core: AdderGraph, seconds: float) -> None:
            if self.progress is not None:
                self.progress(whole(core), seconds)

        problem = Problem(list(zip(*wholes, strict=True)), self.inputs, self.depth, by_bits)
        sided = replace(problem, rows=self.rows)
        one = one_sided(sided, time_limit=self.seconds or None, seed=self.seed)
        if one is not None:
            return min(one, whole(quick(problem, self.effort)), key=problem.cost)
        if not self.seconds:
            return whole(quick(problem, self.effort))
        return whole(
            anytime(
                problem,
                time_limit=_SEARCH * self.seconds,
                seed=self.seed,
                jobs=self.jobs,
                progress=report,
            )
        )


def _fewest_luts(making: _Making, profile: str) -> AdderGraph:
    """The cheapest graph of one with few adders and those with few cells of several depths."""
    value = partial(luts, profile=profile)
    limits = [least_depth(making.rows) + more for more in _LEVELS]
    trials = [(making.depth, False), (making.depth, True)]
    trials += [(limit, True) for limit in limits if limit < making.depth]

    def made(making: _Making, trial: tuple[int, bool]) -> AdderGraph:
        return replace(making, depth=trial[0]).graph(by_bits=trial[1])

    graphs = {trials[0]: made(making.at_once(), trials[0])}
    if graphs[trials[0]].adders > _LARGE:
        trials = trials[:1]
    graphs |= {trial: made(making.at_once(), trial) for trial in trials[1:]}
    if making.seconds or making.effort:
        # the search for adders gains most, wherever it starts
        cheapest = min(trials[1:], key=lambda trial: value(graphs[trial]), default=trials[0])
        promising = dict.fromkeys([trials[0], cheapest])
        share = replace(making, seconds=making.seconds / len(promising))
        for trial in promising:
            graphs[trial] = min(graphs[trial], made(share, trial), key=value)
    return min(graphs.values(), key=value)


def _fewest_cells(making: _Making) -> AdderGraph:
    if making.seconds:
        return making.graph(by_bits=True)
    # so little search saves fewer cells than a graph with fewer adders sometimes has
    graphs = [making.graph(by_bits=cells) for cells in (True, False)]
    return min(graphs, key=lambda graph: (graph.bits, graph.adders, graph.depth))


def _fewest_adders(making: _Making, bound: Bound, trials: int) -> tuple[AdderGraph, Bound]:
    """A graph of a small matrix, and the bound, greater if the exhaustive search shows so."""
    started = time.monotonic()
    best = replace(making, seconds=0).graph()
    limit = _EXACT * making.seconds
    with contextlib.suppress(*([KeyboardInterrupt] if limit else [])):
        if best.adders > bound.adders and (limit or trials):
            exact = optimal_graph(
                making.rows,
                inputs=making.inputs,
                at_most=best.adders,
                time_limit=limit or math.inf,
                trials=None if limit else trials,
                jobs=making.jobs,
            )
            if exact.lower_bound > bound.adders:
                bound = Bound(exact.lower_bound, "exhaustive search")
            if exact.graph is not None and exact.graph.depth <= making.depth:
                best = exact.graph
        left = making.seconds - (time.monotonic() - started)
        if best.adders > bound.adders and left > 0:
            found = replace(making, seconds=left).graph()
            best = min(best, found, key=lambda graph: (graph.adders, graph.bits, graph.depth))
    return best, bound


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
