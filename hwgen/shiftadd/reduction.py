"""Rows and columns of a matrix whose cost is known exactly, taken away and put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwgen.numeric import odd_part
from hwgen.shiftadd.build import Builder, fold_signs, prune
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["Reduced", "Rows", "column_class", "expand", "reduce_matrix", "transposed"]

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Reduced:
    """A matrix that needs ``adders`` fewer than the one that it was made of, exactly.

    No row or column of ``rows`` (inputs, outputs) is zero or has a single entry that is a power of
    two, and no two are in one class. There may be none at all.
    """

    rows: Rows
    adders: int


def reduce_matrix(rows: Sequence[Sequence[int]]) -> Reduced:
    """Remove all rows and columns whose cost is known.

    * Columns that are zero, shifted inputs, or in the class of another column cost nothing.
    * A row in the class of another costs one adder: not more, since it can be added to the other
      input; and not less, since setting its input to zero makes the first adder that reads it a
      wire.
    * So does a row with a single entry, a power of two, which can be added to the output.
    """
    left: Rows = tuple(tuple(row) for row in rows)
    adders = 0
    while left:
        kept, _ = _distinct_columns(left)
        merged = tuple(_groups(kept))
        adders += sum(map(any, kept)) - len(merged)
        if merged == left:
            merged = tuple(row for row in left if not _is_unit(row))
            adders += len(left) - len(merged)
            if merged == left:
                break
        left = merged
    return Reduced(left, adders)


def expand(matrix: Sequence[Sequence[int]], core: AdderGraph | None, like: Builder) -> AdderGraph:
    """The graph of ``matrix`` made of the graph ``core`` of its reduced matrix, if that has rows.

    ``like`` is an empty builder with the inputs of the matrix.
    """
    sources = [Operand(k) for k in range(len(matrix))]
    outputs = _expanded(tuple(map(tuple, matrix)), sources, core, like)
    return prune(fold_signs(like.graph(outputs)))


def _expanded(
    rows: Rows, sources: Sequence[Operand], core: AdderGraph | None, builder: Builder
) -> list[Operand | None]:
    """Operands of the columns of ``rows``, whose inputs are ``sources``; the steps of reduction."""
    kept, classes = _distinct_columns(rows)
    groups = _groups(kept)
    inner: list[Operand | None] = []
    if groups:
        if tuple(groups) != rows:
            sums = [
                builder.sum(_times(sources[k], kept[k], base) for k in members)
                for base, members in groups.items()
            ]
            inner = _expanded(tuple(groups), [s for s in sums if s is not None], core, builder)
        else:
            whole = [k for k, row in enumerate(rows) if not _is_unit(row)]
            if len(whole) == len(rows):
                assert core is not None
                inner = _embedded(core, sources, builder)
            else:
                left = tuple(rows[k] for k in whole)
                inner = _expanded(left, [sources[k] for k in whole], core, builder)
                for row, source in zip(rows, sources, strict=True):
                    if _is_unit(row):
                        place = row.index(1)
                        value = inner[place]
                        inner[place] = source if value is None else builder.add(value, source)
    distinct = dict(zip(transposed(kept), inner, strict=True)) if groups else {}
    outputs: list[Operand | None] = []
    for column, base in zip(transposed(rows), classes, strict=True):
        value = None
        if base is not None:
            value = sources[base.index(1)] if _is_unit(base) else distinct[base]
            value = value and _times(value, column, base)
        outputs.append(value)
    return outputs


def _embedded(
    core: AdderGraph, sources: Sequence[Operand], builder: Builder
) -> list[Operand | None]:
    made = list(sources)

    def read(operand: Operand) -> Operand:
        value = made[operand.source]
        return Operand(value.source, value.shift + operand.shift, value.negate != operand.negate)

    for node in core.nodes:
        made.append(builder.add(read(node.left), read(node.right)))
    return [None if o is None else read(o) for o in core.outputs]


def column_class(vector: Sequence[int]) -> tuple[int, ...] | None:
    """The vector up to sign and shift: some entry is odd, the first one positive; zero: None."""
    union = 0
    for v in vector:
        union |= v
    if union == 0:
        return None
    shift = odd_part(union)[1]
    sign = 1 if next(v for v in vector if v) > 0 else -1
    return tuple((sign * v) >> shift for v in vector)


def transposed(rows: Sequence[Sequence[int]]) -> Rows:
    """The matrix with rows and columns exchanged."""
    return tuple(zip(*rows, strict=True))


def _distinct_columns(rows: Rows) -> tuple[Rows, list[tuple[int, ...] | None]]:
    """The matrix of the columns that cost adders, one of each class; the class of each column."""
    classes = [column_class(column) for column in transposed(rows)]
    distinct = dict.fromkeys(c for c in classes if c is not None and not _is_unit(c))
    return (transposed(tuple(distinct)) if distinct else ((),) * len(rows)), classes


def _groups(rows: Rows) -> dict[tuple[int, ...], list[int]]:
    """Places of the rows of each class; rows of zeros are in none."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        base = column_class(row)
        if base is not None:
            groups.setdefault(base, []).append(place)
    return groups


def _is_unit(base: Sequence[int]) -> bool:
    return sum(map(abs, base)) == 1


def _times(operand: Operand, vector: Sequence[int], base: Sequence[int]) -> Operand:
    """The operand times the factor ``+-2**k`` with ``vector == factor * base``."""
    v, w = next((v, w) for v, w in zip(vector, base, strict=True) if w)
    up = abs(v).bit_length() - abs(w).bit_length()
    return Operand(operand.source, operand.shift + up, operand.negate != ((v < 0) != (w < 0)))
