"""Signs of the nodes of an adder graph, such that subtractions and negated outputs cost little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from hwgen.numeric import Range

__all__ = ["Sum", "settle_signs"]

_NEVER = 1 << 40


@dataclass(frozen=True)
class Sum:
    """A positive multiple of the input: ``|(first << shift) ± second|``, before a right shift.

    ``first`` and ``second`` are places in the list of sums, with the input at 0; ``signs`` are
    those of the two operands that make the value positive; ``down`` is the shift.
    """

    value: int
    first: int
    shift: int
    second: int
    signs: tuple[int, int]
    down: int


def settle_signs(
    sums: Sequence[Sum],
    span: Range,
    outputs: Sequence[tuple[int, int, int]],
    start: Sequence[int],
) -> tuple[list[int], int]:
    """Sign (1 or -1) of every value, and the cells, by local search over one or two signs at once.

    A node may negate one operand; if that is the lower one, the low bits of the sum are no wires
    any more. An output of the other sign than its node is negated, which costs its width.

    Parameters
    ----------
    sums : sequence of Sum
        Node ``k - 1`` at place k - 1, each after what it reads.
    span : Range
        Range of the input.
    outputs : sequence of (place, sign, width)
        Place of the value that an output shows, its sign, and the cells of its negation.
    start : sequence of int
        Signs, the input's first (which stays), with which no sum negates both operands.
    """
    signs = list(start)
    tables = [_costs(s, span) for s in sums]
    shown = [[0, 0] for _ in signs]
    for place, sign, width in outputs:
        shown[place][sign > 0] += width
    readers: list[list[int]] = [[] for _ in signs]
    for k, s in enumerate(sums, start=1):
        for place in {s.first, s.second}:
            readers[place].append(k)

    def cost(k: int) -> int:
        s = sums[k - 1]
        return tables[k - 1][signs[k], signs[s.first], signs[s.second]] + shown[k][signs[k] < 0]

    def gain(flips: tuple[int, ...]) -> int:
        """Cells saved by turning the signs round; they stay so if it is more than 0."""
        touched = {*flips, *(r for k in flips for r in readers[k])}
        before = sum(map(cost, touched))
        for k in flips:
            signs[k] = -signs[k]
        saved = before - sum(map(cost, touched))
        if saved <= 0:
            for k in flips:
                signs[k] = -signs[k]
        return saved

    neighbours = [
        (k, place) for k, s in enumerate(sums, start=1) for place in {s.first, s.second} if place
    ]
    moves = [*((k,) for k in range(1, len(signs))), *neighbours]
    while any([gain(move) > 0 for move in moves]):
        pass
    return signs, sum(map(cost, range(1, len(signs)))) + shown[0][0]


def _costs(s: Sum, span: Range) -> dict[tuple[int, int, int], int]:
    """Adder cells for each sign of the node, of the first and of the second operand."""
    costs: dict[tuple[int, int, int], int] = {}
    for own, first, second in product((1, -1), repeat=3):
        negated = own * first * s.signs[0] < 0, own * second * s.signs[1] < 0
        if all(negated):
            costs[own, first, second] = _NEVER
            continue
        width = span.scale(own * s.value).width
        costs[own, first, second] = width - (0 if negated[1] else s.shift)
    return costs
