"""NFUs of several tiles that could run a network, with their exact cycles and predicted cost."""

from __future__ import annotations

from dataclasses import replace

from hwgen.boards import Board
from hwgen.errors import ResourceError, UnsupportedError
from hwgen.estimate.memories import GEOMETRIES
from hwgen.estimate.model import Cost, model_of
from hwgen.estimate.structure import of_component
from hwgen.flow.candidates import System
from hwgen.flow.options import Memory
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.design import NfuPlan, PlannedSystem, plan_system
from hwgen.nfu.fit import buffer_depth, least_cycles

__all__ = ["TILES", "nfu_candidates", "nfu_cost", "nfu_memory", "nfu_unit"]

_LARGE = ("weights", "activations")
"""What is sure to lie in blocks of memory."""

TILES = ((2, 2), (4, 4), (8, 8), (16, 16))
"""Tiles (Tn, Ti) that are tried."""


def nfu_candidates(network: IntegerNetwork, board: Board, *, interval: float) -> list[System]:
    """NFUs that can run the network in so many cycles an image, with memories that the board has.

    There is none if its operators are not those of an NFU.
    """
    found = []
    for tile in TILES:
        unit = nfu_unit(network, board, tile, interval=interval)
        if unit is not None:
            tn, ti = tile
            cost = nfu_cost(unit, board.family)
            options = {"backend": "nfu", "tile": tile, "memory": nfu_memory(board)}
            found.append(System(f"NFU {tn} x {ti}", cost, unit.plan.interval, options))
    return found


def nfu_memory(board: Board) -> Memory:
    """Where the activations of an NFU lie on a board, unless it is said."""
    return "spram" if board.capacity.spram_bits else "bram"


def nfu_unit(
    network: IntegerNetwork, board: Board, tile: tuple[int, int], *, interval: float
) -> PlannedSystem | None:
    """The network on an NFU as a board would have it.

    None if an NFU cannot run it, not in so many cycles an image, or if it is sure not to fit.
    """
    tn, ti = tile
    try:
        if least_cycles(network, tn=tn, ti=ti) > interval:
            return None
        unit = plan_system(
            network,
            tile=tile,
            depth=buffer_depth(board.family),
            single_port=nfu_memory(board) == "spram",
        )
    except (UnsupportedError, ResourceError):
        return None
    return unit if unit.plan.interval <= interval and _may_fit(unit.plan, board) else None


def _may_fit(plan: NfuPlan, board: Board) -> bool:
    """Whether there is room for the lanes and the large memories alone."""
    config = plan.config
    bits = config.tn * config.ti * config.activation_width
    # each bit of a lane is added, and chosen by an exponent or inverted
    luts = bits * (1 + max(1, (getattr(config.lane, "exponents", 1) - 1).bit_length()))
    block = max(words * width for words, width in GEOMETRIES[board.family].block)
    held = sum(held for what, held in plan.memories if what in _LARGE)
    return luts <= board.capacity.luts and held <= board.capacity.brams * block


def nfu_cost(unit: PlannedSystem, family: str) -> Cost:
    """Predicted cost of an NFU with its memories."""
    cost = model_of(family).cost(of_component(unit.system), "nfu")
    return replace(cost, spram_bits=unit.plan.single_port)
