"""Fundamentals of one input made into a graph: which sums, and with which signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.numeric import IntArray, Range, odd_part
from hwgen.shiftadd import _fundamentals as f
from hwgen.shiftadd._derive import derive
from hwgen.shiftadd._fundamentals import Space
from hwgen.shiftadd._signs import Sum, settle_signs
from hwgen.shiftadd.build import prune
from hwgen.shiftadd.graph import Adder, AdderGraph, Operand

__all__ = ["FoundGraph"]


@dataclass(frozen=True)
class FoundGraph:
    """What makes graphs of ``constants`` for one input of which ``span`` are the values.

    The fundamentals are those that are found in ``space``; ``deep`` tells that depths have no
    limit. ``derivation`` (fundamentals, 5) is scratch.
    """

    space: Space
    constants: Sequence[int]
    span: Range
    deep: bool
    derivation: IntArray

    def graph(self) -> AdderGraph:
        """The graph in which exactly the fundamentals found are nodes, as far as they are read."""
        constants = self.constants
        found = self.space.found[: self.space.numbers[f.FOUND]].tolist()
        places = {value: place for place, value in enumerate(found)}
        shown = [
            (places[odd_part(abs(c))[0]], 1 if c > 0 else -1, self.span.scale(c).width)
            for c in constants
            if c
        ]
        wanted = [1] * len(found)
        for place, sign, _ in shown:
            wanted[place] = sign if place else 1
        tries = [self._signed(found, shown, first) for first in ([0] * len(found), wanted)]
        sums, signs, _ = min(tries, key=lambda t: t[2])
        downs = [0, *(s.down for s in sums)]

        def read(place: int, shift: int, sign: int) -> Operand:
            return Operand(place, shift - downs[place], sign * signs[place] < 0)

        nodes = tuple(
            Adder(read(s.first, s.shift, sign * s.signs[0]), read(s.second, 0, sign * s.signs[1]))
            for s, sign in zip(sums, signs[1:], strict=True)
        )
        outputs: list[Operand | None] = []
        for c in constants:
            odd, shift = odd_part(abs(c)) if c else (0, 0)
            outputs.append(read(places[odd], shift, 1 if c > 0 else -1) if c else None)
        return prune(AdderGraph((self.span,), nodes, tuple(outputs)))

    def _signed(
        self, found: Sequence[int], shown: Sequence[tuple[int, int, int]], first: Sequence[int]
    ) -> tuple[list[Sum], list[int], int]:
        """Sums and signs, chosen in turn until the cells do not fall; the ``first`` may be 0."""
        sums = self._derived(found, first)
        signs, cells = settle_signs(sums, self.span, shown, [1] * len(found))
        while True:
            new_sums = self._derived(found, signs)
            new_signs, new_cells = settle_signs(new_sums, self.span, shown, signs)
            if new_cells >= cells:
                return sums, signs, cells
            sums, signs, cells = new_sums, new_signs, new_cells

    def _derived(self, found: Sequence[int], signs: Sequence[int]) -> list[Sum]:
        """Every fundamental found as the sum with the fewest cells, given the nodes' signs."""
        derive(
            self.space, float(self.span.lo), float(self.span.hi), self.deep,
            np.array(signs, np.int64), self.derivation,
        )  # fmt: skip
        pairs = ((1, 1), (1, -1), (-1, 1))
        return [
            Sum(value << down, first, shift, second, pairs[pattern], down)
            for value, (first, shift, second, pattern, down) in zip(
                found[1:], self.derivation[1 : len(found)].tolist(), strict=True
            )
        ]
