"""One greedy graph: merging, differences, two-term elimination, balanced sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.numeric import Range, csd_weight, odd_part
from hwgen.shiftadd._cse import eliminate
from hwgen.shiftadd._problem import BYTE, DEEPEST
from hwgen.shiftadd._transpose import transposed
from hwgen.shiftadd._tree import difference_tree
from hwgen.shiftadd._turned_tree import turned_tree
from hwgen.shiftadd.adder import operand_range
from hwgen.shiftadd.build import Builder, fold_signs, prune
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["Rule", "composed", "greedy", "merged"]

_MOST_PAIRS = 1 << 24  # of terms of a column, over all columns, in one block of rows
_MOST_LOOKS = 1 << 28  # about, in pairs, times patterns that are looked at more closely
_MOST_TREE_BITS = 58


@dataclass(frozen=True)
class Rule:
    """How a greedy graph is made.

    Parameters
    ----------
    by_bits, deep, noise, choices, worth
        See :func:`~hwgen.shiftadd._cse.eliminate`.
    furthest : int
        Differences that a column may be made of, one after the other; 1: none.
    spare : int
        Levels that differences leave for shared patterns, if the depth has a limit.
    turned : bool
        Make a graph of the transposed matrix and turn it round.
    """

    by_bits: bool = False
    deep: bool = True
    noise: int = 1
    choices: int = 128
    worth: int = 2
    furthest: int = 1
    spare: int = 1
    turned: bool = False


@dataclass(frozen=True)
class _Limits:
    """How deep the sums of all columns may be, and, in the graph turned round, those of all rows.

    Parameters
    ----------
    depth : int
        Of a column.
    taken : sequence of int
        Of the ``2**depth`` digits of each column those that it leaves to others.
    turned : int
        Of a row; -1: any.
    shares : int64 (columns,)
        In a row's sum, how many of its ``2**turned`` digits one digit of each column takes.
    """

    depth: int
    taken: Sequence[int]
    turned: int
    shares: npt.NDArray[np.int64]

    def allow(self, rows: Sequence[Sequence[int]]) -> bool:
        """Whether rows with nothing shared are within ``turned``."""
        shares = self.shares.tolist()
        sums = (sum(csd_weight(v) * s for v, s in zip(r, shares, strict=True)) for r in rows)
        return self.turned < 0 or max(sums) <= 1 << self.turned


def greedy(
    rows: Sequence[Sequence[int]], inputs: tuple[Range, ...], depth: int, rule: Rule
) -> AdderGraph | None:
    """A graph of the matrix ``rows`` (inputs, outputs), no deeper than ``depth``.

    None if the rule leads to none.
    """
    if rule.turned:
        columns = list(zip(*rows, strict=True))
        graph = _direct(columns, (BYTE,) * len(columns), rule, turned=depth)
        graph = graph and transposed(graph, inputs)
    else:
        graph = _direct(rows, inputs, rule, depth=depth)
    return graph if graph is not None and graph.depth <= depth else None


def _normal(vector: Sequence[int]) -> tuple[tuple[int, ...], int, bool] | None:
    """(base, shift, negate) with ``vector == +-base << shift``; None for a vector of zeros.

    Some entry of the base is odd, and its first entry that is not zero is positive.
    """
    union = 0
    for v in vector:
        union |= v
    if union == 0:
        return None
    _, shift = odd_part(union)
    negate = next(v for v in vector if v) < 0
    return tuple((-v if negate else v) >> shift for v in vector), shift, negate


def merged(
    vectors: Iterable[Sequence[int]],
) -> tuple[list[tuple[int, ...]], list[Operand | None]]:
    """Distinct normal vectors, and each vector as a shifted, signed reference to one of them."""
    bases: dict[tuple[int, ...], int] = {}
    references: list[Operand | None] = []
    for vector in vectors:
        normal = _normal(vector)
        if normal is None:
            references.append(None)
            continue
        base, shift, negate = normal
        references.append(Operand(bases.setdefault(base, len(bases)), shift, negate))
    return list(bases), references


def _direct(
    rows: Sequence[Sequence[int]], inputs: tuple[Range, ...], rule: Rule, *, depth: int = DEEPEST,
    turned: int = DEEPEST,
) -> AdderGraph | None:  # fmt: skip
    """A graph no deeper than ``depth``, and, turned round, than ``turned``; or None."""
    wide = max(abs(v) for row in rows for v in row) >> _MOST_TREE_BITS
    wholes, outputs = merged(zip(*rows, strict=True))
    if not wholes:
        return AdderGraph(inputs, (), (None,) * len(outputs))
    builder = Builder(inputs, share=turned >= DEEPEST)
    columns = wholes
    tree: list[list[int]] = []
    taken = [0] * len(columns)
    repeats = np.bincount([o.source for o in outputs if o is not None])
    shares = np.array([1 << (int(r) - 1).bit_length() for r in repeats], dtype=np.int64)
    if rule.furthest > 1 and not wide:
        array = np.array(wholes, dtype=np.int64)
        if turned < DEEPEST:
            full = turned_tree(array, repeats, max(turned - rule.spare, 0))
            tree, shares = full[:, :4].tolist(), np.int64(1) << full[:, 4]
        else:
            deepest = depth if depth >= DEEPEST else max(depth - rule.spare, 0)
            tree = difference_tree(array, rule.furthest, deepest).tolist()
        columns = [
            tuple(v - sign * w for v, w in zip(wholes[c], wholes[parent], strict=True))
            if parent >= 0
            else wholes[c]
            for c, parent, sign, _ in tree
        ]
        if depth < DEEPEST:
            taken = _taken(tree, depth)
    groups, members = merged(zip(*columns, strict=True))
    grouped = [
        builder.sum(
            Operand(row, m.shift, m.negate)
            for row, m in enumerate(members)
            if m is not None and m.source == group
        )
        for group in range(len(groups))
    ]
    sources = [s for s in grouped if s is not None]
    digits = [
        sum(csd_weight(v) << builder.depths[s.source] for v, s in zip(c, sources, strict=True))
        for c in zip(*groups, strict=True)
    ]
    if any(d + t > 1 << depth for d, t in zip(digits, taken, strict=True)):
        groups = [tuple(r) for r in zip(*columns, strict=True)]
        sources = [Operand(row) for row in range(len(groups))]
    limits = _Limits(depth, taken, turned if turned < DEEPEST else -1, shares)
    if not limits.allow(groups):
        return None
    terms = _eliminated(builder, groups, sources, limits, rule)
    if tree:
        sums: list[Operand | None] = [None] * len(wholes)
        for column, (c, parent, sign, _) in zip(terms, tree, strict=True):
            if parent >= 0:
                column.append(composed(sums[parent], Operand(0, 0, sign < 0)))
            sums[c] = builder.sum(column)
    else:
        sums = [builder.sum(column) for column in terms]
    graph = builder.graph(None if o is None else composed(sums[o.source], o) for o in outputs)
    return prune(fold_signs(graph))


def _taken(tree: Sequence[Sequence[int]], depth: int) -> list[int]:
    """Of ``2**depth`` digits of each column what its parent and those made of it take."""
    limits = {c: depth for c, _, _, _ in tree}
    for c, parent, _, digits in reversed(tree):
        if parent >= 0:
            limits[parent] = min(limits[parent], ((1 << limits[c]) - digits).bit_length() - 1)
    return [
        (1 << depth) - (1 << limits[c]) + (1 << limits[parent] if parent >= 0 else 0)
        for c, parent, _, _ in tree
    ]


def composed(inner: Operand | None, outer: Operand) -> Operand:
    """``outer`` applied to the value of ``inner``."""
    assert inner is not None
    return Operand(inner.source, inner.shift + outer.shift, inner.negate != outer.negate)


def _eliminated(
    builder: Builder,
    rows: Sequence[Sequence[int]],
    sources: Sequence[Operand],
    limits: _Limits,
    rule: Rule,
) -> list[list[Operand]]:
    """Terms that sum up to each column of ``rows``, whose inputs are the values ``sources``.

    Large matrices are cut into blocks of rows, between which nothing is shared.
    """
    columns = len(rows[0])
    digits = np.array([[csd_weight(v) for v in row] for row in rows], dtype=np.int64)
    pairs = int((digits.sum(axis=0) ** 2).sum()) // 2
    size = -(-len(rows) // -(-max(pairs, 1) // _MOST_PAIRS))
    levels = np.array([builder.depths[s.source] for s in sources], dtype=np.int64)
    weight = (digits << levels[:, None]).sum(axis=0) + np.array(limits.taken, dtype=np.int64)
    terms: list[list[Operand]] = [[] for _ in range(columns)]
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        weight -= (digits[block] << levels[block, None]).sum(axis=0)
        parts = _block(builder, rows[block], sources[block], weight, limits, rule)
        for column, part in zip(terms, parts, strict=True):
            column.extend(part)
    return terms


def _block(
    builder: Builder,
    rows: Sequence[Sequence[int]],
    sources: Sequence[Operand],
    weight: npt.NDArray[np.int64],
    limits: _Limits,
    rule: Rule,
) -> list[list[Operand]]:
    """Terms of each column after elimination; updates the columns' ``weight``."""
    count, columns = len(rows), len(rows[0])
    total = sum(csd_weight(v) for row in rows for v in row)
    room = count + total // 2 + 1
    pairs = 1 + sum(sum(map(csd_weight, column)) ** 2 for column in zip(*rows, strict=True)) // 2
    plus = np.zeros((columns, room), dtype=np.int64)
    minus = np.zeros((columns, room), dtype=np.int64)
    for s, row in enumerate(rows):
        for c, value in enumerate(row):
            plus[c, s], minus[c, s] = _digit_masks(value)
    lo, hi = np.zeros(room), np.zeros(room)
    depths = np.zeros(room, dtype=np.int64)
    for s, source in enumerate(sources):
        span = operand_range(builder.spans[source.source], source)
        lo[s], hi[s] = float(span.lo), float(span.hi)
        depths[s] = builder.depths[source.source]
    found = eliminate(
        plus, minus, lo, hi, depths, weight, count, limits.depth, limits.shares, limits.turned,
        rule.by_bits, rule.deep, rule.noise, min(rule.choices, max(1, _MOST_LOOKS // pairs)),
        rule.worth,
    )  # fmt: skip
    values = list(sources)
    for first, second, delta, subtract in found.tolist():
        values.append(
            builder.add(
                composed(values[first], Operand(0, max(-delta, 0))),
                composed(values[second], Operand(0, max(delta, 0), bool(subtract))),
            )
        )
    return [
        [
            composed(values[s], Operand(0, shift, negate))
            for s in np.flatnonzero(plus[c] | minus[c]).tolist()
            for negate, mask in ((False, int(plus[c, s])), (True, int(minus[c, s])))
            for shift in range(mask.bit_length())
            if mask >> shift & 1
        ]
        for c in range(columns)
    ]


def _digit_masks(value: int) -> tuple[int, int]:
    """Positive and negative canonical signed digits as bit masks."""
    size = abs(value)
    plus, minus = (3 * size & ~size) >> 1, (size & ~(3 * size)) >> 1
    return (plus, minus) if value >= 0 else (minus, plus)
