# amaranth: UnusedElaboratable=no
"""Hybrids to choose from: cut before linear layers, at the pace of their NFU, none beaten."""

from __future__ import annotations

import pytest
from networks import NETWORKS, Sketch

from hwgen.boards import find_board
from hwgen.estimate.choose import Candidate, Room
from hwgen.estimate.model import Cost
from hwgen.flow.candidates import Candidates, System
from hwgen.flow.hybrid_candidates import hybrid_candidates, hybrid_cuts
from hwgen.hybrid.plan import plan_hybrid
from hwgen.integer.types import IntegerNetwork
from hwgen.stream.forms import parse_folding, parse_form

_FORMS = (("parallel", 900, 30), ("serial:2", 400, 300), ("memory:1", 150, 3000))
_BOARD = find_board("hx8k-evn")


def _network() -> IntegerNetwork:
    s = Sketch((1, 6, 6), seed=12)
    x = s.requantise(s.conv("image", 2, name="a.sum"), name="a")
    x = s.requantise(s.conv(s.max_pool(x), 3, (2, 2), name="b.sum"), name="b")
    return s.done(s.requantise(s.dense(x, 2, name="c.sum"), name="c"))


def _found(network: IntegerNetwork, room: Room) -> Candidates:
    found = Candidates(_BOARD.family, 0, room)
    for node, _ in network.convs():
        found.layers[node.origin] = [
            Candidate(node.origin, parse_form(form), Cost(luts=luts), cycles)
            for form, luts, cycles in _FORMS
        ]
    return found


def _hybrids(
    luts: float,
    interval: float | None = None,
    tiles: tuple[tuple[int, int], ...] = ((2, 2),),
) -> list[System]:
    network = _network()
    room = Room({"luts": luts, "ffs": 1e6, "cells": 1e6, "brams": 1e3})
    return hybrid_candidates(
        network,
        _BOARD,
        _found(network, room),
        room,
        tiles=tiles,
        interval=interval,
        effort=0,
        progress=lambda task, fraction: None,
    )


def test_cuts_are_before_linear_layers() -> None:
    assert hybrid_cuts(_network()) == ("t2", "b")
    assert hybrid_cuts(NETWORKS["residual"]()) == ("t1", "t7")
    assert hybrid_cuts(NETWORKS["tanh"]()) == ()


@pytest.fixture(scope="module")
def roomy() -> list[System]:
    return _hybrids(1e5)


def test_cycles_are_those_of_the_hardware(roomy: list[System]) -> None:
    assert roomy
    for each in roomy:
        plan = plan_hybrid(
            _network(),
            cut=each.options["cut"],
            tile=each.options["tile"],
            depth=256,
            family="ice40",
            folding=parse_folding(each.options["forms"]),
        ).plan
        assert each.cycles == plan.timing.interval
        # as slow as it may be, and no slower
        slow = {"parallel": 30, "serial:2": 300, "memory:1": 3000}
        for form in (entry.rpartition("=")[2] for entry in each.options["forms"].split(",")):
            assert slow[form] <= plan.unit.interval


@pytest.mark.slow
def test_little_room_makes_the_front_slower(roomy: list[System]) -> None:
    tight = _hybrids(min(each.cost.luts for each in roomy))
    assert {each.options["cut"] for each in tight} == {each.options["cut"] for each in roomy}
    for each in tight:
        assert "parallel" not in each.options["forms"]
        alike = [other for other in roomy if other.options["cut"] == each.options["cut"]]
        assert all(each.cycles > other.cycles for other in alike)
    assert _hybrids(100) == []


@pytest.mark.slow
def test_what_is_too_slow_is_left_out(roomy: list[System]) -> None:
    slowest = max(each.cycles for each in roomy)
    both = _hybrids(1e5, interval=slowest - 1, tiles=((1, 1), (2, 2)))
    assert both
    assert all(each.cycles < slowest for each in both)
