"""What ``bench_ladder.py`` measured, as values and as one JSON file a network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hwgen.flow.intervals import LossInterval, loss_interval

__all__ = ["BITS", "CURVES", "Point", "Results", "load", "pareto", "save"]

_FEWEST_IMAGES = 100

BITS = range(2, 9)
"""Bits of the fixed-point weights."""

CURVES = {
    "frobenius": "nearest weights, one set",
    "output": "nearest outputs, one set",
    "searched frobenius": "nearest weights, searched mix",
    "searched output": "nearest outputs, searched mix",
    "fixed point": "k-bit fixed point in CSD",
    "fixed point, best scale": "k-bit fixed point in CSD, best scale a filter",
}
"""What is compared, by its short name."""


@dataclass(frozen=True)
class Point:
    """One approximation of a network, measured on the test images in floating point.

    ``name`` is a set, a number of bits or a point of a front, and ``mix`` the recipes of all
    layers. ``mean_terms`` are signed powers of two a weight, ``additions`` those of the whole
    network for one image before sharing. ``error`` is the root-mean-square difference of the
    outputs relative to the float network's. ``spoiled`` images are right in the float network
    alone, ``gained`` ones in the approximated one alone; None without classes. ``integer`` are the
    same two numbers of the integer network, if it was run.

    Of a point of a front, ``choosing_loss`` is what it loses, in shares of 1, on the images that
    choose; ``cautious`` and ``by_loss`` are the budgets, in shares of 1, that chose it: by the rule
    of the search, or as the least terms whose ``choosing_loss`` keeps the budget.
    """

    curve: str
    name: str
    mix: str
    mean_terms: float
    additions: int
    error: float
    spoiled: int | None = None
    gained: int | None = None
    choosing_loss: float | None = None
    cautious: tuple[float, ...] = ()
    by_loss: tuple[float, ...] = ()
    integer: tuple[int, int] | None = None

    @property
    def chosen(self) -> bool:
        """Whether a budget chose it."""
        return bool(self.cautious or self.by_loss)


@dataclass(frozen=True)
class Results:
    """All points of one network, and what they were measured with.

    ``right`` of ``test`` images are decided right by the float network, None without classes;
    ``calibration`` and ``choosing`` are numbers of other images, the same ones if
    ``shared``. ``multiplications`` and ``additions`` are those of the float network for one image.
    ``failed`` says of a curve why it has no points.
    """

    network: str
    weights: int
    test: int
    right: int | None
    calibration: int
    choosing: int
    multiplications: int
    additions: int
    points: tuple[Point, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    shared: bool = False

    def of(self, curve: str) -> tuple[Point, ...]:
        """Points of one curve, fewest terms first."""
        return tuple(sorted((p for p in self.points if p.curve == curve), key=_cost))

    def choosing_by(self, images: int, *, shared: bool) -> Results:
        """The same without what was searched, because other images are to choose."""
        kept = tuple(point for point in self.points if not point.curve.startswith("searched"))
        return replace(self, choosing=images, shared=shared, points=kept, failed=())

    def with_points(self, points: Iterable[Point]) -> Results:
        """The same with more points."""
        return replace(self, points=(*self.points, *points))

    @property
    def decides(self) -> bool:
        """Whether there are classes, and test images enough for an accuracy."""
        return self.right is not None and self.test >= _FEWEST_IMAGES

    def correct(self, point: Point) -> int:
        """Number of test images that ``point`` decides right."""
        assert self.right is not None
        assert point.spoiled is not None
        assert point.gained is not None
        return self.right - point.spoiled + point.gained

    def accuracy(self, point: Point) -> float:
        """Share of the test images that ``point`` decides right."""
        return self.correct(point) / self.test

    def quality(self, point: Point) -> float:
        """What is compared, the greater the better: accuracy, or else the output's error."""
        return self.accuracy(point) if self.decides else -point.error

    def interval(self, point: Point) -> LossInterval:
        """Loss of ``point`` against the float network with its 95 % limits."""
        assert point.spoiled is not None
        assert point.gained is not None
        return loss_interval(point.spoiled, point.gained, self.test)


def _cost(point: Point) -> tuple[float, int]:
    return point.mean_terms, point.additions


def pareto(results: Results, points: Iterable[Point]) -> tuple[Point, ...]:
    """Those of ``points`` that none of as few terms equals in accuracy, or else in error."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.mean_terms, -results.quality(p))):
        if not best or results.quality(point) > results.quality(best[-1]):
            best.append(point)
    return tuple(best)


def load(path: Path) -> Results | None:
    """Results that :func:`save` wrote; None if there is no such file."""
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    points = []
    for entry in record.pop("points"):
        for name in ("cautious", "by_loss"):
            entry[name] = tuple(entry[name])
        entry["integer"] = tuple(entry["integer"]) if entry["integer"] else None
        points.append(Point(**entry))
    failed = tuple((curve, reason) for curve, reason in record.pop("failed", ()))
    return Results(**record, points=tuple(points), failed=failed)


def save(results: Results, path: Path) -> None:
    """Write ``results`` as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
