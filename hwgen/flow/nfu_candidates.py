"""NFUs of several tiles that could run a network, with their exact cycles and predicted cost."""

from __future__ import annotations

from dataclasses import replace

from hwgen.boards import Board
from hwgen.errors import ResourceError, UnsupportedError
from hwgen.estimate.model import Cost, model_of
from hwgen.estimate.structure import of_component
from hwgen.flow.candidates import System
from hwgen.flow.options import Memory
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.design import PlannedSystem, plan_system
from hwgen.nfu.fit import buffer_depth

__all__ = ["nfu_candidates", "nfu_cost", "nfu_memory", "nfu_unit"]

_TILES = ((2, 2), (4, 4), (8, 8), (16, 16))


def nfu_candidates(network: IntegerNetwork, board: Board) -> list[System]:
    """NFUs that can run the network; none if its operators are not those of an NFU."""
    memory = nfu_memory(board)
    found = []
    for tile in _TILES:
        unit = nfu_unit(network, board, tile)
        if unit is not None:
            tn, ti = tile
            cost = nfu_cost(unit, board.family)
            options = {"backend": "nfu", "tile": tile, "memory": memory}
            found.append(System(f"NFU {tn} x {ti}", cost, unit.plan.interval, options))
    return found


def nfu_memory(board: Board) -> Memory:
    """Where the activations of an NFU lie on a board, unless it is said."""
    return "spram" if board.capacity.spram_bits else "bram"


def nfu_unit(network: IntegerNetwork, board: Board, tile: tuple[int, int]) -> PlannedSystem | None:
    """The network on an NFU as a board would have it; None if an NFU cannot run it."""
    try:
        return plan_system(
            network,
            tile=tile,
            depth=buffer_depth(board.family),
            single_port=nfu_memory(board) == "spram",
        )
    except (UnsupportedError, ResourceError):
        return None


def nfu_cost(unit: PlannedSystem, family: str) -> Cost:
    """Predicted cost of an NFU with its memories."""
    cost = model_of(family).cost(of_component(unit.system), "nfu")
    return replace(cost, spram_bits=unit.plan.single_port)
