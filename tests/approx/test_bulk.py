"""Matrices in bulk: equal to one by one, on every backend, after any interruption."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen.approx import bulk
from hwgen.approx.bulk import MatrixFit, fit_matrices
from hwgen.approx.scale import best_dyadic_scale, best_scale, rows_by_scale
from hwgen.approx.sets import parse_set
from hwgen.errors import DataError, ResourceError, ToolError, ToolNotFoundError
from hwgen.numeric import csd_weight

P6 = parse_set("P6")


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Two layers, cut into parts of some ten rows."""
    monkeypatch.setattr(bulk, "_CHUNK_WEIGHTS", 100)
    rng = np.random.default_rng(3)
    conv = rng.standard_normal((6, 5, 3, 3)).astype(np.float32)
    conv[2] = 0
    conv[3, 1] = 0
    return {"conv": conv, "fc": rng.laplace(size=(8, 20))}


def _assert_equal(found: MatrixFit, expected: MatrixFit) -> None:
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        assert (ours.name, ours.energy) == (theirs.name, theirs.energy)
        for field in ("codes", "scale", "error", "levels"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))


@pytest.mark.parametrize("scale", ["kernel", "filter", "layer"])
@pytest.mark.parametrize("terms", [None, 2])
def test_equal_to_one_by_one(weights, scale, terms) -> None:
    found = fit_matrices(weights, P6, scale=scale, dyadic_scale_terms=terms, jobs=2)
    for layer, weight in zip(found.layers, weights.values(), strict=True):
        shape = weight.shape if weight.ndim == 4 else (8, 1, 1, 20)
        rows = rows_by_scale(weight.reshape(shape), scale)
        if terms is None:
            alone = best_scale(rows, P6)
        else:
            alone = best_dyadic_scale(rows, P6, terms=terms)
        assert layer.codes.shape == shape
        assert layer.codes.dtype == np.int8
        np.testing.assert_array_equal(rows_by_scale(layer.codes, scale), alone.codes)
        np.testing.assert_array_equal(layer.scale, alone.scale)
        np.testing.assert_array_equal(layer.error, alone.error)


def test_the_figures_are_those_of_the_codes(weights) -> None:
    dyadic_set = parse_set("P8")
    found = fit_matrices(weights, dyadic_set)
    matrices = [
        m for layer in found.layers for m in layer.codes.reshape(-1, *layer.codes.shape[2:])
    ]
    terms = [[csd_weight(c) for c in matrix.ravel().tolist()] for matrix in matrices]
    assert found.matrices == len(matrices) == 6 * 5 + 8
    assert found.weights == sum(map(len, terms)) == 6 * 5 * 9 + 8 * 20
    every = list(itertools.chain(*terms))
    assert found.terms() == tuple(every.count(t) for t in range(max(dyadic_set.terms) + 1))
    assert found.adders() == sum(max(0, sum(each) - 1) for each in terms)
    conv, fc = found.layers
    assert found.adders() == found.adders(conv) + found.adders(fc)
    values = np.ldexp(fc.codes.astype(float), -4).reshape(8, 20) * fc.scale[:, None]
    error = ((weights["fc"] - values) ** 2).sum() / (weights["fc"] ** 2).sum()
    assert found.relative_error(fc) == pytest.approx(error, rel=1e-12)


def test_progress_counts_every_row_once(weights) -> None:
    seen: list[tuple[int, int]] = []
    fit_matrices(weights, P6, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {38}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert (seen[0][0], seen[-1][0]) == (0, 38)


def _interrupted_after(parts: int):
    """A progress function that raises what Ctrl-C raises once ``parts`` parts are done."""
    calls = itertools.count()

    def progress(done: int, total: int) -> None:
        if next(calls) == parts:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_an_interrupted_run_continues(weights, tmp_path: Path, backend) -> None:
    whole = fit_matrices(weights, P6)
    with pytest.raises(KeyboardInterrupt):
        fit_matrices(
            weights, P6, jobs=2, backend=backend, directory=tmp_path, progress=_interrupted_after(2)
        )
    found = fit_matrices(weights, P6, directory=tmp_path, backend=backend, jobs=2)
    assert 10 <= found.resumed < 38
    _assert_equal(found, whole)
    again = fit_matrices(weights, P6, directory=tmp_path)
    assert again.resumed == 38
    _assert_equal(again, whole)


def test_parts_of_other_input_or_options_are_not_used(weights, tmp_path: Path) -> None:
    fit_matrices(weights, P6, directory=tmp_path)
    changed = {**weights, "fc": weights["fc"] + 1e-12}
    for other in (
        fit_matrices(changed, P6, directory=tmp_path),
        fit_matrices(dict(reversed(weights.items())), P6, directory=tmp_path),
        fit_matrices(weights, parse_set("P5"), directory=tmp_path),
        fit_matrices(weights, P6, dyadic_scale_terms=2, directory=tmp_path),
        fit_matrices(weights, P6, scale="filter", directory=tmp_path),
    ):
        assert other.resumed == 0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04garbage", None])
def test_a_damaged_part_is_computed_again(weights, tmp_path: Path, damage: bytes | None) -> None:
    whole = fit_matrices(weights, P6, directory=tmp_path)
    part = sorted(tmp_path.rglob("*.npz"))[1]
    part.write_bytes(part.read_bytes()[:-40] if damage is None else damage)
    again = fit_matrices(weights, P6, directory=tmp_path)
    assert again.resumed == 38 - 11
    _assert_equal(again, whole)


def test_a_directory_that_cannot_be_written(weights, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"Cannot write '.*000000.npz': "):
        fit_matrices(weights, P6, directory=tmp_path / "file" / "parts", jobs=1)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, np.nan]]), r"'w' must be finite, not nan at \(0, 1\)"),
        (np.array([[[1.0, np.inf]]]), "'w' must be finite"),
        (np.ones(3), r"'w' must have 2 to 4 axes, .* not shape \(3,\)"),
        (np.ones((1, 1, 1, 1, 1)), "2 to 4 axes"),
        (np.float64(1), "2 to 4 axes"),
        (np.ones((3, 0)), r"'w' hold no number, shape \(3, 0\)"),
        (np.ones((3, 3), dtype=complex), "'w' must be real numbers, not complex128"),
        (np.array([["a", "b"]]), "'w' must be real numbers"),
    ],
)
def test_unfit_weights(array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_matrices({"w": np.asarray(array)}, P6)


def test_no_weights() -> None:
    with pytest.raises(DataError, match="no weights"):
        fit_matrices({}, P6)


@pytest.mark.parametrize(
    ("name", "dtype"), [("P6", np.int8), ("P11", np.int16), ("terms(1,0,20)", np.int32)]
)
def test_codes_take_the_smallest_type(name: str, dtype) -> None:
    dyadic_set = parse_set(name)
    weights = np.random.default_rng(4).standard_normal((4, 9))
    found = fit_matrices({"w": weights}, dyadic_set).layers[0]
    assert found.codes.dtype == dtype
    np.testing.assert_array_equal(found.codes[:, 0, 0], best_scale(weights, dyadic_set).codes)


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.uint8, bool])
def test_other_types_of_numbers(dtype) -> None:
    weights = np.arange(1, 13).reshape(3, 4).astype(dtype)
    found = fit_matrices({"w": weights}, P6).layers[0]
    alone = best_scale(weights.astype(np.float64), P6)
    np.testing.assert_array_equal(found.codes[:, 0, 0], alone.codes)


def test_a_local_dask_cluster(weights, tmp_path: Path) -> None:
    found = fit_matrices(weights, P6, backend="dask", jobs=2, directory=tmp_path)
    _assert_equal(found, fit_matrices(weights, P6))
    assert fit_matrices(weights, P6, directory=tmp_path).resumed == 38


def test_a_dask_cluster_by_its_address(weights) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        found = fit_matrices(weights, P6, backend="dask", scheduler=address)
    _assert_equal(found, fit_matrices(weights, P6))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere at all", "bad://x"])
def test_a_dask_scheduler_that_is_not_there(weights, monkeypatch, address: str) -> None:
    monkeypatch.setattr("hwgen.approx._workers._CONNECT_SECONDS", 1)
    with pytest.raises(ToolError, match=r"Dask scheduler .* cannot be reached"):
        fit_matrices(weights, P6, backend="dask", scheduler=address)


def test_dask_that_is_not_installed(weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolNotFoundError, match=r"pip install 'hwgen\[dask\]'"):
        fit_matrices(weights, P6, backend="dask")
