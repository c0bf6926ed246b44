"""Adder graphs a digit at a time: when each value's word begins, with the fewest delay registers.

A word passes as N digits of D bits, the least significant first. A shift to the left by
``s = q * D + r`` is no hardware of its own: the shifted word has q digits more, all zero, before
the others, and takes r bits of each digit from the digit before. All sums are exact modulo
``2**(N * D)``, which is enough for whatever is read of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from hwgen.shiftadd.graph import Adder, AdderGraph, Operand

__all__ = ["Alignment", "Field", "align", "without_right_shifts"]


@dataclass(frozen=True)
class Field:
    """``width`` bits of a value, from bit ``low`` upwards."""

    source: int
    low: int
    width: int

    @property
    def stop(self) -> int:
        """The bit after the highest."""
        return self.low + self.width


@dataclass(frozen=True)
class Alignment:
    """When each digit of each value of a graph is there.

    Cycles count from the one, 0, in which the inputs' first digits are there. Digit j of value v is
    there in cycle ``begin[v] + j``; a node computes it in the cycle before, and bit b of each digit
    passes through ``depth[v][b]`` registers after that of the sum. All fields are complete in cycle
    ``latency``.

    Parameters
    ----------
    digit : int
        Bits of a digit.
    digits : int
        Digits of a word, which are the cycles from one word to the next.
    begin : tuple of int
        Of each value, inputs first; of no meaning for constant ones.
    depth : tuple of tuple of int
        Delay registers of each bit of the digits of each value.
    latency : int
        At least 1.

    Nodes begin in cycle 2 at the earliest, so that what prepares them for a new word (no carry) may
    happen in the cycle before they compute its first digit.
    """

    digit: int
    digits: int
    begin: tuple[int, ...]
    depth: tuple[tuple[int, ...], ...]
    latency: int

    def delay(self, graph: AdderGraph, index: int, operand: Operand) -> int:
        """Cycles by which node ``index`` delays a digit of an operand before it adds it."""
        start = self.begin[len(graph.inputs) + index] - 1
        return start + operand.shift // self.digit - self.begin[operand.source]

    def bits(
        self, graph: AdderGraph, index: int, operand: Operand
    ) -> tuple[tuple[int, int, int], ...]:
        """Where each bit of the digits of an operand comes from.

        As the bit of the source's digit, the registers behind that of the sum after which it is
        read, and the digits of zero that a word begins with.
        """
        late, rest = divmod(operand.shift, self.digit)
        delay = self.delay(graph, index, operand)
        return tuple(
            ((bit - rest) % self.digit, delay + (bit < rest), late + (bit < rest))
            for bit in range(self.digit)
        )

    def places(self, field: Field) -> tuple[tuple[int, int], ...]:
        """For each bit of a field: the bit of the digit, and its delay in cycle ``latency``."""
        since = self.latency - self.begin[field.source]
        bits = range(field.low, field.stop)
        return tuple((bit % self.digit, since - bit // self.digit) for bit in bits)

    def registers(self, graph: AdderGraph) -> int:
        """Bits of all registers of digits, those of the sums included."""
        sums = sum(r.lo != r.hi for r in graph.ranges[len(graph.inputs) :])
        return sums * self.digit + sum(map(sum, self.depth))


def without_right_shifts(graph: AdderGraph) -> AdderGraph:
    """The same graph with operands that are shifted to the left only, outputs apart.

    What would be halved is kept as it is, and whatever is added to it doubled instead.
    """
    scale = [0] * len(graph.inputs)
    nodes = []
    for node in graph.nodes:
        most = max(0, *(scale[o.source] - o.shift for o in node.operands))
        left, right = (replace(o, shift=o.shift - scale[o.source] + most) for o in node.operands)
        nodes.append(Adder(left, right))
        scale.append(most)
    outputs = tuple(o and replace(o, shift=o.shift - scale[o.source]) for o in graph.outputs)
    return AdderGraph(graph.inputs, tuple(nodes), outputs)


def align(
    graph: AdderGraph, fields: Sequence[Field], digit: int, *, digits: int = 1, wait: int = 0
) -> Alignment:
    """Begin every word of ``graph`` so that the fewest bits of registers delay digits.

    A value is kept until the last of its readers has it, bit by bit; choosing the cycles is then a
    linear program with a totally unimodular matrix (retiming with shared registers; Leiserson and
    Saxe, "Retiming synchronous circuitry", 1991). Nodes that add constants begin as late as that
    allows, so that the constants of many can share one counter.

    Parameters
    ----------
    graph
        Graph whose nodes shift to the left only (:func:`without_right_shifts`).
    fields
        What is read of its values in the end, all at the same time.
    digit
        Bits of a digit, at least 1.
    digits
        Fewest digits of a word.
    wait
        Registers behind which each field has its last digit.

    Raises
    ------
    ValueError
        If a digit has no bits or a node shifts to the right.
    """
    if digit < 1:
        raise ValueError(f"A digit must have at least 1 bit, not {digit}")
    if any(o.shift < 0 for node in graph.nodes for o in node.operands):
        raise ValueError("Graph must not shift operands of nodes to the right")
    digits = max([digits, *(-(-field.stop // digit) for field in fields)])
    count, nodes, values = len(graph.inputs), len(graph.nodes), len(graph.ranges)
    constant = [r.lo == r.hi for r in graph.ranges]
    late = [any(constant[o.source] for o in node.operands) for node in graph.nodes]
    # Variables: the begin of every node, the latency, then the depth of every bit of every value.
    depths = nodes + 1
    cost = np.ones(depths + values * digit)
    cost[:nodes] = np.array(late, dtype=np.float64) / -(nodes + 1)
    bounds = np.zeros((len(cost), 2))
    bounds[:, 1] = (graph.depth + 2) * (digits + 1)
    bounds[:nodes, 0] = 2
    bounds[nodes, 0] = 1
    rows = [*_node_rows(graph, digit), *_field_rows(graph, fields, digit, wait)]
    begin = [0] * count + [2] * nodes
    latency, depth = 1, np.zeros((values, digit), dtype=np.int64)
    if rows:
        columns = [
            [(column - count, sign) for column, sign in terms if column >= count]
            for terms, _ in rows
        ]
        matrix = csr_array(
            (
                [sign for row in columns for _, sign in row],
                (
                    np.repeat(np.arange(len(rows)), [len(row) for row in columns]),
                    [column for row in columns for column, _ in row],
                ),
            ),
            shape=(len(rows), len(cost)),
        )
        limits = [float(limit) for _, limit in rows]
        found = linprog(cost, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs-ds")
        solution = np.rint(found.x).astype(np.int64)
        begin[count:] = solution[:nodes].tolist()
        latency = int(solution[nodes])
        depth = solution[depths:].reshape(values, digit)
    return Alignment(digit, digits, tuple(begin), tuple(map(tuple, depth.tolist())), latency)


_Row = tuple[list[tuple[int, int]], int]
"""Terms (column, sign) of a sum, and what it must not exceed.

Columns are the values, the latency, then the bits of the digits of every value.
"""


def _node_rows(graph: AdderGraph, digit: int) -> Iterator[_Row]:
    """Each operand is there when it is needed, and kept until then."""
    count, values = len(graph.inputs), len(graph.ranges)
    for value, node in enumerate(graph.nodes, start=count):
        if graph.ranges[value].lo == graph.ranges[value].hi:
            continue
        for operand in node.operands:
            source = operand.source
            if graph.ranges[source].lo == graph.ranges[source].hi:
                continue
            late, rest = divmod(operand.shift, digit)
            yield [(source, 1), (value, -1)], late - 1
            for bit in range(digit):
                column = values + 1 + source * digit + bit
                before = bit >= digit - rest
                yield [(value, 1), (source, -1), (column, -1)], 1 - late - before


def _field_rows(
    graph: AdderGraph, fields: Sequence[Field], digit: int, wait: int
) -> Iterator[_Row]:
    """Each field is complete in the end, and comes from registers."""
    count, end = len(graph.inputs), len(graph.ranges)
    for field in fields:
        source = field.source
        if graph.ranges[source].lo == graph.ranges[source].hi:
            continue
        for bit in range(field.low, field.stop):
            place, at = divmod(bit, digit)
            yield [(source, 1), (end, -1)], -place - max(wait, source < count)
            column = end + 1 + source * digit + at
            yield [(end, 1), (source, -1), (column, -1)], place
