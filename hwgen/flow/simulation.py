"""Simulations of the design in a workspace: its words, and the cycles that its plan promises."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.flow.backends import Plan, interval
from hwgen.flow.options import Backend, VerifyOptions
from hwgen.flow.progress import Progress
from hwgen.flow.workspace import Workspace
from hwgen.hybrid.plan import HybridPlan
from hwgen.hybrid.timing import hybrid_interval
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import FloatArray
from hwgen.nfu.design import NfuPlan
from hwgen.sim.types import Stall, VerifyReport
from hwgen.sim.verify import Mode
from hwgen.sim.verify import verify as verify_design
from hwgen.stream.design import StreamDesign

__all__ = ["CycleCheck", "Simulation", "check_layers", "fault"]

_DEADLINE = 500_000


@dataclass(frozen=True)
class CycleCheck:
    """Cycles from one image to the next if neither side waits, by the plan and simulated."""

    predicted: float
    simulated: float

    @property
    def passed(self) -> bool:
        """Whether both are equal."""
        return self.predicted == self.simulated


def check_layers(backend: Backend, options: VerifyOptions) -> None:
    """Refuse to compare layers where no stream carries them.

    Raises
    ------
    UnsupportedError
        If the back end does not show its layers.
    """
    if options.layers and backend != "stream":
        raise UnsupportedError(
            "Only the streaming back end shows its layers: leave out --layers, or --backend "
            f"{backend}"
        )


@dataclass(frozen=True, eq=False)
class Simulation:
    """What all simulations of one verification have in common."""

    workspace: Workspace
    integer: IntegerNetwork
    design: StreamDesign
    plan: Plan
    options: VerifyOptions
    progress: Progress

    def compare(self, mode: Mode, images: FloatArray) -> VerifyReport:
        """Compare the words of ``images`` with the golden model, under random stalls."""
        return self._run(f"Verification of {len(images)} images ({mode})", mode, images, None)

    def count(self, mode: Mode, images: FloatArray) -> CycleCheck | None:
        """Cycles of an image without stalls, if the plan of the back end promises each."""
        match self.plan:
            case NfuPlan():
                count, predicted = 2, interval(self.plan)
            case HybridPlan(front=front, beats=beats):
                count = 3
                predicted = hybrid_interval(front.stages, beats, count)
            case _:
                return None
        few = np.resize(images[:count], (count, *images.shape[1:]))
        report = self._run(f"Cycles of an image ({mode})", mode, few, Stall())
        return CycleCheck(predicted, report.cycles_per_image)

    def _run(self, task: str, mode: Mode, images: FloatArray, stall: Stall | None) -> VerifyReport:
        self.progress(task, 0.0)
        report = verify_design(
            self.integer,
            self.design,
            images,
            mode=mode,
            layers=self.options.layers,
            seed=self.options.seed,
            stall=stall,
            jobs=-1,
            build_dir=self.workspace.path("simulation"),
            # a design that works on one image at a time is silent for long
            deadline=_DEADLINE + 2 * math.ceil(interval(self.plan)),
            progress=lambda done, total: self.progress(task, done / total),
        )
        self.progress(task, 1.0)
        return report


def fault(report: VerifyReport) -> str:
    """One sentence on what a simulation found wrong."""
    what = report.fault or (
        f"{report.words_differed} of {report.words_compared} words differ, the first at "
        f"{report.first_difference}"
    )
    waveform = f"; waveform: {report.waveform}" if report.waveform else ""
    return f"The Verilog is not the golden model ({report.mode}): {what}{waveform}"
