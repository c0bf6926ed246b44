"""The zero-one program agrees with nearest points, and keeps limits that they break."""

from itertools import product

import numpy as np
import pytest

from hwgen.approx.scale import best_scale, nearest_codes
from hwgen.approx.sets import LADDER, parse_set
from hwgen.approx.zero_one import solve_zero_one
from hwgen.errors import BudgetError
from hwgen.numeric import csd_weight


@pytest.mark.parametrize("seed", range(24))
def test_agrees_with_nearest_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dyadic_set = LADDER[seed % 8]
    weights = rng.standard_normal(9) * 10.0 ** rng.integers(-4, 4)
    scale = float(best_scale(weights[None], dyadic_set).scale[0] * rng.uniform(0.7, 1.4))
    solution = solve_zero_one(weights, scale, dyadic_set)
    nearest = nearest_codes(weights[None], np.array([scale]), dyadic_set)[0]
    np.testing.assert_array_equal(solution.codes, nearest)


@pytest.mark.parametrize("seed", range(4))
def test_best_under_limits_by_trying_every_choice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dyadic_set = parse_set("P5")
    weights = rng.standard_normal(4)
    scale = float(best_scale(weights[None], dyadic_set).scale[0])
    solution = solve_zero_one(weights, scale, dyadic_set, terms=4, gain_error=0.6)
    best = np.inf
    for codes in product(dyadic_set.numerators, repeat=4):
        approximation = scale * np.array(codes) / 4
        if sum(csd_weight(c) for c in codes) <= 4 and abs((weights - approximation).sum()) <= 0.6:
            best = min(best, float(((weights - approximation) ** 2).sum()))
    assert sum(csd_weight(int(c)) for c in solution.codes) <= 4
    assert solution.error == pytest.approx(best, rel=1e-9)


def test_limits_bind() -> None:
    weights = np.random.default_rng(3).standard_normal(9)
    free = solve_zero_one(weights, 2.0, parse_set("P8"))
    short = solve_zero_one(weights, 2.0, parse_set("P8"), terms=9)
    assert sum(csd_weight(int(c)) for c in free.codes) > 9
    assert sum(csd_weight(int(c)) for c in short.codes) <= 9
    assert short.error > free.error


def test_impossible_limits_are_reported() -> None:
    with pytest.raises(BudgetError, match=r"set P1 with limits .* 'infeasible'; loosen a limit"):
        solve_zero_one(np.array([0.3, 0.4]), 1.0, parse_set("P1"), gain_error=1e-6)


@pytest.mark.parametrize(
    ("weights", "scale", "message"),
    [([], 1.0, "at least one"), ([np.nan], 1.0, "finite"), ([1.0], 0.0, "Scale must be positive")],
)
def test_arguments_are_checked(weights: list[float], scale: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_zero_one(np.array(weights), scale, parse_set("P1"))
