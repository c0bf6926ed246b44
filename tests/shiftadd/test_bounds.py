"""Lower bounds and exhaustive search: never above what a brute force finds, and equal to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from constant_matrices import problems
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.numeric import Range, csd_weight
from hwgen.shiftadd import AdderGraph, optimize
from hwgen.shiftadd.bounds import constant_bound, lower_bound
from hwgen.shiftadd.build import Builder
from hwgen.shiftadd.exact import optimal_graph, suits
from hwgen.shiftadd.reduction import column_class, expand, reduce_matrix

Point = tuple[int, ...]
BYTE = Range(-128, 127)


def sums(values: frozenset[Point], most: int = 5) -> Iterator[Point]:
    """Everything that one adder makes of the values, with shifts up to ``most``."""
    for a, b in itertools.product(values, repeat=2):
        for shift, sign in itertools.product(range(most + 1), (1, -1)):
            total = column_class([v + sign * (w << shift) for v, w in zip(a, b, strict=True)])
            if total is not None:
                yield total


def units(size: int) -> frozenset[Point]:
    return frozenset(tuple(int(j == k) for j in range(size)) for k in range(size))


@pytest.fixture(scope="module")
def sets() -> dict[frozenset[Point], frozenset[Point]]:
    """All that two adders make of two inputs, and what a third one makes of it."""
    start = units(2)
    first = {start | {v} for v in sums(start)}
    second = {s | {v} for s in first for v in sums(s, most=3)} | first | {start}
    return {s: frozenset(sums(s, most=3)) for s in second}


def brute_force(matrix: np.ndarray, sets: dict) -> int:
    """The fewest adders of a matrix of two inputs; 4 stands for more than 3."""
    wanted = {column_class(c) for c in matrix.T.tolist()} - {None} - units(2)
    best = 4
    for values, reach in sets.items():
        left = wanted - values
        if not left:
            best = min(best, len(values) - 2)
        elif len(left) == 1 and left <= reach:
            best = min(best, len(values) - 1)
    return best


def test_small_matrices_equal_brute_force(sets: dict) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        matrix = rng.integers(-5, 6, (2, rng.integers(1, 4)))
        fewest = brute_force(matrix, sets)
        exact = optimal_graph(matrix, at_most=20, time_limit=60)
        assert exact.graph is not None
        exact.graph.verify(matrix)
        assert lower_bound(matrix).adders <= exact.lower_bound == exact.graph.adders
        assert min(exact.lower_bound, 4) == fewest
        seen.add(fewest)
    assert seen == {0, 1, 2, 3, 4}


def test_constants_equal_brute_force() -> None:
    one = frozenset({(1,)})
    cost = {1: 0}
    for depth in (1, 2):
        reached = one if depth == 1 else None
        family = [reached] if reached else [one | {v} for v in sums(one, most=9)]
        for values in family:
            for (odd,) in sums(values, most=9):
                cost.setdefault(odd, depth)
    for constant in range(1, 256):
        odd = constant >> ((constant & -constant).bit_length() - 1)
        expected = min(cost.get(odd, 3), 3)
        assert min(constant_bound(constant), 3) == expected, constant
        assert constant_bound(-constant) == constant_bound(constant)
    assert constant_bound(0) == 0
    assert constant_bound((4**20 - 1) // 3) == 5  # 20 digits


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(size=6))
def test_no_graph_beats_the_bound(problem: tuple) -> None:
    matrix, inputs = problem
    bound = lower_bound(matrix)
    assert 0 <= bound.adders <= optimize(matrix, inputs=inputs).adders
    assert bound.proof


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(size=5, limit=8))
def test_reductions_can_be_put_back(problem: tuple) -> None:
    matrix, inputs = problem
    reduced = reduce_matrix(matrix.tolist())
    core = optimize(reduced.rows) if reduced.rows else None
    graph = expand(matrix.tolist(), core, Builder(inputs))
    graph.verify(matrix)
    assert graph.inputs == inputs
    assert graph.adders <= reduced.adders + (core.adders if core else 0)
    again = reduce_matrix(reduced.rows)
    assert (again.rows, again.adders) == (reduced.rows, 0)


def test_reductions_count_what_they_save() -> None:
    # equal rows, a row that is another times -4, and an output with one private input
    matrix = [[3, 5, 0], [3, 5, 0], [-12, -20, 0], [5, 7, 0], [0, 0, 3], [0, 1, 0]]
    reduced = reduce_matrix(matrix)
    assert reduced.adders == 3
    assert sorted(reduced.rows) == [(0, 0, 3), (3, 5, 0), (5, 7, 0)]
    assert reduce_matrix([[1, 0, -8], [0, 2, 0]]).rows == ()


@pytest.mark.parametrize(
    ("matrix", "adders"),
    [
        ([[0]], 0),
        ([[-64]], 0),
        ([[1, -1], [1, -1], [2, -2]], 2),  # one sum of three inputs
        ([[3, 5, 7]], 3),
        ([[45]], 2),
        ([[43]], 3),
        ([[3], [5], [7]], 5),  # by transposition
        ([[11, 13]], 3),  # both cost two, so that something comes before them
        ([[1, 1], [1, -1]], 2),
    ],
)
def test_bounds_that_are_known(matrix: list, adders: int) -> None:
    assert lower_bound(matrix).adders == adders


def test_levels_between_outputs_are_counted() -> None:
    wide = (4**8 - 1) // 3  # 8 digits: level 3
    assert csd_weight(wide) == 8
    assert lower_bound([[3, wide]]).adders == 3 + 1 - 1
    assert "levels" in lower_bound([[3, (4**16 - 1) // 3]]).proof


@settings(derandomize=True, max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(2, 3), (3, 2), (4, 2), (2, 4), (1, 4), (3, 1)]))
def test_exact_search_agrees_with_its_transpose(seed: int, shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(seed).choice([-7, -5, -3, 3, 5, 7, 1, 6], shape)
    exact = optimal_graph(matrix, at_most=30, time_limit=60)
    turned = optimal_graph(matrix.T, at_most=30, time_limit=60)
    assert isinstance(exact.graph, AdderGraph)
    exact.graph.verify(matrix)
    assert exact.graph.adders == exact.lower_bound
    assert exact.lower_bound - turned.lower_bound == shape[0] - shape[1]


def test_planted_graphs_are_not_beaten_by_the_bound() -> None:
    """A matrix made by a random graph needs no more adders than that graph has."""
    rng = np.random.default_rng(3)
    for _ in range(150):
        inputs, adders = int(rng.integers(2, 4)), int(rng.integers(3, 6))
        values = np.eye(inputs, dtype=np.int64).tolist()
        for _ in range(adders):
            a, b = rng.integers(0, len(values), 2)
            shift, sign = int(rng.integers(0, 4)), int(rng.choice([1, -1]))
            values.append(
                [v + sign * (w << shift) for v, w in zip(values[a], values[b], strict=True)]
            )
        # the last values are outputs: those before them make none, and come in any order
        outputs = int(rng.integers(1, 4))
        matrix = np.array(values[-outputs:]).T
        exact = optimal_graph(matrix, at_most=adders + 1, time_limit=60)
        assert exact.lower_bound <= adders
        assert exact.graph is not None


def test_the_last_value_may_serve_a_target_that_the_one_before_does_not() -> None:
    # x - 8y and x - z, then z's 9x - 9z; 17x - 64y - 9z adds up both, and 21x - 96y - 9z again
    exact = optimal_graph([[9, 17, 21], [0, -64, -96], [-9, -9, -9]], at_most=30)
    assert exact.graph is not None
    assert exact.lower_bound == exact.graph.adders == 5


def test_a_known_graph_is_proved() -> None:
    matrix = [[3, 5], [7, -2]]
    best = optimal_graph(matrix, at_most=30, time_limit=60)
    assert best.graph is not None
    known = optimal_graph(matrix, at_most=best.graph.adders, time_limit=60)
    assert known.graph is None
    assert known.lower_bound == best.graph.adders


def test_shifts_of_any_length_are_tried() -> None:
    # 2**13 and beyond wrap around modulo the prime
    matrix = [[1 << 14, 3], [1, 1 << 14]]
    exact = optimal_graph(matrix, at_most=30, time_limit=60, inputs=[BYTE, Range(0, 1)])
    assert exact.graph is not None
    exact.graph.verify(matrix)
    assert exact.graph.adders == exact.lower_bound == 3
    assert exact.graph.inputs == (BYTE, Range(0, 1))


def test_without_time_the_bound_stays() -> None:
    matrix = np.random.default_rng(0).integers(-8, 8, (4, 4))
    exact = optimal_graph(matrix, at_most=12, time_limit=0)
    assert exact.graph is None
    assert exact.lower_bound == lower_bound(matrix).adders


def test_matrices_that_are_too_large() -> None:
    assert suits([[1, 2], [3, 4]])
    assert suits(np.eye(3, dtype=int))
    assert not suits(np.arange(25).reshape(5, 5) + 3)
    assert not suits([[1 << 20, 3], [5, (1 << 20) - 1]])
    with pytest.raises(ValueError, match="at most 4 inputs or outputs"):
        optimal_graph(np.arange(25).reshape(5, 5) + 3, at_most=9, time_limit=1)
