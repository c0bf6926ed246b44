"""Searches that keep their budget, can be rebuilt and gone on with, and find planted redundancy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slim_networks import branching, plain

from hwgen.approx.candidates import Option, layer_options
from hwgen.approx.costs import term_adders
from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.types import DyadicFilters
from hwgen.errors import DataError
from hwgen.network.execute import run
from hwgen.network.types import Activation, Conv, Network, Node, Softmax
from hwgen.slim.moves import (
    FeatureMove,
    KernelMove,
    RecipeMove,
    SliceMove,
    State,
    after,
    start,
)
from hwgen.slim.objectives import ADDITIONS, MACS
from hwgen.slim.outcome import Method, Outcome, Settings, Step
from hwgen.slim.search import search
from hwgen.slim.trial import Fitter

_QUICK = Settings(block=2, trials=24, step=0.1, patience=2)


def _images(network: Network, count: int, seed: int) -> np.ndarray:
    """Smooth images, of which few say much about others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *network.input_shape))
    for axis in (2, 3):
        x = x + np.roll(x, 1, axis)
    return x


def _search(network: Network, **options: Any) -> Outcome:
    given: dict[str, Any] = {"budget": 0.05, "objective": MACS, "settings": _QUICK} | options
    return search(network, _images(network, 40, 1), _images(network, 60, 2), **given)


def _redundant() -> Network:
    """Six maps of which the last three are multiples of the first three, two classes."""
    rng = np.random.default_rng(5)
    half = rng.standard_normal((3, 2, 3, 3))
    first = Conv(np.concatenate([half, 2 * half]), np.zeros(6))
    second = Conv(rng.standard_normal((5, 6, 3, 3)), rng.standard_normal(5))
    last = Conv(rng.standard_normal((2, 5, 4, 4)), np.zeros(2))
    relu = Activation("relu")
    return Network(
        "redundant",
        "x",
        (2, 8, 8),
        (
            Node("first", first, ("x",), (6, 6, 6)),
            Node("a", relu, ("first",), (6, 6, 6)),
            Node("second", second, ("a",), (5, 4, 4)),
            Node("b", relu, ("second",), (5, 4, 4)),
            Node("last", last, ("b",), (2, 1, 1)),
        ),
        "last",
    )


def test_features_that_others_are_multiples_of_cost_nothing() -> None:
    network = _redundant()
    settings = replace(_QUICK, block=1, patience=1)
    found = _search(network, budget=0.0, families=("features",), settings=settings)
    x = _images(network, 50, 3)
    assert found.state.masks["first"].any(axis=(1, 2, 3)).sum() <= 3
    one = next(step for step in reversed(found.steps) if step.error < 0.01)
    assert one.cost <= 0.51 * found.steps[0].cost
    moves = [move for step in found.steps[: found.steps.index(one) + 1] for move in step.moves]
    slim = Fitter(network, _images(network, 40, 1)).fit(after(network, start(network), moves))
    wanted = run(network, x)
    assert np.linalg.norm(run(slim.network, x) - wanted) < 0.01 * np.linalg.norm(wanted)


@pytest.mark.parametrize("method", ["greedy", "bisection"])
@pytest.mark.parametrize("network", [plain(), branching()], ids=lambda network: network.name)
def test_every_step_keeps_the_budget_and_costs_less(network: Network, method: Method) -> None:
    found = _search(network, budget=0.1, method=method)
    costs = [step.cost for step in found.steps]
    assert len(costs) > 1
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)
    assert costs[-1] == MACS.total(found.network) < costs[0] == MACS.total(network)
    assert found.saved == pytest.approx(1 - costs[-1] / costs[0])
    assert all(step.loss <= 0.1 + 1e-9 for step in found.steps)
    assert found.metric == ("agreement" if network.name == "plain" else "error")
    x = _images(network, 60, 2)
    error = np.linalg.norm(run(found.network, x) - run(network, x)) / np.linalg.norm(
        run(network, x)
    )
    assert error == pytest.approx(found.steps[-1].error, rel=1e-4)


def test_a_decision_at_the_end_stays() -> None:
    network = plain()
    nodes = (*network.nodes, Node("end", Softmax(), ("last",), (4, 1, 1)))
    found = _search(replace(network, nodes=nodes, output="end"))
    assert found.network.output == "end"
    assert found.network.nodes[-1] == nodes[-1]
    same = _search(network)
    assert found.moves == same.moves


@pytest.mark.parametrize(
    ("family", "kinds"), [("kernels", {KernelMove, SliceMove}), ("features", {FeatureMove})]
)
def test_a_family_alone_takes_its_own_moves(family: Any, kinds: set[type]) -> None:
    found = _search(plain(), families=(family,))
    assert found.moves
    assert {type(move) for move in found.moves} <= kinds


def test_the_outcome_follows_from_its_moves() -> None:
    network = branching()
    found = _search(network, budget=0.1)
    state = after(network, start(network), found.moves)
    assert _same(state, found.state)
    rebuilt = Fitter(network, _images(network, 40, 1)).fit(state).network
    for (_, one), (_, other) in zip(rebuilt.convs(), found.network.convs(), strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)


def _same(one: State, other: State) -> bool:
    return all(np.array_equal(one.masks[name], mask) for name, mask in other.masks.items())


def test_an_interrupted_search_goes_on() -> None:
    network = plain()
    kept: list[Step] = []

    def keep(step: Step) -> None:
        kept.append(step)
        if len(kept) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _search(network, budget=0.2, keep=keep)
    whole = _search(network, budget=0.2)
    assert whole.steps[:3] == tuple(kept)
    rest: list[Step] = []
    found = _search(network, budget=0.2, known=kept, keep=rest.append)
    assert found.steps == (*kept, *rest)
    assert found.saved >= 1 - kept[-1].cost / kept[0].cost
    # nothing is tried again: the network is that of the moves
    fitter = Fitter(network, _images(network, 40, 1))
    state = after(network, start(network), [move for step in found.steps for move in step.moves])
    assert _same(state, found.state)
    np.testing.assert_array_equal(
        fitter.fit(state).network.node("last").op.weight, found.network.node("last").op.weight
    )


def _options(network: Network) -> dict[str, tuple[Option, ...]]:
    recipes = [parse_recipe(text) for text in ("P9", "P6", "P3")]

    def fit(name: str, op: Conv, recipe: Recipe) -> DyadicFilters:
        return approximate_filters(op, recipe)

    def cost(name: str, op: Conv, filters: DyadicFilters) -> float:
        return term_adders(op, filters)

    return layer_options(network, recipes, fit=fit, cost=cost)


def test_recipes_compete_with_moves() -> None:
    network = plain()
    given: dict[str, Any] = {"objective": ADDITIONS, "budget": 0.3, "options": _options(network)}
    found = _search(network, families=("kernels", "features", "recipes"), **given)
    assert {RecipeMove} < {type(move) for move in found.moves}
    assert set(found.filters) == {node.name for node, _ in network.convs()}
    for node, op in found.network.convs():
        filters = found.filters[node.name]
        np.testing.assert_array_equal(op.weight, filters.weight)
        assert not filters.codes[~found.state.masks[node.name]].any()
        assert filters.recipe == found.state.recipes[node.name]
    assert found.steps[-1].cost == ADDITIONS.total(found.network, found.filters)
    alone = _search(network, families=("recipes",), **given)
    assert {type(move) for move in alone.moves} == {RecipeMove}
    assert found.steps[-1].cost < alone.steps[-1].cost


def test_importance_says_which_filters_go_first() -> None:
    network = plain()
    scores = {node.name: np.arange(len(op.weight), dtype=float) for node, op in network.convs()}
    found = _search(network, importance=scores, settings=replace(_QUICK, block=1))
    for name, mask in found.state.masks.items():
        taps = mask.any(axis=1).sum(axis=(1, 2))
        if name != "last":
            assert list(taps) == sorted(taps)


def test_progress_is_told_and_effort_counted() -> None:
    told: list[tuple[str, float]] = []
    found = _search(plain(), progress=lambda what, share: told.append((what, share)))
    assert told
    assert all(0 <= share <= 1 for _, share in told)
    assert found.effort.trials > 0
    assert found.effort.checks >= len(found.steps)
    assert found.effort.fits >= len(found.steps)
    assert 0 < found.effort.share < 1


def test_what_cannot_be_searched_is_refused() -> None:
    network = plain()
    x = _images(network, 10, 0)
    with pytest.raises(ValueError, match=r"must not be negative, not -0\.1"):
        _search(network, budget=-0.1)
    with pytest.raises(ValueError, match="one of kernels, features, blocks, recipes, not 'other'"):
        _search(network, families=("other",))
    with pytest.raises(ValueError, match="one of greedy, bisection, not 'other'"):
        _search(network, method="other")
    with pytest.raises(DataError, match="at least one calibration image"):
        search(network, x[:0], x, budget=0.1, objective=MACS)
    with pytest.raises(DataError, match="at least one image"):
        search(network, x, x[:0], budget=0.1, objective=MACS)
