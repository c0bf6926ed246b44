"""``hwgen slim``: its table, its JSON, the way back, and one sentence for what cannot be."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Hwgen = Callable[..., tuple[int, str, str]]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """An ONNX model of two layers and images that it decides."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 1, 3, 3)), rng.normal(size=(3, 4, 4, 4)) / 4
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], name="first"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "b"], ["y"], name="second"),
    ]
    weights = (("a", first), ("b", second))
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 1, 6, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "two.onnx")
    x = rng.normal(size=(200, 1, 6, 6))
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], (3, 3), axis=(1, 2))
    maps = np.maximum(np.einsum("nijkl,okl->noij", windows, first[:, 0]), 0)
    y = np.einsum("noij,poij->np", maps, second).argmax(axis=1)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "two.onnx", tmp_path / "data.npz"


def test_table_and_json_say_the_same(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = files
    out = tmp_path / "out"
    arguments = ("--data", data, "--budget", "50%", "--objective", "bytes")
    status, printed, error = hwgen("slim", model, "--out", out, *arguments)
    assert (status, error) == (0, "")
    lines = printed.splitlines()
    assert lines[0].split() == ["Layer", "Kernels", "Filters", "MACs", "Parameters", "Bytes"]
    assert [line.split()[0] for line in lines[1:4]] == ["first", "second", "All"]
    subjects = [line.split()[0] for line in lines[5:]]
    assert subjects == ["saved", "lost", "choosing", "bytes", "search"]

    status, printed, _ = hwgen("slim", out, *arguments, "--json")
    found = json.loads(printed)
    assert status == 0
    assert found == json.loads((out / "results/slim.json").read_text())
    before, after = found["total"]["cost"]
    assert lines[3].endswith(f"{before:,.0f} → {after:,.0f}")
    assert found["test"]["images"] == 60

    status, printed, _ = hwgen("approximate", out, "--data", data, "--mix", "P8")
    assert status == 0
    assert "slimmed" in [line.split()[0] for line in printed.splitlines() if line.strip()]

    status, printed, _ = hwgen("slim", out, "--undo")
    assert status == 0
    assert printed
    assert "slimmed" not in printed
    assert not (out / "slim.json").exists()
    status, printed, _ = hwgen("approximate", out, "--data", data, "--mix", "P8")
    assert "slimmed" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["stream", "nfu"])
def test_a_slimmed_network_is_built_bit_exact(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path, backend: str
) -> None:
    model, data = files
    status, printed, error = hwgen(
        *("build", model, "--data", data, "--out", tmp_path / "out", "--slim", "--budget", "60%"),
        *("--backend", backend, "--board", "ulx3s-25f", "--no-route"),
        *(("--tile", "2x2") if backend == "nfu" else ()),
        *("--images", "3", "--fast-images", "10", "--json"),
    )
    assert (status, error) == (0, "")
    summary = json.loads(printed)
    assert summary["verification"]["passed"]
    assert summary["verification"]["words_differed"] == 0
    before, after = summary["slim"]["total"]["cost"]
    assert after < before
    assert summary["slim"]["objective"] == {"stream": "luts", "nfu": "cycles"}[backend]
    assert summary["slim"]["budget"] == 0.3
    assert summary["hardware"]["dsps"] == 0
    assert (tmp_path / "out/report.html").read_text().count("<h2>Slimmer</h2>") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--objective", "power"), "'power' is not one of"),
        (("--tile", "4x4"), "--tile is of an NFU, whose cycles --objective cycles saves"),
        (("--family", "ice40"), "--family is of FPGAs, whose LUTs --objective luts saves"),
        (("--tile", "3x4", "--objective", "cycles"), "'3x4' is not two of 1, 2, 4, 8, 16"),
        (("--moves", "kernels,magic"), "'magic' is none of kernels, features, blocks, recipes"),
        (("--moves", "recipes"), "Recipes save no MACs: --moves recipes needs another --objective"),
        (("--moves", ""), "'' is none of kernels, features"),
        (("--importance", "luck"), "'luck' is not one of"),
        (("--budget", "200%"), "is not between 0 and 1"),
    ],
)
def test_wrong_options(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path, arguments: tuple[str], sentence: str
) -> None:
    model, data = files
    out = tmp_path / "out"
    status, _, error = hwgen("slim", model, "--out", out, "--data", data, *arguments)
    assert status == 2
    assert sentence in error


def test_what_is_missing(hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    for arguments, sentence in (
        ((model, "--data", data), "Missing option '--out'"),
        ((model, "--out", tmp_path / "o"), "Missing option '--data'"),
    ):
        status, _, error = hwgen("slim", *arguments)
        assert status == 2
        assert sentence in error
    for arguments in (("--data", data), ("--undo",)):
        status, _, error = hwgen("slim", tmp_path / "nothing", *arguments)
        assert status == 1
        assert "is not a directory of hwgen" in error
    for option, value in (("--slim-budget", "1%"), ("--slim-objective", "macs")):
        chosen = ("--data", data, "--board", "icebreaker", "--out", tmp_path / "o")
        status, _, error = hwgen("build", model, *chosen, option, value)
        assert status == 2
        assert f"{option} says how the network is slimmed; add --slim" in error


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.zeros((40, 1, 5, 5)), "has shape (40, 1, 5, 5), but the model wants (N, 1, 6, 6)"),
        (np.full((40, 1, 6, 6), np.nan), "holds values that are not finite"),
        (
            np.ones((3, 1, 6, 6)),
            "at least 10 images, to calibrate, to choose and to test, not 3",
        ),
    ],
    ids=["shape", "nan", "few"],
)
def test_unfit_images(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path, x: np.ndarray, sentence: str
) -> None:
    np.savez(tmp_path / "bad.npz", x=x)
    out = tmp_path / "o"
    status, _, error = hwgen("slim", files[0], "--out", out, "--data", tmp_path / "bad.npz")
    assert status == 1
    assert sentence in error
    assert not (out / "slim.json").exists()


def test_fine_tuning_without_pytorch_is_refused_before_the_search(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name)
    )
    model, data = files
    out = tmp_path / "o"
    status, _, error = hwgen("slim", model, "--out", out, "--data", data, "--finetune", "1")
    assert status == 1
    assert "Fine-tuning needs PyTorch" in error
    assert not (out / "slim.json").exists()


def test_a_budget_that_slimming_has_used_up(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = files
    out = tmp_path / "out"
    assert hwgen("slim", model, "--out", out, "--data", data, "--budget", "60%")[0] == 0
    status, _, error = hwgen("approximate", out, "--data", data, "--budget", "0%")
    assert status == 1
    assert "more than the budget of 0.00%" in error
    assert f"slim less, or go back with 'hwgen slim {out} --undo'" in error
