"""``hwgen optimize``: what it reads, prints and writes, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwgen.flow.matrices as matrices
import hwgen.shiftadd.optimise as optimise
from hwgen.shiftadd import AdderGraph, minimum_depth

Run = Callable[..., tuple[int, str, str]]
MATRIX = np.array([[3, -5], [7, 0], [24, 1]])


@pytest.fixture
def run(hwgen: Run) -> Run:
    """Run ``hwgen optimize``; its exit status, standard output and standard error."""
    return partial(hwgen, "optimize")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "m.npy", MATRIX)
    return tmp_path / "m.npy"


def _graph(path: Path) -> AdderGraph:
    return AdderGraph.from_json(path.read_text())


def test_json_and_the_graph(run: Run, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.json"
    status, printed, error = run(source, "--json", "--out", out)
    assert (status, error) == (0, "")
    found = json.loads(printed)
    graph = _graph(out)
    graph.verify(MATRIX)
    assert (found["adders"], found["bits"], found["depth"]) == (
        graph.adders,
        graph.bits,
        graph.depth,
    )
    assert (found["inputs"], found["outputs"], found["fraction_bits"]) == (3, 2, 0)
    assert found["lower_bound"] == found["adders"] == 6
    assert found["proved_optimal"] is True
    assert found["seconds"] > 0
    assert found["cpu_seconds"] > 0


def test_text_says_what_is_proved_and_written(run: Run, source: Path, tmp_path: Path) -> None:
    svg = tmp_path / "g.svg"
    status, printed, _ = run(source, "--svg", svg)
    assert status == 0
    told = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert told["adders"].startswith("6 (optimal, proved: ")
    assert told["drawing"] == str(svg)
    assert svg.read_text().startswith("<?xml")
    large = tmp_path / "l.npy"
    np.save(large, np.random.default_rng(0).integers(-128, 128, (6, 6)))
    _, printed, _ = run(large)
    assert "are needed" in printed.splitlines()[0]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["int8", ">i4", "uint64", "float16", "float32", ">f8"])
def test_any_type_and_order(run: Run, tmp_path: Path, order: Any, dtype: str) -> None:
    matrix = np.abs(MATRIX) if dtype == "uint64" else MATRIX
    np.save(tmp_path / "m.npy", np.asarray(matrix.astype(dtype), order=order))
    assert run(tmp_path / "m.npy", "--out", tmp_path / "g.json")[0] == 0
    _graph(tmp_path / "g.json").verify(matrix)


def test_dyadic_floats_are_scaled_up(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([[0.375, -2], [5, 1.0625]]))
    status, printed, _ = run(tmp_path / "m.npy", "--json", "--out", tmp_path / "g.json")
    assert status == 0
    assert json.loads(printed)["fraction_bits"] == 4
    _graph(tmp_path / "g.json").verify([[6, -32], [80, 17]])
    assert "4 fraction bits" in run(tmp_path / "m.npy")[1]


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.csv", "3,-5\n7,0\n24 , 1\n"), ("m.txt", "3 -5\n\n7 0.0\n  24 1e0\n")],
)
def test_text_files(run: Run, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert run(tmp_path / name, "--out", tmp_path / "g.json")[0] == 0
    _graph(tmp_path / "g.json").verify(MATRIX)


def test_entries_of_text_are_exact(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(f"{(1 << 61) + 1} 0.5")
    assert run(tmp_path / "m.txt", "--out", tmp_path / "g.json")[0] == 1
    (tmp_path / "m.txt").write_text(f"{(1 << 61) + 1} 1")
    assert run(tmp_path / "m.txt", "--out", tmp_path / "g.json")[0] == 0
    _graph(tmp_path / "g.json").verify([[(1 << 61) + 1, 1]])


def test_options_reach_the_search(run: Run, tmp_path: Path) -> None:
    matrix = np.random.default_rng(1).integers(-100, 100, (5, 4))
    np.save(tmp_path / "m.npy", matrix)
    common = (tmp_path / "m.npy", "--out", tmp_path / "g.json", "--json")
    found = json.loads(run(*common, "--depth", 0)[1])
    assert found["depth"] == minimum_depth(matrix)
    by_bits = json.loads(run(*common, "--objective", "bits", "--time", 0.2, "--jobs", 1)[1])
    assert by_bits["bits"] <= found["bits"]
    run(*common, "--input-bits", 3, "--unsigned", "--seed", 5)
    assert [(r.lo, r.hi) for r in _graph(tmp_path / "g.json").inputs] == [(0, 7)] * 5


def test_verilog(run: Run, source: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.v"
    status, printed, _ = run(source, "--verilog", path, "--stage-adders", 9)
    assert status == 0
    assert str(path) in printed
    text = path.read_text()
    assert "module product(x0, x1, x2, y0, y1, clk);" in text
    assert "6 additions and subtractions" in text
    assert "1 edge later" in text


def test_luts_of_a_target(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.random.default_rng(4).integers(-100, 100, (4, 4)))
    common = (tmp_path / "m.npy", "--json", "--target", "ice40")
    adders = json.loads(run(*common)[1])
    saved = json.loads(run(*common, "--objective", "luts", "--verilog", tmp_path / "p.v")[1])
    assert saved["luts"] <= adders["luts"]
    assert "module product" in (tmp_path / "p.v").read_text()
    assert "about" in run(tmp_path / "m.npy", "--target", "asic")[1]
    assert json.loads(run(tmp_path / "m.npy", "--json")[1])["luts"] is None


def _save(path: Path, value: Any) -> Path:
    np.save(path, value, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((0, 3)), "must not be empty, but its shape is (0, 3)"),
        (np.array([[1, np.nan]]), "must be finite, not nan at input 0, output 1"),
        (np.array([[1], [-np.inf]]), "must be finite, not -inf at input 1, output 0"),
        (np.array([[1e-30, 1]]), "must fit into 62 bits"),
        (np.array([[1 << 62]]), "must fit into 62 bits, not 4611686018427387904 at input 0"),
        (np.array([1, 2]), "two dimensions (inputs, outputs), not 1"),
        (np.ones((1, 1, 1)), "two dimensions (inputs, outputs), not 3"),
        (np.array([[1 + 2j]]), "must hold integers or floats, not complex128"),
        (np.array([[True]]), "must hold integers or floats, not bool"),
        (np.array([["a"]]), "must hold integers or floats, not <U1"),
        (np.array([[None]]), "must hold numbers, not Python objects"),
    ],
)
def test_unfit_matrices(run: Run, tmp_path: Path, value: Any, words: str) -> None:
    status, printed, error = run(_save(tmp_path / "m.npy", value))
    assert (status, printed) == (1, "")
    assert error.startswith("error:")
    assert words in error


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.npy", None, "no.npy': No such file"),
        ("m.npy", b"garbage", "is not an NPY file"),
        ("m.npy", b"", "is not an NPY file"),
        ("m.npy", b"PK\x03\x04garbage", "is not an NPY file"),
        ("m.bin", b"1 2", "must be an .npy, .csv or .txt file"),
        ("m.csv", b"1,2\n3", "as many numbers in each line"),
        ("m.csv", b"1,x", "must be numbers, not 'x' at input 0, output 1"),
        ("m.csv", b"0.1,1", "must be dyadic (an integer over a power of two), not 0.1"),
        ("m.csv", b"1e99999,1", "must fit into 62 bits, not 1e99999"),
        ("m.csv", b"nan,1", "must be finite, not nan"),
        ("m.csv", b"\xff\xfe,1", "must be numbers"),
        ("m.txt", b"\n", "must not be empty"),
    ],
)
def test_unfit_files(
    run: Run, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, printed, error = run(tmp_path / name)
    assert (status, printed) == (1, "")
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--objective", "gates"], 2, "gates"),
        (["--objective", "luts"], 2, "--objective luts needs --target"),
        (["--target", "brick"], 2, "brick"),
        (["--depth", "-1"], 2, "--depth"),
        (["--depth", "1"], 1, "Depth must be 0 (the least possible) or at least 3"),
        (["--time", "0"], 2, "--time"),
        (["--input-bits", "0"], 2, "--input-bits"),
        (["--stage-adders", "0"], 2, "--stage-adders"),
        (["--out", "/nowhere/g.json"], 1, "Cannot write '/nowhere/g.json'"),
    ],
)
def test_unfit_options(
    run: Run, source: Path, arguments: list[str], status: int, words: str
) -> None:
    found, _, error = run(source, *arguments)
    assert found == status
    assert words in error


def test_ctrl_c_keeps_the_best(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    def interrupted(*args: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(optimise, "optimal_graph", interrupted)
    np.save(source, np.random.default_rng(2).integers(-8, 8, (3, 3)))
    before = signal.getsignal(signal.SIGINT)
    status, printed, error = run(source, "--json", "--out", tmp_path / "g.json", "--time", 30)
    assert status == 0
    assert "Interrupted; this is the best graph until then." in error
    _graph(tmp_path / "g.json").verify(np.load(source))
    assert json.loads(printed)["adders"] > 0
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_there_is_a_graph(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(matrices, "solve", interrupted)
    assert run(source)[0] == 130


def test_it_teaches(run: Run) -> None:
    status, printed, _ = run("--help")
    assert status == 0
    for word in ("MATRIX", "--verilog", "--svg", "lower bound", "Ctrl-C"):
        assert word in printed
