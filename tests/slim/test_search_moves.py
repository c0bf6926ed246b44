"""Moves take weights away, and with them whatever no longer matters."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slim_networks import branching, plain

from hwgen.errors import DataError
from hwgen.network.execute import run
from hwgen.network.types import Conv, Network
from hwgen.slim.moves import (
    BlockMove,
    FeatureMove,
    KernelMove,
    Move,
    RecipeMove,
    State,
    after,
    describe,
    dump_moves,
    load_moves,
    masked,
    start,
)


@st.composite
def taken(draw: st.DrawFn) -> tuple[Network, list[Move]]:
    """A network, and moves that take a good part of it away."""
    network = draw(st.sampled_from([plain(), branching()]))
    moves: list[Move] = []
    for _ in range(draw(st.integers(1, 5))):
        node, op = draw(st.sampled_from(list(network.convs())))
        channels = network.shape(node.inputs[0])[0]
        if draw(st.booleans()):
            chosen = draw(st.sets(st.integers(0, len(op.weight) - 1), min_size=1))
            size = draw(st.sampled_from([(0, 0), (1, 1), (1, min(3, op.kernel[1]))]))
            moves.append(KernelMove(node.name, tuple(sorted(chosen)), size))
        else:
            dropped = draw(st.sets(st.integers(0, channels - 1), min_size=1))
            move = FeatureMove(node.inputs[0], tuple(sorted(dropped)), (node.name,))
            moves.append(move)
    return network, moves


def _same(one: State, other: State) -> bool:
    return all(np.array_equal(one.masks[name], mask) for name, mask in other.masks.items())


@given(taken(), st.randoms(use_true_random=False))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_the_order_of_moves_does_not_matter(
    case: tuple[Network, list[Move]], rng: random.Random
) -> None:
    network, moves = case
    at_once = after(network, start(network), moves)
    shuffled = list(moves)
    rng.shuffle(shuffled)
    state = start(network)
    for move in shuffled:
        state = after(network, state, [move])
    assert _same(state, at_once)
    assert _same(after(network, at_once, moves), at_once)


@pytest.mark.parametrize("network", [plain(), branching()], ids=lambda network: network.name)
def test_filters_vanish_that_nobody_reads_and_only_those(network: Network) -> None:
    x = np.random.default_rng(1).standard_normal((3, *network.input_shape))
    for node, _ in network.convs():
        tensor = node.inputs[0]
        readers = tuple(n.name for n in network.consumers(tensor) if isinstance(n.op, Conv))
        move = FeatureMove(tensor, (0,), readers)
        state = after(network, start(network), [move])
        # without those that vanish with them, only the readers change
        only = {
            name: state.masks[name] if name in readers else mask
            for name, mask in start(network).masks.items()
        }
        expected = run(masked(network, State(only)), x, dtype=np.float64)
        found = run(masked(network, state), x, dtype=np.float64)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    gone = after(network, start(network), [FeatureMove("a", (1,), _readers(network, "a"))])
    assert gone.masks["first"][1].any() == (network.name == "branching")


def _readers(network: Network, tensor: str) -> tuple[str, ...]:
    return tuple(n.name for n in network.consumers(tensor) if isinstance(n.op, Conv))


def test_nobody_reads_a_map_that_has_become_constant() -> None:
    network = plain()
    state = after(network, start(network), [KernelMove("second", (2, 5), (0, 0))])
    assert state.masks["third"].any(axis=(0, 2, 3)).tolist() == [c not in (2, 5) for c in range(8)]
    assert state.masks["last"].all()


def test_a_sum_is_constant_only_if_all_of_it_is() -> None:
    network = branching()
    outer = KernelMove("outer", (0, 1), (0, 0))
    state = after(network, start(network), [outer])
    assert state.masks["narrow"].all()
    assert state.masks["grouped"].all()
    state = after(network, start(network), [outer, KernelMove("first", (0, 3), (0, 0))])
    assert state.masks["narrow"].any(axis=(0, 2, 3)).tolist() == [False, True, True, True]
    assert not state.masks["grouped"][:3, 0].any()
    assert state.masks["grouped"][3:, 0].all()
    assert not state.masks["inner"][:, [0, 3]].any()


def test_a_concatenation_passes_each_part_on() -> None:
    network = branching()
    state = after(network, start(network), [FeatureMove("d", (1, 7), ("last",))])
    assert np.flatnonzero(~state.masks["grouped"].any(axis=(1, 2, 3))).tolist() == [1]
    assert np.flatnonzero(~state.masks["narrow"].any(axis=(1, 2, 3))).tolist() == [1]
    state = after(network, start(network), [KernelMove("narrow", (2,), (0, 0))])
    assert np.flatnonzero(~state.masks["last"].any(axis=(0, 2, 3))).tolist() == [8]


def test_removing_all_of_a_layer_removes_what_is_before_it() -> None:
    network = plain()
    state = after(network, start(network), [KernelMove("third", tuple(range(12)), (0, 0))])
    assert not any(mask.any() for mask in state.masks.values())


def test_layers_that_a_move_does_not_concern_keep_their_masks() -> None:
    network = plain()
    before = start(network)
    state = after(network, before, [KernelMove("second", (1,), (3, 3))])
    assert [name for name in before.masks if state.masks[name] is not before.masks[name]] == [
        "second"
    ]
    assert state.masks["second"][1].sum() == 6 * 9
    assert state.masks["second"][0].all()


_MOVES = (
    KernelMove("a", (1, 2), (3, 3)),
    KernelMove("a", (0,), (0, 0)),
    FeatureMove("t", (4,), ("b", "c")),
    BlockMove("a", (16, 8), (3, 4)),
    RecipeMove("a", "P8@0.7"),
)


def test_moves_are_text_and_back() -> None:
    assert load_moves(dump_moves(_MOVES)) == _MOVES
    with pytest.raises(DataError):
        load_moves('{"$class":"Other"}')


def test_moves_are_described_to_people() -> None:
    assert [describe(move) for move in _MOVES] == [
        "a: 2 filters to 3x3",
        "a: 1 filter removed",
        "t: 1 feature less in b, c",
        "a: 2 blocks of 16x8 weights removed",
        "a: P8@0.7",
    ]


def test_a_recipe_stays_with_its_layer() -> None:
    network = plain()
    moves = [RecipeMove("first", "P8"), RecipeMove("last", "P4"), RecipeMove("first", "P3")]
    assert after(network, start(network), moves).recipes == {"first": "P3", "last": "P4"}


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (KernelMove("a", (0,), (1, 1)), "must name a linear layer, not 'a'"),
        (KernelMove("first", (6,), (1, 1)), "from 0 to 5, not"),
        (FeatureMove("a", (6,), ("second",)), "from 0 to 5, not 6"),
        (FeatureMove("x", (0,), ("b",)), "must name a linear layer, not 'b'"),
        (BlockMove("first", (6, 2), (9,)), "from 0 to 8, not"),
        (RecipeMove("pool", "P8"), "must name a linear layer, not 'pool'"),
    ],
)
def test_moves_must_fit_the_network(move: Move, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        after(plain(), start(plain()), [move])
