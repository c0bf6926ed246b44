"""Graphs of small matrices with the fewest adders, and the proof that none has fewer.

The search is exhaustive modulo a prime, in which ``+-2**k`` are finitely many numbers: it tries
shifts of every length. Every graph is one modulo the prime as well, so that where none is found
there is none; and what is found is lifted to integers and verified.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.numeric import IntArray, Range
from hwgen.shiftadd import _transpose
from hwgen.shiftadd._exhaust import NONE, OUT_OF_TIME, exhaust
from hwgen.shiftadd._points import factors
from hwgen.shiftadd.bounds import lower_bound
from hwgen.shiftadd.build import Builder
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.shiftadd.reduction import Rows, column_class, expand, reduce_matrix, transposed

__all__ = ["Exact", "optimal_graph", "suits"]

_PRIMES = {1: (131071, 524287), 2: (8191, 131071), 3: (127, 8191), 4: (127, 8191)}
"""For a number of inputs, primes to try: a greater one if a graph is found that has no integers."""

_MOST_INPUTS, _MOST_OUTPUTS = 4, 8
_LARGEST = 1 << 15
_SHIFTS = 16
_BYTE = Range(-128, 127)
_ENDLESS = 1 << 62
_Found = tuple[int, IntArray]
_Task = Callable[[int, int], tuple[int, IntArray, int]]


@dataclass(frozen=True)
class Exact:
    """What an exhaustive search has shown.

    No graph has fewer adders than ``lower_bound``. ``graph`` is one that has as many, or None if
    none with fewer adders than the one known before was found.
    """

    lower_bound: int
    graph: AdderGraph | None


def suits(matrix: npt.ArrayLike) -> bool:
    """Whether the search can take the matrix (inputs, outputs): few entries, few bits."""
    array = np.asarray(matrix)
    if array.ndim != 2 or min(array.shape) > _MOST_INPUTS or max(array.shape) > 64:
        return False
    reduced = reduce_matrix(array.tolist()).rows
    if not reduced:
        return True
    small, large = sorted((len(reduced), len(reduced[0])))
    widest = max(abs(v) for row in reduced for v in row)
    return small <= _MOST_INPUTS and large <= _MOST_OUTPUTS and widest < _LARGEST


def optimal_graph(
    matrix: npt.ArrayLike,
    *,
    inputs: Sequence[Range] | None = None,
    at_most: int,
    time_limit: float = math.inf,
    trials: int | None = None,
    jobs: int = 2,
) -> Exact:
    """Search for graphs with ever more adders, from the lower bound up to ``at_most - 1``.

    Parameters
    ----------
    matrix : array_like
        Integers, inputs by outputs; :func:`suits` must be true.
    inputs : sequence of Range, optional
        Values of each input, by default -128..127. They make no difference to the adders.
    at_most : int
        Adders of a graph that is known.
    time_limit : float
        Seconds, without those of compilation; what is shown until then is returned.
    trials : int, optional
        Most sets of values that are tried, which makes the result the same each time. Then there is
        one thread.
    jobs : int
        Threads.

    Returns
    -------
    Exact
        With ``lower_bound == at_most`` if the known graph is optimal.

    Raises
    ------
    ValueError
        If the matrix is too large.
    """
    array = np.asarray(matrix)
    if not suits(array):
        raise ValueError(
            f"Matrix must have at most {_MOST_INPUTS} inputs or outputs and entries below "
            f"{_LARGEST}, not the shape {array.shape}"
        )
    _compile()
    search = _Search(time.monotonic() + time_limit, trials, jobs)
    reduced = reduce_matrix(array.tolist())
    bound = lower_bound(array).adders
    rows = reduced.rows
    if rows:
        turned = len(rows) > len(rows[0])
        # A graph has as many adders more than that of the transposed matrix as there are rows more.
        more = reduced.adders + (len(rows) - len(rows[0]) if turned else 0)
        targets = rows if turned else transposed(rows)
    builder = Builder(tuple(inputs) if inputs is not None else (_BYTE,) * len(array))
    while bound < at_most:
        core = None
        if rows:
            steps = search.decide(targets, bound - more - len(targets))
            if steps is None:
                break
            if not steps:
                bound += 1
                continue
            core = _graph(steps, targets)
            if turned:
                core = _transpose.transposed(core, (_BYTE,) * len(rows))
                # a value that cancels would mean that fewer adders do
                assert core is not None
        graph = expand(array.tolist(), core, builder)
        graph.verify(array)
        return Exact(bound, graph)
    return Exact(bound, None)


class _Search:
    """Searches that share a time, or a number of trials in one thread."""

    def __init__(self, until: float, trials: int | None, jobs: int) -> None:
        self._until = until
        self._by_trials = trials is not None
        self._left = trials or 0
        self._jobs = jobs

    def decide(self, targets: Rows, extra: int) -> list[Any] | None:
        """Values of a graph with ``extra`` adders that are no targets, [] if there is none.

        None if it is not known when the search ends.
        """
        for prime in _PRIMES[len(targets[0])]:
            found = self._modulo(prime, targets, extra)
            if found is None:
                return None
            if not len(found):
                return []
            lifted = _lifted(found, targets, prime)
            if lifted:
                return lifted
        return None

    def _modulo(self, prime: int, targets: Rows, extra: int) -> IntArray | None:
        """Values of such a graph modulo a prime, none if there is none, None if it is not known."""
        units, factor = _factors(prime)
        size = len(targets[0])
        points = {_canonical(t, factor, prime) for t in targets}
        for k in range(size):
            points.discard(tuple(int(k == j) for j in range(size)))
        array: IntArray = np.array(sorted(points), dtype=np.int64).reshape(-1, size)
        if len(points) < len(targets):
            # Targets that are different become equal modulo the prime: nothing is shown.
            return None
        stop = np.zeros(1, np.bool_)

        def task(first: int, trials: int) -> tuple[int, IntArray, int]:
            count, values, tried = exhaust(array, extra, first, prime, units, factor, trials, stop)
            return count, values[: max(count, 0)], tried

        firsts = range(len(units) * size * (size + 1) // 2) if extra else range(-1, 0)
        results = (
            self._counted(task, firsts) if self._by_trials else self._timed(task, firsts, stop)
        )
        with contextlib.closing(results):
            for count, values in results:
                if count == OUT_OF_TIME:
                    return None
                if count != NONE:
                    return values
        return array[:0]

    def _counted(self, task: _Task, firsts: Iterable[int]) -> Generator[_Found, None, None]:
        """Results one after the other, within the trials that are left."""
        for first in firsts:
            count, values, tried = task(first, self._left)
            self._left = max(0, self._left - tried)
            yield count, values

    def _timed(
        self, task: _Task, firsts: Iterable[int], stop: Any
    ) -> Generator[_Found, None, None]:
        """Results in order, made by threads until the time is over or no more are asked for."""
        pool = ThreadPoolExecutor(self._jobs)
        pending = [pool.submit(task, first, _ENDLESS) for first in firsts]
        try:
            for future in pending:
                left = max(0.0, self._until - time.monotonic())
                wait([future], timeout=None if left == math.inf else left)
                yield future.result()[:2] if future.done() else (OUT_OF_TIME, np.empty((0, 0), int))
        finally:
            stop[0] = True
            pool.shutdown(wait=True, cancel_futures=True)


@lru_cache(maxsize=1)
def _compile() -> None:
    """Have the search compiled before its clock starts, which takes seconds the first time."""
    _Search(math.inf, 0, 1).decide(((3, 1, 1), (1, 3, 1)), 0)


@lru_cache(maxsize=8)
def _factors(prime: int) -> tuple[IntArray, IntArray]:
    return factors(prime)


def _canonical(vector: Sequence[int], factor: IntArray, prime: int) -> tuple[int, ...]:
    by = next((int(factor[v % prime]) for v in vector if v % prime), 0)
    return tuple(v * by % prime for v in vector)


def _lifted(points: IntArray, targets: Rows, prime: int) -> list[Any]:
    """Each value after the inputs as (class, first, second, shift, sign), if integers can do it.

    A value is ``first +- (second << shift)`` of two earlier ones, up to its class.
    """
    _, factor = _factors(prime)
    size, wanted = points.shape[1], set(targets)
    known = [tuple(int(k == j) for j in range(size)) for k in range(size)]
    steps: list[Any] = []
    for point in points[size:].tolist():
        options = [
            step
            for step in _sums(known)
            if _canonical(step[0], factor, prime) == _canonical(point, factor, prime)
        ]
        if not options:
            return []
        step = min(options, key=lambda step: (step[0] not in wanted, sum(map(abs, step[0]))))
        steps.append(step)
        known.append(step[0])
    return steps if wanted <= set(known) else []


def _sums(known: Sequence[tuple[int, ...]]) -> Iterator[Any]:
    for i, a in enumerate(known):
        for j, b in enumerate(known):
            for shift in range(_SHIFTS):
                for sign in (1, -1):
                    total = column_class(
                        [v + sign * (w << shift) for v, w in zip(a, b, strict=True)]
                    )
                    if total is not None:
                        yield total, i, j, shift, sign


def _graph(steps: Sequence[Any], targets: Rows) -> AdderGraph:
    """The graph of the lifted values, whose outputs are the targets."""
    count = len(targets[0])
    builder = Builder((_BYTE,) * count)
    made = [Operand(k) for k in range(count)]
    vectors = [tuple(int(k == j) for j in range(count)) for k in range(count)]
    for total, i, j, shift, sign in steps:
        b = made[j]
        operand = builder.add(made[i], Operand(b.source, b.shift + shift, b.negate != (sign < 0)))
        exact = [v + sign * (w << shift) for v, w in zip(vectors[i], vectors[j], strict=True)]
        v, w = next((v, w) for v, w in zip(exact, total, strict=True) if w)
        down = abs(v).bit_length() - abs(w).bit_length()
        turn = operand.negate != ((v < 0) != (w < 0))
        made.append(Operand(operand.source, operand.shift - down, turn))
        vectors.append(total)
    place = {vector: k for k, vector in enumerate(vectors)}
    return builder.graph(made[place[target]] for target in targets)
