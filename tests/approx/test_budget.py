"""The search for the cheapest sets within a budget."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from approx_networks import chain, classifier, face
from numpy.testing import assert_array_equal

from hwgen import serial
from hwgen.approx.approximate import approximate
from hwgen.approx.budget import LayerChoice, SearchResult, Step, choose_sets
from hwgen.approx.complexity import filter_adders
from hwgen.approx.measure import Loss, Yardstick, decide, without_decision
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.sets import LADDER
from hwgen.approx.types import ApproxNetwork
from hwgen.errors import BudgetError, DataError
from hwgen.network.execute import run
from hwgen.network.types import Activation, ArgMax, Conv, Network, Softmax


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
    approx, result = choose_sets(network, x, y, budget=budget)
    decided = decide(run(approx.to_network(), x))
    assert result.loss == pytest.approx(0.9 - np.mean(decided == y))
    assert result.loss <= budget
    assert np.mean((decided != y) & (decide(run(network, x)) == y)) <= budget
    assert result.metric == "accuracy"
    for choice, (name, filters) in zip(result.choices, approx.filters, strict=True):
        assert choice.layer == name
        assert choice.set_name == filters.recipe
        assert choice.adders == filter_adders(filters) <= choice.adders_finest
    assert result.adders == sum(filter_adders(f) for _, f in approx.filters)


def test_larger_budgets_buy_fewer_adders(network: Network, x: np.ndarray, y: np.ndarray) -> None:
    adders = [
        choose_sets(network, x, y, budget=budget)[1].adders for budget in (0.01, 0.03, 0.1, 1.0)
    ]
    assert all(before >= after for before, after in pairwise(adders))
    assert adders[-1] < adders[0] / 2


def test_beats_the_cheapest_single_set(network: Network, x: np.ndarray, y: np.ndarray) -> None:
    budget = 0.02
    single = []
    for dyadic_set in LADDER:
        approx = approximate(network, recipes=Recipe(dyadic_set))
        loss = Yardstick.of(network, run(network, x), y).measure(run(approx.to_network(), x))
        if max(loss.loss, loss.spoiled) <= budget:
            single.append(sum(filter_adders(f) for _, f in approx.filters))
    assert choose_sets(network, x, y, budget=budget)[1].adders <= min(single)


def test_unlimited_budget_takes_the_cheapest_of_everything(network: Network, x: np.ndarray) -> None:
    approx, _ = choose_sets(network, x, budget=1.0)
    cheapest = [
        min(
            filter_adders(dict(approximate(network, recipes=Recipe(s)).filters)[name])
            for s in LADDER
        )
        for name, _ in approx.filters
    ]
    assert [filter_adders(filters) for _, filters in approx.filters] == cheapest


def test_without_labels_decisions_must_agree(network: Network, x: np.ndarray) -> None:
    approx, result = choose_sets(network, x, budget=0.03)
    changed = decide(run(approx.to_network(), x)) != decide(run(network, x))
    assert result.metric == "agreement"
    assert result.loss == pytest.approx(changed.mean())
    assert result.loss <= 0.03


def test_without_decisions_outputs_must_agree(x: np.ndarray) -> None:
    rng = np.random.default_rng(23)
    network = chain((1, 8, 8), [("c", Conv(rng.standard_normal((3, 1, 3, 3)), np.zeros(3)))])
    approx, result = choose_sets(network, x, np.zeros(len(x), dtype=int), budget=0.1)
    exact = run(network, x)
    error = np.linalg.norm(run(approx.to_network(), x) - exact) / np.linalg.norm(exact)
    assert result.metric == "error"
    assert result.loss == result.error == pytest.approx(error, rel=1e-5)
    assert 0.01 < result.loss <= 0.1


def test_budget_covers_what_the_given_execution_loses(
    network: Network, x: np.ndarray, y: np.ndarray
) -> None:
    def coarse(approx: ApproxNetwork, images: np.ndarray) -> np.ndarray:
        return np.round(run(approx.to_network(), images) * 4) / 4

    approx, result = choose_sets(network, x, y, budget=0.2, execute=coarse)
    assert result.loss == pytest.approx(0.9 - np.mean(decide(coarse(approx, x)) == y))
    assert result.loss <= 0.2
    assert result.loss_finest > 0.02


def test_one_output_decides_by_its_sign() -> None:
    network = face(np.random.default_rng(24))
    x = np.random.default_rng(25).standard_normal((60, 1, 36, 32))
    y = (run(network, x)[:, 0, 0, 0] > 0).astype(int)
    approx, result = choose_sets(network, x, y, budget=0.05)
    decided = run(approx.to_network(), x)[:, 0, 0, 0] > 0
    assert result.loss == pytest.approx(np.mean(decided != y))
    assert result.loss <= 0.05


def test_same_input_same_choice(network: Network, x: np.ndarray, y: np.ndarray) -> None:
    first, second = (choose_sets(network, x, y, budget=0.02) for _ in range(2))
    assert first[1] == second[1]
    for (_, one), (_, other) in zip(first[0].filters, second[0].filters, strict=True):
        assert_array_equal(one.codes, other.codes)
        assert one.scale == other.scale


def test_trace_reads_back(network: Network, x: np.ndarray) -> None:
    _, result = choose_sets(network, x, budget=0.02)
    text = serial.dumps(result)
    assert serial.loads(text, [SearchResult, LayerChoice, Step], SearchResult) == result
    assert result.evaluations == len(result.trace) > len(LADDER)
    assert result.trace[0].joint
    assert result.trace[0].loss == result.loss_finest


def test_exact_layers_stay_exact(x: np.ndarray) -> None:
    rng = np.random.default_rng(26)
    copy = Conv(np.eye(2).reshape(2, 2, 1, 1)[::-1], np.zeros(2))
    mix = Conv(rng.standard_normal((2, 1, 3, 3)), np.zeros(2))
    approx, result = choose_sets(chain((1, 8, 8), [("m", mix), ("p", copy)]), x, budget=1.0)
    assert result.choices[1] == LayerChoice("p", "exact", 0.0, 0, 0)
    assert_array_equal(dict(approx.filters)["p"].weight, copy.weight)


def test_impossible_budget_says_what_is_reached(x: np.ndarray) -> None:
    network = classifier(np.random.default_rng(21))
    coarse = [parse_recipe("P1")]
    with pytest.raises(BudgetError, match=r"lose \d+\.\d\d% \(agreement\) on 400 images"):
        choose_sets(network, x, budget=0.01, candidates=coarse)


def test_progress_rises_to_one(network: Network, x: np.ndarray) -> None:
    shares: list[float] = []
    choose_sets(network, x, budget=0.02, progress=lambda _, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert len(shares) > 4


def test_arguments_are_checked(network: Network, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Budget must not be negative, not -1"):
        choose_sets(network, x, budget=-1)
    with pytest.raises(ValueError, match="at least one candidate"):
        choose_sets(network, x, budget=0.1, candidates=[])
    with pytest.raises(DataError, match="needs at least one image"):
        choose_sets(network, x[:0], budget=0.1)
    with pytest.raises(DataError, match="one an image, not 3 for 400"):
        choose_sets(network, x, np.zeros(3, dtype=int), budget=0.1)


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


@pytest.mark.parametrize("seed", [1, 3, 4, 5, 6])
def test_budget_below_one_image_allows_none(seed: int) -> None:
    network = classifier(np.random.default_rng(seed))
    x = np.random.default_rng(seed + 100).standard_normal((50, 1, 8, 8))
    _, result = choose_sets(network, x, budget=0.01)
    assert result.loss == 0


def test_few_images_need_wider_margins() -> None:
    network = face(np.random.default_rng(27))
    x = np.random.default_rng(28).standard_normal((40, 1, 36, 32))
    approx, result = choose_sets(network, x, budget=0.01)
    exact = run(network, x)
    further = exact + 2 * (run(approx.to_network(), x) - exact)
    assert result.loss == 0
    assert np.mean(decide(further) != decide(exact)) <= 1 / 40


def test_logits_stand_in_for_softmax_and_argmax(network: Network) -> None:
    ops = [(node.name, node.op) for node in network.nodes]
    longer = chain((1, 8, 8), [*ops, ("s", Softmax()), ("a", ArgMax())], network.name)
    assert without_decision(longer) == network
    assert without_decision(network) is network
    sigmoid = chain((1, 1, 1), [("s", Activation("sigmoid"))])
    assert Yardstick.of(sigmoid, np.zeros((1, 1, 1, 1)), np.array([0])).probability
