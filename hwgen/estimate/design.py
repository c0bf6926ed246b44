"""Predicted cost and clock of a whole streaming design, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add

from hwgen.estimate.critical import CriticalPath, critical_path
from hwgen.estimate.elaborated import alike
from hwgen.estimate.model import Cost, model_of
from hwgen.estimate.structure import Structure, structure
from hwgen.stream.blocks import Stage
from hwgen.stream.plan import PipelinePlan

__all__ = ["Prediction", "StageCost", "predict", "stage_cost"]


@dataclass(frozen=True)
class StageCost:
    """A stage of a plan: its name, layer and form, its cost, and the cycles of a frame."""

    name: str
    layer: str
    form: str
    cost: Cost
    cycles: int


@dataclass(frozen=True)
class Prediction:
    """What a plan takes on a family of FPGAs, as a whole and stage by stage."""

    family: str
    plan: PipelinePlan
    stages: tuple[StageCost, ...]

    @property
    def interval(self) -> float:
        """Cycles an image, exact."""
        return self.plan.timing.interval

    @property
    def total(self) -> Cost:
        """All stages together."""
        return reduce(add, (stage.cost for stage in self.stages), Cost())

    @property
    def layers(self) -> dict[str, Cost]:
        """Cost of the stages of each layer, in order."""
        found: dict[str, Cost] = {}
        for stage in self.stages:
            found[stage.layer] = found.get(stage.layer, Cost()) + stage.cost
        return found

    def clock_mhz(self, speed: str) -> float | None:
        """Clock after place and route on a device of this speed, in MHz; None if unknown."""
        model = model_of(self.family)
        if speed not in model.slowness:
            return None
        return model.clock_mhz(self.path.delay, self.total.luts, speed)

    @property
    def path(self) -> CriticalPath:
        """Its slowest path, at typical routing."""
        return critical_path(self.plan.stages, self.family)


def predict(plan: PipelinePlan, family: str) -> Prediction:
    """Prediction for a plan on an FPGA family.

    Raises
    ------
    DataError
        If there is no model of the family.
    """
    stages = tuple(
        StageCost(s.name, s.layer, s.form, stage_cost(s, family), s.cycles) for s in plan.stages
    )
    return Prediction(family, plan, stages)


def stage_cost(stage: Stage, family: str) -> Cost:
    """Predicted cost of a stage; parts of a stage that was counted before are remembered."""
    return model_of(family).cost(_structure(alike(stage), family), stage.form)


@lru_cache(maxsize=4096)
def _structure(stage: Stage, family: str) -> Structure:
    return structure(stage, family)
