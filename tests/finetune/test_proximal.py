"""Proximal operators: least objective, exact zeros, and the optimality conditions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from hwgen.finetune.proximal import shrink_groups, shrink_rank, shrink_singular_values

SEEDS = st.integers(0, 1000)
THRESHOLDS = st.floats(0.01, 4)


def _nuclear(matrix: np.ndarray) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _ranks(tensor: np.ndarray) -> float:
    unfolded = [np.moveaxis(tensor, axis, 0).reshape(size, -1) for axis, size in _axes(tensor)]
    return sum(_nuclear(matrix) for matrix in unfolded)


def _axes(tensor: np.ndarray) -> list[tuple[int, int]]:
    return [(axis, size) for axis, size in enumerate(tensor.shape) if size > 1]


@settings(derandomize=True, max_examples=30, deadline=None)
@given(SEEDS, THRESHOLDS)
def test_groups_are_those_of_a_numerical_minimiser(seed: int, threshold: float) -> None:
    row = np.random.default_rng(seed).normal(size=4)

    def objective(x: np.ndarray) -> float:
        return float(0.5 * ((x - row) ** 2).sum() + threshold * np.linalg.norm(x))

    # The minimiser starts off 0, where the norm has no gradient.
    found = minimize(objective, row, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-14})
    shrunk = shrink_groups(row[None], threshold)[0]
    assert objective(shrunk) <= found.fun + 1e-12
    np.testing.assert_allclose(shrunk, found.x, atol=1e-3)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(SEEDS, THRESHOLDS, st.sampled_from([np.float32, np.float64]))
@example(0, 0.0, np.float64)
def test_groups_up_to_the_threshold_are_exactly_zero(
    seed: int, threshold: float, dtype: npt.DTypeLike
) -> None:
    groups: np.ndarray = np.random.default_rng(seed).normal(size=(20, 5)).astype(dtype)
    groups[3] = 0
    shrunk = shrink_groups(groups, threshold)
    assert shrunk.dtype == dtype
    norms = np.linalg.norm(groups, axis=1)
    assert np.array_equal(shrunk.any(axis=1), norms > threshold)
    expected = np.maximum(norms - threshold, 0)
    np.testing.assert_allclose(np.linalg.norm(shrunk, axis=1), expected, atol=1e-5)


def test_a_norm_equal_to_the_threshold_vanishes() -> None:
    assert not shrink_groups(np.array([[3.0, 4.0], [0.0, 5.0]]), 5.0).any()
    assert shrink_groups(np.array([[3.0, 4.0]]), 2.5).tolist() == [[1.5, 2.0]]


@settings(derandomize=True, max_examples=30, deadline=None)
@given(SEEDS, THRESHOLDS)
def test_no_neighbour_of_the_shrunk_matrix_is_better(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(4, 6))
    shrunk = shrink_singular_values(matrix, threshold)

    def objective(x: np.ndarray) -> float:
        return float(0.5 * ((x - matrix) ** 2).sum()) + threshold * _nuclear(x)

    least = objective(shrunk)
    for step in (1e-3, 1e-1):
        for _ in range(20):
            assert objective(shrunk + step * rng.normal(size=matrix.shape)) > least
    # The subgradient: what was taken away has no singular value above the threshold.
    assert np.linalg.norm(matrix - shrunk, 2) <= threshold * (1 + 1e-9)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(SEEDS, THRESHOLDS)
def test_no_neighbour_of_the_tensor_of_low_rank_is_better(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    tensor = rng.normal(size=(3, 4, 2, 1))
    shrunk = shrink_rank(tensor, threshold)

    def objective(x: np.ndarray) -> float:
        return float(0.5 * ((x - tensor) ** 2).sum()) + threshold * _ranks(x)

    least = objective(shrunk)
    for step in (1e-2, 1e-1):
        for _ in range(20):
            assert objective(shrunk + step * rng.normal(size=tensor.shape)) > least


def test_the_minimiser_of_a_small_tensor() -> None:
    tensor = np.random.default_rng(2).normal(size=(2, 2, 2))

    def objective(flat: np.ndarray) -> float:
        x = flat.reshape(tensor.shape)
        return float(0.5 * ((x - tensor) ** 2).sum()) + 0.1 * _ranks(x)

    found = minimize(objective, tensor.ravel(), method="BFGS", options={"gtol": 1e-9})
    shrunk = shrink_rank(tensor, 0.1)
    assert objective(shrunk.ravel()) <= found.fun + 1e-9
    np.testing.assert_allclose(shrunk.ravel(), found.x, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tensors_of_one_axis_follow_the_matrix(dtype: npt.DTypeLike) -> None:
    matrix: np.ndarray = np.random.default_rng(5).normal(size=(6, 5)).astype(dtype)
    # Both unfoldings of a matrix have its singular values, so that their norm counts twice.
    both = shrink_rank(matrix[:, :, None, None], 0.4)[:, :, 0, 0]
    assert both.dtype == dtype
    np.testing.assert_allclose(both, shrink_singular_values(matrix, 0.8), atol=1e-5)
    np.testing.assert_array_equal(shrink_rank(matrix, 0.0), matrix)


def test_a_great_threshold_leaves_nothing() -> None:
    tensor = np.random.default_rng(7).normal(size=(3, 2, 2))
    np.testing.assert_allclose(shrink_rank(tensor, 50.0), 0, atol=1e-5)
