"""The local search: exact graphs, its own counts, limits, determinism, interruption."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from constant_matrices import problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, _cells, _state, csd_graph, optimize
from hwgen.shiftadd._transpose import transposed
from hwgen.shiftadd.improve import Improver

BYTE = Range(-128, 127)


def some_graph(shape: tuple[int, int] = (8, 8), seed: int = 4) -> AdderGraph:
    return csd_graph(np.random.default_rng(seed).integers(-128, 128, shape))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.booleans(), st.integers(0, 2), st.integers(0, 99))
def test_steps_keep_matrix_depth_and_counts(
    problem: tuple, by_bits: bool, extra: int, seed: int
) -> None:
    matrix, inputs = problem
    start = csd_graph(matrix, inputs)
    assume(Improver.suits(start))
    improver = Improver(start, max_depth=start.depth + extra, by_bits=by_bits, seed=seed)
    improver.run(200, heat=0.3)
    graph = improver.result()
    graph.verify(matrix)
    assert graph.inputs == tuple(inputs)
    assert graph.depth <= start.depth + extra
    assert graph.adders <= start.adders or by_bits
    if not by_bits:
        # Sums that turn out equal are made once, so that the graph may have fewer.
        assert graph.adders <= improver.best


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2), st.integers(0, 99))
def test_steps_keep_depth_of_graph_turned_round(problem: tuple, extra: int, seed: int) -> None:
    matrix, inputs = problem
    graph = csd_graph(matrix, inputs)
    start = transposed(graph, (BYTE,) * matrix.shape[1])
    assume(start is not None and Improver.suits(start))
    assert start is not None
    improver = Improver(start, max_depth=graph.depth + extra, turned=True, by_bits=False, seed=seed)
    assume(improver.fits)
    improver.run(200, heat=0.3)
    result = improver.turned(inputs)
    assume(result is not None)
    assert result is not None
    result.verify(matrix)
    assert result.inputs == tuple(inputs)
    assert result.depth <= graph.depth + extra


def test_heights_are_depths_of_graph_turned_round() -> None:
    graph = some_graph((9, 6))
    start = transposed(graph, (BYTE,) * 6)
    assert start is not None
    improver = Improver(start, max_depth=graph.depth + 1, turned=True, by_bits=False, seed=3)
    state = improver._state
    for _ in range(20):
        improver.run(100, heat=0.2)
        values, terms = state.values, state.terms
        heights = values[:, _state.PINNED] * 1
        order = np.argsort(-values[:, _state.DEPTH], kind="stable")
        for value in order[values[order, _state.LIVE] == 1].tolist():
            weight, at = int(values[value, _state.PINNED]), values[value, _state.USED]
            while at >= 0:
                weight += 1 << int(heights[terms[at, _state.OWNER]])
                at = terms[at, _state.USE_AFTER]
            heights[value] = (weight - 1).bit_length()
            assert heights[value] == values[value, _state.HEIGHT]
        assert heights[:6].max() <= graph.depth + 1


@pytest.mark.parametrize("by_bits", [False, True])
def test_counts_are_those_of_the_sums(by_bits: bool) -> None:
    improver = Improver(some_graph(), max_depth=60, by_bits=by_bits, seed=2)
    state = improver._state
    for _ in range(20):
        improver.run(100, heat=0.2)
        live = state.values[:, _state.LIVE] == 1
        sizes = state.values[live][:, _state.SIZE]
        assert improver.adders == int(np.maximum(sizes - 1, 0).sum())
        if by_bits:
            kept = int(state.counters[_state.ALL_CELLS])
            _cells.recount_all(state)
            assert state.counters[_state.ALL_CELLS] == kept


@pytest.mark.parametrize(("shape", "seed"), [((8, 8), 1), ((9, 16), 2), ((27, 8), 3)])
def test_cells_of_the_search_are_nearly_those_of_the_graph(
    shape: tuple[int, int], seed: int
) -> None:
    improver = Improver(some_graph(shape, seed), max_depth=60, by_bits=True, seed=seed)
    improver.run(2000, heat=0.05)
    assert improver.best == pytest.approx(improver.result().bits, rel=0.02)


def test_search_saves_much() -> None:
    start = some_graph()
    adders = Improver(start, max_depth=60, by_bits=False, seed=0)
    adders.run(4000, heat=0.05)
    bits = Improver(start, max_depth=60, by_bits=True, seed=0)
    bits.run(4000, heat=0.05)
    assert adders.result().adders < 0.7 * start.adders
    assert bits.result().bits < 0.75 * start.bits


def test_same_seed_same_graph() -> None:
    def run(seed: int) -> AdderGraph:
        improver = Improver(some_graph(), max_depth=60, by_bits=False, seed=seed)
        for _ in range(4):
            improver.run(250, heat=0.1)
        return improver.result()

    assert run(3) == run(3)
    assert run(3) != run(4)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(problems())
def test_transposed_graph(problem: tuple) -> None:
    matrix, _ = problem
    matrix = matrix[matrix.any(axis=1)][:, matrix.any(axis=0)]
    assume(matrix.size)
    graph = csd_graph(matrix)
    rows, columns = matrix.shape
    turned = transposed(graph, (BYTE,) * columns)
    assert turned is not None
    turned.verify(matrix.T)
    assert turned.adders <= graph.adders + columns - rows
    back = transposed(turned, graph.inputs)
    assert back is not None
    back.verify(matrix)


def test_transposed_graph_needs_values_that_count() -> None:
    # 2 z = ((x + y) + z) - ((x + y) - z), in which x + y cancels.
    both = Adder(Operand(0), Operand(1))
    plus, minus = Adder(Operand(3), Operand(2)), Adder(Operand(3), Operand(2, 0, True))
    last = Adder(Operand(4), Operand(5, 0, True))
    graph = AdderGraph((BYTE,) * 3, (both, plus, minus, last), (Operand(6),))
    assert graph.matrix.tolist() == [[0], [0], [2]]
    assert transposed(graph, (BYTE,)) is None


def test_progress_gives_better_and_better_graphs() -> None:
    matrix = np.random.default_rng(4).integers(-128, 128, (8, 8))
    seen: list[tuple[AdderGraph, float]] = []
    best = optimize(matrix, time_limit=0.3, jobs=2, progress=lambda g, s: seen.append((g, s)))
    costs = [(graph.adders, graph.bits, graph.depth) for graph, _ in seen]
    assert costs == sorted(costs, reverse=True)
    assert seen[-1][0] == best
    assert all(before <= after for (_, before), (_, after) in pairwise(seen))
    for graph, _ in seen:
        graph.verify(matrix)


@pytest.mark.parametrize("jobs", [1, 2])
def test_interruption_gives_the_best_so_far(jobs: int) -> None:
    matrix = np.random.default_rng(4).integers(-128, 128, (8, 8))
    seen: list[AdderGraph] = []

    def interrupt(graph: AdderGraph, _: float) -> None:
        seen.append(graph)
        raise KeyboardInterrupt

    started = time.monotonic()
    assert optimize(matrix, time_limit=600, jobs=jobs, progress=interrupt) == seen[0]
    assert time.monotonic() - started < 300
