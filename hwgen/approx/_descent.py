"""Compiled loops of :mod:`hwgen.approx.output_aware`: descent on a quadratic over a dyadic set.

A filter is ``q = scale * codes`` (K entries) and costs ``q'Hq - 2 q'r + penalty * terms`` with
terms the signed powers of two in its codes. H is block-diagonal, (B, k, k) for each group of
filters, with a positive diagonal; ``p`` is kept equal to Hq.

Codes are integers held as float64. The set comes as ``levels``, the magnitudes in ascending order
within each number of terms: ``levels[starts[t]:starts[t + 1]]`` are those of t terms, and the only
one of no terms is 0.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from hwgen.approx._break_points import round_to

__all__ = ["best_move", "compensate", "descend", "move", "products"]

_Array = Any  # a float64 or int64 array in compiled code

_FEW = 8
"""Levels up to which counting finds fastest."""

_GAIN = 1e-12
"""Least improvement, relative to the terms that are compared, that is not rounding."""


@numba.njit(cache=True, nogil=True)
def _terms(code: float) -> int:
    """Canonical signed digits other than 0 of an integer."""
    value = abs(np.int64(code))
    bits = value ^ (3 * value)
    count = 0
    while bits:
        bits &= bits - 1
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _nearest(u: float, levels: _Array, first: int, end: int) -> float:
    """The number of ``levels[first:end]``, with the sign of ``u``, that is nearest to ``u``."""
    doubled = 2.0 * abs(u)
    low, high = first, end - 1
    while high - low > _FEW:
        middle = (low + high) // 2
        if levels[middle] + levels[middle + 1] <= doubled:
            low = middle + 1
        else:
            high = middle
    reached = low
    for i in range(low, high):  # counting has no branch to mispredict
        reached += levels[i] + levels[i + 1] <= doubled
    return float(levels[reached] if u >= 0 else -levels[reached])


@numba.njit(cache=True, nogil=True)
def _choose(u: float, curvature: float, penalty: float, levels: _Array, starts: _Array) -> Any:
    """(code, cost) of least cost ``curvature * (code - u)**2 + penalty * terms``."""
    best, best_cost = 0.0, curvature * u * u
    for t in range(1, len(starts) - 1):
        if starts[t] == starts[t + 1]:
            continue
        if penalty * t >= best_cost:
            break
        code = _nearest(u, levels, starts[t], starts[t + 1])
        cost = curvature * (code - u) ** 2 + penalty * t
        if cost < best_cost:
            best, best_cost = code, cost
    return best, best_cost


@numba.njit(cache=True, nogil=True)
def move(second: _Array, p: _Array, j: int, change: float) -> None:
    """Bring ``p`` (K,) up to date after entry ``j`` of the filter grew by ``change``."""
    k = second.shape[1]
    block = j // k
    row = second[block, j - block * k]
    part = p[block * k : (block + 1) * k]
    for i in range(len(part)):
        part[i] += change * row[i]


@numba.njit(cache=True, nogil=True)
def products(second: _Array, codes: _Array, scale: _Array, p: _Array) -> None:
    """Fill ``p`` (O, K) with H times ``scale * codes`` of each filter."""
    size = len(codes) // len(second)
    p[:] = 0.0
    for f in range(len(codes)):
        for j in range(codes.shape[1]):
            if codes[f, j] != 0:
                move(second[f // size], p[f], j, scale[f] * codes[f, j])


@numba.njit(cache=True, nogil=True)
def _rescale(codes: _Array, target: _Array, scale: float, p: _Array, mantissas: _Array) -> float:
    """The best allowed scale of one filter, its own if no other is better; ``p`` follows."""
    linear, square = 0.0, 0.0
    for j in range(len(codes)):
        linear += codes[j] * target[j]
        square += codes[j] * p[j]
    square /= scale
    if not (linear > 0 and square > 0):
        return scale
    best = round_to(linear / square, mantissas)
    before = scale * (scale * square - 2 * linear)
    if best * (best * square - 2 * linear) >= before - _GAIN * abs(before):
        return scale
    for j in range(len(codes)):
        p[j] *= best / scale
    return float(best)


@numba.njit(cache=True, nogil=True)
def descend(
    second: _Array,
    diagonal: _Array,
    target: _Array,
    codes: _Array,
    scale: _Array,
    p: _Array,
    penalty: float,
    levels: _Array,
    starts: _Array,
    table: _Array,
    mantissas: _Array,
    sweeps: int,
) -> None:
    """Improve ``codes`` (O, K), ``scale`` (O,) and ``p`` (O, K) in place until nothing changes.

    A sweep sets one code after the other to its best while all others stay, then the scale to its
    best of the form ``mantissa * 2**e``. Without ``mantissas`` the scales stay. Entry (f, j) takes
    its codes from ``starts[table[f, j]]``; ``diagonal`` (G, K) is that of H.
    """
    filters, entries = codes.shape
    size = filters // len(second)
    for f in range(filters):
        h, d, r, c, pf = second[f // size], diagonal[f // size], target[f], codes[f], p[f]
        for _ in range(sweeps):
            changed = False
            s = scale[f]
            for j in range(entries):
                curvature = s * s * d[j]
                u = c[j] - (pf[j] - r[j]) * s / curvature
                code, cost = _choose(u, curvature, penalty, levels, starts[table[f, j]])
                if code != c[j]:
                    now = curvature * (c[j] - u) ** 2 + penalty * _terms(c[j])
                    if cost < now - _GAIN * (now + curvature):
                        move(h, pf, j, s * (code - c[j]))
                        c[j] = code
                        changed = True
            if len(mantissas):
                scale[f] = _rescale(c, r, s, pf, mantissas)
            if not changed and scale[f] == s:
                break


@numba.njit(cache=True, nogil=True)
def compensate(
    upper: _Array,
    order: _Array,
    weight: _Array,
    codes: _Array,
    scale: _Array,
    levels: _Array,
    starts: _Array,
    table: _Array,
) -> None:
    """Set ``codes`` (O, K) one after the other, each time correcting the entries still to come.

    ``weight`` (O, K) is what would be best without rounding; ``order`` (G, B, k) the order within
    each block and ``upper`` (G, B, k, k) the upper Cholesky factor of H's inverse in that order.
    """
    filters, entries = codes.shape
    size = filters // len(upper)
    blocks, k = upper.shape[1:3]
    rest = np.empty(k)
    for f in range(filters):
        for b in range(blocks):
            u, o = upper[f // size, b], order[f // size, b]
            for i in range(k):
                at = b * k + o[i]
                rest[i] = weight[f, at] if at < entries else 0.0
            for i in range(k):
                at = b * k + o[i]
                if at >= entries:
                    continue
                best, _ = _choose(rest[i] / scale[f], 1.0, 0.0, levels, starts[table[f, at]])
                codes[f, at] = best
                error = (rest[i] - scale[f] * best) / u[i, i]
                for later in range(i + 1, k):
                    rest[later] -= error * u[i, later]


@numba.njit(cache=True, nogil=True)
def best_move(
    diagonal: _Array,
    target: _Array,
    codes: _Array,
    scale: float,
    p: _Array,
    room: int,
    levels: _Array,
    starts: _Array,
    table: _Array,
) -> Any:
    """The change of one code of a filter that gains most for each term that it adds.

    ``diagonal`` of H, ``target``, ``codes``, ``p`` and ``table`` are (K,). At most ``room`` terms
    may be added. Returns (gain a term, entry, code, terms added); the entry is -1 if nothing gains.
    A change that adds none counts as adding a millionth of a term.
    """
    best_rate, best_entry, best_code, best_added = 0.0, -1, 0.0, 0
    for j in range(len(codes)):
        curvature = scale * scale * diagonal[j]
        u = codes[j] - (p[j] - target[j]) * scale / curvature
        has = _terms(codes[j])
        now = curvature * (codes[j] - u) ** 2
        own = starts[table[j]]
        for t in range(min(len(own) - 2, has + room) + 1):
            if own[t] == own[t + 1]:
                continue
            code = _nearest(u, levels, own[t], own[t + 1])
            gain = now - curvature * (code - u) ** 2
            if gain <= _GAIN * (now + curvature):
                continue
            rate = gain / max(t - has, 1e-6)
            if rate > best_rate:
                best_rate, best_entry, best_code, best_added = rate, j, code, t - has
    return best_rate, best_entry, best_code, best_added
