"""The search for the cheapest recipes within a budget, and its front."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from approx_networks import chain, classifier, face
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.approximate import Settings, approximate
from hwgen.approx.budget import SearchResult, search
from hwgen.approx.candidates import CANDIDATES, Option, layer_options, recipes_for
from hwgen.approx.costs import COSTS, filter_adders
from hwgen.approx.front import Check, from_json, pareto, to_json
from hwgen.approx.measure import Loss, Yardstick, decide, mean_terms, without_decision
from hwgen.approx.recipes import Recipe, parse_mix, parse_recipe
from hwgen.approx.sensitivity import Probe, predict, probe_layer
from hwgen.approx.sets import LADDER
from hwgen.approx.types import ApproxNetwork
from hwgen.errors import BudgetError, DataError
from hwgen.network.execute import run, run_all
from hwgen.network.types import Activation, ArgMax, Conv, Network, Softmax

_COARSE = tuple(parse_recipe(f"P{number}") for number in (1, 2, 4, 5, 7, 9, 11))


def _find(
    network: Network,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    budget: float,
    candidates: tuple[Recipe, ...] = _COARSE,
    cost: str = "terms",
    **options: object,
) -> SearchResult:
    """Search with the nearest filters."""

    def price(_: str, op: Conv, filters: object) -> float:
        return COSTS[cost](op, filters)

    ladder = layer_options(
        network, candidates, fit=lambda _, op, recipe: Settings().filters(op, recipe), cost=price
    )
    return search(
        network,
        x,
        y,
        budget=budget,
        options=ladder,
        realise=lambda mix: approximate(network, recipes=mix),
        cost=price,
        cost_name=cost,
        **options,
    )


def _chosen(network: Network, result: SearchResult) -> ApproxNetwork:
    return _built(network, result.front.point(result.front.chosen).mix)


def _built(network: Network, mix: str) -> ApproxNetwork:
    return approximate(network, recipes=parse_mix(mix, [node.name for node, _ in network.convs()]))


@pytest.fixture(scope="module")
def network() -> Network:
    return classifier(np.random.default_rng(21))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(22).standard_normal((400, 1, 8, 8))


@pytest.fixture(scope="module")
def y(network: Network, x: np.ndarray) -> np.ndarray:
    """What the float network decides, every tenth label wrong."""
    labels = decide(run(network, x))
    labels[::10] = (labels[::10] + 1) % 5
    return labels


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.3])
def test_keeps_the_budget_and_says_the_truth(
    network: Network, x: np.ndarray, y: np.ndarray, budget: float
) -> None:
    front = _find(network, x, y, budget=budget).front
    point = front.point(front.chosen)
    decided = decide(run(_built(network, point.mix).to_network(), x))
    assert point.loss == pytest.approx(0.9 - np.mean(decided == y))
    assert point.loss <= budget
    assert np.mean((decided != y) & (decide(run(network, x)) == y)) <= budget
    assert (front.metric, front.cost, front.images) == ("accuracy", "terms", len(x))


def test_every_point_is_what_the_search_measured(
    network: Network, x: np.ndarray, y: np.ndarray
) -> None:
    result = _find(network, x, y, budget=0.05)
    yardstick = Yardstick.of(network, run(network, x), y)
    assert len(result.front.points) > 5
    for point in result.front.points:
        approx = _built(network, point.mix)
        loss = yardstick.measure(run(approx.to_network(), x))
        assert (point.loss, point.error) == (loss.loss, loss.error)
        assert point.cost == sum(filter_adders(f) for _, f in approx.filters)
        assert point.mean_terms == mean_terms(approx)


def test_the_loss_of_a_slimmed_network_is_that_against_the_original(
    network: Network, x: np.ndarray, y: np.ndarray
) -> None:
    def thinned(op: Conv) -> Conv:
        weak = np.abs(op.weight) < 0.25 * np.abs(op.weight).max()
        return replace(op, weight=np.where(weak, 0.0, op.weight))

    nodes = (replace(n, op=thinned(n.op)) if isinstance(n.op, Conv) else n for n in network.nodes)
    slimmed = replace(network, nodes=tuple(nodes))
    yardstick = Yardstick.of(network, run(network, x), y)
    alone = yardstick.measure(run(slimmed, x))
    assert alone.loss > 0
    front = _find(slimmed, x, y, budget=alone.loss + 0.05, reference=network).front
    point = front.point(front.chosen)
    loss = yardstick.measure(run(_built(slimmed, point.mix).to_network(), x))
    assert (point.loss, point.error) == (loss.loss, loss.error)
    assert point.loss <= front.budget
    with pytest.raises(BudgetError, match="more than the budget"):
        _find(slimmed, x, y, budget=alone.loss / 2, reference=network)


def test_no_point_of_the_front_beats_another(
    network: Network, x: np.ndarray, y: np.ndarray
) -> None:
    result = _find(network, x, y, budget=0.05)
    points = result.front.points
    assert [point.name for point in points] == [f"p{k}" for k in range(1, len(points) + 1)]
    for cheaper, dearer in pairwise(points):
        assert cheaper.cost <= dearer.cost
        assert dearer.loss < cheaper.loss or (
            min(dearer.spoiled - cheaper.spoiled, dearer.error - cheaper.error) < 0
        )
    for check in result.checks:
        kept = any(p.mix == check.mix for p in points)
        beaten = any(other.beats(check) for other in result.checks if other != check)
        assert kept != beaten
    assert points[0].cost < points[-1].cost / 3


_SHARES = st.integers(0, 4).map(float)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.tuples(_SHARES, _SHARES, _SHARES, _SHARES), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(numbers: list[tuple[float, ...]]) -> None:
    checks = [
        Check(str(k), cost, 1.0, loss, spoiled, error)
        for k, (cost, loss, spoiled, error) in enumerate(numbers)
    ]
    names = {int(point.mix) for point in pareto(checks)}
    for k, mine in enumerate(numbers):
        better = [
            other for other in numbers if other != mine and all(map(float.__le__, other, mine))
        ]
        assert (k in names) == (not better and mine not in numbers[:k])


def test_a_front_reads_back(network: Network, x: np.ndarray) -> None:
    front = _find(network, x, budget=0.05).front
    assert from_json(to_json(front)) == front
    with pytest.raises(DataError, match="hold the point that was chosen"):
        from_json(to_json(replace(front, chosen="p99")))
    with pytest.raises(DataError, match=r"one of p1 to p\d+ of the front, not 'best'"):
        front.point("best")


def test_larger_budgets_buy_fewer_adders(network: Network, x: np.ndarray, y: np.ndarray) -> None:
    adders = []
    for budget in (0.01, 0.1, 1.0):
        front = _find(network, x, y, budget=budget).front
        adders.append(front.point(front.chosen).cost)
    assert adders == sorted(adders, reverse=True)
    assert adders[-1] < adders[0] / 2


def test_beats_the_cheapest_single_set(network: Network, x: np.ndarray, y: np.ndarray) -> None:
    budget = 0.02
    single = []
    for dyadic_set in LADDER:
        approx = approximate(network, recipes=Recipe(dyadic_set))
        loss = Yardstick.of(network, run(network, x), y).measure(run(approx.to_network(), x))
        if max(loss.loss, loss.spoiled) <= budget:
            single.append(sum(filter_adders(f) for _, f in approx.filters))
    found = _chosen(network, _find(network, x, y, budget=budget, candidates=CANDIDATES))
    assert sum(filter_adders(f) for _, f in found.filters) <= min(single)


def test_unlimited_budget_takes_the_cheapest_of_everything(network: Network, x: np.ndarray) -> None:
    approx = _chosen(network, _find(network, x, budget=1.0))
    cheapest = [
        min(filter_adders(dict(approximate(network, recipes=r).filters)[name]) for r in _COARSE)
        for name, _ in approx.filters
    ]
    assert [filter_adders(filters) for _, filters in approx.filters] == cheapest


def test_costs_lead_to_different_mixes(network: Network, x: np.ndarray) -> None:
    chosen: dict[str, Mapping[str, float]] = {}
    for name in COSTS:
        result = _find(network, x, budget=0.1, candidates=(*_COARSE, *recipes_for(name)), cost=name)
        approx = _chosen(network, result)
        point = result.front.point(result.front.chosen)
        ops = dict((node.name, op) for node, op in network.convs())
        totals = {
            other: sum(COSTS[other](ops[layer], f) for layer, f in approx.filters)
            for other in COSTS
        }
        assert totals[name] == point.cost
        chosen[name] = totals
    assert chosen["bits"]["bits"] < chosen["terms"]["bits"]
    assert chosen["terms"]["terms"] < chosen["bits"]["terms"]
    assert len({tuple(totals.values()) for totals in chosen.values()}) > 2


def test_without_labels_decisions_must_agree(network: Network, x: np.ndarray) -> None:
    result = _find(network, x, budget=0.03)
    approx = _chosen(network, result)
    changed = decide(run(approx.to_network(), x)) != decide(run(network, x))
    point = result.front.point(result.front.chosen)
    assert result.front.metric == "agreement"
    assert point.loss == pytest.approx(changed.mean())
    assert point.loss <= 0.03


def test_without_decisions_outputs_must_agree(x: np.ndarray) -> None:
    rng = np.random.default_rng(23)
    network = chain((1, 8, 8), [("c", Conv(rng.standard_normal((3, 1, 3, 3)), np.zeros(3)))])
    result = _find(network, x, np.zeros(len(x), dtype=int), budget=0.1)
    exact = run(network, x)
    reached = run(_chosen(network, result).to_network(), x)
    point = result.front.point(result.front.chosen)
    assert result.front.metric == "error"
    assert point.loss == point.error
    assert point.loss == pytest.approx(
        np.linalg.norm(reached - exact) / np.linalg.norm(exact), rel=1e-5
    )
    assert 0.01 < point.loss <= 0.1


def test_budget_covers_what_the_given_execution_loses(
    network: Network, x: np.ndarray, y: np.ndarray
) -> None:
    def coarse(approx: ApproxNetwork, images: np.ndarray) -> np.ndarray:
        return np.round(run(approx.to_network(), images) * 4) / 4

    result = _find(network, x, y, budget=0.2, execute=coarse)
    point = result.front.point(result.front.chosen)
    reached = decide(coarse(_chosen(network, result), x))
    assert point.loss == pytest.approx(0.9 - np.mean(reached == y))
    assert point.loss <= 0.2


def test_an_unfinished_search_goes_on_where_it_stopped(network: Network, x: np.ndarray) -> None:
    kept: dict[str, Check] = {}

    def stop(check: Check) -> None:
        kept[check.mix] = check
        if len(kept) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _find(network, x, budget=0.05, keep=stop)
    measured: list[Check] = []
    resumed = _find(network, x, budget=0.05, known=kept, keep=measured.append)
    whole = _find(network, x, budget=0.05)
    assert resumed == whole
    assert not {check.mix for check in measured} & set(kept)
    assert len(measured) == len(whole.checks) - len(kept)


def test_predictions_follow_the_network(network: Network, x: np.ndarray) -> None:
    """Errors of most options are predicted within a third, of all within a factor of 3."""
    ratios = []
    images = x[:100]
    yardstick = Yardstick.of(network, run(network, images), None)
    cached = run_all(network, images)
    ladder = layer_options(
        network,
        CANDIDATES,
        fit=lambda _, op, recipe: Settings().filters(op, recipe),
        cost=lambda _, op, filters: filter_adders(filters),
    )
    for name, options in ladder.items():
        probes = probe_layer(network, cached, yardstick, name, options)
        assert len(probes) < len(options)
        predicted = predict([option.error for option in options], probes)
        for option, expected in zip(options, predicted, strict=True):
            node = network.node(name)
            made = option.filters
            op = replace(node.op, weight=made.weight, bias=made.bias)
            nodes = tuple(replace(node, op=op) if n is node else n for n in network.nodes)
            error = yardstick.measure(run(replace(network, nodes=nodes), images)).error
            ratios.append(np.sqrt(expected) / error)
    assert 0.9 < np.median(ratios) < 1.1
    assert np.quantile(ratios, 0.1) > 0.75
    assert np.quantile(ratios, 0.9) < 1.33
    assert 1 / 3 < min(ratios) <= max(ratios) < 3


def test_predictions_pass_through_the_probes() -> None:
    probes = [Probe("c", "P1", 0.1, 0.4), Probe("c", "P4", 0.001, 0.002)]
    found = predict([0.0, 0.1, 0.001, 0.01, 1e-5, 1.0], probes)
    assert found[:3] == pytest.approx([0.0, 0.4, 0.002])
    assert found[3] == pytest.approx(0.01 * np.sqrt(4 * 2))
    assert found[4:] == pytest.approx([2e-5, 4.0])
    assert predict([0.5], []) == [0.0]


def test_options_go_from_fine_to_coarse(network: Network) -> None:
    ladder = layer_options(
        network,
        CANDIDATES,
        fit=lambda _, op, recipe: Settings().filters(op, recipe),
        cost=lambda _, op, filters: filter_adders(filters),
    )
    for options in ladder.values():
        assert len(options) > 8
        for fine, coarse in pairwise(options):
            assert isinstance(fine, Option)
            assert fine.error <= coarse.error
            assert fine.cost > coarse.cost
    with pytest.raises(ValueError, match="at least one candidate"):
        layer_options(network, [], fit=None, cost=None)


def test_exact_layers_stay_exact(x: np.ndarray) -> None:
    rng = np.random.default_rng(26)
    copy = Conv(np.eye(2).reshape(2, 2, 1, 1)[::-1], np.zeros(2))
    mix = Conv(rng.standard_normal((2, 1, 3, 3)), np.zeros(2))
    network = chain((1, 8, 8), [("m", mix), ("p", copy)])
    approx = _chosen(network, _find(network, x, budget=1.0))
    np.testing.assert_array_equal(dict(approx.filters)["p"].weight, copy.weight)


def test_impossible_budget_says_what_is_reached(network: Network, x: np.ndarray) -> None:
    coarse = (parse_recipe("P1"),)
    with pytest.raises(BudgetError, match=r"lose \d+\.\d\d% \(agreement\) on 400 images"):
        _find(network, x, budget=0.01, candidates=coarse)


def test_progress_of_each_task_rises_to_one(network: Network, x: np.ndarray) -> None:
    told: dict[str, list[float]] = {}
    _find(network, x, budget=0.02, progress=lambda what, s: told.setdefault(what, []).append(s))
    assert list(told) == ["Sensitivity of each layer", "All layers together"]
    for shares in told.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_arguments_are_checked(network: Network, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Budget must not be negative, not -1"):
        _find(network, x, budget=-1)
    with pytest.raises(DataError, match="needs at least one image"):
        _find(network, x[:0], budget=0.1)
    with pytest.raises(DataError, match="one an image, not 3 for 400"):
        _find(network, x, np.zeros(3, dtype=int), budget=0.1)


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_budget_below_one_image_allows_none(seed: int) -> None:
    network = classifier(np.random.default_rng(seed))
    x = np.random.default_rng(seed + 100).standard_normal((50, 1, 8, 8))
    front = _find(network, x, budget=0.01).front
    assert front.point(front.chosen).loss == 0


def test_few_images_need_wider_margins() -> None:
    network = face(np.random.default_rng(27))
    x = np.random.default_rng(28).standard_normal((40, 1, 36, 32))
    result = _find(network, x, budget=0.01)
    exact = run(network, x)
    further = exact + 2 * (run(_chosen(network, result).to_network(), x) - exact)
    assert result.front.point(result.front.chosen).loss == 0
    assert np.mean(decide(further) != decide(exact)) <= 1 / 40


def test_decisions_of_vectors_signs_and_probabilities() -> None:
    scores = np.array([[1.0, 3.0, 3.0], [-1.0, -2.0, -3.0]]).reshape(2, 3, 1, 1)
    assert decide(scores).tolist() == [1, 0]
    single = np.array([-0.1, 0.2, 0.7]).reshape(3, 1, 1, 1)
    assert decide(single).tolist() == [0, 1, 1]
    assert decide(single, probability=True).tolist() == [0, 0, 1]
    assert decide(np.zeros((2, 3, 2, 1))) is None


def test_losses_of_single_images() -> None:
    # three classes; right by far, right by little, wrong, wrong; only the second is in doubt
    exact = np.array([[5, 0, 0], [2, 1, 0], [0, 3, 0], [0, 0, 3]], dtype=float)
    off = exact + np.array([[0, 1, 0], [0, 0.8, 0], [4, 0, 0], [0, 0, 0]])
    labels = np.zeros(4, dtype=int)
    yardstick = Yardstick(exact[..., None, None], labels, False)
    found = yardstick.measure(off[..., None, None])
    assert (found.loss, found.spoiled) == (-0.25, 0.0)
    assert found.error == pytest.approx(np.sqrt((1 + 0.64 + 16) / (25 + 5 + 9 + 9)))
    wider = replace(yardstick, safety=1.5)
    assert (wider.measure(off[..., None, None]).spoiled) == 0.25
    assert wider.measure(exact[..., None, None]) == Loss(0.0, 0.0, 0.0)
    unlabelled = replace(wider, labels=None).measure(off[..., None, None])
    assert (unlabelled.loss, unlabelled.spoiled) == (0.25, 0.5)
    part = wider.take(np.array([1]))
    assert part.measure(off[[1]][..., None, None]).spoiled == 1.0


def test_logits_stand_in_for_softmax_and_argmax(network: Network) -> None:
    ops = [(node.name, node.op) for node in network.nodes]
    longer = chain((1, 8, 8), [*ops, ("s", Softmax()), ("a", ArgMax())], network.name)
    assert without_decision(longer) == network
    assert without_decision(network) is network
    sigmoid = chain((1, 1, 1), [("s", Activation("sigmoid"))])
    assert Yardstick.of(sigmoid, np.zeros((1, 1, 1, 1)), np.array([0])).probability
