"""The optimiser: equal to the matrix, sharing, depth, bad input, determinism."""

from __future__ import annotations

import numpy as np
import pytest
from constant_matrices import problems
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwgen.numeric import Range, csd_weight
from hwgen.shiftadd import AdderGraph, Operand, _greedy, csd_graph, minimum_depth, optimize, solve
from hwgen.shiftadd._greedy import Rule, greedy
from hwgen.shiftadd.bounds import lower_bound

BYTE = Range(-128, 127)


@settings(derandomize=True, max_examples=150, deadline=None)
@example((np.array([[0]]), (BYTE,)), "adders")
@example((np.array([[-1]]), (BYTE,)), "adders")
@example((np.array([[-3, 6, 0, 3]]), (BYTE,)), "adders")
@example((np.array([[5], [5], [-10], [0]]), (BYTE,) * 4), "bits")
@example((np.array([[(1 << 62) - 1, -(1 << 61)]]), (BYTE,)), "adders")
@given(problems(), st.sampled_from(["adders", "bits"]))
def test_graph_equals_matrix_and_is_no_worse_than_csd(problem: tuple, objective: str) -> None:
    matrix, inputs = problem
    graph = optimize(matrix, inputs=inputs, objective=objective)
    graph.verify(matrix)
    assert graph.inputs == tuple(inputs)
    assert graph.adders <= csd_graph(matrix, inputs).adders


@settings(derandomize=True, max_examples=80, deadline=None)
@example((np.array([[1, 1], [1, 1], [1, 1], [1, 0]]), (BYTE,) * 4), 0)  # merged rows are too deep
@given(problems(), st.integers(0, 3))
def test_depth_is_respected(problem: tuple, extra: int) -> None:
    matrix, inputs = problem
    least = minimum_depth(matrix)
    assert optimize(matrix, inputs=inputs, max_depth=0).depth == least
    if least + extra:
        graph = optimize(matrix, inputs=inputs, max_depth=least + extra)
        assert graph.depth <= least + extra


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("spare", [0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_differences_keep_the_depth(extra: int, spare: int, turned: bool) -> None:
    for seed in range(10):
        matrix = np.random.default_rng(seed).integers(-32, 32, (9, 8))
        depth = minimum_depth(matrix) + extra
        rule = Rule(furthest=60, spare=spare, turned=turned)
        graph = greedy(matrix.tolist(), (BYTE,) * 9, depth, rule)
        assert graph is not None  # as one that is too deep would be
        graph.verify(matrix)


def test_depth_limit_costs_sharing() -> None:
    matrix = np.random.default_rng(5).integers(-99, 99, (9, 8))
    free, bound = optimize(matrix), optimize(matrix, max_depth=0)
    assert bound.depth == minimum_depth(matrix)
    assert free.adders <= bound.adders


def test_csd_graph_shares_nothing_and_is_balanced() -> None:
    matrix = np.array([[7, 7], [45, 45], [-1, -1]])
    graph = csd_graph(matrix)
    terms = csd_weight(7) + csd_weight(45) + 1
    assert graph.adders == 2 * (terms - 1)
    assert graph.depth == (terms - 1).bit_length()


@pytest.mark.parametrize(
    ("matrix", "adders"),
    [
        ([[0, 0], [0, 0]], 0),
        ([[1, -2, 4, 0]], 0),
        ([[3, -3, 6, -12, 3]], 1),  # one fundamental
        ([[3], [3]], 2),  # 3 (a + b)
        ([[3, 0], [6, 0], [-3, 5]], 4),  # 3 (a + 2 b - c)
        ([[1, 1, 0], [1, 1, 1], [0, 1, 1]], 3),
        ([[5, 10, 7], [-10, -20, -14], [0, 0, 3]], 5),  # row 1 is -2 times row 0
    ],
)
def test_known_adder_counts(matrix: list, adders: int) -> None:
    assert optimize(matrix).adders == adders


def test_repeated_columns_cost_nothing() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.integers(-128, 128, (8, 8))
    doubled = np.concatenate([matrix, -matrix, matrix * 4, matrix * 0], axis=1)
    assert optimize(doubled).adders == optimize(matrix).adders


def test_equal_rows_are_added_first() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.integers(-128, 128, (4, 8))
    once = optimize(matrix).adders
    # Eight adders join the rows; the search then takes another way, and less of it.
    assert optimize(np.concatenate([matrix, matrix * 2, -matrix])).adders <= once + 8 + 6


def test_only_negative_columns_are_negated() -> None:
    graph = optimize([[-1, -3, -1], [0, 0, -1]])
    assert [o is not None and o.negate for o in graph.outputs] == [True, False, True]
    rng = np.random.default_rng(0)
    graph = optimize(rng.integers(-128, 128, (9, 16)))
    assert not any(o is None or o.negate for o in graph.outputs)


def test_sharing_saves_a_third_on_convolutions() -> None:
    matrix = np.random.default_rng(1).integers(-128, 128, (27, 16))
    assert optimize(matrix).adders < 0.65 * csd_graph(matrix).adders
    assert optimize(matrix, objective="bits").bits < 0.7 * csd_graph(matrix).bits


def test_saving_cells_saves_cells() -> None:
    cells = []
    for seed in range(6):
        matrix = np.random.default_rng(seed).integers(-128, 128, (8, 8))
        cells.append([optimize(matrix, objective=name).bits for name in ("bits", "adders")])
    assert all(by_bits <= by_adders for by_bits, by_adders in cells)
    assert any(by_bits < by_adders for by_bits, by_adders in cells)


def test_same_call_same_graph() -> None:
    matrix = np.random.default_rng(2).integers(-31, 32, (20, 10))
    assert optimize(matrix) == optimize(matrix.copy(order="F"), seed=9)
    assert optimize(matrix) == optimize(matrix.astype(np.int8).tolist())
    assert optimize(matrix) == optimize(matrix.astype(float))


def test_time_never_costs_adders() -> None:
    matrix = np.random.default_rng(4).integers(-128, 128, (8, 8))
    once, longer = optimize(matrix), optimize(matrix, time_limit=0.1, seed=1)
    longer.verify(matrix)
    assert longer.adders <= once.adders
    assert optimize(matrix, time_limit=0) == once


def test_random_tries_differ() -> None:
    matrix = np.random.default_rng(4).integers(-128, 128, (8, 8))
    inputs = (BYTE,) * 8
    tries = [
        greedy(matrix.tolist(), inputs, 60, Rule(worth=worth, turned=turned))
        for worth in range(8)
        for turned in (False, True)
    ]
    assert all(graph is not None and (graph.matrix == matrix).all() for graph in tries)
    assert len({graph.adders for graph in tries if graph is not None}) > 3


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        ([], ValueError, r"two dimensions \(inputs, outputs\), not 1"),
        (np.zeros((0, 3)), ValueError, r"must not be empty, but its shape is \(0, 3\)"),
        (np.zeros((3, 0)), ValueError, r"must not be empty, but its shape is \(3, 0\)"),
        (np.zeros((1, 2, 3)), ValueError, "two dimensions .* not 3"),
        ([[1.0, np.nan]], ValueError, "finite whole numbers, not nan at input 0, output 1"),
        ([[1.0], [np.inf]], ValueError, "finite whole numbers, not inf at input 1, output 0"),
        ([[0.5]], ValueError, r"finite whole numbers, not 0\.5"),
        ([[1 << 62]], ValueError, r"below 2\*\*62"),
        ([[1e30]], ValueError, r"below 2\*\*62"),
        ([[True]], TypeError, "must hold integers, not bool"),
        ([["3"]], TypeError, "must hold integers"),
        ([[1j]], TypeError, "must hold integers"),
        (np.array([[None]]), TypeError, "must hold integers, not None at input 0, output 0"),
    ],
)
def test_bad_matrices_are_rejected(matrix: object, error: type[Exception], message: str) -> None:
    for call in (optimize, csd_graph, minimum_depth):
        with pytest.raises(error, match=message):
            call(matrix)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objective": "luck"}, ValueError, "one of adders, bits, .*, not 'luck'"),
        ({"max_depth": 1}, ValueError, r"at least 2 for this matrix, not 1"),
        ({"max_depth": -1}, ValueError, "at least 2 for this matrix, not -1"),
        ({"max_depth": 1.5}, TypeError, r"must be an integer, not 1\.5"),
        ({"time_limit": -1}, ValueError, "at least 0 seconds, not -1"),
        ({"time_limit": float("nan")}, ValueError, "at least 0 seconds, not nan"),
        ({"inputs": [BYTE]}, ValueError, "must be 2 ranges, one for each matrix row, not 1"),
        ({"inputs": [8, 8]}, TypeError, "sequence of Range"),
    ],
)
def test_bad_options_are_rejected(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        optimize([[1, 3], [5, 1]], **options)


def test_blocks_of_rows_keep_matrix_and_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(12).integers(-128, 128, (40, 12))
    whole = optimize(matrix, max_depth=0)
    monkeypatch.setattr(_greedy, "_MOST_PAIRS", 8000)
    cut = optimize(matrix, max_depth=0)
    cut.verify(matrix)
    assert cut.depth == whole.depth == minimum_depth(matrix)
    assert whole.adders < cut.adders < 0.8 * csd_graph(matrix).adders


def test_zero_matrix() -> None:
    graph = optimize(np.zeros((3, 2), dtype=np.int8))
    assert graph == AdderGraph((BYTE,) * 3, (), (None, None))
    assert graph.evaluate([[1, 2, 3]]).tolist() == [[0, 0]]


def test_wide_entries() -> None:
    rng = np.random.default_rng(6)
    matrix = rng.integers(-(1 << 61), 1 << 61, (3, 3))
    graph = optimize(matrix)
    x = np.array([[-128, 127, 1]], dtype=object)
    assert graph.evaluate(x).tolist() == (x @ matrix.astype(object)).tolist()


def test_output_may_be_an_input() -> None:
    assert optimize([[0, 8], [-1, 0]]).outputs == (Operand(1, 0, True), Operand(0, 3))


# the greedy graph of this matrix has an adder more than it needs
IMPROVABLE = [[-2, -3, 4], [-2, 4, 1], [-6, 0, -2]]


def test_small_matrices_are_solved_exactly() -> None:
    solution = solve(IMPROVABLE)
    assert solution.proved_optimal
    assert solution.bound.proof == "exhaustive search"
    assert solution.graph.adders < optimize(IMPROVABLE).adders
    assert solve(IMPROVABLE) == solution
    inputs = (Range(0, 1),) * len(IMPROVABLE)
    for options in ({"effort": 50}, {"time_limit": 5.0}):
        graph = optimize(IMPROVABLE, inputs=inputs, **options)
        assert graph.adders == solution.graph.adders
        assert graph.inputs == inputs


def test_without_trials_nothing_more_is_proved() -> None:
    solution = solve(IMPROVABLE, trials=0)
    assert solution.graph == optimize(IMPROVABLE)
    assert solution.bound == lower_bound(IMPROVABLE)
    assert not solution.proved_optimal


def test_few_trials_prove_the_same_each_time() -> None:
    matrix = np.random.default_rng(4).integers(-8, 8, (3, 4))
    bounds = [solve(matrix, trials=trials).bound.adders for trials in (100, 100, 10_000)]
    assert bounds[0] == bounds[1] < bounds[2]


def test_the_exact_graph_keeps_the_depth() -> None:
    solution = solve(IMPROVABLE, max_depth=0)
    assert solution.graph.depth == minimum_depth(IMPROVABLE)
    assert solution.bound == solve(IMPROVABLE).bound


@pytest.mark.parametrize("objective", ["bits", "luts:ice40"])
def test_a_bound_is_told_whatever_is_saved(objective: str) -> None:
    solution = solve(IMPROVABLE, objective=objective)
    assert solution.bound == lower_bound(IMPROVABLE)
    assert solution.graph == optimize(IMPROVABLE, objective=objective)
