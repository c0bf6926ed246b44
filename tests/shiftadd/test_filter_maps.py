"""Filters that are overlapping blocks of one map ("3D-FilterMap"): what sharing is found."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.numeric import csd_weight
from hwgen.shiftadd import optimize

K, C = 3, 3


def filters(seed: int, offsets: tuple[int, int, int]) -> np.ndarray:
    """Weights (P Q R, C, K, K), filter (p, q, r) = map[p:p+K, q:q+K, r:r+C]."""
    p, q, r = offsets
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.arange(-31, 0), np.arange(1, 32)])
    shared = rng.choice(values, size=(p + K - 1, q + K - 1, r + C - 1))
    blocks = [
        shared[i : i + K, j : j + K, k : k + C]
        for i in range(p)
        for j in range(q)
        for k in range(r)
    ]
    return np.array(blocks).transpose(0, 3, 1, 2)


def by_rows(weight: np.ndarray) -> np.ndarray:
    """Row-transposed form: a row of the window by the partial sums (filters, K) of kernel rows."""
    return weight.transpose(1, 3, 0, 2).reshape(C * K, -1)


@pytest.mark.parametrize("offsets", [(4, 4, 1), (4, 2, 2), (3, 3, 2)])
def test_sharing_of_a_filter_map_is_found_by_rows(offsets: tuple[int, int, int]) -> None:
    """Kernel rows that filters share are one column, and made once.

    Compared are filters of the same values in other places, and no sharing at all; additions behind
    the matrix, K - 1 a filter, count.
    """
    weight = filters(7, offsets)
    p, q, r = offsets
    matrix = by_rows(weight)
    assert len(np.unique(matrix, axis=1).T) == (p + K - 1) * q * r < matrix.shape[1]
    behind = len(weight) * (K - 1)
    graph = optimize(matrix)
    assert len({graph.outputs[n] for n in range(matrix.shape[1])}) == (p + K - 1) * q * r
    shuffled = np.random.default_rng(1).permutation(weight.ravel()).reshape(weight.shape)
    other = optimize(by_rows(shuffled))
    unshared = sum(csd_weight(value) for value in weight.ravel().tolist()) - len(weight)
    assert graph.adders + behind < 0.75 * (other.adders + behind)
    assert graph.adders + behind < 0.5 * unshared
    # less than one window times one matrix, which is what other layers are built as
    assert graph.adders + behind < 0.75 * optimize(weight.reshape(len(weight), -1).T).adders


def test_one_window_has_nothing_to_share() -> None:
    """Two filters meet the same weight of the map at different pixels: no product is common."""
    weight = filters(7, (4, 4, 1))
    shuffled = np.random.default_rng(1).permutation(weight.ravel()).reshape(weight.shape)
    found, other = (optimize(w.reshape(len(w), -1).T).adders for w in (weight, shuffled))
    assert abs(found - other) < 0.1 * other
