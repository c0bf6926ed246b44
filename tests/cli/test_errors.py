"""Bad input of every kind: one clear sentence, a non-zero exit status, no traceback."""

from __future__ import annotations

import errno
import importlib.util
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(hwgen: Callable[..., tuple[int, str, str]]) -> Run:
    """Run the command line; its exit status and what it printed on standard error."""

    def call(*arguments: object) -> tuple[int, str]:
        status, _, error = hwgen(*arguments)
        return status, error

    return call


def _model(
    path: Path,
    *,
    operator: str = "Relu",
    weight: np.ndarray | None = None,
    shape: Sequence[int | str] = ("N", 1, 6, 6),
    opset: int = 17,
) -> Path:
    w = np.ones((2, 1, 3, 3), np.float32) if weight is None else weight
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node(operator, ["c"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
    return path


def test_a_missing_model(run: Run, tmp_path: Path) -> None:
    status, error = run("import", tmp_path / "no.onnx", "--out", tmp_path / "o")
    assert status == 1
    assert "no.onnx' does not exist" in error


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(range(256)) * 9])
def test_a_damaged_model(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    status, error = run("import", tmp_path / "bad.onnx", "--out", tmp_path / "o")
    assert status == 1
    assert "bad.onnx" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"operator": "Sin"}, ["last", "Sin"]),
        ({"weight": np.full((2, 1, 3, 3), np.nan, np.float32)}, ["conv", "NaN"]),
        ({"weight": np.zeros((0, 1, 3, 3), np.float32)}, []),
        ({"shape": ("N", 1, "H", 6)}, ["x"]),
        ({"shape": ("N", 3, 6, 6)}, ["conv"]),
        ({"opset": 3}, ["opset"]),
    ],
    ids=["operator", "nan", "empty", "dynamic", "channels", "opset"],
)
def test_an_unfit_model(
    run: Run, tmp_path: Path, options: dict[str, object], words: list[str]
) -> None:
    model = _model(tmp_path / "m.onnx", **options)  # type: ignore[arg-type]
    status, error = run("import", model, "--out", tmp_path / "o")
    assert status == 1
    assert error.startswith("error:")
    for word in words:
        assert word in error


def _imported(run: Run, tmp_path: Path) -> Path:
    out = tmp_path / "o"
    assert run("import", _model(tmp_path / "m.onnx"), "--out", out)[0] == 0
    return out


def _data(path: Path, *, images: int = 40, size: int = 6) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.uniform(size=(images, 1, size, size)))
    return path


def test_data_of_the_wrong_shape(run: Run, tmp_path: Path) -> None:
    out = _imported(run, tmp_path)
    status, error = run("approximate", out, "--data", _data(tmp_path / "d.npz", size=5))
    assert status == 1
    assert "has shape (40, 1, 5, 5), but the model wants (N, 1, 6, 6)" in error


@pytest.mark.parametrize("odd", [-1, 2])
def test_classes_that_the_model_does_not_have(run: Run, tmp_path: Path, odd: int) -> None:
    out = tmp_path / "o"
    model = _model(tmp_path / "m.onnx", shape=("N", 1, 3, 3))
    assert run("import", model, "--out", out)[0] == 0
    x, y = np.random.default_rng(0).uniform(size=(40, 1, 3, 3)), np.arange(40) % 2
    np.savez(tmp_path / "good.npz", x=x, y=y)
    np.savez(tmp_path / "bad.npz", x=x, y=np.append(y[:-1], odd))
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    for arguments in (("--data", bad), ("--data", good, "--test", bad)):
        status, error = run("approximate", out, *arguments, "--mix", "P4")
        assert status == 1
        assert f"bad.npz' must hold classes from 0 to 1, as the model has 2, not {odd}" in error
    assert run("approximate", out, "--data", good, "--mix", "P4")[0] == 0


@pytest.mark.parametrize("value", [np.nan, 1e30, 1e-30])
def test_values_that_no_format_holds(run: Run, tmp_path: Path, value: float) -> None:
    out, path = _imported(run, tmp_path), tmp_path / "d.npz"
    np.savez(path, x=np.full((40, 1, 6, 6), value))
    status, error = run("approximate", out, "--data", path, "--mix", "P4")
    assert status == 1
    assert "d.npz'" in error
    assert ("not finite" if np.isnan(value) else f"not {value:g}") in error


def test_bad_input_leaves_earlier_results_valid(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
    model, data = _model(tmp_path / "m.onnx", weight=weight), _data(tmp_path / "d.npz")
    out, bad = tmp_path / "o", _data(tmp_path / "bad.npz", size=5)
    assert run("approximate", model, "--out", out, "--data", data, "--budget", "20%")[0] == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for arguments in (
        ("--data", bad),
        ("--data", data, "--budget", "0", "--bits", "2"),
        ("--data", data, "--budget", "20%", "--test", bad),
        ("--data", data, "--mix", "P99"),
        ("--data", data, "--budget", "20%", "--point", ""),
        ("--data", data, "--budget", "20%", "--point", "p99"),
    ):
        assert run("approximate", out, *arguments)[0] == 1
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run("front", out)[0] == 0
    assert run("approximate", out, "--point", "p1")[0] == 0


def test_fine_tuning_without_pytorch_is_refused_before_the_search(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, data = _imported(run, tmp_path), _data(tmp_path / "d.npz")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name)
    )
    status, error = run("approximate", out, "--data", data, "--budget", "20%", "--finetune", "1")
    assert status == 1
    assert "Fine-tuning needs PyTorch" in error
    assert not (out / "front.json").exists()


def test_missing_data(run: Run, tmp_path: Path) -> None:
    status, error = run("approximate", _imported(run, tmp_path), "--data", tmp_path / "no.npz")
    assert status == 1
    assert "no.npz" in error


def test_a_budget_that_cannot_be_met(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
    out = tmp_path / "o"
    assert run("import", _model(tmp_path / "m.onnx", weight=weight), "--out", out)[0] == 0
    before = sorted(p.name for p in out.rglob("*"))
    data = _data(tmp_path / "d.npz")
    status, error = run("approximate", out, "--data", data, "--budget", "0", "--bits", "2")
    assert status == 1
    assert "more than the budget of 0.00%" in error
    assert sorted(p.name for p in out.rglob("*")) == before


def test_a_budget_that_is_none(run: Run, tmp_path: Path) -> None:
    data = _data(tmp_path / "d.npz")
    for text in ("one", "150%", "-1%"):
        status, error = run("approximate", tmp_path, "--data", data, f"--budget={text}")
        assert status == 2
        assert text in error


def test_standard_output_that_is_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    for arguments in (("boards",), ("boards", "--json")):
        monkeypatch.setattr(sys, "stdout", Full())
        assert run(*arguments) == (1, "error: No space left on device")


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_none(run: Run, tmp_path: Path, number: str) -> None:
    for arguments in (
        ("synth", tmp_path, "--board", "icebreaker", "--frequency", number),
        ("synth", tmp_path, "--board", "icebreaker", "--time-limit", number),
        ("optimize", "m.npy", "--time", number),
        ("nfu", "layers", tmp_path, "--clock", number),
    ):
        status, error = run(*arguments)
        assert status == 2
        assert f"Invalid value for '{arguments[-2]}': " in error
        assert number in error


def test_a_mix_that_is_none(run: Run, tmp_path: Path) -> None:
    out, data = _imported(run, tmp_path), _data(tmp_path / "d.npz")
    for mix, word in (("P99", "P99"), ("nolayer=P4", "nolayer"), ("P4@none", "none")):
        status, error = run("approximate", out, "--data", data, "--mix", mix)
        assert status == 1
        assert word in error
    status, error = run("approximate", out, "--data", data, "--mix", "P4", "--point", "p1")
    assert status == 2
    assert "Only one of '--point' and '--mix'" in error


def test_a_point_without_a_front(run: Run, tmp_path: Path) -> None:
    out = _imported(run, tmp_path)
    for arguments in (("approximate", out, "--point", "p1"), ("front", out)):
        status, error = run(*arguments)
        assert status == 1
        assert "has no front of its network" in error


def test_a_point_that_is_not_on_the_front(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
    model, data = _model(tmp_path / "m.onnx", weight=weight), _data(tmp_path / "d.npz")
    out = tmp_path / "o"
    status, _ = run("approximate", model, "--out", out, "--data", data, "--budget", "20%")
    assert status == 0
    status, error = run("approximate", out, "--point", "p99")
    assert status == 1
    assert "Point must be one of p1 to p" in error
    assert "not 'p99'" in error
    missing = tmp_path / "no" / "f.csv"
    for arguments in (
        ("front", out, "--csv", missing),
        ("front", out, "--plot", missing),
        ("complexity", out, "--format", "csv", "--out", missing),
    ):
        status, error = run(*arguments)
        assert status == 1
        assert "Cannot write" in error
        assert "f.csv': No such file" in error


def test_a_model_needs_a_directory_for_results(run: Run, tmp_path: Path) -> None:
    model, data = _model(tmp_path / "m.onnx"), _data(tmp_path / "d.npz")
    status, error = run("approximate", model, "--data", data)
    assert status == 2
    assert "'--out'" in error
    status, error = run("approximate", model, "--out", tmp_path / "o")
    assert status == 2
    assert "Missing option '--data'" in error


def test_stages_out_of_order(run: Run, tmp_path: Path) -> None:
    status, error = run("generate", tmp_path / "nowhere")
    assert status == 1
    assert "is not a directory of hwgen" in error
    out = _imported(run, tmp_path)
    for command, before in (("generate", "approximate"), ("verify", "approximate")):
        status, error = run(command, out)
        assert status == 1
        assert f"run 'hwgen {before}' first" in error
    status, error = run("synth", out, "--board", "ulx3s-25f")
    assert status == 1
    assert "run 'hwgen generate' first" in error


def test_an_unknown_board_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    data = _data(tmp_path / "d.npz")
    model = _model(tmp_path / "m.onnx")
    out = tmp_path / "o"
    status, error = run("build", model, "--data", data, "--board", "nexys", "--out", out)
    assert status == 1
    assert "no board 'nexys'" in error
    assert "ulx3s-25f" in error
    assert not (out / "network.json").exists()


def test_an_output_directory_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, error = run("import", _model(tmp_path / "m.onnx"), "--out", tmp_path / "file" / "o")
    assert status == 1
    assert "Cannot write to the output directory" in error


def test_ctrl_c_leaves_a_directory_that_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwgen.flow import approximating

    out, data = _imported(run, tmp_path), _data(tmp_path / "d.npz")
    with monkeypatch.context() as context:

        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        context.setattr(approximating, "search_recipes", interrupt)
        status, error = run("approximate", out, "--data", data)
    assert status == 130
    assert "Interrupted" in error
    assert run("approximate", out, "--data", data, "--budget", "20%")[0] == 0


def test_every_command_teaches(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    stages = "build import approximate front generate verify synth report"
    for command in f"{stages} complexity doctor boards".split():
        status, _ = run(command, "--help")
        assert status == 0
    status, error = run("build")
    assert status == 2
    assert "MODEL.onnx" in error


@pytest.mark.parametrize("command", ["approximate", "slim"])
def test_a_seed_that_is_none(run: Run, tmp_path: Path, command: str) -> None:
    status, error = run(command, tmp_path, "--data", "d.npz", "--seed", "-1")
    assert status == 2
    assert "-1 is not in the range" in error
