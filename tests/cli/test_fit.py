"""``hwgen fit``: what it leaves, how it goes on, and what it says of bad input."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hwgen.approx import _chunk_files, bulk
from hwgen.approx.scale import best_dyadic_scale, best_scale, rows_by_scale
from hwgen.approx.sets import parse_set
from hwgen.flow.fit import load_weights
from hwgen.network.onnx_import import import_onnx

_MODELS = Path(__file__).parents[2] / "models"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(hwgen: Run) -> Run:
    """Run ``hwgen fit``; its exit status, standard output and standard error."""
    return partial(hwgen, "fit")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path / "w.npz"
    np.savez(path, conv=rng.standard_normal((8, 4, 3, 3)), fc=rng.standard_normal((5, 12)))
    return path


def test_an_npz_file(run: Run, source: Path, tmp_path: Path) -> None:
    status, out, _ = run(source, "--set", "P6", "--out", tmp_path / "o")
    assert status == 0
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert lines["all"][:3] == ["37", "348", "37"]
    weights = np.load(source)["conv"]
    alone = best_scale(rows_by_scale(weights, "kernel"), parse_set("P6"))
    with np.load(tmp_path / "o" / "fit.npz") as found:
        assert sorted(found.files) == ["conv/codes", "conv/scale", "fc/codes", "fc/scale"]
        np.testing.assert_array_equal(found["conv/codes"], alone.codes.reshape(8, 4, 3, 3))
        np.testing.assert_array_equal(found["conv/scale"], alone.scale)
    summary = json.loads((tmp_path / "o" / "fit.json").read_text())
    assert (summary["set"], summary["scale"], summary["matrices"]) == ("P6", "kernel", 37)
    error = alone.error.sum() / (weights**2).sum()
    assert summary["layers"]["conv"]["relative_squared_error"] == pytest.approx(error, rel=1e-9)
    assert not (tmp_path / "o" / "parts").exists()


def test_a_model(run: Run, tmp_path: Path) -> None:
    model = _MODELS / "digits" / "digits.onnx"
    arguments = ("--set", "P8", "--scale", "filter", "--scale-terms", 2, "--json")
    status, out, _ = run(model, *arguments, "--out", tmp_path / "o")
    assert status == 0
    summary = json.loads(out)
    convs = {node.name: op.weight for node, op in import_onnx(model).convs()}
    assert set(summary["layers"]) == set(load_weights(model)) == set(convs)
    with np.load(tmp_path / "o" / "fit.npz") as found:
        for name, weight in convs.items():
            alone = best_dyadic_scale(rows_by_scale(weight, "filter"), parse_set("P8"), terms=2)
            np.testing.assert_array_equal(found[f"{name}/scale"], alone.scale)
            np.testing.assert_array_equal(found[f"{name}/codes"].ravel(), alone.codes.ravel())


def test_layers_that_are_dyadic_already_stay_out() -> None:
    assert "pad" not in load_weights(_MODELS / "resnet20" / "block.onnx")
    names = {node.name for node, _ in import_onnx(_MODELS / "resnet20" / "resnet20.onnx").convs()}
    assert set(load_weights(_MODELS / "resnet20" / "resnet20.onnx")) < names


def test_the_same_again_does_nothing(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(source, "--set", "P6", "--out", tmp_path / "o", "--json")
    with monkeypatch.context() as context:
        context.setattr("hwgen.flow.fit.fit_matrices", None)
        assert run(source, "--set", "P6", "--out", tmp_path / "o", "--json", "--jobs", 1) == first
    status, out, _ = run(source, "--set", "P5", "--out", tmp_path / "o", "--json")
    assert status == 0
    assert json.loads(out)["set"] == "P5"


def test_ctrl_c_leaves_a_directory_that_goes_on(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_CHUNK_WEIGHTS", 50)
    write = _chunk_files.ChunkFiles.write
    written: list[int] = []

    def interrupted(self: _chunk_files.ChunkFiles, index: int, arrays: object) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(index)
        write(self, index, arrays)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(_chunk_files.ChunkFiles, "write", interrupted)
        status, _, error = run(source, "--set", "P6", "--out", tmp_path / "o")
    assert status == 130
    assert "Interrupted; the same command continues" in error
    assert len(list((tmp_path / "o").rglob("parts/*/*.npz"))) == 3
    assert not (tmp_path / "o" / "fit.npz").exists()
    done: list[int] = []

    def counted(self: _chunk_files.ChunkFiles, index: int, arrays: object) -> None:
        done.append(index)
        write(self, index, arrays)  # type: ignore[arg-type]

    monkeypatch.setattr(_chunk_files.ChunkFiles, "write", counted)
    assert run(source, "--set", "P6", "--out", tmp_path / "o")[0] == 0
    assert sorted(done + written) == list(range(len(done) + 3))
    assert run(source, "--set", "P6", "--out", tmp_path / "p")[0] == 0
    whole, resumed = (np.load(tmp_path / name / "fit.npz") for name in "po")
    with whole, resumed:
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], resumed[name])


def test_a_full_disk(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hwgen.approx._chunk_files.np.savez", full)
    status, _, error = run(source, "--set", "P6", "--out", tmp_path / "o")
    assert status == 1
    assert "Cannot write" in error
    assert "No space left on device" in error
    assert list((tmp_path / "o" / "parts").rglob("*.*")) == []


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"w": np.array([[1.0, np.nan]])}, "Weights 'w' must be finite, not nan at (0, 1)"),
        ({"b": np.ones(4)}, "Weights 'b' must have 2 to 4 axes"),
        ({"w": np.ones((0, 3, 3))}, "Weights 'w' hold no number"),
        ({"w": np.ones((2, 2), dtype=complex)}, "Weights 'w' must be real numbers, not complex128"),
        ({"w": np.array([[None]])}, "is not an NPZ file of plain arrays"),
        ({}, "holds no weights to fit"),
    ],
)
def test_unfit_arrays(run: Run, tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "w.npz", **arrays)  # type: ignore[arg-type]
    status, _, error = run(tmp_path / "w.npz", "--set", "P6", "--out", tmp_path / "o")
    assert status == 1
    assert words in error


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.npz", None, "no.npz': No such file"),
        ("no.onnx", None, "no.onnx': No such file"),
        ("bad.npz", b"garbage", "bad.npz' is not an NPZ file of plain arrays"),
        ("bad.npz", b"", "bad.npz' is not an NPZ file of plain arrays"),
        ("bad.onnx", b"garbage", "bad.onnx"),
        ("w.txt", b"1 2 3", "Source must be a model (.onnx) or an NPZ file (.npz)"),
    ],
)
def test_unfit_files(
    run: Run, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, _, error = run(tmp_path / name, "--set", "P6", "--out", tmp_path / "o")
    assert status == 1
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--set", "P99"], 1, "not 'P99'"),
        (["--set", "{0,1/3}"], 1, "1/3 is not dyadic"),
        ([], 2, "--set"),
        (["--set", "P6", "--scale", "pixel"], 2, "pixel"),
        (["--set", "P6", "--scale-terms", "0"], 2, "--scale-terms"),
        (["--set", "P6", "--jobs", "0"], 2, "--jobs"),
        (["--set", "P6", "--scheduler", "tcp://h:1"], 2, "--scheduler goes with --backend dask"),
    ],
)
def test_unfit_options(
    run: Run, source: Path, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    found, _, error = run(source, *arguments, "--out", tmp_path / "o")
    assert found == status
    assert words in error


def test_a_scheduler_that_is_not_there(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwgen.approx._workers._CONNECT_SECONDS", 1)
    dask = ("--backend", "dask", "--scheduler", "tcp://127.0.0.1:9")
    status, _, error = run(source, "--set", "P6", *dask, "--out", tmp_path / "o")
    assert status == 1
    assert "Dask scheduler 'tcp://127.0.0.1:9' cannot be reached" in error


def test_dask_that_is_not_installed(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    status, _, error = run(source, "--set", "P6", "--backend", "dask", "--out", tmp_path / "o")
    assert status == 1
    assert "pip install 'hwgen[dask]'" in error


def test_it_teaches(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for word in ("SOURCE", "fit.npz", "--backend", "continues", "hwgen fit alexnet.npz --set P6"):
        assert word in out
