"""Making graphs until the time is over: greedy starts, then rounds of local search."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hwgen.numeric import Range, csd_weight
from hwgen.shiftadd._greedy import Rule, greedy
from hwgen.shiftadd._problem import BYTE, DEEPEST, least_depth
from hwgen.shiftadd._transpose import transposed
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.improve import Improver

__all__ = ["Problem", "Progress", "anytime", "quick"]

Progress = Callable[[AdderGraph, float], None]

_MOST_STEPS = 1000  # of the search without a time limit
_TURNS = 4  # of a search of so many steps: the matrix is transposed in every other one
_STAGES = 5  # of each: the heat falls from one to the next
_SMALL = 1 << 20  # pairs that leave time for more than one greedy graph
_CLOSE = 4e-7  # seconds for a pair that let many patterns be looked at closely
_STARTS = 0.3  # share of the time for greedy starts
_MOST_STARTS = 8  # for each job
_ROUND = 1.0  # seconds of search until the jobs go on from the best graph of all
_FINISH = 0.5  # time to make the graph of a round's result, as a share of the time to start it
_HEAT = 0.004  # share of steps that may cost an adder, at first
_CELL_HEAT = 0.2  # or some adder cells
_SLOW = 100  # steps an adder that deserve this heat


@dataclass(frozen=True)
class Problem:
    """A checked matrix (inputs, outputs), ranges of its inputs, greatest depth and objective."""

    rows: Sequence[Sequence[int]]
    inputs: tuple[Range, ...]
    depth: int
    by_bits: bool

    def cost(self, graph: AdderGraph) -> tuple[int, int, int]:
        """What the best graph has least of, then next."""
        if self.by_bits:
            return graph.bits, graph.adders, graph.depth
        return graph.adders, graph.bits, graph.depth

    @property
    def free(self) -> bool:
        """Whether the depth has no limit."""
        return self.depth >= DEEPEST

    @property
    def tall(self) -> bool:
        """Whether the transposed matrix has the shorter columns."""
        return len(self.rows) > len(self.rows[0])

    def turned(self, number: int) -> bool:
        """Whether a round of local search takes the transposed matrix: by turns, or tall ones.

        Adder cells are saved in the matrix itself, since those of the transposed one are others.
        """
        if self.by_bits:
            return False
        return (number % 2 == 0) == self.tall if self.free else self.tall


def quick(problem: Problem, effort: int = 0) -> AdderGraph:
    """A graph by a fixed amount of work; the same for the same problem.

    At first a short search makes no graph deeper than it was before. A longer one of ``effort``
    steps for each adder follows.
    """
    near = Rule(furthest=2 if problem.free else 1)
    rules = [near, Rule(turned=True)]
    if problem.tall:
        rules = [Rule(turned=True), replace(near, choices=32)]
    best: AdderGraph | None = None
    for rule in (*rules, Rule(by_bits=True, deep=False, noise=0, choices=32)):
        graph = greedy(problem.rows, problem.inputs, problem.depth, rule)
        if graph is not None and (best is None or problem.cost(graph) < problem.cost(best)):
            best = graph
        if best is not None and _pairs(problem) >= _SMALL:
            break
    assert best is not None
    if not Improver.suits(best):
        return best
    limit = best.depth if problem.free else problem.depth
    improver = Improver(best, max_depth=limit, by_bits=problem.by_bits, seed=0)
    improver.run(min(best.adders // 2, _MOST_STEPS), heat=0)
    best = min(best, improver.result(), key=problem.cost)
    if not effort or not Improver.suits(best):
        return best

    for turn in range(_TURNS):
        cooling = _Cooling(problem, 1 - turn / _TURNS, 1 - (turn + 1) / _TURNS, _TURNS)

        def search(improver: Improver, cooling: _Cooling = cooling) -> None:
            steps = -(-effort * improver.adders // (_TURNS * _STAGES))
            for stage in range(_STAGES):
                heat = cooling.at(stage / _STAGES, _STAGES * steps, improver.adders)
                improver.run(steps, heat=heat)

        best = _improved(problem, best, turn, search, turned=problem.turned(turn))
    return best


def anytime(
    problem: Problem, *, time_limit: float, seed: int, jobs: int, progress: Progress
) -> AdderGraph:
    """The best graph found in ``time_limit`` seconds of processor time of each job.

    After KeyboardInterrupt, the best so far.
    """
    started = time.monotonic()
    best: list[AdderGraph] = []

    def found(graphs: Sequence[AdderGraph]) -> None:
        for graph in graphs:
            if not best or problem.cost(graph) < problem.cost(best[0]):
                best[:] = [graph]
                progress(graph, time.monotonic() - started)

    stop = threading.Event()
    pool = ThreadPoolExecutor(jobs)

    def run(task: Callable[[int], AdderGraph]) -> float:
        """Run a task for each job and give the processor time of the slowest one."""
        clock = time.thread_time()
        if jobs == 1:
            found([task(0)])
            return time.thread_time() - clock
        results = list(pool.map(partial(_timed, task), range(jobs)))
        found([graph for graph, _ in results])
        return max(seconds for _, seconds in results)

    try:
        left = time_limit - run(partial(_start, problem, _STARTS * time_limit, seed, stop))
        rounds = max(1, round(left / _ROUND)) if Improver.suits(best[0]) else 0
        for number in range(rounds):
            share = left / (rounds - number)
            heat = _Cooling(problem, 1 - number / rounds, 1 - (number + 1) / rounds, rounds)
            left -= run(partial(_round, problem, best[0], heat, share, seed + number, stop))
            if left <= 0:
                break
    except KeyboardInterrupt:
        if not best:
            raise
    finally:
        stop.set()
        pool.shutdown()
    return best[0]


def _pairs(problem: Problem) -> int:
    """Pairs of terms of a column, over all columns, twice."""
    columns = zip(*problem.rows, strict=True)
    return sum(sum(map(csd_weight, column)) ** 2 for column in columns)


def _timed(task: Callable[[int], AdderGraph], job: int) -> tuple[AdderGraph, float]:
    started = time.thread_time()
    return task(job), time.thread_time() - started


def _rules(problem: Problem) -> list[Rule]:
    """Rules that are worth a try, the best in the mean first."""
    near, shallow = Rule(), Rule(deep=False)
    if problem.by_bits:
        rules = [near, Rule(by_bits=True, deep=False), Rule(turned=True)]
        if problem.free:
            rules.insert(0, Rule(furthest=DEEPEST))
    elif problem.free:
        far, turned = Rule(furthest=DEEPEST), Rule(furthest=DEEPEST, turned=True)
        rules = [far, near, turned, Rule(turned=True)]
        if problem.tall:
            rules = rules[2:] + rules[:2]
    elif problem.depth > least_depth(problem.rows):
        far, turned = Rule(furthest=DEEPEST, spare=0), Rule(furthest=DEEPEST, turned=True)
        rules = [far, turned, near, Rule(turned=True), shallow]
        if problem.tall:
            rules = [turned, Rule(turned=True), far, near, shallow]
    else:
        turned = Rule(turned=True)
        rules = [turned, near, shallow] if problem.tall else [near, turned, shallow]
    return rules


def _start(
    problem: Problem, budget: float, seed: int, stop: threading.Event, job: int
) -> AdderGraph:
    """The best of some greedy graphs: by every rule, then mostly by the best one."""
    started = time.thread_time()
    random = np.random.default_rng([seed, job])
    best: AdderGraph | None = None
    favourite, rules = 0, _rules(problem)
    choices = 128 if budget > _CLOSE * _pairs(problem) else 32
    for number in range(_MOST_STARTS):
        now = time.thread_time()
        some = int(random.integers(len(rules)))
        chosen = number if number < len(rules) else favourite if random.random() < 0.7 else some
        noise, worth = int(random.integers(1, 1 << 62)), int(random.integers(2, 7))
        rule = replace(rules[chosen], noise=noise, worth=worth, choices=choices)
        graph = greedy(problem.rows, problem.inputs, problem.depth, rule)
        if graph is not None and (best is None or problem.cost(graph) < problem.cost(best)):
            best, favourite = graph, chosen
        spent = time.thread_time()
        if best is not None and (spent + (spent - now) - started > budget or stop.is_set()):
            break
    assert best is not None
    return best


@dataclass(frozen=True)
class _Cooling:
    """Heat of a round, from ``first`` to ``last`` of the whole; ``rounds`` of the same length."""

    problem: Problem
    first: float
    last: float
    rounds: int

    def at(self, done: float, steps: float, adders: int) -> float:
        """Share of steps that may cost an adder or some cells, after ``done`` of the round's time.

        ``steps`` is how many a round has.
        """
        worth = min(1.0, self.rounds * steps / (_SLOW * adders + 1))
        most = _CELL_HEAT if self.problem.by_bits else _HEAT
        return most * worth * (self.first + (self.last - self.first) * done)


def _round(
    problem: Problem, graph: AdderGraph, heat: _Cooling, budget: float, seed: int,
    stop: threading.Event, job: int,
) -> AdderGraph:  # fmt: skip
    """A round of local search from ``graph`` for ``budget`` seconds.

    Rounds of the matrix and of the transposed one alternate, each job with the other: what no step
    improves in one of them, some step often does in the other.
    """
    started = time.thread_time()

    def search(improver: Improver) -> None:
        until = started + budget - _FINISH * (time.thread_time() - started)
        _run(improver, until, heat, stop)

    turned = problem.turned(seed + job)
    return _improved(problem, graph, seed * 1000 + job, search, turned=turned)


def _improved(
    problem: Problem, graph: AdderGraph, seed: int, search: Callable[[Improver], None], *,
    turned: bool,
) -> AdderGraph:  # fmt: skip
    """The graph after a local search, of the transposed matrix if wanted and possible."""
    improver: Improver | None = None
    if turned:
        start = transposed(graph, (BYTE,) * len(graph.outputs))
        if start is not None and Improver.suits(start):
            improver = Improver(
                start, max_depth=problem.depth, turned=True, by_bits=False, seed=seed
            )
    turned = improver is not None and improver.fits
    if improver is None or not turned:
        improver = Improver(graph, max_depth=problem.depth, by_bits=problem.by_bits, seed=seed)
    search(improver)
    result = improver.turned(problem.inputs) if turned else improver.result()
    return graph if result is None else min(graph, result, key=problem.cost)


def _run(improver: Improver, until: float, heat: _Cooling, stop: threading.Event) -> None:
    """Run the search until the time is over, cooling down."""
    started = time.thread_time()
    steps, done = 16, 0
    while (now := time.thread_time()) < until and not stop.is_set():
        left = until - now
        passed = now - started
        expected = done * (passed + left) / max(passed, 1e-6)
        improver.run(steps, heat=heat.at(passed / (passed + left), expected, improver.adders))
        done += steps
        spent = max(time.thread_time() - now, 1e-6)
        steps = max(1, min(4 * steps, int(steps * min(0.1, 0.2 * left) / spent)))
