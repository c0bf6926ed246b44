"""Hybrids that could run a network: where it is cut, the forms before it, and the NFU behind it.

A cut before one of the first linear layers is tried with each tile. The NFU comes first, with its
exact cycles; the layers before the cut then get the forms that keep its pace with least area, by
the integer program that folds whole networks. Only what nothing else beats is planned as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.boards import Board
from hwgen.estimate.choose import Choice, Room, choose, fastest, paces
from hwgen.estimate.design import predict
from hwgen.estimate.model import Cost
from hwgen.flow.candidates import Candidates, System
from hwgen.flow.nfu_candidates import nfu_cost, nfu_memory, nfu_unit
from hwgen.flow.progress import Progress
from hwgen.hybrid.plan import plan_front
from hwgen.integer.split import cuts, split
from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.nfu.design import PlannedSystem
from hwgen.stream.forms import folding_name

__all__ = ["hybrid_candidates", "hybrid_cuts"]

_MOST_CUTS = 3
"""What a pipeline is good at comes first: images become small, and layers wide."""


@dataclass(frozen=True, eq=False)
class _Rough:
    """A hybrid whose parts are chosen, but not planned as a whole."""

    first: IntegerNetwork
    unit: PlannedSystem
    unit_cost: Cost
    choice: Choice

    @property
    def cycles(self) -> int:
        return max(self.choice.cycles, self.unit.plan.interval)

    def beats(self, other: _Rough) -> bool:
        mine, its = (self.cycles, self.choice.share), (other.cycles, other.choice.share)
        return mine != its and mine[0] <= its[0] and mine[1] <= its[1]


def hybrid_cuts(network: IntegerNetwork) -> tuple[str, ...]:
    """Tensors where cutting is worth while: those that the first linear layers read."""
    read = {x for node in network.nodes if isinstance(node.op, Conv) for x in node.inputs}
    return tuple(x for x in cuts(network) if x in read)[:_MOST_CUTS]


def hybrid_candidates(
    network: IntegerNetwork,
    board: Board,
    found: Candidates,
    room: Room,
    *,
    tiles: Sequence[tuple[int, int]],
    interval: float | None,
    effort: int,
    progress: Progress,
) -> list[System]:
    """Hybrids that fit a board and of which none is both slower and larger than another.

    Parameters
    ----------
    found
        Forms of all layers of the network.
    room
        What there is, and what the link and what precedes all layers take of it.
    tiles
        Tiles (Tn, Ti) of NFUs to try.
    interval
        Cycles that an image may take; None for as few as fit.
    effort
        That the search for adder graphs makes.
    """
    rough = []
    places = hybrid_cuts(network)
    for number, cut in enumerate(places):
        progress("Hybrids", number / (len(places) + 1))
        rough += list(_rough(network, board, found, room, cut, tiles, interval))
    kept = [each for each in rough if not any(other.beats(each) for other in rough)]
    result = []
    for number, each in enumerate(kept):
        progress("Hybrids", (len(places) + number / len(kept)) / (len(places) + 1))
        folding = {c.layer: c.form for c in each.choice.chosen if c.form is not None}
        plan = plan_front(
            each.first, each.unit, folding=folding, family=board.family, effort=effort
        ).plan
        cost = predict(plan.front, board.family).total + each.unit_cost
        tile = (plan.unit.config.tn, plan.unit.config.ti)
        forms = folding_name(folding)
        chosen = {"cut": plan.cut, "forms": forms, "tile": tile, "memory": nfu_memory(board)}
        name = f"{forms}, then NFU {tile[0]} x {tile[1]}"
        cycles = round(plan.timing.interval)
        if interval is None or cycles <= interval:  # both halves may keep a pace that all does not
            result.append(System(name, cost, cycles, {"backend": "hybrid", **chosen}))
    progress("Hybrids", 1.0)
    return result


def _rough(
    network: IntegerNetwork,
    board: Board,
    found: Candidates,
    room: Room,
    cut: str,
    tiles: Sequence[tuple[int, int]],
    interval: float | None,
) -> Iterator[_Rough]:
    """Hybrids with this cut that fit, at the pace that is wanted or that their NFU has."""
    first, second = split(network, cut)
    layers = tuple(dict.fromkeys(node.origin for node, _ in first.convs()))
    if not all(found.layers[layer] for layer in layers):
        return
    if _fitting(found, layers, room, np.inf, slower=False) is None:
        return
    for tile in tiles:
        unit = nfu_unit(second, board, tile, interval=np.inf if interval is None else interval)
        if unit is None:
            continue
        cost = nfu_cost(unit, board.family)
        beside = replace(room, fixed=room.fixed + cost)
        pace = unit.plan.interval if interval is None else interval
        choice = _fitting(found, layers, beside, pace, slower=interval is None)
        if choice is not None:
            yield _Rough(first, unit, cost, choice)


def _fitting(
    found: Candidates, layers: Sequence[str], room: Room, pace: float, *, slower: bool
) -> Choice | None:
    """The least area at a pace, or at the first that is slower and fits; None if nothing fits."""
    forms = [found.layers[layer] for layer in layers]
    least = fastest(forms, room)
    wanted = [max(pace, least)] if slower or pace >= least else []
    if slower:
        wanted += [p for p in paces(forms, room) if p > wanted[0]]
    for each in wanted:
        choice = choose([found.layers[layer] for layer in layers], room, interval=each)
        while choice.share <= 1 and found.settle(choice.chosen):
            choice = choose([found.layers[layer] for layer in layers], room, interval=each)
        if choice.share <= 1:
            return choice
    return None
