"""The zero-one program: three solvers agree, keep every limit, and match trying every choice."""

from itertools import product

import numpy as np
import pytest

from hwgen.approx import knapsack
from hwgen.approx.choices import solve_choices
from hwgen.approx.scale import best_scale
from hwgen.approx.sets import LADDER, parse_set
from hwgen.approx.zero_one import (
    Block,
    Limit,
    Resource,
    ZeroOneProgram,
    ZeroOneSolution,
    nearest,
    solve_highs,
)
from hwgen.errors import BudgetError

_SETS = (*LADDER, parse_set("terms(2,-5,0)"), parse_set("{3,7}"), parse_set("{7/4}"))
_QUICK = 120
_CAMPAIGN = 3000


def _program(seed: int, *, limited: bool = True) -> ZeroOneProgram:
    """A few blocks, as different as can be, and limits that no block has twice."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.integers(-6, 6)
    blocks = []
    for _ in range(rng.integers(1, 5)):
        dyadic_set = _SETS[rng.integers(len(_SETS))]
        weights = rng.standard_normal(rng.integers(1, 9))
        if rng.random() < 0.3:
            weights = np.round(2 * weights) / 2  # equal weights: equal choices
        bits = None
        if rng.random() < 0.6:
            bits = tuple(0 if n == 0 else dyadic_set.code_width for n in dyadic_set.numerators)
        elif rng.random() < 0.5:
            bits = tuple(int(b) for b in rng.integers(0, 9, dyadic_set.size))
        scale = size * float(rng.uniform(0.3, 3))
        blocks.append(Block(size * weights, scale, dyadic_set, bits))
    if not limited:
        return ZeroOneProgram(tuple(blocks))
    covers = [None] if rng.random() < 0.6 else [(b,) for b in rng.permutation(len(blocks))[:2]]
    limits = []
    for cover in covers:
        within = blocks if cover is None else [blocks[cover[0]]]
        resource: Resource = "terms" if rng.random() < 0.6 else "bits"
        least = sum(b.weights.size * int(b.uses(resource).min()) for b in within)
        most = sum(b.weights.size * int(b.uses(resource).max()) for b in within)
        share = rng.uniform(0, 0.6)
        named = None if cover is None else (int(cover[0]),)
        limits.append(Limit(resource, round(least + share * (most - least)), named))
    return ZeroOneProgram(tuple(blocks), tuple(limits))


def _energy(program: ZeroOneProgram) -> float:
    return sum(float((block.weights**2).sum()) for block in program.blocks)


def _keeps(program: ZeroOneProgram, solution: ZeroOneSolution) -> bool:
    members = all(
        set(codes.tolist()) <= set(block.dyadic_set.numerators)
        for block, codes in zip(program.blocks, solution.codes, strict=True)
    )
    return members and all(
        program.used(solution.codes, limit) <= limit.most for limit in program.limits
    )


def _agree(seed: int) -> None:
    program = _program(seed)
    exact, fast = solve_highs(program), knapsack.solve(program)
    assert _keeps(program, exact)
    assert _keeps(program, fast)
    assert fast.gap == 0
    assert fast.relaxation <= fast.error + 1e-12 * _energy(program)
    energy = _energy(program)
    assert fast.error <= exact.error * (1 + 1e-12) + 1e-15 * energy
    # HiGHS keeps to its own tolerances
    assert fast.error == pytest.approx(exact.error, rel=1e-6, abs=1e-9 * energy), seed


@pytest.mark.parametrize("part", range(4))
def test_knapsack_agrees_with_highs(part: int) -> None:
    for seed in range(part, _QUICK, 4):
        _agree(seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_knapsack_agrees_with_highs_on_thousands(part: int) -> None:
    for seed in range(_QUICK + part, _QUICK + _CAMPAIGN, 10):
        _agree(seed)


def test_all_three_agree_without_limits() -> None:
    for seed in range(20):
        program = _program(seed, limited=False)
        exact, fast, near = solve_highs(program), knapsack.solve(program), nearest(program)
        assert exact.error == pytest.approx(near.error, rel=1e-9, abs=1e-12 * _energy(program))
        for one, other in zip(fast.codes, near.codes, strict=True):
            np.testing.assert_array_equal(one, other)


def test_knapsack_with_room_for_all_agrees_with_nearest() -> None:
    for seed in range(1000):
        program = _program(seed, limited=False)
        near = nearest(program)
        resource: Resource = "terms" if seed % 2 else "bits"
        used = program.used(near.codes, Limit(resource, 0))
        wide = ZeroOneProgram(program.blocks, (Limit(resource, used),))
        found = knapsack.solve(wide)
        assert found.error == pytest.approx(near.error, rel=1e-12, abs=1e-15 * _energy(program))
        assert found.gap == 0


def test_knapsack_agrees_with_trying_every_choice() -> None:
    # numbers of few digits, so that sums are exact and many choices are equally good
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        entries, classes = int(rng.integers(1, 7)), int(rng.integers(1, 4))
        errors = rng.integers(0, 9 if seed % 2 else 1000, (entries, classes)) / 8
        errors[rng.random(errors.shape) < 0.1] = np.inf
        errors[np.isinf(errors).all(axis=1)] = 1.0
        uses = np.sort(rng.choice(12, classes, replace=False)).astype(np.int64)
        budget = int(rng.integers(0, 6 * entries))
        every = np.array(list(product(range(classes), repeat=entries)))
        total = errors[np.arange(entries), every].sum(axis=1)
        total[uses[every].sum(axis=1) > budget] = np.inf
        found = solve_choices(errors, uses, budget)
        if np.isinf(total.min()):
            assert found is None
            continue
        assert found is not None
        assert uses[found.choice].sum() <= budget
        value = errors[np.arange(entries), found.choice].sum()
        assert value == pytest.approx(total.min(), abs=1e-12), seed
        bound = np.min(errors + found.price * uses, axis=1).sum() - found.price * budget
        assert value - found.relaxed == pytest.approx(bound, abs=1e-9)


def test_large_programs_close_their_gap() -> None:
    weights = np.random.default_rng(1).standard_normal(200_000)
    for text, most in (("P8", 140_000), ("P11", 300_001), ("terms(3,-6,0)", 150_007)):
        program = ZeroOneProgram((Block(weights, 2.5, parse_set(text)),), (Limit("terms", most),))
        found = knapsack.solve(program)
        assert _keeps(program, found)
        assert found.gap == 0
        assert 0 <= found.error - found.relaxation <= 1e-6 * found.error


@pytest.mark.parametrize("seed", range(4))
def test_gain_and_terms_together_by_trying_every_choice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dyadic_set = parse_set("P5")
    weights = rng.standard_normal(4)
    scale = float(best_scale(weights[None], dyadic_set).scale[0])
    block = Block(weights, scale, dyadic_set, gain_error=0.6)
    solution = solve_highs(ZeroOneProgram((block,), (Limit("terms", 4),)))
    best = np.inf
    for codes in product(dyadic_set.numerators, repeat=4):
        terms = sum(dyadic_set.terms[dyadic_set.numerators.index(c)] for c in codes)
        if terms <= 4 and abs((weights - scale * np.array(codes) / 4).sum()) <= 0.6:
            best = min(best, block.error(np.array(codes)))
    assert solution.error == pytest.approx(best, rel=1e-9)


def test_limits_of_filters_layers_and_the_network_at_once() -> None:
    rng = np.random.default_rng(5)
    blocks = tuple(Block(rng.standard_normal(6), 1.5, parse_set("P8")) for _ in range(4))
    limits = (
        Limit("terms", 3, (0,)),
        Limit("terms", 9, (0, 1)),
        Limit("bits", 60, (2, 3)),
        Limit("terms", 18),
    )
    skipping = tuple(
        Block(b.weights, b.scale, b.dyadic_set, tuple(0 if n == 0 else 6 for n in range(-16, 17)))
        for b in blocks
    )
    program = ZeroOneProgram(skipping, limits)
    found = solve_highs(program)
    assert _keeps(program, found)
    loose = ZeroOneProgram(skipping, limits[3:])
    assert found.error > knapsack.solve(loose).error
    with pytest.raises(ValueError, match="at most one limit a block and none on its sum"):
        knapsack.solve(program)
    with pytest.raises(ValueError, match="must have no limit to be solved by nearest"):
        nearest(loose)


@pytest.mark.parametrize("solver", [solve_highs, knapsack.solve])
def test_impossible_limits_are_reported(solver) -> None:
    block = Block(np.array([0.3, 0.4]), 1.0, parse_set("P1"))
    with pytest.raises(BudgetError, match=r"loosen (a|the) limit"):
        solver(ZeroOneProgram((block,), (Limit("bits", 3),)))


def test_a_solver_that_runs_out_of_time_says_so() -> None:
    weights = np.random.default_rng(2).standard_normal(3000)
    program = ZeroOneProgram((Block(weights, 3.0, parse_set("P8")),), (Limit("terms", 2000),))
    with pytest.raises(BudgetError, match="allow more time"):
        solve_highs(program, time_limit=0.01)


def test_impossible_gain_is_reported() -> None:
    block = Block(np.array([0.3, 0.4]), 1.0, parse_set("P1"), gain_error=1e-6)
    with pytest.raises(BudgetError, match="'infeasible'; loosen a limit"):
        solve_highs(ZeroOneProgram((block,)))
    with pytest.raises(ValueError, match="none on its sum"):
        knapsack.solve(ZeroOneProgram((block,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": []}, "at least one"),
        ({"weights": [np.nan]}, "finite"),
        ({"weights": [[1.0]]}, "must be a vector"),
        ({"scale": 0.0}, "Scale must be positive"),
        ({"code_bits": (1, 2)}, "must be 3 numbers, none negative"),
        ({"code_bits": (1, -1, 1)}, "none negative"),
        ({"gain_error": -1.0}, "Gain error must not be negative"),
    ],
)
def test_blocks_are_checked(changes: dict[str, object], message: str) -> None:
    arguments = {"weights": [1.0], "scale": 1.0, "dyadic_set": parse_set("P1")} | changes
    with pytest.raises(ValueError, match=message):
        Block(**arguments)


def test_programs_are_checked() -> None:
    block = Block(np.ones(2), 1.0, parse_set("P1"))
    with pytest.raises(ValueError, match="at least one block"):
        ZeroOneProgram(())
    for named in ((1,), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="name each of its blocks once, out of 0 to 0"):
            ZeroOneProgram((block,), (Limit("terms", 1, named),))
