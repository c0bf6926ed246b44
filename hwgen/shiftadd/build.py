"""Making adder graphs term by term: shared nodes, balanced sums, signs that cost nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hwgen.numeric import Range, csd
from hwgen.shiftadd.adder import operand_range
from hwgen.shiftadd.graph import Adder, AdderGraph, Operand

__all__ = ["Builder", "fold_signs", "prune", "scaled", "with_bias"]

_MOST_FLIPS = 5


@dataclass
class Builder:
    """Adder graph under construction; with ``share``, equal nodes are made once."""

    inputs: Sequence[Range]
    share: bool = True
    nodes: list[Adder] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    spans: list[Range] = field(default_factory=list)
    _known: dict[Adder, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.depths = [0] * len(self.inputs)
        self.spans = list(self.inputs)

    def add(self, a: Operand, b: Operand) -> Operand:
        """The sum of two operands, by a node that is shifted down and subtracts what is cheaper.

        A node must not negate both operands; and the low bits of the operand that reaches lower
        are wires if it is not negated, so the other one is subtracted.
        """
        shift = min(a.shift, b.shift)
        lower = a if a.shift < b.shift else b
        negate = lower.negate and (a.negate == b.negate or a.shift != b.shift)
        left = Operand(a.source, a.shift - shift, a.negate != negate)
        right = Operand(b.source, b.shift - shift, b.negate != negate)
        if (left.negate, left.source, left.shift) > (right.negate, right.source, right.shift):
            left, right = right, left
        node = Adder(left, right)
        index = self._known.get(node) if self.share else None
        if index is None:
            index = len(self.inputs) + len(self.nodes)
            self.nodes.append(node)
            self._known[node] = index
            self.depths.append(1 + max(self.depths[a.source], self.depths[b.source]))
            self.spans.append(
                operand_range(self.spans[left.source], left)
                + operand_range(self.spans[right.source], right)
            )
        return Operand(index, shift, negate)

    def sum(self, terms: Iterable[Operand]) -> Operand | None:
        """The sum of any number of operands in a tree of the least possible depth, or None.

        The two shallowest operands are joined first, which gives depth ``ceil(log2(sum of
        2**depth))``, the least there is; of equally shallow ones the narrowest.
        """
        heap: list[tuple[int, int, int, Operand]] = []
        for number, term in enumerate(terms):
            heap.append((*self._rank(term), number, term))
        heapq.heapify(heap)
        number = len(heap)
        while len(heap) > 1:
            first, second = heapq.heappop(heap)[-1], heapq.heappop(heap)[-1]
            joined = self.add(first, second)
            heapq.heappush(heap, (*self._rank(joined), number, joined))
            number += 1
        return heap[0][-1] if heap else None

    def _rank(self, term: Operand) -> tuple[int, int]:
        span = self.spans[term.source]
        return self.depths[term.source], (span.hi - span.lo) << max(term.shift, 0)

    def graph(self, outputs: Iterable[Operand | None]) -> AdderGraph:
        """The finished graph."""
        return AdderGraph(tuple(self.inputs), tuple(self.nodes), tuple(outputs))


def prune(graph: AdderGraph) -> AdderGraph:
    """The same graph without nodes that no output needs."""
    count = len(graph.inputs)
    needed = [False] * (count + len(graph.nodes))
    for output in graph.outputs:
        if output is not None:
            needed[output.source] = True
    for index in range(len(graph.nodes) - 1, -1, -1):
        if needed[count + index]:
            needed[graph.nodes[index].left.source] = True
            needed[graph.nodes[index].right.source] = True
    number = list(range(count))

    def moved(operand: Operand) -> Operand:
        return Operand(number[operand.source], operand.shift, operand.negate)

    nodes: list[Adder] = []
    for index, node in enumerate(graph.nodes):
        number.append(count + len(nodes))
        if needed[count + index]:
            nodes.append(Adder(moved(node.left), moved(node.right)))
    outputs = tuple(o and moved(o) for o in graph.outputs)
    return AdderGraph(graph.inputs, tuple(nodes), outputs)


def fold_signs(graph: AdderGraph) -> AdderGraph:
    """The same graph with negated outputs absorbed by subtractions where that is possible.

    Turning round a difference ``a - b`` costs nothing, and whatever else reads it subtracts instead
    of adding. Where a node would then negate both operands, it or one of its operands is turned
    round as well, a few steps deep; if that leads nowhere, the output stays negated.
    """
    count = len(graph.inputs)
    readers: list[list[int]] = [[] for _ in range(count + len(graph.nodes))]
    shown: list[list[bool]] = [[] for _ in readers]
    for index, node in enumerate(graph.nodes, start=count):
        for source in sorted({node.left.source, node.right.source}):
            readers[source].append(index)
    for output in graph.outputs:
        if output is not None:
            shown[output.source].append(output.negate)

    done: frozenset[int] = frozenset()

    def negates_both(value: int, new: frozenset[int]) -> bool:
        node = graph.nodes[value - count]
        flips = done ^ new
        return all(
            o.negate ^ (o.source in flips) ^ (value in flips) for o in (node.left, node.right)
        )

    def repair(flips: frozenset[int]) -> frozenset[int] | None:
        """``flips`` and what else has to be turned round with them; None if that fails."""
        affected = {*flips, *(reader for value in flips for reader in readers[value])}
        broken = [value for value in sorted(affected) if negates_both(value, flips)]
        if not broken:
            return flips
        if len(flips) >= _MOST_FLIPS:
            return None
        node = graph.nodes[broken[0] - count]
        for value in (node.left.source, node.right.source, broken[0]):
            if value >= count and value not in flips and not shown[value]:
                result = repair(flips | {value})
                if result is not None:
                    return result
        return None

    for value, signs in enumerate(shown):
        if value >= count and 2 * sum(signs) > len(signs):
            done ^= repair(frozenset({value})) or frozenset()
    return _flipped(graph, done)


def _flipped(graph: AdderGraph, flips: frozenset[int]) -> AdderGraph:
    """The graph with the sign of the values ``flips`` changed, and nothing else."""

    def read(operand: Operand, *, turn: bool = False) -> Operand:
        negate = operand.negate ^ turn ^ (operand.source in flips)
        return (
            operand if negate == operand.negate else Operand(operand.source, operand.shift, negate)
        )

    nodes = tuple(
        Adder(read(node.left, turn=value in flips), read(node.right, turn=value in flips))
        for value, node in enumerate(graph.nodes, start=len(graph.inputs))
    )
    return AdderGraph(graph.inputs, nodes, tuple(o and read(o) for o in graph.outputs))


def with_bias(graph: AdderGraph, bias: Sequence[int]) -> AdderGraph:
    """The graph with a constant added to each output and without negated outputs.

    Each constant becomes an input that has this one value, after the graph's own inputs; an output
    that is negated or has a bias other than zero becomes a new node at the end.
    """
    count = len(graph.inputs)
    constants: list[Range] = []
    added: list[tuple[int, Operand]] = []
    for index, (output, constant) in enumerate(zip(graph.outputs, bias, strict=True)):
        if (output is not None and output.negate) or constant:
            added.append((index, Operand(count + len(constants))))
            constants.append(Range(constant, constant))

    def moved(operand: Operand) -> Operand:
        source = operand.source
        return operand if source < count else replace(operand, source=source + len(constants))

    nodes = [Adder(moved(node.left), moved(node.right)) for node in graph.nodes]
    outputs = [None if o is None else moved(o) for o in graph.outputs]
    for index, constant_input in added:
        output = outputs[index]
        if output is None:
            outputs[index] = constant_input
            continue
        outputs[index] = Operand(count + len(constants) + len(nodes))
        nodes.append(Adder(constant_input, output))
    return AdderGraph((*graph.inputs, *constants), tuple(nodes), tuple(outputs))


def scaled(graph: AdderGraph, factors: Sequence[int]) -> AdderGraph:
    """The graph with each output multiplied by a factor, in canonical signed digits."""
    builder = Builder(graph.inputs)
    builder.nodes = list(graph.nodes)
    builder.depths = list(graph.depths)
    builder.spans = list(graph.ranges)
    outputs: list[Operand | None] = []
    for output, factor in zip(graph.outputs, factors, strict=True):
        if output is None:
            outputs.append(None)
            continue
        terms = [
            Operand(output.source, output.shift + digit.exponent, output.negate ^ (digit.sign < 0))
            for digit in csd(factor)
        ]
        outputs.append(builder.sum(terms))
    return builder.graph(outputs)
