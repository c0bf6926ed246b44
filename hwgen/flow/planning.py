"""The plan of a folding: what form each layer gets on a board, so that it keeps a rate and fits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import inf
from types import MappingProxyType
from typing import Any

from hwgen.boards import Board, find_board
from hwgen.errors import DataError, ResourceError
from hwgen.estimate.choose import RESOURCES, Choice, Room, fastest
from hwgen.flow.built import hardware_network
from hwgen.flow.candidates import System, find_candidates
from hwgen.flow.folding import Folded, Folding, link_cost
from hwgen.flow.hybrid_candidates import hybrid_candidates
from hwgen.flow.nfu_candidates import TILES, nfu_candidates
from hwgen.flow.options import GenerateOptions, PlanOptions
from hwgen.flow.progress import Progress
from hwgen.flow.workspace import Workspace
from hwgen.integer.types import IntegerNetwork
from hwgen.stream.forms import folding_name

__all__ = ["FOLDING", "MARGINS", "PLANNED", "plan_folding", "planned_options"]

FOLDING = "folding.json"
"""What the plan leaves in the workspace."""

PLANNED = "planned"
"""Stands for the forms that were planned, where forms are given."""

MARGINS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "ice40": {"luts": 0.05, "ffs": 0.05, "cells": 0.07},
        # nextpnr takes up to 1.06 cells a LUT, since carry chains of even width have a start
        "ecp5": {"luts": 0.12, "ffs": 0.05},
        # 1.12 and 1.15 LUTs of the part a LUT, in designs that fill a third of it at most
        "gowin": {"luts": 0.25, "ffs": 0.05},
    }
)
"""For each family, the share of its resources that stays free, for the estimate and for routing.

``docs/planning.md`` has the routed designs that they come from.
"""


def plan_folding(
    workspace: Workspace, board_name: str, options: PlanOptions, progress: Progress
) -> dict[str, Any]:
    """Choose forms for the network in a workspace, and write them to ``folding.json``.

    Parameters
    ----------
    board_name
        Board to fit on.
    options
        What is asked for; rates are at the clock of the board.

    Returns
    -------
    dict
        What the file holds: ``board``; ``rate``, ``size`` and ``pixels`` of ``options``;
        ``capacity`` of the board; ``name`` of what was chosen and the ``options`` of the hardware
        that build it; ``predicted``; ``curve`` and ``systems``, what else there was to choose from.

    Raises
    ------
    ResourceError
        If nothing fits the board at this rate; the text says by how much, and what does fit.
    """
    board = find_board(board_name)
    reads = [workspace.path("integer.json")]
    if not reads[0].exists():
        raise DataError(
            f"Plan needs an approximated network in {str(workspace.root)!r}; run 'hwgen "
            "approximate' first"
        )

    def work() -> None:
        network = hardware_network(workspace, size=options.size, pixels=options.pixels)
        result = asdict(options) | _planned(network, board, progress, options)
        workspace.write(FOLDING, json.dumps(result, indent=1, sort_keys=True) + "\n")

    chosen = asdict(options) | {"board": board.name, "margin": dict(_margin(board))}
    workspace.run("plan", work, reads=reads, writes=[FOLDING], options=chosen)
    result: dict[str, Any] = json.loads(workspace.path(FOLDING).read_text())
    return result


def planned_options(workspace: Workspace, options: GenerateOptions) -> GenerateOptions:
    """Options of the hardware with what was planned in place of the word for it.

    Raises
    ------
    DataError
        If nothing was planned, or for pictures of another size or other pixels.
    """
    if options.forms != PLANNED:
        return options
    result = json.loads(workspace.read(FOLDING, made_by="plan"))
    planned = PlanOptions(
        size=result["size"] and tuple(result["size"]),
        pixels=result["pixels"],
    )
    default = PlanOptions()
    if options.size not in (default.size, planned.size) or options.pixels not in (
        default.pixels,
        planned.pixels,
    ):
        raise DataError(
            "Planned forms must be for the same --size and --pixels; run 'hwgen plan' with them"
        )
    built: dict[str, Any] = {"forms": ""}
    built |= {k: tuple(v) if isinstance(v, list) else v for k, v in result["options"].items()}
    family = options.family or find_board(result["board"]).family
    return replace(options, **built, family=family, size=planned.size, pixels=planned.pixels)


def _planned(
    network: IntegerNetwork, board: Board, progress: Progress, options: PlanOptions
) -> dict[str, Any]:
    capacity = _capacity(board)
    effort = GenerateOptions().effort
    empty = Room(capacity, margin=_margin(board))
    found = find_candidates(network, board.family, room=empty, effort=effort, progress=progress)
    room = replace(empty, fixed=found.fixed + link_cost(network, board.family), cycles=found.cycles)
    folding = Folding(network, board, found, room)
    progress("Systems", 0.0)
    clock = float(board.clock_hz)
    interval = None if options.rate is None else clock / options.rate
    systems: list[System] = []
    if options.pixels == 1:  # a unit takes the pixels of a picture one by one
        pace = inf if interval is None else interval
        systems = nfu_candidates(network, board, interval=pace)
        large = [
            s.options["tile"]
            for s in systems
            if room.share("luts", s.cost + link_cost(network, board.family)) > 1
        ]
        systems += hybrid_candidates(
            network,
            board,
            found,
            room,
            tiles=[tile for tile in TILES if tile not in large],
            interval=interval,
            effort=effort,
            progress=progress,
        )
    progress("Systems", 1.0)
    progress("Choice", 0.0)
    curve = folding.curve()
    systems = [replace(each, cost=each.cost + link_cost(network, board.family)) for each in systems]
    system = _best_system(systems, room, interval)
    folded: Folded | None
    reason = ""
    try:
        folded = folding.fastest(curve) if interval is None else folding.smallest(interval)
    except ResourceError as error:
        folded, reason = None, str(error)
    progress("Choice", 1.0)
    if folded is None and system is None:
        if options.pixels == 1:
            systems = nfu_candidates(network, board, interval=inf)
        raise ResourceError(_refusal(folding, curve, systems, options.rate, reason))
    result: dict[str, Any] = {
        "board": board.name,
        "capacity": {name: round(there) for name, there in capacity.items()},
        "curve": [_point(choice, clock, room) for choice in curve],
        "systems": [_system(each, clock) for each in systems],
    }
    if folded is not None and (system is None or _is_better(folded, system, room, interval)):
        return result | {
            "name": folded.forms,
            "options": {"backend": "stream", "forms": folded.forms},
            "predicted": folded.estimate.as_json(),
            "images_per_second": clock / folded.interval,
        }
    assert system is not None
    return result | {
        "name": system.name,
        "options": dict(system.options),
        "predicted": _system(system, clock),
        "images_per_second": clock / system.cycles,
    }


def _margin(board: Board) -> Mapping[str, float]:
    return MARGINS.get(board.family, {})


def _capacity(board: Board) -> dict[str, float]:
    """What the board has of each resource; only iCE40 makes a cell of a LUT and a flip-flop."""
    there = board.capacity
    cells = there.luts if board.family == "ice40" else there.luts + there.ffs
    named = {name: float(getattr(there, name)) for name in RESOURCES if name != "cells"}
    return named | {"cells": float(cells)}


def _best_system(systems: Sequence[System], room: Room, interval: float | None) -> System | None:
    """The smallest system that is quick enough, or the quickest that fits."""
    fitting = [each for each in systems if _share(each, room) <= 1]
    if interval is None:
        return min(fitting, key=lambda each: each.cycles, default=None)
    quick = [each for each in fitting if each.cycles <= interval]
    return min(quick, key=lambda each: _share(each, room), default=None)


def _is_better(folded: Folded, system: System, room: Room, interval: float | None) -> bool:
    if interval is None:
        return folded.interval <= system.cycles
    return folded.share <= _share(system, room)


def _share(system: System, room: Room) -> float:
    return room.scarcest(system.cost)[0]


def _refusal(
    folding: Folding,
    curve: Sequence[Choice],
    systems: Sequence[System],
    rate: float | None,
    reason: str,
) -> str:
    """Why nothing fits, and the most that would."""
    board = folding.board
    if rate is None:
        return reason
    rates = [board.clock_hz / choice.cycles for choice in curve if choice.share <= 1]
    rates += [board.clock_hz / s.cycles for s in systems if _share(s, folding.room) <= 1]
    if rate > board.clock_hz / fastest(folding.layers, folding.room):
        reason = (
            f"{rate:,.0f} images a second cannot be reached at {board.clock_hz / 1e6:g} MHz, the "
            f"clock of {board.title}"
        )
    if not rates:
        return reason
    return f"{reason}; the most that fits is about {max(rates):,.1f} images a second (--fit)"


def _point(choice: Choice, clock: float, room: Room) -> dict[str, Any]:
    return {
        "cycles": choice.cycles,
        "images_per_second": clock / choice.cycles,
        "luts": round(choice.cost.luts),
        "ffs": round(choice.cost.ffs),
        "brams": choice.cost.brams,
        "share": choice.share * room.usable(choice.scarcest),
        "scarcest": choice.scarcest,
        "exact": all(c.exact for c in choice.chosen),
        "forms": folding_name({c.layer: c.form for c in choice.chosen if c.form is not None}),
    }


def _system(system: System, clock: float) -> dict[str, Any]:
    return {
        "name": system.name,
        "cycles": system.cycles,
        "images_per_second": clock / system.cycles,
        "luts": round(system.cost.luts),
        "ffs": round(system.cost.ffs),
        "brams": system.cost.brams,
        "spram_bits": system.cost.spram_bits,
    }
