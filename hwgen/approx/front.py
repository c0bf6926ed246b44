"""The Pareto front of a search: named approximations, none of which another beats in everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from hwgen import serial
from hwgen.errors import DataError

__all__ = ["Check", "Front", "Point", "from_json", "pareto", "to_json"]


@dataclass(frozen=True)
class Check:
    """A mix that was tried on the whole choosing split.

    ``mix`` as :func:`~hwgen.approx.recipes.parse_mix` reads it; ``cost`` of the whole network in
    the unit of the search; ``mean_terms``: signed powers of two a weight; ``loss``, ``spoiled`` and
    ``error`` as in :class:`~hwgen.approx.measure.Loss`.
    """

    mix: str
    cost: float
    mean_terms: float
    loss: float
    spoiled: float
    error: float

    def beats(self, other: Check) -> bool:
        """Whether this is at least as good in cost, loss, spoiled decisions and output error."""
        return (
            self.cost <= other.cost
            and self.loss <= other.loss
            and self.spoiled <= other.spoiled
            and self.error <= other.error
        )


@dataclass(frozen=True)
class Point:
    """A :class:`Check` on the front under the name by which it can be built."""

    name: str
    mix: str
    cost: float
    mean_terms: float
    loss: float
    spoiled: float
    error: float


@dataclass(frozen=True)
class Front:
    """All approximations that are worth building, and the one that the budget chose.

    ``metric`` says what ``loss`` and ``budget`` mean (see :class:`~hwgen.approx.measure.Loss`),
    ``cost`` is the name of the cost, ``images`` the size of the choosing split. ``points`` go from
    the cheapest, ``p1``, to the finest; ``chosen`` is the cheapest one that keeps the budget.
    """

    metric: str
    cost: str
    budget: float
    images: int
    points: tuple[Point, ...]
    chosen: str

    def point(self, name: str) -> Point:
        """The point called ``name``; :class:`DataError` if there is none."""
        for point in self.points:
            if point.name == name.strip():
                return point
        raise DataError(
            f"Point must be one of {self.points[0].name} to {self.points[-1].name} of the front, "
            f"not {name!r}; 'hwgen front' lists them"
        )


def pareto(checks: Iterable[Check]) -> tuple[Point, ...]:
    """The checks that no other beats, cheapest first, named ``p1``, ``p2`` and so on.

    Of checks that are equal in everything that counts the first stays.
    """
    kept: list[Check] = []
    for check in checks:
        if not any(other.beats(check) for other in kept):
            kept = [other for other in kept if not check.beats(other)]
            kept.append(check)
    kept.sort(key=lambda check: (check.cost, check.error, check.mix))
    return tuple(Point(f"p{number}", **asdict(check)) for number, check in enumerate(kept, 1))


def to_json(front: Front) -> str:
    """Exact JSON text of a front."""
    return serial.dumps(front)


def from_json(text: str) -> Front:
    """Inverse of :func:`to_json`; :class:`DataError` if the text is none."""
    front = serial.loads(text, [Front, Point], Front)
    if not front.points or front.chosen not in {point.name for point in front.points}:
        raise DataError("A front must hold the point that was chosen")
    return front
