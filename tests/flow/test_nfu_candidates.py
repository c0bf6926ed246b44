"""NFUs to choose from: only those that are quick enough and may fit."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from networks import NETWORKS

from hwgen.boards import Board, find_board
from hwgen.flow import nfu_candidates as nfus
from hwgen.flow.nfu_candidates import nfu_candidates, nfu_unit
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.design import PlannedSystem


def _board(**capacity: int) -> Board:
    board = find_board("hx8k-evn")
    return replace(board, capacity=replace(board.capacity, **capacity))


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nfus, "TILES", ((2, 2), (4, 4)))


def test_an_nfu_is_as_quick_as_asked_for() -> None:
    network = NETWORKS["chain"]()
    (first, *_) = nfu_candidates(network, _board(), interval=inf)
    kept = nfu_candidates(network, _board(), interval=first.cycles)
    assert kept[0] == first
    assert all(system.cycles <= first.cycles for system in kept)
    quicker = nfu_candidates(network, _board(), interval=first.cycles - 1)
    assert first.name not in {system.name for system in quicker}


def test_what_is_sure_not_to_fit_is_left_out() -> None:
    network = NETWORKS["chain"]()
    assert nfu_unit(network, _board(), (4, 4), interval=inf) is not None
    assert nfu_unit(network, _board(luts=100), (4, 4), interval=inf) is None
    assert nfu_unit(network, _board(brams=0), (4, 4), interval=inf) is None


def test_what_is_sure_to_be_slow_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(network: IntegerNetwork, **parameters: object) -> PlannedSystem:
        raise AssertionError("Networks must not be compiled whose rows alone take too long")

    monkeypatch.setattr(nfus, "plan_system", fail)
    assert nfu_candidates(NETWORKS["chain"](), _board(), interval=1) == []
