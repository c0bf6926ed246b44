"""Functions of the paper in place of a tanh, chosen on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_build import build, save

from hwgen.approx import store
from hwgen.cli import main
from hwgen.flow.options import ACTIVATIONS
from hwgen.network.types import PiecewiseLinear


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], name="first"),
        helper.make_node("Tanh", ["c"], ["t"], name="curve"),
        helper.make_node("Conv", ["t", "b"], ["y"], name="last"),
    ]
    weights = {"a": rng.normal(size=(2, 1, 3, 3)), "b": rng.normal(size=(2, 2, 2, 2))}
    save(build(nodes, ("N", 1, 4, 4), weights), tmp_path)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(60, 1, 4, 4)), y=np.arange(60) % 2)
    return tmp_path


def _approximate(monkeypatch: pytest.MonkeyPatch, capsys, *arguments: object) -> dict:
    command = ["hwgen", "approximate", *map(str, arguments), "--json"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 0
    return json.loads(capsys.readouterr().out)


def _curve(out: Path) -> PiecewiseLinear:
    ((_, curve),) = store.from_json((out / "approx.json").read_text()).activations
    return curve


def test_each_function_is_built(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    model, data, out = folder / "model.onnx", folder / "data.npz", folder / "out"
    x = np.linspace(-6, 6, 241)
    worst = {}
    for name in ACTIVATIONS:
        made = _approximate(
            monkeypatch,
            capsys,
            *(model, "--out", out, "--data", data, "--mix", "P8", "--activation", name),
        )
        words = made["commands"][-1].split()
        if name == "minimax":
            assert "--activation" not in words
        else:
            assert words[words.index("--activation") + 1] == name
        curve = _curve(out)
        piece = np.searchsorted(curve.breakpoints[0], x, side="right")
        y = curve.slopes[0][piece] * x + curve.offsets[0][piece]
        worst[name] = np.abs(y - np.tanh(x)).max()
    assert worst["minimax"] < 0.02
    assert worst["asg"] == pytest.approx(0.038, abs=0.001)
    assert worst["plan"] == pytest.approx(0.038, abs=0.001)
    assert 0.1 < worst["linear2"] < 0.14
    _approximate(
        monkeypatch,
        capsys,
        out,
        "--data",
        data,
        "--mix",
        "P8",
        "--activation",
        "linear1",
        "--prescale",
        "none",
    )
    assert _curve(out).slopes.max() == 0.25


def test_a_point_keeps_the_function_that_it_was_searched_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    model, data, out = folder / "model.onnx", folder / "data.npz", folder / "out"
    chosen = ("--data", data, "--budget", "30%", "--activation", "plan", "--prescale", "none")
    first = _approximate(monkeypatch, capsys, model, "--out", out, *chosen)
    curve = _curve(out)
    assert curve.slopes.max() == 0.5
    assert "--activation plan --prescale none" in first["commands"][-1]
    point = first["approximation"]["point"]
    again = _approximate(monkeypatch, capsys, out, "--point", point)
    np.testing.assert_array_equal(_curve(out).slopes, curve.slopes)
    assert "--activation plan --prescale none" in again["commands"][-1]
    searched = (out / "front.json").stat().st_mtime_ns
    _approximate(monkeypatch, capsys, out, "--data", data, "--budget", "30%")
    assert (out / "front.json").stat().st_mtime_ns > searched
    assert _curve(out).slopes.max() > 0.5
