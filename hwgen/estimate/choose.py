"""The cheapest form for each layer that keeps a pace and fits an FPGA, by integer programming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from types import MappingProxyType

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from hwgen.errors import ResourceError
from hwgen.estimate.model import Cost
from hwgen.stream.forms import LayerForm

__all__ = ["RESOURCES", "Candidate", "Choice", "Room", "choose", "fastest", "paces"]

RESOURCES: Mapping[str, str] = MappingProxyType(
    {
        "luts": "LUTs",
        "ffs": "flip-flops",
        "cells": "logic cells",
        "brams": "memory blocks",
        "spram_bits": "bits of single-port RAM",
    }
)
"""Fields of :class:`Cost` that an FPGA has only so many of, and what they are called."""

_TIE = 1e-3
"""What the other resources weigh beside the scarcest, so that none is wasted."""


@dataclass(frozen=True)
class Candidate:
    """A layer in one of its forms: what its stages cost, and cycles that an image keeps them busy.

    ``form`` is None for the one that suits a pipeline as fast as its input. What is not ``exact``
    is expected of a graph that is not there yet.
    """

    layer: str
    form: LayerForm | None
    cost: Cost
    cycles: int
    exact: bool = True


@dataclass(frozen=True)
class Room:
    """What a design may take: the FPGA's ``capacity``, and the ``fixed`` cost of what has no form.

    ``margin`` is the share of each resource that stays free, for what the estimate misses and for
    place and route; memories are counted exactly. ``cycles`` are those of the slowest part without
    a form.
    """

    capacity: Mapping[str, float]
    fixed: Cost = field(default_factory=Cost)
    cycles: int = 1
    margin: Mapping[str, float] = field(default_factory=dict)

    def usable(self, resource: str) -> float:
        """Part of a resource that may be used."""
        return 1 - self.margin.get(resource, 0.0)

    def share(self, resource: str, cost: Cost) -> float:
        """Part of the room that a cost takes of a resource; infinite if there is none of it."""
        there = self.capacity.get(resource, 0.0) * self.usable(resource)
        taken = float(getattr(cost, resource))
        if taken == 0:
            return 0.0
        return taken / there if there > 0 else np.inf

    def scarcest(self, cost: Cost) -> tuple[float, str]:
        """The largest share that a cost takes of any resource, and which that is."""
        return max((self.share(resource, cost), resource) for resource in RESOURCES)


@dataclass(frozen=True)
class Choice:
    """One candidate a layer: their total ``cost`` with all that is fixed, and cycles an image.

    ``share`` is the part of the room that the scarcest resource takes, at most 1 if all fits.
    """

    chosen: tuple[Candidate, ...]
    cost: Cost
    cycles: int
    share: float
    scarcest: str


def choose(layers: Sequence[Sequence[Candidate]], room: Room, *, interval: float) -> Choice:
    """The choice that takes least of the scarcest resource at no more cycles an image.

    It may be larger than the room: its ``share`` says by how much.

    Raises
    ------
    ResourceError
        If a layer has no candidate that is as fast, or what is fixed is slower; the text has the
        fewest cycles that are possible.
    """
    quick = [[c for c in candidates if c.cycles <= interval] for candidates in layers]
    if room.cycles > interval or not all(quick):
        least = fastest(layers, room)
        raise ResourceError(
            f"An image takes at least {least:,} cycles in any form, not {interval:,.0f}"
        )
    flat = [c for candidates in quick for c in candidates]
    resources = [r for r in RESOURCES if _is_used(r, flat, room)]
    # variables: one for each candidate, then the share of the scarcest resource
    shares = np.array([[room.share(r, c.cost) for c in flat] for r in resources])
    shares = shares.reshape(len(resources), len(flat))
    fixed = np.array([room.share(r, room.fixed) for r in resources])
    allowed = np.isfinite(shares).all(axis=0)
    finite = np.where(allowed, shares, 0.0)
    weights = np.append(_TIE * finite.sum(axis=0) / max(len(resources), 1), 1.0)
    once = np.zeros((len(quick), len(flat) + 1))
    start = 0
    for row, candidates in enumerate(quick):
        once[row, start : start + len(candidates)] = 1
        start += len(candidates)
    constraints = [LinearConstraint(once, 1, 1)]
    if resources:
        below = np.hstack([finite, -np.ones((len(resources), 1))])
        constraints.append(LinearConstraint(below, -np.inf, -fixed))
    found = milp(
        weights,
        integrality=np.append(np.ones(len(flat)), 0),
        bounds=Bounds(0, np.append(allowed.astype(float), np.inf)),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise ResourceError("Layers need a resource that the FPGA has none of")
    chosen = tuple(c for c, taken in zip(flat, found.x[:-1], strict=True) if taken > 0.5)
    cost = reduce(add, (c.cost for c in chosen), room.fixed)
    share, scarcest = room.scarcest(cost)
    cycles = max((c.cycles for c in chosen), default=1)
    return Choice(chosen, cost, max(cycles, room.cycles), share, scarcest)


def fastest(layers: Sequence[Sequence[Candidate]], room: Room) -> int:
    """Fewest cycles an image, whatever it costs."""
    return max([room.cycles, *(min(c.cycles for c in candidates) for candidates in layers)])


def paces(layers: Sequence[Sequence[Candidate]], room: Room) -> list[int]:
    """Cycles an image at which another choice becomes possible, ascending."""
    least = fastest(layers, room)
    return sorted({least} | {c.cycles for layer in layers for c in layer if c.cycles > least})


def _is_used(resource: str, candidates: Sequence[Candidate], room: Room) -> bool:
    costs = (*(c.cost for c in candidates), room.fixed)
    return any(getattr(cost, resource) > 0 for cost in costs)
