"""Few-adder graphs of constant matrices: merging, two-term elimination, balanced sums."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.numeric import IntArray, Range, csd, csd_weight, odd_part
from hwgen.shiftadd._cse import eliminate
from hwgen.shiftadd._tree import difference_tree
from hwgen.shiftadd.build import Builder, fold_signs, prune
from hwgen.shiftadd.graph import AdderGraph, Operand, operand_range
from hwgen.shiftadd.improve import Improver

__all__ = ["csd_graph", "minimum_depth", "optimize"]

_MOST_BITS = 62
_DEEPEST = 60
_MOST_PAIRS = 1 << 24
_OBJECTIVES = ("adders", "bits")
_BYTE = Range(-128, 127)
_MOST_STEPS = 1000  # of the search without a time limit
_FINISH = 0.4  # time to make the graph of the search's result, as a share of the time before it
_HEAT = 0.2  # share of steps that may cost an adder, at first
_SLOW = 100  # steps an adder that deserve this heat

_MOST_TREE_BITS = 58
_WORTH_A_TREE = 0.97


def optimize(
    matrix: npt.ArrayLike,
    *,
    inputs: Sequence[Range] | None = None,
    objective: str = "adders",
    max_depth: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
) -> AdderGraph:
    """Find an adder graph with few adders for ``y = x @ matrix``.

    Rows and columns that are equal up to sign and shift are merged, and columns may be made from
    each other, by a minimum spanning tree of their differences. Then two-term patterns of
    canonical signed digits that occur most often are shared, greedily (Hartley, "Subexpression
    sharing in filters using canonic signed digit multipliers", 1996, for many inputs), and what
    remains of each column is added in a tree of the least possible depth. At last, a local search
    (:class:`~hwgen.shiftadd.improve.Improver`) takes pieces of the graph away and builds them
    anew.

    Parameters
    ----------
    matrix : array_like
        Integers, inputs by outputs, at most 62 bits each; floats are accepted if they are whole.
    inputs : sequence of Range, optional
        Values of each input, by default -128..127.
    objective : {"adders", "bits"}
        What to save: adders, or adder cells (:attr:`AdderGraph.bits`).
    max_depth : int, optional
        Most adders on a path; 0 means the least depth that the matrix allows
        (:func:`minimum_depth`).
    time_limit : float, optional
        Seconds of processor time for the search; None or 0: a short, fixed number of its steps, in
        which no graph becomes deeper than it was before them. With a time limit graphs may be some
        adders deeper, unless ``max_depth`` forbids it.
    seed : int
        Seed of the random choices of a search with a time limit; without one, the result does not
        depend on it.

    Returns
    -------
    AdderGraph
        The graph, verified to equal ``matrix``.

    Raises
    ------
    TypeError
        If the matrix does not hold numbers, or an option is of the wrong kind.
    ValueError
        If the matrix is empty, not two-dimensional, not finite, not whole or too wide; if
        ``inputs`` does not have one range for each row; if ``max_depth`` is less than the matrix
        allows.
    """
    rows = _checked(matrix)
    ranges = _checked_inputs(inputs, len(rows))
    if objective not in _OBJECTIVES:
        raise ValueError(f"Objective must be 'adders' or 'bits', not {objective!r}")
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"Time limit must be at least 0 seconds, not {time_limit!r}")
    depth = _checked_depth(max_depth, rows)

    def cost(graph: AdderGraph) -> tuple[int, int, int]:
        if objective == "bits":
            return graph.bits, graph.adders, graph.depth
        return graph.adders, graph.bits, graph.depth

    by_bits = objective == "bits"

    def greedy(rule: bool, furthest: int, noise: int = 0) -> AdderGraph:
        return _greedy(rows, ranges, depth, by_bits=rule, noise=noise, furthest=furthest)

    if not time_limit:
        tries = [greedy(True, 1), greedy(False, _furthest(rows, depth, 2))]
        best = _improved(min(tries, key=cost), depth, by_bits, cost)
    else:
        started = time.thread_time()
        until = started + time_limit
        furthest = _furthest(rows, depth, _DEEPEST)
        best = min(greedy(True, furthest), greedy(False, furthest), key=cost)
        if Improver.suits(best):
            improver = Improver(best, max_depth=depth, by_bits=by_bits, seed=seed)
            reserve = _FINISH * (time.thread_time() - started)
            _search(improver, until - reserve)
            best = min(best, improver.result(), key=cost)
        else:
            noises = np.random.default_rng(seed)
            while time.thread_time() < until:
                best = min(best, greedy(by_bits, 1, int(noises.integers(1, 1 << 62))), key=cost)
    best.verify(np.array(rows, dtype=object))
    return best


def _improved(
    graph: AdderGraph, depth: int, by_bits: bool, cost: Callable[[AdderGraph], Any]
) -> AdderGraph:
    """The graph after a short search, no deeper than before if the depth has no limit."""
    if not Improver.suits(graph):
        return graph
    limit = graph.depth if depth == _DEEPEST else depth
    improver = Improver(graph, max_depth=limit, by_bits=by_bits, seed=0)
    improver.run(min(graph.adders // 2, _MOST_STEPS), heat=0)
    return min(graph, improver.result(), key=cost)


def _search(improver: Improver, until: float) -> None:
    """Run the search until the time is over, cooling down."""
    started = time.thread_time()
    steps, done = 16, 0
    while (now := time.thread_time()) < until:
        left = until - now
        expected = done * left / max(now - started, 1e-6)
        heat = _HEAT * min(1.0, expected / (_SLOW * improver.adders + 1)) * left / (until - started)
        improver.run(steps, heat=heat)
        done += steps
        spent = max(time.thread_time() - now, 1e-6)
        steps = max(1, min(4 * steps, int(steps * min(0.1, 0.2 * left) / spent)))


def _furthest(rows: Sequence[Sequence[int]], depth: int, most: int) -> int:
    """Differences that a column may be made of, one after the other; 1: none."""
    if depth < _DEEPEST or max(abs(v) for row in rows for v in row) >> _MOST_TREE_BITS:
        return 1
    columns, _ = _merged(zip(*rows, strict=True))
    if not columns:
        return 1
    array: IntArray = np.array(columns, dtype=np.int64)
    tree = difference_tree(array, most)
    signs: IntArray = np.where(tree[:, 1] < 0, 0, tree[:, 2])
    differences: IntArray = array[tree[:, 0]] - signs[:, None] * array[tree[:, 1]]
    before, after = (int(np.bitwise_count(a ^ 3 * a).sum()) for a in (array, differences))
    return most if after < _WORTH_A_TREE * before else 1


def csd_graph(matrix: npt.ArrayLike, inputs: Sequence[Range] | None = None) -> AdderGraph:
    """Adder graph in which every column sums its own canonical signed digits and shares nothing.

    The baseline of comparisons; arguments and errors as for :func:`optimize`.
    """
    rows = _checked(matrix)
    builder = Builder(_checked_inputs(inputs, len(rows)), share=False)
    outputs = [
        builder.sum(
            Operand(source, digit.exponent, digit.sign < 0)
            for source, row in enumerate(rows)
            for digit in csd(row[column])
        )
        for column in range(len(rows[0]))
    ]
    graph = fold_signs(builder.graph(outputs))
    graph.verify(np.array(rows, dtype=object))
    return graph


def minimum_depth(matrix: npt.ArrayLike) -> int:
    """Least adder depth of any graph of ``matrix`` (inputs, outputs).

    A graph of depth d adds at most ``2**d`` signed powers of two for each output, and no form of an
    output has fewer of them than its canonical signed digits.
    """
    return _minimum_depth(_checked(matrix))


def _minimum_depth(rows: Sequence[Sequence[int]]) -> int:
    digits = [sum(map(csd_weight, column)) for column in zip(*rows, strict=True)]
    return max(max(0, count - 1).bit_length() for count in digits)


def _checked(matrix: npt.ArrayLike) -> list[list[int]]:
    """Rows of the matrix as Python integers."""
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise ValueError(f"Matrix must have two dimensions (inputs, outputs), not {array.ndim}")
    if array.size == 0:
        raise ValueError(f"Matrix must not be empty, but its shape is {array.shape}")
    if array.dtype == bool or not (array.dtype == object or np.issubdtype(array.dtype, np.number)):
        raise TypeError(f"Matrix must hold integers, not {array.dtype}")
    return [[_entry(v, r, c) for c, v in enumerate(row)] for r, row in enumerate(array.tolist())]


def _entry(value: Any, row: int, column: int) -> int:
    where = f"at input {row}, output {column}"
    if isinstance(value, complex) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"Matrix must hold integers, not {value!r} {where}")
    if isinstance(value, float | np.floating):
        if not np.isfinite(value) or value != int(value):
            raise ValueError(f"Matrix must hold finite whole numbers, not {value!r} {where}")
    entry = int(value)
    if abs(entry) >> _MOST_BITS:
        raise ValueError(f"Matrix entries must be below 2**{_MOST_BITS}, not {entry} {where}")
    return entry


def _checked_inputs(inputs: Sequence[Range] | None, count: int) -> tuple[Range, ...]:
    if inputs is None:
        return (_BYTE,) * count
    ranges = tuple(inputs)
    if not all(isinstance(r, Range) for r in ranges):
        raise TypeError("Inputs must be a sequence of Range")
    if len(ranges) != count:
        raise ValueError(
            f"Inputs must be {count} ranges, one for each matrix row, not {len(ranges)}"
        )
    return ranges


def _checked_depth(max_depth: int | None, rows: Sequence[Sequence[int]]) -> int:
    if max_depth is None:
        return _DEEPEST
    if not isinstance(max_depth, int | np.integer) or isinstance(max_depth, bool):
        raise TypeError(f"Maximum depth must be an integer, not {max_depth!r}")
    least = _minimum_depth(rows)
    if max_depth == 0:
        return least
    if max_depth < least:
        raise ValueError(
            f"Maximum depth must be 0 (the least possible) or at least {least} for this matrix, "
            f"not {max_depth}"
        )
    return min(int(max_depth), _DEEPEST)


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


def _merged(
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


def _greedy(
    rows: Sequence[Sequence[int]],
    inputs: tuple[Range, ...],
    depth: int,
    *,
    by_bits: bool,
    noise: int,
    furthest: int = 1,
) -> AdderGraph:
    """One run of merging, differences, elimination and final sums."""
    wholes, outputs = _merged(zip(*rows, strict=True))
    if not wholes:
        return AdderGraph(inputs, (), (None,) * len(outputs))
    builder = Builder(inputs)
    columns = wholes
    tree: list[list[int]] = []
    if furthest > 1:
        tree = difference_tree(np.array(wholes, dtype=np.int64), furthest).tolist()
        columns = [
            tuple(v - sign * w for v, w in zip(wholes[c], wholes[parent], strict=True))
            if parent >= 0
            else wholes[c]
            for c, parent, sign in tree
        ]
    groups, members = _merged(zip(*columns, strict=True))
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
    if max(digits) > 1 << depth:
        groups = [tuple(r) for r in zip(*columns, strict=True)]
        sources = [Operand(row) for row in range(len(groups))]
    terms = _eliminated(builder, groups, sources, depth, by_bits=by_bits, noise=noise)
    sums = [builder.sum(column) for column in terms]
    if furthest > 1:
        parts, sums = sums, [None] * len(wholes)
        for part, (c, parent, sign) in zip(parts, tree, strict=True):
            below = _composed(sums[parent], Operand(0, 0, sign < 0)) if parent >= 0 else None
            sums[c] = builder.sum(o for o in (part, below) if o is not None)
    graph = builder.graph(None if o is None else _composed(sums[o.source], o) for o in outputs)
    return prune(fold_signs(graph))


def _composed(inner: Operand | None, outer: Operand) -> Operand:
    """``outer`` applied to the value of ``inner``."""
    assert inner is not None
    return Operand(inner.source, inner.shift + outer.shift, inner.negate != outer.negate)


def _eliminated(
    builder: Builder,
    rows: Sequence[Sequence[int]],
    sources: Sequence[Operand],
    depth: int,
    *,
    by_bits: bool,
    noise: int,
) -> list[list[Operand]]:
    """Terms that sum up to each column of ``rows``, whose inputs are the values ``sources``.

    Large matrices are cut into blocks of rows, between which nothing is shared.
    """
    columns = len(rows[0])
    digits = np.array([[csd_weight(v) for v in row] for row in rows], dtype=np.int64)
    pairs = int((digits.sum(axis=0) ** 2).sum()) // 2
    size = -(-len(rows) // -(-max(pairs, 1) // _MOST_PAIRS))
    levels = np.array([builder.depths[s.source] for s in sources], dtype=np.int64)
    weight = (digits << levels[:, None]).sum(axis=0)
    terms: list[list[Operand]] = [[] for _ in range(columns)]
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        weight -= (digits[block] << levels[block, None]).sum(axis=0)
        parts = _block(
            builder, rows[block], sources[block], weight, depth, by_bits=by_bits, noise=noise
        )
        for column, part in zip(terms, parts, strict=True):
            column.extend(part)
    return terms


def _block(
    builder: Builder,
    rows: Sequence[Sequence[int]],
    sources: Sequence[Operand],
    weight: npt.NDArray[np.int64],
    depth: int,
    *,
    by_bits: bool,
    noise: int,
) -> list[list[Operand]]:
    """Terms of each column after elimination; updates the columns' ``weight``."""
    count, columns = len(rows), len(rows[0])
    total = sum(csd_weight(v) for row in rows for v in row)
    room = count + total // 2 + 1
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
    found = eliminate(plus, minus, lo, hi, depths, weight, count, depth, by_bits, noise)
    values = list(sources)
    for first, second, delta, subtract in found.tolist():
        values.append(
            builder.add(
                _composed(values[first], Operand(0, max(-delta, 0))),
                _composed(values[second], Operand(0, max(delta, 0), bool(subtract))),
            )
        )
    return [
        [
            _composed(values[s], Operand(0, shift, negate))
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
