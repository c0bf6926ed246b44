"""Which values of a pipelined adder graph are kept as complements, so that inverters are few.

A carry chain that takes its operands as they are (iCE40) cannot subtract: it adds the complement of
the operand, which costs a LUT a bit. But a register holds a complement as well as the value, and
what inverts a sum is part of the LUT that makes it. With P and N for the bitwise complements of p
and n, p + n is the complement of P + N + 1, and p - n is p + N + 1, or the complement of P + n:
whatever the signs, either form of one operand goes with one form of the other for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hwgen.shiftadd.adder import operand_range
from hwgen.shiftadd.graph import Adder, AdderGraph, Operand
from hwgen.shiftadd.schedule import Schedule

__all__ = ["Chains", "Polarities", "plus_and_other", "polarities", "polarities_of", "wired_bits"]

_ROUNDS = 8  # attempts at every value that needs inverters, in the mean
_MOST_ROUNDS = 20_000


@dataclass(frozen=True)
class Chains:
    """The registers that the values of a graph pass through, and where nodes read them.

    Parameters
    ----------
    widths : tuple of int
        Bits of each value, inputs first; 0 of constant ones, which take either form.
    registers : tuple of int
        Registers behind each value.
    wired : tuple of int
        Bits of each node that are bits of an operand.
    reads : tuple of (int, int)
        For each node, behind how many registers it reads its operands, in the order of
        :func:`plus_and_other`.
    """

    widths: tuple[int, ...]
    registers: tuple[int, ...]
    wired: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]

    @classmethod
    def of_schedule(cls, graph: AdderGraph, plan: Schedule) -> Chains:
        """Chains of a pipeline whose values pass whole."""
        count = len(graph.inputs)
        return cls(
            tuple(0 if r.lo == r.hi else r.width for r in graph.ranges),
            tuple(max(0, read - made) for read, made in zip(plan.read, plan.made, strict=True)),
            tuple(wired_bits(graph, index) for index in range(len(graph.nodes))),
            tuple(
                (made - plan.made[plus.source], made - plan.made[other.source])
                for made, (plus, other, _) in zip(
                    plan.made[count:], map(plus_and_other, graph.nodes), strict=True
                )
            ),
        )


@dataclass(frozen=True)
class Polarities:
    """Form of every operand and register of a pipelined adder graph.

    ``modes`` tells for each node whether it takes its first operand (:func:`plus_and_other`) as a
    complement; it takes the other as one if it does not for exactly one of this and that the node
    subtracts. ``kept`` tells for each value, inputs first, whether it is a complement as computed
    and in each register that it passes. ``inverters`` is the number of bits inverted in LUTs of
    their own.
    """

    modes: tuple[bool, ...]
    kept: tuple[tuple[bool, ...], ...]
    inverters: int


def plus_and_other(node: Adder) -> tuple[Operand, Operand, bool]:
    """An operand that is not negated, the other one, and whether that is."""
    low, high = sorted((node.left, node.right), key=lambda o: o.shift)
    return (high, low, True) if low.negate else (low, high, high.negate)


def wired_bits(graph: AdderGraph, index: int) -> int:
    """Low bits of a node that are bits of an operand; all, if its operands do not overlap."""
    node = graph.nodes[index]
    width = graph.ranges[len(graph.inputs) + index].width
    low, high = sorted((node.left, node.right), key=lambda o: o.shift)
    if low.negate:
        return 0
    start = min(max(high.shift, 0), width)
    span = operand_range(graph.ranges[low.source], low)
    return width if not high.negate and span.lo >= 0 and span.hi >> start == 0 else start


def polarities(graph: AdderGraph, plan: Schedule) -> Polarities:
    """Forms of a pipelined adder graph whose values pass whole: see :func:`polarities_of`."""
    return polarities_of(graph, Chains.of_schedule(graph, plan))


def polarities_of(graph: AdderGraph, chains: Chains) -> Polarities:
    """Choose forms with few inverters, by local search; the same every time.

    A descent that changes nodes one by one is followed by attempts at values in both forms: all
    that read such a value are made to want one form of it, then other nodes are changed as long as
    that saves inverters, and all this stays if there are no more of them than before.
    """
    search = _Search(graph, chains)
    search.descend(range(len(graph.nodes)), frozenset())
    rng = np.random.default_rng(0)
    rounds = min(_ROUNDS * len(search.costly()), _MOST_ROUNDS)
    for pick, form in rng.random((rounds, 2)).tolist():
        costly = search.costly()
        if not costly:
            break
        search.attempt(costly[int(pick * len(costly))], form < 0.5)
    kept = tuple(tuple(search.chain(value)[1]) for value in range(len(graph.ranges)))
    return Polarities(tuple(search.modes), kept, search.total)


class _Search:
    """Modes of all nodes and the inverters that each value then needs."""

    def __init__(self, graph: AdderGraph, chains: Chains) -> None:
        count = len(graph.inputs)
        self._count = count
        self._widths, self._wired, self._reads = chains.widths, chains.wired, chains.reads
        self._sources = [plus_and_other(node) for node in graph.nodes]
        # Number of readers of each value that want it true and complemented, after each register.
        self._wanted = [[[0, 0] for _ in range(steps + 1)] for steps in chains.registers]
        self.modes = [False] * len(graph.nodes)
        for output in graph.outputs:
            if output is not None:
                self._wanted[output.source][-1][False] += 1
        self._readers: list[list[int]] = [[] for _ in self._widths]
        for index, (plus, other, _) in enumerate(self._sources):
            self._read(index, 1)
            for source in {plus.source, other.source}:
                self._readers[source].append(index)
        # Values whose cost the mode of a node decides, and the nodes that decide one of a value.
        self._touched = [
            tuple({plus.source, other.source, count + index})
            for index, (plus, other, _) in enumerate(self._sources)
        ]
        self._near = [
            (*readers, value - count) if value >= count else tuple(readers)
            for value, readers in enumerate(self._readers)
        ]
        self._costs = [self.chain(value)[0] for value in range(len(self._widths))]
        self.total = sum(self._costs)

    def _read(self, index: int, change: int) -> None:
        """Count or forget what a node wants of its operands."""
        plus, other, negated = self._sources[index]
        mode = self.modes[index]
        forms = (mode, mode ^ negated)
        for operand, step, form in zip((plus, other), self._reads[index], forms, strict=True):
            self._wanted[operand.source][step][form] += change

    def flip(self, index: int) -> None:
        """Change the mode of a node."""
        self._read(index, -1)
        self.modes[index] = not self.modes[index]
        self._read(index, 1)
        for value in self._touched[index]:
            cost = self.chain(value)[0]
            self.total += cost - self._costs[value]
            self._costs[value] = cost

    def costly(self) -> list[int]:
        """Values that need inverters."""
        return [value for value, cost in enumerate(self._costs) if cost]

    def attempt(self, value: int, form: bool) -> None:
        """Have all readers of a value want one form of it, if that takes no more inverters."""
        before = self.total
        fixed = frozenset(self._readers[value])
        flipped = [index for index in fixed if self._form(index, value) != form]
        for index in flipped:
            self.flip(index)
        near = {n for index in flipped for v in self._touched[index] for n in self._near[v]}
        flipped += self.descend(sorted(near), fixed)
        if self.total > before:
            for index in flipped:
                self.flip(index)

    def _form(self, index: int, value: int) -> bool:
        """The form of a value that a node wants."""
        plus, _, negated = self._sources[index]
        return self.modes[index] ^ (negated and plus.source != value)

    def descend(self, nodes: Iterable[int], fixed: frozenset[int]) -> list[int]:
        """Change nodes, but not the ``fixed``, while that saves inverters; returns the changed."""
        waiting = deque(index for index in nodes if index not in fixed)
        queued = set(waiting)
        flipped = []
        while waiting:
            index = waiting.popleft()
            queued.discard(index)
            before = self.total
            self.flip(index)
            if self.total >= before:
                self.flip(index)
                continue
            flipped.append(index)
            for value in self._touched[index]:
                for near in self._near[value]:
                    if near not in fixed and near not in queued:
                        queued.add(near)
                        waiting.append(near)
        return flipped

    def chain(self, value: int) -> tuple[int, list[bool]]:
        """Fewest inverters of a value, and its form as computed and in each register.

        A shortest path over the registers: the form may change before each, for an inverter a bit,
        and both forms may be wanted after one.
        """
        width = self._widths[value]
        node = value - self._count
        if node < 0:
            costs = [0, 1 << 40]
        elif self.modes[node]:
            costs = [self._wired[node], 0]
        else:
            costs = [0, self._wired[node]]
        came: list[tuple[bool, bool]] = []
        for step, (true, complement) in enumerate(self._wanted[value]):
            if step:
                turned = [costs[1] + width < costs[0], costs[0] + width < costs[1]]
                came.append((turned[0], turned[1]))
                costs = [
                    costs[1] + width if turned[0] else costs[0],
                    costs[0] + width if turned[1] else costs[1],
                ]
            costs = [costs[0] + width * (complement > 0), costs[1] + width * (true > 0)]
        form = costs[1] < costs[0]
        forms = [form]
        for turned_pair in reversed(came):
            form ^= turned_pair[form]
            forms.append(form)
        return min(costs), forms[::-1]
