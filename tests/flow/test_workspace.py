"""Stages: run once, run again when an input changed, leave old results intact on failure."""

import tempfile
from pathlib import Path

import pytest

from hwgen.errors import DataError, ResourceError
from hwgen.flow.workspace import Workspace


def _stage(ws: Workspace, source: Path, runs: list[int], option: int = 0) -> bool:
    def work() -> None:
        runs.append(option)
        ws.write("out.txt", source.read_text().upper())

    return ws.run("shout", work, reads=[source], writes=["out.txt"], options={"option": option})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("hello")
    return path


def test_an_unchanged_stage_does_not_run_again(tmp_path: Path, source: Path) -> None:
    ws, runs = Workspace.create(tmp_path / "ws"), list[int]()
    assert _stage(ws, source, runs)
    assert not _stage(Workspace.open(tmp_path / "ws"), source, runs)
    assert runs == [0]


def test_a_changed_input_option_or_output_runs_it_again(tmp_path: Path, source: Path) -> None:
    ws, runs = Workspace.create(tmp_path / "ws"), list[int]()
    _stage(ws, source, runs)
    source.write_text("bye")
    assert _stage(ws, source, runs)
    assert _stage(ws, source, runs, option=1)
    ws.path("out.txt").write_text("tampered")
    assert _stage(ws, source, runs, option=1)
    ws.path("out.txt").unlink()
    assert _stage(ws, source, runs, option=1)
    assert runs == [0, 0, 1, 1, 1]
    assert ws.path("out.txt").read_text() == "BYE"


def test_a_stage_that_fails_before_it_writes_leaves_the_last_result_valid(
    tmp_path: Path, source: Path
) -> None:
    ws, runs = Workspace.create(tmp_path / "ws"), list[int]()
    _stage(ws, source, runs)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.run("shout", interrupted, reads=[source], writes=["out.txt"], options={"option": 7})
    assert ws.path("out.txt").read_text() == "HELLO"
    assert ws.record("shout")["options"] == {"option": 0}
    assert not _stage(ws, source, runs)
    assert _stage(ws, source, runs, option=7)


def test_a_stage_that_fails_after_it_wrote_leaves_no_result(tmp_path: Path, source: Path) -> None:
    ws, runs = Workspace.create(tmp_path / "ws"), list[int]()
    _stage(ws, source, runs)

    def interrupted() -> None:
        ws.write("out.txt", "half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.run("shout", interrupted, reads=[source], writes=["out.txt"], options={"option": 7})
    assert ws.record("shout") == {}
    assert _stage(ws, source, runs)


def test_a_failed_write_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = Workspace.create(tmp_path / "ws")
    ws.write("a.txt", "old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ResourceError, match=r"Cannot write .*a\.txt.*: No space left on device"):
        ws.write("a.txt", "new")
    assert ws.path("a.txt").read_text() == "old"
    assert sorted(p.name for p in ws.root.iterdir()) == ["a.txt", "stages"]


def test_files_that_belong_together_are_all_old_or_all_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = Workspace.create(tmp_path / "ws")
    ws.write_together({"a.txt": "old", "b/c.txt": b"old"})
    opened = tempfile.NamedTemporaryFile

    def full(dir: Path, **options: object) -> object:
        if dir.name == "b":
            raise OSError(28, "No space left on device")
        return opened(dir=dir, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as context:
        context.setattr(tempfile, "NamedTemporaryFile", full)
        with pytest.raises(ResourceError, match=r"Cannot write .*c\.txt.*: No space left"):
            ws.write_together({"a.txt": "new", "b/c.txt": b"new"})
    files = {path.name: path.read_text() for path in ws.root.rglob("*") if path.is_file()}
    assert files == {"a.txt": "old", "c.txt": "old"}
    ws.write_together({"a.txt": "new", "b/c.txt": b"new"})
    assert ws.path("a.txt").read_text() == ws.path("b/c.txt").read_text() == "new"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a directory of hwgen"):
        Workspace.open(tmp_path)
    ws = Workspace.create(tmp_path)
    with pytest.raises(DataError, match="run 'hwgen import' first"):
        ws.read("network.json", made_by="import")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="Cannot write to the output directory"):
        Workspace.create(tmp_path / "file" / "ws")


def test_paths_are_absolute_for_tools_that_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for ws in (Workspace.create(Path("out/ws")), Workspace.open(Path("out/ws"))):
        assert ws.path("simulation") == tmp_path / "out" / "ws" / "simulation"
