"""Improving a finished adder graph by local search: from the graph to the state and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwgen.numeric import Range
from hwgen.shiftadd import _state as s
from hwgen.shiftadd._search import search, start
from hwgen.shiftadd._state import State
from hwgen.shiftadd._transpose import cancels
from hwgen.shiftadd.build import Builder, fold_signs, prune
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["Improver"]

_MOST_BITS = 34  # of a coefficient
_DEEPEST = 48
_MOST_PARTS = 512
_MOST_COEFFICIENTS = 1 << 26
_GOLDEN = 0x9E3779B97F4A7C15


class Improver:
    """Local search that starts at an adder graph and keeps the best one found.

    Three kinds of steps alternate at random: a sum of shared values is written anew, as a greedy
    choice of values whose forms leave the fewest canonical signed digits (as matching pursuit
    chooses waves; Mallat and Zhang, 1993); or shared values are replaced by their terms, in one
    sum, or in all of them. Then pairs of terms that occur twice are shared again, but those that
    were replaced are not made again in the same step (they are tabu; Glover, 1986). A step that
    costs adders is undone, apart from some, at random, that cost one.

    Parameters
    ----------
    graph : AdderGraph
        Where to start; see :meth:`suits`.
    max_depth : int
        Greatest adder depth, not below the graph's.
    turned : bool
        Limit the depth of the graph turned round (:meth:`turned`), not this one's; see
        :attr:`fits`.
    by_bits : bool
        Save adder cells, not adders.
    seed : int
        Seed of the random choices.
    """

    def __init__(
        self, graph: AdderGraph, *, max_depth: int, turned: bool = False, by_bits: bool, seed: int
    ) -> None:
        self._graph = graph
        self._state = _empty(len(graph.inputs), graph.adders)
        counters = self._state.counters
        counters[s.INPUTS] = len(graph.inputs)
        counters[s.BY_CELLS] = by_bits
        self._state.ends[:] = [(float(r.lo), float(r.hi)) for r in graph.inputs]
        counters[s.DEEPEST] = _DEEPEST if turned else min(max_depth, _DEEPEST)
        counters[s.HIGHEST] = max_depth if turned and max_depth < _DEEPEST else -1
        counters[s.RANDOM] = (seed * _GOLDEN + 0x1234567) % (1 << 62) | 1
        pinned = np.zeros(len(graph.inputs) + graph.adders, np.int64)
        pinned[[o.source for o in graph.outputs if o is not None]] = 1
        nodes = [
            [x for o in (n.left, n.right) for x in (o.source, o.shift, int(o.negate))]
            for n in graph.nodes
        ]
        self._where = start(self._state, np.array(nodes, np.int64), pinned)

    @staticmethod
    def suits(graph: AdderGraph) -> bool:
        """Whether the search can take the graph: of at most some million coefficients."""
        count, widest = len(graph.inputs), max(graph.coefficient_bounds)
        return (
            graph.adders > 1
            and widest < 1 << _MOST_BITS
            and graph.depth <= _DEEPEST
            and _capacity(count, graph.adders) * count <= _MOST_COEFFICIENTS
        )

    @property
    def fits(self) -> bool:
        """Whether no path was too long, turned round, after equal sums had been joined."""
        inputs = self._state.values[: len(self._graph.inputs), s.HEIGHT]
        return bool(
            self._state.counters[s.HIGHEST] < 0 or inputs.max() <= self._state.counters[s.HIGHEST]
        )

    @property
    def adders(self) -> int:
        """Adders of the graph that the search has reached."""
        return int(self._state.counters[s.COST])

    @property
    def best(self) -> int:
        """Adders of the best graph so far, or adder cells, which are an estimate.

        The estimate takes signs to cost nothing, which not every graph allows.
        """
        return int(self._state.counters[s.BEST])

    def run(self, steps: int, *, heat: float) -> None:
        """Make ``steps`` steps, of which a fraction ``heat`` may cost one adder."""
        search(self._state, steps, round(10_000 * heat))

    def result(self) -> AdderGraph:
        """The best graph so far."""
        graph, where = self._graph, self._where.tolist()
        builder = Builder(graph.inputs)
        made = {v: Operand(v, 0, bool(sign)) for v, sign, _ in where[: len(graph.inputs)]}
        for value, down, parts in self._sums():
            total = builder.sum(_shifted(made[v], up, bool(sign)) for v, up, sign in parts)
            assert total is not None
            made[value] = _shifted(total, -down, False)
        outputs: list[Operand | None] = []
        for output in graph.outputs:
            if output is None:
                outputs.append(None)
                continue
            value, sign, up = where[output.source]
            outputs.append(_shifted(made[value], up + output.shift, bool(sign) ^ output.negate))
        return prune(fold_signs(builder.graph(outputs)))

    def turned(self, inputs: Sequence[Range]) -> AdderGraph | None:
        """The best graph so far turned round, or None: :func:`transposed` of it, but no deeper.

        Where a sum is read has no depth of its own, but the nodes of a sum may be shared.
        """
        graph, where = self._graph, self._where.tolist()
        builder = Builder(inputs)
        parts: dict[int, list[Operand]] = defaultdict(list)
        for index, output in enumerate(graph.outputs):
            if output is not None:
                value, sign, up = where[output.source]
                parts[value].append(Operand(index, up + output.shift, bool(sign) ^ output.negate))
        for value, down, terms in reversed(self._sums()):
            total = builder.sum(parts[value])
            if total is not None:
                for v, up, sign in terms:
                    parts[v].append(_shifted(total, up - down, bool(sign)))
        outputs: list[Operand | None] = []
        for value, sign, _ in where[: len(graph.inputs)]:
            total = builder.sum(parts[value])
            outputs.append(total and _shifted(total, 0, bool(sign)))
        result = prune(fold_signs(builder.graph(outputs)))
        return None if cancels(result) else result

    def _sums(self) -> list[tuple[int, int, list[list[int]]]]:
        """Value, shift and terms (value, shift, sign) of each saved sum, what it reads first."""
        saved = self._state.saved[: self._state.counters[s.SAVED]].tolist()
        sums: list[tuple[int, int, int, list[list[int]]]] = []
        at = 0
        while at < len(saved):
            value, size, down, depth = saved[at : at + 4]
            at += 4
            sums.append(
                (depth, value, down, [saved[at + 3 * k : at + 3 * k + 3] for k in range(size)])
            )
            at += 3 * size
        return [(value, down, terms) for _, value, down, terms in sorted(sums)]


def _shifted(operand: Operand, by: int, negate: bool) -> Operand:
    return Operand(operand.source, operand.shift + by, operand.negate != negate)


def _capacity(inputs: int, adders: int) -> int:
    return inputs + adders + adders // 4 + 64


def _empty(inputs: int, adders: int) -> State:
    """A state without values."""
    values = _capacity(inputs, adders)
    terms = 6 * adders + 8192
    records = 30 * adders + 8192
    width = max(records, terms, values, 2 * s.MOST_COPIES)

    def slots(count: int) -> npt.NDArray[np.int64]:
        return np.full(1 << (count - 1).bit_length(), -1, np.int64)

    state = State(
        values=np.zeros((values, s.COLUMNS), np.int64),
        terms=np.zeros((terms, 10), np.int64),
        records=np.zeros((records, 4), np.int64),
        buckets=slots(records // 2),
        names=slots(values),
        forms=np.zeros((values, inputs), np.int64),
        supports=np.zeros((values, inputs + 1), np.int32),
        bases=np.random.default_rng(20).integers(1, s.PRIME // 2, inputs),
        journal=np.zeros((4 * terms, 3), np.int64),
        spans=np.zeros((values, 2)),
        ends=np.zeros((inputs, 2)),
        scratch=np.zeros((4, _MOST_PARTS)),
        heap=np.zeros((1 << 13, 2), np.int64),
        lists=np.zeros((s.LISTS, width), np.int64),
        saved=np.zeros(4 * values + 3 * terms, np.int64),
        counters=np.zeros(s.COUNTERS, np.int64),
    )
    free = ((s.L_VALUES, s.FREE_VALUES, values), (s.L_TERMS, s.FREE_TERMS, terms),
            (s.L_RECORDS, s.FREE_RECORDS, records))  # fmt: skip
    for row, counter, count in free:
        state.lists[row, :count] = np.arange(count)[::-1]
        state.counters[counter] = count
    return state
