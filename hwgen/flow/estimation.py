"""Predictions of what a streaming design takes on a board or a family, before it is synthesised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwgen.boards import Board, find_board
from hwgen.errors import DataError, UnsupportedError
from hwgen.estimate.design import Prediction, predict
from hwgen.estimate.model import Cost, model_of, modelled_families
from hwgen.flow.backends import Plan, backend_of
from hwgen.flow.built import hardware_network
from hwgen.flow.options import GenerateOptions
from hwgen.flow.progress import Progress
from hwgen.flow.workspace import Workspace
from hwgen.network.types import Pair
from hwgen.stream import store as stream_store
from hwgen.stream.forms import parse_folding
from hwgen.stream.plan import PipelinePlan, plan_pipeline

__all__ = ["Estimate", "device_speed", "estimate", "estimate_plan", "predict_core"]


@dataclass(frozen=True)
class Estimate:
    """A prediction, and what it means on a board (None: on any FPGA of the family)."""

    prediction: Prediction
    board: Board | None

    @property
    def clock_mhz(self) -> float | None:
        """Predicted clock after place and route; None without a board, or if none was measured."""
        if self.board is None:
            return None
        return self.prediction.clock_mhz(device_speed(self.board))

    @property
    def images_per_second(self) -> float | None:
        """At the predicted clock; None if that is not known."""
        clock = self.clock_mhz
        return None if clock is None else clock * 1e6 / self.prediction.interval

    def as_json(self) -> dict[str, Any]:
        """The estimate as plain values; the keys are those of ``hwgen estimate --json``."""
        board = self.board
        cycles: dict[str, int] = {}
        for stage in self.prediction.stages:
            cycles[stage.layer] = max(cycles.get(stage.layer, 0), stage.cycles)
        capacity = board and {
            "luts": board.capacity.luts,
            "ffs": board.capacity.ffs,
            "brams": board.capacity.brams,
        }
        return {
            "family": self.prediction.family,
            "board": board and board.name,
            "layers": [
                {"name": name, **_plain(cost), "cycles": cycles[name]}
                for name, cost in self.prediction.layers.items()
            ],
            "total": _plain(self.prediction.total),
            "capacity": capacity,
            "cycles_per_image": self.prediction.interval,
            "clock_mhz": self.clock_mhz,
            "images_per_second": self.images_per_second,
        }


def estimate(
    workspace: Workspace,
    progress: Progress,
    *,
    board: str | None = None,
    family: str | None = None,
    forms: str | None = None,
    size: Pair | None = None,
    pixels: int = 1,
) -> Estimate:
    """Predict the design that was generated, or another one of the same network.

    Parameters
    ----------
    board, family
        What it would be synthesised for; one of them.
    forms
        A folding as text; None for what suits a pipeline as fast as its input.
    size, pixels
        Height and width of larger pictures, and pixels of a row at once, as
        :class:`~hwgen.flow.options.GenerateOptions` has them.

    With neither forms nor size nor pixels it is the design in the workspace, if there is one.

    Raises
    ------
    DataError
        If neither board nor family is known, the network is not approximated, or there is no model.
    UnsupportedError
        If the design is not a streaming one.
    """
    chosen = find_board(board) if board else None
    family = chosen.family if chosen else family
    if family is None:
        raise DataError("Estimate needs a board or a family: add --board or --family")
    model_of(family)
    if (forms, size, pixels) == (None, None, 1) and workspace.path("design.json").exists():
        plan = _generated(workspace)
    else:
        network = hardware_network(workspace, size=size, pixels=pixels)
        progress("Adder graphs", 0.0)
        folding = parse_folding(forms or "")
        effort = GenerateOptions().effort
        plan = plan_pipeline(network, jobs=-1, family=family, effort=effort, folding=folding)
        progress("Adder graphs", 1.0)
    return Estimate(predict(plan, family), chosen)


def estimate_plan(plan: PipelinePlan, board: Board) -> Estimate:
    """Prediction of a plan on a board."""
    return Estimate(predict(plan, board.family), board)


def predict_core(plan: Plan, board: Board) -> dict[str, Any] | None:
    """Resources and clock that are predicted of a design alone, without the ports of a board.

    None for an NFU, and for a family without a model.
    """
    if not isinstance(plan, PipelinePlan) or board.family not in modelled_families():
        return None
    found = estimate_plan(plan, board)
    return {**_plain(found.prediction.total), "clock_mhz": found.clock_mhz}


def device_speed(board: Board) -> str:
    """What the clock model calls the device of a board."""
    if board.family == "gowin":
        return "gw1n" if board.part.startswith("GW1N") else "gw2a"
    return "up5k" if "--up5k" in board.device.options else board.family


def _generated(workspace: Workspace) -> PipelinePlan:
    if backend_of(workspace) != "stream":
        raise UnsupportedError(
            "Estimate must have a streaming design, not one with an NFU; add --forms "
            "'*=parallel' to see what a streaming one would take"
        )
    return stream_store.plan_from_json(workspace.read("plan.json", made_by="generate"))


def _plain(cost: Cost) -> dict[str, int]:
    return {"luts": round(cost.luts), "ffs": round(cost.ffs), "brams": cost.brams}
