"""The plan of a folding: what form each layer gets on a board, so that it keeps a rate and fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hwgen.boards import Board, find_board
from hwgen.errors import DataError, ResourceError
from hwgen.estimate.choose import RESOURCES, Choice, Room, choose, fastest, paces
from hwgen.estimate.model import Cost
from hwgen.flow.built import hardware_network
from hwgen.flow.candidates import Candidates, find_candidates
from hwgen.flow.estimation import Estimate, estimate_plan
from hwgen.flow.nfu_candidates import NfuCandidate, nfu_candidates
from hwgen.flow.options import GenerateOptions, PlanOptions
from hwgen.flow.progress import Progress
from hwgen.flow.workspace import Workspace
from hwgen.integer.types import IntegerNetwork
from hwgen.stream.forms import folding_name
from hwgen.stream.plan import plan_pipeline

__all__ = ["FOLDING", "PLANNED", "plan_folding", "planned_options"]

FOLDING = "folding.json"
"""What the plan leaves in the workspace."""

PLANNED = "planned"
"""Stands for the forms that were planned, where forms are given."""

MARGIN = 0.1
"""Share of LUTs, flip-flops and cells that stays free: for the estimate, and for routing."""

LINK = Cost(luts=311, ffs=137)
"""The host link and the reset, as they were synthesised for iCE40."""

_TRIES = 4


@dataclass(frozen=True)
class _Problem:
    """A network on a board: candidates of its layers, and what there is room for."""

    network: IntegerNetwork
    board: Board
    candidates: Candidates
    room: Room

    @property
    def layers(self) -> Sequence[Sequence[Any]]:
        return list(self.candidates.layers.values())

    def choose(self, interval: float) -> Choice:
        return choose(self.layers, self.room, interval=interval)

    def estimate(self, choice: Choice) -> Estimate:
        """Prediction of the whole design with the chosen forms."""
        folding = {c.layer: c.form for c in choice.chosen if c.form is not None}
        effort = GenerateOptions().effort
        plan = plan_pipeline(
            self.network, family=self.board.family, effort=effort, folding=folding, jobs=-1
        )
        return estimate_plan(plan, self.board)


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
        ``capacity`` of the board; ``backend`` that was chosen, with ``forms`` or ``tile``;
        ``predicted``; ``curve`` and ``nfu``, what else there was to choose from.

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

    chosen = asdict(options) | {"board": board.name, "margin": MARGIN}
    workspace.run("plan", work, reads=reads, writes=[FOLDING], options=chosen)
    result: dict[str, Any] = json.loads(workspace.path(FOLDING).read_text())
    return result


def planned_options(workspace: Workspace, options: GenerateOptions) -> GenerateOptions:
    """Options of the hardware with the planned forms or tile in place of the word for them.

    Raises
    ------
    DataError
        If nothing was planned, or for pictures of another size or other pixels.
    """
    if options.forms != PLANNED:
        return options
    result = json.loads(workspace.read(FOLDING, made_by="plan"))
    size, pixels = result["size"] and tuple(result["size"]), result["pixels"]
    if options.size not in (None, size) or options.pixels not in (1, pixels):
        raise DataError(
            "Planned forms must be for the same --size and --pixels; run 'hwgen plan' with them"
        )
    family = find_board(result["board"]).family
    chosen = replace(
        options,
        family=options.family or family,
        backend=result["backend"],
        size=size,
        pixels=pixels,
    )
    if result["backend"] == "nfu":
        return replace(chosen, forms="", tile=tuple(result["tile"]), memory=result["memory"])
    return replace(chosen, forms=result["forms"])


def _planned(
    network: IntegerNetwork, board: Board, progress: Progress, options: PlanOptions
) -> dict[str, Any]:
    rate = options.rate
    capacity = _capacity(board)
    effort = GenerateOptions().effort
    found = find_candidates(
        network, board.family, room=2 * capacity["luts"], effort=effort, progress=progress
    )
    room = Room(capacity, found.fixed + LINK, found.cycles, MARGIN)
    problem = _Problem(network, board, found, room)
    progress("NFU", 0.0)
    units = nfu_candidates(network, board) if options.pixels == 1 else []
    progress("NFU", 1.0)
    clock = float(board.clock_hz)
    curve = _curve(problem)
    unit = _best_unit(units, room, None if rate is None else clock / rate)
    streaming: tuple[Choice, Estimate] | None
    reason = ""
    try:
        streaming = _streaming(problem, curve, None if rate is None else clock / rate)
    except ResourceError as error:
        streaming, reason = None, str(error)
    if streaming is None and unit is None:
        raise ResourceError(_refusal(problem, curve, units, rate, reason))
    result: dict[str, Any] = {
        "board": board.name,
        "capacity": {name: round(there) for name, there in capacity.items()},
        "curve": [_point(choice, clock) for choice in curve],
        "nfu": [unit_json(u, clock) for u in units],
    }
    if streaming is not None and (unit is None or _is_better(streaming, unit, room, rate)):
        choice, estimate = streaming
        folding = {c.layer: c.form for c in choice.chosen if c.form is not None}
        return result | {
            "backend": "stream",
            "forms": folding_name(folding),
            "tile": None,
            "memory": None,
            "predicted": estimate.as_json(),
            "images_per_second": clock / estimate.prediction.interval,
        }
    assert unit is not None
    return result | {
        "backend": "nfu",
        "forms": "",
        "tile": list(unit.tile),
        "memory": unit.memory,
        "predicted": unit_json(unit, clock),
        "images_per_second": clock / unit.cycles,
    }


def _curve(problem: _Problem) -> list[Choice]:
    """The least area at each pace, from the fastest; points that save nothing are left out."""
    curve: list[Choice] = []
    for pace in paces(problem.layers, problem.room):
        choice = problem.choose(pace)
        if not curve or choice.share < curve[-1].share - 1e-6:
            curve.append(choice)
    return curve


def _streaming(
    problem: _Problem, curve: Sequence[Choice], interval: float | None
) -> tuple[Choice, Estimate]:
    """The choice, and the prediction of the whole design that it gives.

    Layers wait for each other, and neighbours change a layer's ends, so the whole design may be
    slower or larger than its layers; then a quicker or smaller one is tried.
    """
    if interval is None:
        fitting = [choice for choice in curve if choice.share <= 1]
        if not fitting:
            raise ResourceError(_too_large(problem.board, curve[-1].share, curve[-1].scarcest))
        return fitting[0], problem.estimate(fitting[0])
    aim = interval
    for _ in range(_TRIES):
        choice = problem.choose(aim)
        if choice.share > 1:
            raise ResourceError(_too_large(problem.board, choice.share, choice.scarcest))
        estimate = problem.estimate(choice)
        if estimate.prediction.interval <= interval:
            return choice, estimate
        aim = min(aim, choice.cycles) * interval / estimate.prediction.interval
    raise ResourceError(f"No folding was found that keeps {interval:,.0f} cycles an image")


def _capacity(board: Board) -> dict[str, float]:
    """What the board has of each resource; only iCE40 makes a cell of a LUT and a flip-flop."""
    there = board.capacity
    cells = there.luts if board.family == "ice40" else there.luts + there.ffs
    named = {name: float(getattr(there, name)) for name in RESOURCES if name != "cells"}
    return named | {"cells": float(cells)}


def _too_large(board: Board, share: float, scarcest: str) -> str:
    # shares are of what the margin leaves
    return (
        f"{board.title} is too small: the design would take {share * (1 - MARGIN):.0%} of its "
        f"{RESOURCES[scarcest]}, of which {1 - MARGIN:.0%} may be used"
    )


def _best_unit(
    units: Sequence[NfuCandidate], room: Room, interval: float | None
) -> NfuCandidate | None:
    """The smallest NFU that is quick enough, or the quickest that fits."""
    fitting = [u for u in units if _share(u, room) <= 1]
    if interval is None:
        return min(fitting, key=lambda u: u.cycles, default=None)
    quick = [u for u in fitting if u.cycles <= interval]
    return min(quick, key=lambda u: _share(u, room), default=None)


def _is_better(
    streaming: tuple[Choice, Estimate], unit: NfuCandidate, room: Room, rate: float | None
) -> bool:
    choice, estimate = streaming
    if rate is None:
        return estimate.prediction.interval <= unit.cycles
    return choice.share <= _share(unit, room)


def _share(unit: NfuCandidate, room: Room) -> float:
    return max(room.share(name, unit.cost + LINK) for name in RESOURCES)


def _refusal(
    problem: _Problem,
    curve: Sequence[Choice],
    units: Sequence[NfuCandidate],
    rate: float | None,
    reason: str,
) -> str:
    """Why nothing fits, and the most that would."""
    clock = problem.board.clock_hz
    if rate is None:
        return reason
    rates = [clock / choice.cycles for choice in curve if choice.share <= 1]
    rates += [clock / unit.cycles for unit in units if _share(unit, problem.room) <= 1]
    if not rates:
        return reason
    quickest = clock / fastest(problem.layers, problem.room)
    if rate > quickest:
        reason = (
            f"{rate:,.0f} images a second cannot be reached at {clock / 1e6:g} MHz, the clock of "
            f"{problem.board.title}"
        )
    return f"{reason}; the most that fits is {max(rates):,.1f} images a second (--fit)"


def _point(choice: Choice, clock: float) -> dict[str, Any]:
    return {
        "cycles": choice.cycles,
        "images_per_second": clock / choice.cycles,
        "luts": round(choice.cost.luts),
        "ffs": round(choice.cost.ffs),
        "brams": choice.cost.brams,
        "share": choice.share * (1 - MARGIN),
        "scarcest": choice.scarcest,
        "forms": folding_name({c.layer: c.form for c in choice.chosen if c.form is not None}),
    }


def unit_json(unit: NfuCandidate, clock: float) -> dict[str, Any]:
    """An NFU as plain values."""
    return {
        "tile": list(unit.tile),
        "memory": unit.memory,
        "cycles": unit.cycles,
        "images_per_second": clock / unit.cycles,
        "luts": round(unit.cost.luts),
        "ffs": round(unit.cost.ffs),
        "brams": unit.cost.brams,
        "spram_bits": unit.cost.spram_bits,
    }
