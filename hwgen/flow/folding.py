"""Foldings of a network on a board: chosen layer by layer, then planned and counted as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, reduce
from itertools import pairwise
from operator import add
from types import MappingProxyType

from hwgen.boards import Board
from hwgen.errors import ResourceError
from hwgen.estimate.choose import RESOURCES, Candidate, Choice, Room, choose, paces
from hwgen.estimate.model import Cost
from hwgen.flow.candidates import Candidates
from hwgen.flow.estimation import Estimate, estimate_plan
from hwgen.integer.types import IntegerNetwork
from hwgen.stream.forms import Kind, folding_name
from hwgen.stream.plan import plan_pipeline

__all__ = ["Folded", "Folding", "link_cost"]


@dataclass(frozen=True)
class _Link:
    """The host link with reset and pins: LUTs and flip-flops for pixels and results of one byte,
    and what each further byte takes.
    """

    luts: float
    ffs: float
    pixel_luts: float
    pixel_ffs: float
    result_luts: float


_LINKS: Mapping[str, _Link] = MappingProxyType(
    {
        "ice40": _Link(375, 207, 42, 51, 7.4),
        "ecp5": _Link(404, 211, 82, 51, 9),
        "gowin": _Link(450, 211, 82, 51, 9),
    }
)
"""As ``benchmarks/bench_link.py`` measured them; that of Gowin is of whole boards of one byte."""

_TRIES = 6

_POINTS, _STEP = 64, 1.02
"""Points of a curve that are all looked at, and how far they are apart if there are more."""


def link_cost(network: IntegerNetwork, family: str) -> Cost:
    """What a board has beside the design of a network."""
    link = _LINKS[family]
    pixel, result = (
        -(-sum(r.width for r in network.ranges(name)) // 8) - 1
        for name in (network.input_name, network.output)
    )
    return Cost(
        luts=link.luts + link.pixel_luts * pixel + link.result_luts * result,
        ffs=link.ffs + link.pixel_ffs * pixel,
    )


@dataclass(frozen=True)
class Folded:
    """A folding as a whole design: its choice, its prediction, and what part of the room it takes.

    ``share`` and ``scarcest`` count queues, buffers of branches and the host link too.
    """

    choice: Choice
    estimate: Estimate
    share: float
    scarcest: str

    @property
    def interval(self) -> float:
        """Exact cycles an image."""
        return self.estimate.prediction.interval

    @cached_property
    def forms(self) -> str:
        """The folding as text."""
        return _forms(self.choice)


@dataclass
class Folding:
    """A network on a board: candidates of its layers, and what there is room for.

    ``room`` learns what whole designs take beside the sum of their layers: the ends of a layer
    depend on its neighbours, and branches have buffers.
    """

    network: IntegerNetwork
    board: Board
    candidates: Candidates
    room: Room
    _whole: dict[str, Folded] = field(default_factory=dict)

    @property
    def layers(self) -> Sequence[Sequence[Candidate]]:
        """Candidates of each layer."""
        return list(self.candidates.layers.values())

    def choose(self, interval: float, *, only: Kind | None = None) -> Choice:
        """The least area at a pace, as far as it is known; :class:`ResourceError` if none is.

        With ``only``, of layers that have candidates of this kind, from these.
        """
        layers = [
            [c for c in layer if c.form is not None and c.form.kind == only] or layer
            for layer in self.layers
        ]
        return choose(layers, self.room, interval=interval)

    def curve(self) -> list[Choice]:
        """The least area at each pace, from the fastest; what saves nothing is left out."""
        curve: list[Choice] = []
        for pace in _thinned(paces(self.layers, self.room)):
            choice = self.choose(pace)
            if not curve or choice.share < curve[-1].share - 1e-6:
                curve.append(choice)
        return curve

    def fastest(self, curve: Sequence[Choice]) -> Folded:
        """The fastest whole design that fits, where the curve says that its layers do.

        Raises
        ------
        ResourceError
            If none fits; the text has what is nearest.
        """
        nearest: Folded | None = None
        for point in curve:
            if point.share > 1:
                continue
            found = self._at(point.cycles)
            if found is not None and found.share <= 1:
                return found
            if found is not None and (nearest is None or found.share < nearest.share):
                nearest = found
        if nearest is not None:
            raise ResourceError(self._too_large(nearest.share, nearest.scarcest, nearest.forms))
        raise ResourceError(self._too_large(curve[-1].share, curve[-1].scarcest, _forms(curve[-1])))

    def smallest(self, interval: float) -> Folded:
        """The smallest whole design that takes no more cycles an image.

        With all weights in memory results come a channel a beat, which makes the buffers of
        branches small. No layer by itself has these buffers, so such a design is tried too.

        Raises
        ------
        ResourceError
            If none fits; the text says by how much.
        """
        found: list[Folded] = []
        refused: list[ResourceError] = []
        kinds: tuple[Kind | None, ...] = (None, "memory")
        for only in kinds:
            try:
                found.append(self._smallest(interval, only))
            except ResourceError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return min(found, key=lambda each: each.share)

    def _smallest(self, interval: float, only: Kind | None) -> Folded:
        """The smallest design, of one kind of form where it is given.

        Layers wait for each other, so it may be slower than each of them; then a quicker choice is
        tried.
        """
        aim = interval
        for _ in range(_TRIES):
            found = self._at(aim, only)
            if found is None:
                choice = self._settled(aim, only)
                raise ResourceError(self._too_large(choice.share, choice.scarcest, _forms(choice)))
            if found.share > 1:
                raise ResourceError(self._too_large(found.share, found.scarcest, found.forms))
            if found.interval <= interval:
                return found
            aim = min(aim, found.choice.cycles) * interval / found.interval
        raise ResourceError(f"No folding was found that keeps {interval:,.0f} cycles an image")

    def _at(self, interval: float, only: Kind | None = None) -> Folded | None:
        """The design at a pace whose layers take least; None if they do not fit.

        If as a whole it takes more than there is, what it takes beyond its layers is kept in mind
        and another choice made; in the end it is what came nearest.
        """
        nearest: Folded | None = None
        self.room = replace(self.room, fixed=self._fixed)
        for _ in range(_TRIES):
            choice = self._settled(interval, only)
            if choice.share > 1:
                break
            found = self._planned(choice)
            if nearest is None or found.share < nearest.share:
                nearest = found
            if found.share <= 1:
                break
            self._learn(found)
        return nearest

    def _settled(self, interval: float, only: Kind | None) -> Choice:
        """The choice at a pace once nothing of it is estimated that could be counted."""
        while True:
            choice = self.choose(interval, only=only)
            if choice.share > 1 or not self.candidates.settle(choice.chosen):
                return choice

    def _planned(self, choice: Choice) -> Folded:
        """The whole design of a choice."""
        name = _forms(choice)
        if name not in self._whole:
            plan = plan_pipeline(
                self.network,
                family=self.board.family,
                effort=self.candidates.effort,
                folding={c.layer: c.form for c in choice.chosen if c.form is not None},
                known=self.candidates.graphs,
                jobs=-1,
            )
            estimate = estimate_plan(plan, self.board)
            share, scarcest = self.room.scarcest(
                estimate.prediction.total + link_cost(self.network, self.board.family)
            )
            self._whole[name] = Folded(choice, estimate, share, scarcest)
        return self._whole[name]

    def _learn(self, found: Folded) -> None:
        """Count what a whole design takes beyond its layers with whatever has no form."""
        whole = found.estimate.prediction.total + link_cost(self.network, self.board.family)
        parts = reduce(add, (c.cost for c in found.choice.chosen), self._fixed)
        beyond = {
            f.name: max(getattr(whole, f.name) - getattr(parts, f.name), 0) for f in fields(Cost)
        }
        self.room = replace(self.room, fixed=self._fixed + Cost(**beyond))

    @property
    def _fixed(self) -> Cost:
        """What has no form."""
        return self.candidates.fixed + link_cost(self.network, self.board.family)

    def _too_large(self, share: float, scarcest: str, forms: str) -> str:
        usable = self.room.usable(scarcest)
        # shares are of what the margin leaves
        return (
            f"{self.board.title} is too small: the design would take {share * usable:.0%} of its "
            f"{RESOURCES[scarcest]}, of which {usable:.0%} may be used, at least, with {forms}"
        )


def _thinned(found: Sequence[int]) -> list[int]:
    """Some of many paces: the slowest of those that differ by less than 2 %, and the fastest."""
    if len(found) <= _POINTS:
        return list(found)
    kept = [found[0]]
    for pace, following in pairwise([*found[1:], math.inf]):
        if following > kept[-1] * _STEP:
            kept.append(int(pace))
    return kept


def _forms(choice: Choice) -> str:
    return folding_name({c.layer: c.form for c in choice.chosen if c.form is not None})
