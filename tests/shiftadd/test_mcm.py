"""One input times several constants: exact, few adders, depth, bounds, signs, rank-one matrices."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from constant_matrices import corners, ranges
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwgen.numeric import Range, csd_weight
from hwgen.shiftadd import csd_graph, mcm, minimum_depth, optimize
from hwgen.shiftadd.mcm import mcm_graph, mcm_lower_bound, odd_fundamentals

BYTE = Range(-128, 127)

constant = st.one_of(
    st.just(0), st.integers(-300, 300), st.integers(-(1 << 40), 1 << 40), st.sampled_from([1, -64])
)
some_constants = st.lists(constant, min_size=1, max_size=8)


def near(made: frozenset[int], limit: int) -> set[int]:
    """Odd numbers up to ``limit`` that one addition makes."""
    found = set()
    for u in made:
        for v in made:
            for shift in range(limit.bit_length() + 1):
                for value in ((u << shift) + v, abs((u << shift) - v)):
                    while value and value % 2 == 0:
                        value //= 2
                    found.add(value)
    return {v for v in found if 0 < v <= limit}


def closed(targets: set[int], limit: int) -> bool:
    """Whether the numbers can be made from 1 and each other alone."""
    made = frozenset({1})
    while True:
        more = made | (near(made, limit) & targets)
        if more == made:
            return targets <= made
        made = more


def fewest(targets: set[int], limit: int, most: int) -> int:
    """Fewest adders with at most ``most`` intermediates, by trying all sets of odd numbers."""
    others = [v for v in range(3, limit, 2) if v not in targets]
    for count in range(most + 1):
        if any(closed(targets | set(chosen), limit) for chosen in combinations(others, count)):
            return len(targets) + count
    return len(targets) + most + 1


@settings(derandomize=True, max_examples=30, deadline=None)
@example([0], BYTE, False)
@example([1, -1, 0, 8], Range(0, 0), True)
@example([45, -45, 90, 0, 45], BYTE, True)
@example([(1 << 62) - 3, 5], BYTE, False)
@example([(1 << 47) + 12345, -(1 << 46) + 999, 3], BYTE, True)
@given(some_constants, ranges(), st.booleans())
def test_graph_is_exact_and_no_worse_than_csd(
    constants: list[int], span: Range, by_bits: bool
) -> None:
    graph = mcm_graph(constants, span, by_bits=by_bits)
    graph.verify(np.array([constants], dtype=object))
    x = corners((span,))
    assert (graph.evaluate(x) == x.astype(object) * np.array([constants], dtype=object)).all()
    distinct = len(odd_fundamentals(constants))
    assert distinct <= graph.adders <= csd_graph([constants], [span]).adders


def test_few_intermediates_as_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        targets = set((rng.integers(1, 64, 3) * 2 + 1).tolist())
        expected = fewest(targets, 256, 1)
        assert mcm_graph(sorted(targets), BYTE).adders == expected, targets
        assert mcm_lower_bound(targets) == expected, targets


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=6), st.integers(0, 2))
def test_depth_is_respected(constants: list[int], extra: int) -> None:
    least = minimum_depth([constants])
    graph = mcm_graph(constants, BYTE, max_depth=least + extra)
    assert graph.depth <= least + extra
    assert graph.adders >= mcm_lower_bound(constants)


def test_too_small_a_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 for these constants, not 1"):
        mcm_graph([11], BYTE, max_depth=1)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(some_constants, st.integers(0, 5))
def test_lower_bound_holds_and_ignores_signs_shifts_and_repetition(
    constants: list[int], shift: int
) -> None:
    bound = mcm_lower_bound(constants)
    assert bound <= mcm_graph(constants, BYTE).adders
    assert bound >= max(max(map(csd_weight, constants)) - 1, 0).bit_length()
    changed = [-c << shift for c in constants] + constants + [0, 1]
    assert mcm_lower_bound(changed) == bound


@pytest.mark.parametrize(
    ("constants", "adders"),
    [
        ([3, -6, 12, 3], 1),
        ([7, 9, 63], 3),
        ([5, 25, 125, 625], 4),
        ([303, 3643, 6729, 7479], 8),
        ([947, 973, 1243], 6),
    ],
)
def test_known_optima(constants: list[int], adders: int) -> None:
    assert mcm_graph(constants, BYTE, time_limit=1).adders == adders


def test_search_is_deterministic_without_time_limit() -> None:
    constants = np.random.default_rng(2).integers(-(1 << 14), 1 << 14, 12).tolist()
    graphs = [mcm_graph(constants, BYTE, seed=7) for _ in range(2)]
    assert graphs[0] == graphs[1]


def test_time_finds_fewer_adders() -> None:
    constants = np.random.default_rng(5).integers(1, 1 << 15, 16).tolist()
    assert mcm_graph(constants, BYTE, time_limit=0.5).adders <= 24


def test_interruption_gives_the_best_graph_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = np.random.default_rng(5).integers(1, 1 << 15, 16).tolist()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mcm, "exhaust", interrupt)
    mcm_graph(constants, BYTE, time_limit=0.2).verify([constants])
    with pytest.raises(KeyboardInterrupt):
        mcm_graph(constants, BYTE)


def test_signs_of_outputs_do_not_cost_an_extra_negation() -> None:
    # 7 x = 8 x - x needs its low bits either way; negating it again would cost its width.
    assert mcm_graph([7], BYTE).bits == 11
    assert mcm_graph([-7], BYTE).bits == 8
    assert mcm_graph([-7, -9], BYTE).bits <= 8 + 12


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-500, 500), min_size=1, max_size=5),
    st.lists(st.sampled_from([0, 1, -1, 2, -8]), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["adders", "bits"]),
)
def test_matrices_of_rank_one(
    constants: list[int], factors: list[int], turn: bool, objective: str
) -> None:
    matrix = np.outer(factors, constants)
    if turn:
        matrix = matrix.T
    graph = optimize(matrix, objective=objective)
    graph.verify(matrix)
    if objective == "adders" and matrix.any():
        one = mcm_graph(constants, BYTE).adders
        used = np.count_nonzero(matrix.any(axis=1))
        extra = used - 1
        assert graph.adders <= one + extra
