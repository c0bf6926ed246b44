"""The choice of forms, against trying all of them."""

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.errors import ResourceError
from hwgen.estimate.choose import RESOURCES, Candidate, Choice, Room, choose, fastest, paces
from hwgen.estimate.model import Cost

COSTS = st.builds(
    Cost,
    luts=st.integers(0, 400).map(float),
    ffs=st.integers(0, 400).map(float),
    brams=st.integers(0, 6),
)
CANDIDATES = st.builds(
    Candidate, layer=st.just("l"), form=st.none(), cost=COSTS, cycles=st.integers(1, 60)
)
LAYERS = st.lists(st.lists(CANDIDATES, min_size=1, max_size=5), min_size=1, max_size=4)
ROOM = Room(
    {"luts": 900.0, "ffs": 900.0, "cells": 1200.0, "brams": 8.0},
    Cost(luts=20.0, ffs=9.0),
    2,
    {"luts": 0.1, "ffs": 0.1, "cells": 0.1},
)


def least(layers: list[list[Candidate]], interval: float) -> float | None:
    """Share of the scarcest resource of the best choice, by trying all."""
    shares = []
    for chosen in product(*layers):
        if max(c.cycles for c in chosen) <= interval and ROOM.cycles <= interval:
            cost = ROOM.fixed
            for candidate in chosen:
                cost = cost + candidate.cost
            shares.append(max(ROOM.share(name, cost) for name in RESOURCES))
    return min(shares, default=None)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(LAYERS, st.integers(1, 60))
def test_choice_is_as_good_as_any(layers: list[list[Candidate]], interval: int) -> None:
    best = least(layers, interval)
    if best is None:
        with pytest.raises(ResourceError, match=f"at least {fastest(layers, ROOM):,} cycles"):
            choose(layers, ROOM, interval=interval)
        return
    found = choose(layers, ROOM, interval=interval)
    # the other resources break ties, and weigh a thousandth
    assert best - 1e-9 <= found.share <= best + 2e-3 * max(1.0, best)
    assert found.cycles <= interval
    assert [c.layer for c in found.chosen] == ["l"] * len(layers)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(LAYERS)
def test_a_slower_pace_never_takes_more(layers: list[list[Candidate]]) -> None:
    choices = [choose(layers, ROOM, interval=pace) for pace in paces(layers, ROOM)]
    shares = [choice.share for choice in choices]
    assert all(later <= earlier + 2e-3 * max(1.0, earlier) for earlier, later in pairwise(shares))
    assert choices[0].cycles == fastest(layers, ROOM)


def test_a_choice_may_be_larger_than_the_room() -> None:
    layers = [[Candidate("l", None, Cost(luts=1_600.0), 5)]]
    found: Choice = choose(layers, ROOM, interval=5)
    assert found.share == pytest.approx(1_620 / 810)
    assert found.scarcest == "luts"


def test_a_resource_that_is_not_there_is_not_chosen() -> None:
    needs, does_without = Cost(spram_bits=1), Cost(luts=700.0)
    layers = [[Candidate("l", None, needs, 1), Candidate("l", None, does_without, 1)]]
    assert choose(layers, ROOM, interval=9).chosen[0].cost == does_without
    with pytest.raises(ResourceError, match="has none of"):
        choose([layers[0][:1]], ROOM, interval=9)
