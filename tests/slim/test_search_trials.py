"""Trials, fits and proposals against what they stand for: whole runs and whole fits."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slim_networks import branching, plain

from hwgen.approx.candidates import Option
from hwgen.approx.recipes import parse_recipe
from hwgen.network.execute import affected, apply, run, run_all
from hwgen.network.types import Conv, Network
from hwgen.slim.fitting import refit
from hwgen.slim.ladder import ladder
from hwgen.slim.moves import BlockMove, FeatureMove, KernelMove, State, after, masked, start
from hwgen.slim.outcome import FAMILIES
from hwgen.slim.proposals import Proposer, feature_sites, sizes
from hwgen.slim.reach import reach
from hwgen.slim.slices import block_increases
from hwgen.slim.tiles import Tile, tile_blocks
from hwgen.slim.trial import Fitted, Fitter, Trials, put


def _images(network: Network, count: int = 20) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, *network.input_shape))


def _some(network: Network, seed: int) -> State:
    """A state with about half of the weights, in blocks."""
    rng = np.random.default_rng(seed)
    moves = []
    for node, op in network.convs():
        filters = np.flatnonzero(rng.random(len(op.weight)) < 0.4)
        size = (1, 1) if rng.random() < 0.7 else (0, 0)
        if node.name != network.output:
            moves.append(KernelMove(node.name, tuple(filters.tolist()), size))
        channels = np.flatnonzero(rng.random(op.weight.shape[1]) < 0.2)
        moves.append(FeatureMove(node.inputs[0], tuple(channels.tolist()), (node.name,)))
    return after(network, start(network), moves)


_NETWORKS = pytest.mark.parametrize(
    "network", [plain(), branching()], ids=lambda network: network.name
)


@_NETWORKS
def test_a_trial_is_a_run_of_the_whole_network(network: Network) -> None:
    x = _images(network)
    reference = run(network, x).astype(np.float64)
    trials = Trials(network, x, reference)
    assert trials.error == 0
    rng = np.random.default_rng(1)
    for node, op in network.convs():
        changed = {
            node.name: Conv(
                op.weight * (rng.random(op.weight.shape) < 0.8),
                op.bias,
                op.strides,
                op.pads,
                op.dilations,
                op.groups,
            )
        }
        other = put(trials.network, changed)
        error = np.square(run(other, x) - reference).sum() / np.square(reference).sum()
        assert trials.attempt(changed) == pytest.approx(error, rel=1e-4)
        trials.rebase(other)
        assert trials.error == pytest.approx(error, rel=1e-4)
    assert trials.count == len(list(network.convs()))
    assert 0 < trials.share < 1


@_NETWORKS
def test_a_fit_does_not_depend_on_those_before_it(network: Network) -> None:
    x = _images(network)
    fitter = Fitter(network, x)
    states = [start(network), *(_some(network, seed) for seed in range(3)), start(network)]
    for state in states:
        again, fresh = fitter.fit(state), Fitter(network, x).fit(state)
        for (_, one), (_, other) in zip(again.network.convs(), fresh.network.convs(), strict=True):
            np.testing.assert_array_equal(one.weight, other.weight)
            np.testing.assert_array_equal(one.bias, other.bias)
    assert fitter.count == len(states)
    assert fitter.fit(start(network)).network == network


def test_a_fit_behind_changed_layers_alone_uses_what_was_known() -> None:
    network = plain()
    fitter = Fitter(network, _images(network))
    state = start(network)
    before = fitter.fit(state)
    behind = fitter.fit(after(network, state, [KernelMove("third", (1,), (1, 1))]))
    assert behind.moments["second"] is before.moments["second"]
    assert behind.moments["third"] is before.moments["third"]
    assert behind.moments["last"] is not before.moments["last"]


def test_layers_one_behind_the_other_are_fitted_as_elsewhere() -> None:
    network = plain()
    x = _images(network, 40)
    state = _some(network, 4)
    expected = refit(masked(network, state), network, x)
    found = Fitter(network, x).fit(state).network
    for (_, one), (_, other) in zip(found.convs(), expected.convs(), strict=True):
        np.testing.assert_allclose(one.weight, other.weight, atol=1e-9)
        alive = one.weight.any(axis=(1, 2, 3))
        np.testing.assert_allclose(one.bias[alive], other.bias[alive], atol=1e-9)


def test_what_is_added_makes_up_for_errors_of_the_others() -> None:
    network = branching()
    x = _images(network, 60)
    # the first layer's maps reach the sum directly and through the block
    state = after(network, start(network), [KernelMove("first", (0, 1, 2), (1, 1))])
    found = Fitter(network, x).fit(state).network
    plainly = refit(masked(network, state), network, x)
    exact = _tensor(network, "sum", x)
    errors = [np.square(_tensor(each, "sum", x) - exact).sum() for each in (found, plainly)]
    assert errors[0] < 0.97 * errors[1]
    # least squares of the patches themselves
    outer = _tensor(found, "b", x), exact - _tensor(found, "a", x)
    best = _least_squares(*outer)
    assert errors[0] == pytest.approx(best, rel=0.02)


def _tensor(network: Network, name: str, x: np.ndarray) -> np.ndarray:
    at = [node.name for node in network.nodes].index(name)
    part = Network(network.name, "x", network.input_shape, network.nodes[: at + 1], name)
    return run(part, x, dtype=np.float64)


def _least_squares(seen: np.ndarray, wanted: np.ndarray) -> float:
    padded = np.pad(seen, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    rows = view.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 54)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    target = wanted.transpose(0, 2, 3, 1).reshape(len(rows), -1)
    return float(np.linalg.lstsq(rows, target)[1].sum())


def _reaches(network: Network) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    return {node.name: rng.uniform(0.5, 2, len(op.weight)) for node, op in network.convs()}


def _proposer(
    network: Network, families: Any = FAMILIES, block: int = 2, tile: Tile = (2, 2)
) -> Proposer:
    reaches = _reaches(network)
    return Proposer(
        network,
        families,
        block=block,
        tile=tile,
        importance={},
        ladders={},
        reaches=reaches,
    )


def _errors(fitted: Fitted, state: State) -> dict[str, float]:
    """Damped error of every layer at its best, weighed by how far each map reaches."""
    found, reaches = {}, _reaches(fitted.network)
    for name, problem in fitted.problems.items():
        assert problem is not None
        mask = state.masks[name].reshape(len(state.masks[name]), -1)
        found[name] = float(problem.errors(range(len(mask)), mask) @ reaches[name])
    return found


@_NETWORKS
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_proposals_know_what_they_add(network: Network, seed: int | None) -> None:
    state = start(network) if seed is None else _some(network, seed)
    fitted = Fitter(network, _images(network, 40)).fit(state)
    proposer = _proposer(network)
    before = _errors(fitted, state)
    proposals = list(proposer.of(fitted, state, state.masks))
    assert {proposal.key[0] for proposal in proposals} == {"kernel", "slice", "feature"}
    for proposal in proposals:
        masks = dict(state.masks)
        behind = after(network, state, [proposal.move])
        for name in proposal.added:
            masks[name] = behind.masks[name]
        now = _errors(fitted, State(masks))
        for name, added in proposal.added.items():
            assert now[name] - before[name] == pytest.approx(added, rel=1e-3, abs=1e-7)


@_NETWORKS
@pytest.mark.parametrize("tile", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("seed", [None, 1])
def test_blocks_know_what_they_add(network: Network, tile: Tile, seed: int | None) -> None:
    state = start(network) if seed is None else _some(network, seed)
    fitted = Fitter(network, _images(network, 40)).fit(state)
    before = _errors(fitted, state)
    proposals = list(_proposer(network, ("blocks",), 2, tile).of(fitted, state, state.masks))
    assert proposals
    for proposal in proposals:
        move = proposal.move
        assert isinstance(move, BlockMove)
        numbers = tile_blocks(_conv(network, move.layer), tile)
        reduced = state.masks[move.layer] & ~np.isin(numbers, move.blocks)
        now = _errors(fitted, State({**state.masks, move.layer: reduced}))[move.layer]
        assert now - before[move.layer] == pytest.approx(proposal.added[move.layer], rel=1e-3)
        np.testing.assert_array_equal(
            after(network, State({**state.masks, move.layer: reduced}), []).masks[move.layer],
            after(network, state, [move]).masks[move.layer],
        )


@pytest.mark.parametrize("tile", [(1, 1), (2, 3)])
def test_each_block_adds_what_it_does_alone(tile: Tile) -> None:
    network = branching()
    state = _some(network, 2)
    fitted = Fitter(network, _images(network, 40)).fit(state)
    reach = _reaches(network)["grouped"]
    numbers, mask = tile_blocks(_conv(network, "grouped"), tile), state.masks["grouped"]
    problem = fitted.problems["grouped"]
    assert problem is not None
    found = block_increases(problem, mask, numbers, reach)
    before = problem.errors(range(len(mask)), mask.reshape(len(mask), -1)) @ reach
    for block, added in enumerate(found):
        reduced = mask & (numbers != block)
        if (reduced == mask).all():
            assert added == np.inf
            continue
        now = problem.errors(range(len(mask)), reduced.reshape(len(mask), -1)) @ reach
        assert added == pytest.approx(now - before, rel=1e-6, abs=1e-9)


def _conv(network: Network, name: str) -> Conv:
    op = network.node(name).op
    assert isinstance(op, Conv)
    return op


def test_the_least_feature_goes_first() -> None:
    network = plain()
    state = start(network)
    fitted = Fitter(network, _images(network, 40)).fit(state)
    proposer = _proposer(network, ("features",), 1)
    before = _errors(fitted, state)
    for proposal in proposer.of(fitted, state, state.masks):
        (reader,) = proposal.added
        channels = network.shape(network.node(reader).inputs[0])[0]
        added = [
            _errors(fitted, after(network, state, [FeatureMove(proposal.key[1], (c,), (reader,))]))
            for c in range(channels)
        ]
        least = min(each[reader] for each in added) - before[reader]
        assert proposal.added[reader] == pytest.approx(least, rel=1e-3)


def test_smaller_blocks_are_proposed_on_demand() -> None:
    network = plain()
    fitted = Fitter(network, _images(network)).fit(start(network))
    proposer = _proposer(network, ("kernels",), 4)
    key = ("kernel", "second", "3x3")

    def block() -> int:
        proposals = proposer.of(fitted, fitted.state, ["second"])
        move = next(proposal.move for proposal in proposals if proposal.key == key)
        assert isinstance(move, KernelMove)
        return len(move.filters)

    blocks = [block()]
    while proposer.halve(key):
        blocks.append(block())
    assert blocks == [4, 2, 1]


def test_channels_go_where_readers_can_do_without() -> None:
    sites = {(site.tensor, site.readers) for site in feature_sites(branching())}
    assert sites == {
        ("x", ("first",)),
        ("a", ("inner",)),
        ("b", ("outer",)),
        ("c", ("grouped", "narrow")),
        ("d", ("last",)),
    }


def test_sizes_of_kernels() -> None:
    assert set(sizes((5, 5))) == {(3, 3), (1, 1), (1, 5), (5, 1), (1, 3), (3, 1), (0, 0)}
    assert set(sizes((1, 1))) == {(0, 0)}
    assert set(sizes((1, 7))) == {(1, 5), (1, 3), (1, 1), (0, 0)}


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12),
)
@settings(derandomize=True, max_examples=200, deadline=None)
def test_a_ladder_is_the_lower_hull(points: list[tuple[int, int]]) -> None:
    recipe = parse_recipe("P8")
    options = [Option(recipe, None, 0.0, float(error)) for _, error in points]  # type: ignore[arg-type]
    rungs = ladder(options, [float(cost) for cost, _ in points])
    found = [(rung.cost, rung.error) for rung in rungs]
    assert found == sorted(found, key=lambda point: (-point[0], point[1]))
    assert found[-1][0] == min(cost for cost, _ in points)
    assert found[0][1] == min(error for _, error in points)
    for (cost, error), (other, worse) in itertools.pairwise(found):
        assert other < cost
        assert worse > error
        for c, e in points:
            # nothing lies below the line through two neighbours
            assert (e - error) * (cost - other) >= (worse - error) * (cost - c) - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_reach_is_what_small_noise_adds(seed: int) -> None:
    network = branching(seed)
    x = _images(network, 30)
    found = reach(network, x)
    rng = np.random.default_rng(seed)
    tensors = run_all(network, x, dtype=np.float64)
    exact = tensors["last"]
    for node, op in network.convs():
        for f in range(len(op.weight)):
            added = []
            for _ in range(6):
                noisy = dict(tensors)
                noisy[node.name] = tensors[node.name].copy()
                noisy[node.name][:, f] += 1e-4 * rng.standard_normal(exact[:, 0].shape)
                output = _from(network, node.name, noisy)
                added.append(np.square(output - exact).sum() / np.square(exact).sum() / 1e-8)
            # both are random, the noise and the combinations of outputs; and there is a floor
            least = 0.02 * found[node.name].mean()
            assert found[node.name][f] == pytest.approx(np.mean(added), rel=0.4, abs=least)


def _from(network: Network, changed: str, tensors: dict[str, np.ndarray]) -> np.ndarray:
    for name in affected(network, changed)[1:]:
        node = network.node(name)
        tensors[name] = apply(node.op, [tensors[each] for each in node.inputs])
    return tensors[network.output]
