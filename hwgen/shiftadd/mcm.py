"""Few-adder graphs of one input times several constants (multiple constant multiplication)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from hwgen.numeric import IntArray, Range, csd, csd_weight, odd_part
from hwgen.shiftadd import _fundamentals as f
from hwgen.shiftadd._mcm_exhaust import exhaust
from hwgen.shiftadd._mcm_graph import FoundGraph
from hwgen.shiftadd._mcm_search import adopt, improve, restore
from hwgen.shiftadd.build import Builder
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["mcm_graph", "mcm_lower_bound", "odd_fundamentals"]

_MOST_LEVELS = 6  # of intermediates tried exhaustively
_EXHAUSTION = 0.3  # share of the time left that one level may take
_FIXED_EXHAUSTION = 50_000  # pairs of fundamentals combined for a level without a time limit
_MOST_ADDERS = 1 << 20  # more: no state yet
_FIXED_STEPS = 1000  # of the random search without a time limit, at most
_FIXED_WORK = 400_000  # of these steps, in pairs of fundamentals combined
_SPEED = 4e6  # pairs of fundamentals combined in a second, roughly
_AFTERWARDS = 0.05  # share of the time for few cells when the adders are optimal
_HEAT = 20  # steps in 1000 that may cost an adder
_CHUNKS = 50  # into which the time is cut, at least
_MOST_STEPS = 1 << 14
_BUDGET_OF_BOUND = 1 << 22  # pairs of fundamentals combined for a lower bound


def mcm_graph(
    constants: Sequence[int],
    ranges: Range,
    *,
    max_depth: int = f.DEEPEST_OF_ALL,
    by_bits: bool = False,
    time_limit: float | None = None,
    seed: int = 0,
    start: AdderGraph | None = None,
) -> AdderGraph:
    """Find an adder graph with few adders for ``y = x * constants``, x one input.

    The odd parts of the constants are targets. What is sought are further, intermediate
    fundamentals, as few as possible, with which all targets are made, each by one addition.
    First, the near fundamental is added that makes most targets reachable, over and over ("H_cub":
    Voronenko and Püschel, "Multiplierless multiple constant multiplication", 2007). Then some
    intermediates are forgotten and the rest completed anew, at random, and all small sets of
    intermediates are tried, which proves the optimum among fundamentals below twice the largest
    constant's power of two. Among equally few adders, those with fewer cells count.

    Parameters
    ----------
    constants : sequence of int
        Of any sign; zeros are allowed.
    ranges : Range
        Values of the input.
    max_depth : int
        Most adders on a path.
    by_bits : bool
        Save adder cells first, then adders.
    time_limit : float, optional
        Seconds of processor time; less is used if the optimum is proved. None: a fixed effort.
    seed : int
        Seed of the random choices.
    start : AdderGraph, optional
        Another graph of the constants within the depth, from whose fundamentals to start as well.

    Returns
    -------
    AdderGraph
        The graph, verified to equal the constants.

    Raises
    ------
    ValueError
        If a constant has too many digits for the depth.
    """
    targets = odd_fundamentals(constants)
    digits = max(map(csd_weight, targets), default=1)
    if max_depth < (digits - 1).bit_length():
        raise ValueError(
            f"Maximum depth must be at least {(digits - 1).bit_length()} for these constants, "
            f"not {max_depth}"
        )
    graph = None
    if targets and not max(targets) >> f.MOST_BITS:
        search = _Search(constants, ranges, max_depth=max_depth, by_bits=by_bits, seed=seed)
        graph = search.run(start, time_limit)
    if graph is None:
        graph = start or _csd_sums(constants, ranges)
    graph.verify(np.array([list(constants)], dtype=object))
    return graph


def odd_fundamentals(constants: Iterable[int]) -> list[int]:
    """Distinct odd parts above 1 of the constants' magnitudes, sorted."""
    return sorted({odd_part(abs(c))[0] for c in constants if c} - {1})


def mcm_lower_bound(constants: Iterable[int]) -> int:
    """Proved least number of adders for one input times the constants, not always reached.

    Every odd fundamental above 1 needs an adder. One adder at most doubles the number of signed
    digits, so that between fundamentals whose canonical digits more than double there are others
    (Gustafsson, "Lower bounds for constant multiplication problems", 2007). If the targets cannot
    be made from each other alone, there is one more; if no single intermediate helps, two. That
    one is below ``2**(2 b + 2)`` for targets below ``2**b``: larger ones are ``2**x p ± q`` from
    fundamentals p, q that are reachable without it, and in the addition of it and some r that makes
    the target t they are ``2**y r ± t`` or ``2**y t ± r``; both can be equal only if
    ``2**min(x, y)`` is below ``2**(b + 1)``, or if t is p or q.
    """
    targets = odd_fundamentals(constants)
    if not targets:
        return 0
    bound, most = len(targets), 1
    for digits in sorted(map(csd_weight, targets)):
        while digits > 2 * most:
            most *= 2
            bound += 1
        most = digits
    widest = max(targets).bit_length()
    if bound > len(targets) + 1 or widest > f.MOST_BITS:
        return bound
    space = f.empty_space(targets)
    if exhaust(space, 0) or not f.is_complete(space):
        return bound
    bound = max(bound, len(targets) + 1)
    if 2 * widest + 2 > f.MOST_BITS:
        return bound
    space = f.empty_space(targets, bits=2 * widest + 2)
    space.numbers[f.BUDGET] = _BUDGET_OF_BOUND
    if exhaust(space, 1) or not f.is_complete(space):
        return bound
    return max(bound, len(targets) + 2)


def _csd_sums(constants: Sequence[int], span: Range) -> AdderGraph:
    """Every constant as a sum of its canonical signed digits."""
    builder = Builder((span,))
    outputs = [
        builder.sum(Operand(0, digit.exponent, digit.sign < 0) for digit in csd(constant))
        for constant in constants
    ]
    return builder.graph(outputs)


def _shifted(value: int, operand: Operand) -> int:
    shifted = value << operand.shift if operand.shift >= 0 else value >> -operand.shift
    return -shifted if operand.negate else shifted


class _Search:
    """The search for intermediate fundamentals, with the best ones so far."""

    def __init__(
        self, constants: Sequence[int], span: Range, *, max_depth: int, by_bits: bool, seed: int
    ) -> None:
        self._constants = constants
        self._targets = targets = odd_fundamentals(constants)
        votes = dict.fromkeys(targets, 0)
        for c in constants:
            if c and odd_part(abs(c))[0] > 1:
                votes[odd_part(abs(c))[0]] += 1 if c > 0 else -1
        signs = [(v > 0) - (v < 0) for v in votes.values()]
        self._span = span
        self._by_bits = by_bits
        self._deep = max_depth >= f.DEEPEST_OF_ALL
        self._space = f.empty_space(targets, max_depth=max_depth, seed=seed)
        room = self._space.wanted.size
        self._signs: IntArray = np.array(signs, np.int64)
        self._derivation: IntArray = np.zeros((room + 1, 5), np.int64)
        self._current: IntArray = np.zeros(room + 3, np.int64)
        self._seen: list[AdderGraph] = []
        self._looked: set[tuple[int, ...]] = set()
        self._started = time.thread_time()
        self._looking = self._longest = 0.0
        self._best: IntArray = np.full(room + 3, 1 << 40, np.int64)

    def run(self, start: AdderGraph | None, time_limit: float | None) -> AdderGraph | None:
        """The best graph found until the time is over or the optimum is proved.

        None if there are too many fundamentals. After KeyboardInterrupt, the best so far.
        """
        if start is not None:
            self._begin_at(start)
        if f.is_direct(self._space) or self._best[0] > _MOST_ADDERS:
            self._current[0] = 0
            self._improve(1)
        if self._best[0] > _MOST_ADDERS:
            return None
        try:
            self._search(time_limit)
        except KeyboardInterrupt:
            if not time_limit:
                raise
        return min([self._graph(self._best), *self._seen], key=self._cost)

    def _begin_at(self, start: AdderGraph) -> None:
        """Take the fundamentals of a graph as the first state, if they fit."""
        values = [1]
        for node in start.nodes:
            values.append(sum(_shifted(values[o.source], o) for o in (node.left, node.right)))
        space, room = self._space, self._current.size - len(self._targets) - 8
        others = sorted(set(odd_fundamentals(values)) - set(self._targets))
        others = [v for v in others if v < space.numbers[f.LIMIT]]
        if len(others) <= room:
            self._current[2] = len(others)
            self._current[3 : 3 + len(others)] = others
            restore(space, self._current)
            if space.numbers[f.MISSING] == 0:
                self._adopt()

    def _cost(self, graph: AdderGraph) -> tuple[int, int, int]:
        if self._by_bits:
            return graph.bits, graph.adders, graph.depth
        return graph.adders, graph.bits, graph.depth

    def _look(self, until: float) -> None:
        """Make the graph of the present state, if there is time: cells are known only then."""
        now = time.thread_time()
        if self._looking * 2 > now - self._started or (
            self._current[0] > self._best[0] and not self._by_bits
        ):
            return
        values = tuple(sorted(self._current[3 : 3 + self._current[2]].tolist()))
        if values not in self._looked and now + self._longest < until:
            self._looked.add(values)
            self._seen = [min([self._graph(self._current), *self._seen], key=self._cost)]
            spent = time.thread_time() - now
            self._looking += spent
            self._longest = max(self._longest, spent)

    def _search(self, time_limit: float | None) -> None:
        started = self._started
        if not time_limit:
            self._prove(_FIXED_EXHAUSTION)
            adders, intermediates = int(self._best[0]), int(self._best[2])
            work = adders**2 * (intermediates + 2)  # of one step
            self._improve(min(_FIXED_STEPS, 1 + _FIXED_WORK // work))
            return
        until = started + time_limit
        now = time.thread_time()
        proved = self._best[2] == 0
        if not proved and not self._by_bits:
            # A first look, so that the levels of exhaustion have a limit.
            self._improve_until(now + 0.1 * (until - now), time_limit)
            proved = self._prove_until(until)
        if not proved:
            self._improve_until(until, time_limit)
        elif self._best[2] > 0:
            now = time.thread_time()
            self._improve_until(min(until, now + _AFTERWARDS * time_limit), time_limit)

    def _adopt(self) -> None:
        """Go on from the space's intermediates."""
        adopt(
            self._space, self._by_bits, float(self._span.lo), float(self._span.hi),
            self._signs, self._derivation, self._current, self._best,
        )  # fmt: skip

    def _improve(self, steps: int) -> None:
        """Make steps of the random search."""
        ends = float(self._span.lo), float(self._span.hi)
        if self._current[0] > self._best[0]:
            self._current[:] = self._best
        improve(
            self._space, steps, _HEAT, self._by_bits, *ends,
            self._signs, self._derivation, self._current, self._best,
        )  # fmt: skip

    def _improve_until(self, until: float, time_limit: float) -> None:
        steps = 1
        while (now := time.thread_time()) < until:
            self._improve(steps)
            spent = max(time.thread_time() - now, 1e-6)
            self._look(until)
            chunk = min(time_limit / _CHUNKS, until - now)
            steps = max(1, min(4 * steps, int(steps * chunk / spent), _MOST_STEPS))

    def _prove(self, budget: int) -> bool:
        """Whether no fewer intermediates do, with at most ``budget`` for each level."""
        return all(self._exhausted(level, budget) for level in range(1, int(self._best[2])))

    def _prove_until(self, until: float) -> bool:
        """Whether no fewer intermediates do, by as many levels as there seems to be time for."""
        for level in range(1, _MOST_LEVELS):
            if level >= int(self._best[2]):
                return True
            left = until - time.thread_time()
            if not self._exhausted(level, int(max(1.0, _EXHAUSTION * left * _SPEED))):
                return level >= int(self._best[2])
        return False

    def _exhausted(self, level: int, budget: int) -> bool:
        """Whether ``level`` intermediates certainly do not suffice; if they do, adopt them."""
        space = self._space
        if not self._deep:
            space = f.empty_space(self._targets)
        if level > 1 and not f.is_direct(space):
            return False
        space.numbers[f.WANTED] = space.numbers[f.TARGETS]
        space.numbers[f.BUDGET] = budget
        result = int(exhaust(space, level))
        space.forbidden[:] = 0
        if result == 1 and self._deep:
            f.rebuild(space)
            self._adopt()
        return result == 0 and f.is_complete(space)

    def _graph(self, state: IntArray) -> AdderGraph:
        """The graph of a state."""
        restore(self._space, state)
        return FoundGraph(
            self._space, self._constants, self._span, self._deep, self._derivation
        ).graph()
