"""Lower bounds of the number of adders: what no graph of a matrix can do without.

Notation: a *class* is an integer vector up to sign and shift. Every adder makes one class, and the
inputs are the unit vectors; a graph of a matrix therefore makes the classes of its columns. The
bounds hold for all graphs, whatever shifts they use; each is proved where it is computed, as are
the reductions (:mod:`hwgen.shiftadd.reduction`), from three facts.

* Where an input is set to zero, the adders that read it become wires, and what is left computes
  the matrix without that row.
* The transposition theorem: a graph of a matrix with m rows and n columns, none of them zero, when
  all its edges are turned round, is a graph of the transposed matrix with n - m adders more
  (Bordewijk, "Inter-reciprocity applied to electrical networks", 1956; for adder graphs Gustafsson,
  "Lower bounds for constant multiplication problems", IEEE TCAS II 54(11), 2007).
* A sum has at most as many canonical signed digits as its operands together (Gustafsson, 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.numeric import csd_weight, odd_part
from hwgen.shiftadd.reduction import reduce_matrix, transposed

__all__ = ["Bound", "constant_bound", "lower_bound"]


@dataclass(frozen=True)
class Bound:
    """No graph has fewer ``adders``, and why."""

    adders: int
    proof: str


def lower_bound(matrix: npt.ArrayLike) -> Bound:
    """A number of adders that every graph of ``matrix`` (inputs, outputs; integers) has at least.

    The greatest of several bounds; not the optimum, which is known for small matrices only.
    """
    array = np.asarray(matrix)
    reduced = reduce_matrix([[int(v) for v in row] for row in array.tolist()])
    if not reduced.rows:
        return Bound(reduced.adders, "merged rows and unit rows")
    columns = transposed(reduced.rows)
    count, outputs = len(reduced.rows), len(columns)
    found = [
        _forward(columns),
        _shifted(_forward(reduced.rows), count - outputs, ", of the transposed matrix"),
    ]
    best = max(found, key=lambda bound: bound.adders)
    return _shifted(best, reduced.adders, ", after merging rows" if reduced.adders else "")


def constant_bound(constant: int) -> int:
    """Adders that a multiplication by one constant needs at least.

    Exactly those for 0, 1 and 2 adders; otherwise 3, or as many as double the digits often enough.
    """
    odd = abs(odd_part(constant)[0]) if constant else 1
    weight = csd_weight(odd)
    if weight <= 3:
        return weight - 1
    if weight == 4 and _is_product(odd):
        return 2
    return max(3, (weight - 1).bit_length())


def _is_product(odd: int) -> bool:
    """Whether an odd number is (2**a +- 1) * (2**b +- 1), all that two adders make of weight 4."""
    return any(
        odd % factor == 0 and csd_weight(odd // factor) == 2
        for power in range(1, odd.bit_length() // 2 + 2)
        for factor in ((1 << power) - 1, (1 << power) + 1)
        if factor > 1
    )


def _forward(columns: Sequence[Sequence[int]]) -> Bound:
    """Bound from the number of columns and from what has to come before them.

    Every column costs an adder of its own. Besides:

    * The adders below the first column that is ready make no other column. If the k costliest
      columns need c adders or more each, there are at least k + c - 1.
    * Let the level of a value be the logarithm of its canonical signed digits, rounded up. The
      operand with more digits is at most one level lower, so that a path from the inputs (level 0)
      to the highest column meets every level between: one adder for each that has no column.
    """
    single = sorted((_column_bound(column) for column in columns), reverse=True)
    chain = max(k + cost - 1 for k, cost in enumerate(single, start=1))
    levels = {(sum(map(csd_weight, column)) - 1).bit_length() for column in columns}
    steps = len(columns) + max(levels) - len(levels - {0})
    if steps >= chain:
        return Bound(steps, "distinct outputs and levels between them")
    return Bound(chain, "distinct outputs and what the first of them needs")


def _column_bound(column: Sequence[int]) -> int:
    """Adders of one output at least: by transposition those of its constants with one input."""
    entries = [abs(odd_part(v)[0]) for v in column if v]
    constants = sorted(set(entries) - {1})
    if not constants:
        return len(entries) - 1
    single = sorted(map(constant_bound, constants), reverse=True)
    chain = max(k + cost - 1 for k, cost in enumerate(single, start=1))
    levels = {(csd_weight(c) - 1).bit_length() for c in constants}
    return len(entries) - 1 + max(chain, len(constants) + max(levels) - len(levels))


def _shifted(bound: Bound, by: int, note: str) -> Bound:
    return Bound(bound.adders + by, bound.proof + note)
