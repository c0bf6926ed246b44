"""Recipes of a layer that are worth a move, from fine to coarse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwgen.approx.candidates import Option

__all__ = ["Rung", "ladder"]

_LEAST = 1e-60


@dataclass(frozen=True)
class Rung:
    """A recipe of a layer, with the cost and the error of the layer that is not slimmed."""

    recipe: str
    cost: float
    error: float


def ladder(options: Sequence[Option], costs: Sequence[float]) -> tuple[Rung, ...]:
    """The recipes on the lower convex hull of (cost, error), from fine to coarse."""
    rated = zip(options, costs, strict=True)
    rungs: list[Rung] = []
    for rung in sorted(
        (Rung(option.recipe.name, cost, option.error) for option, cost in rated),
        key=lambda rung: (rung.error, rung.cost),
    ):
        if rungs and rung.cost >= rungs[-1].cost:
            continue
        while len(rungs) > 1 and _rate(rungs[-2], rungs[-1]) <= _rate(rungs[-1], rung):
            rungs.pop()
        rungs.append(rung)
    return tuple(rungs)


def _rate(fine: Rung, coarse: Rung) -> float:
    return (fine.cost - coarse.cost) / max(coarse.error - fine.error, _LEAST)
