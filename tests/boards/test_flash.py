"""Loading a board with programs that only write down how they were called."""

import stat
from pathlib import Path

import pytest

from hwgen.boards import find_board
from hwgen.boards.flash import flash, flash_command
from hwgen.cli.flash import flash as command
from hwgen.errors import ResourceError, ToolError, ToolNotFoundError


def _tool(folder: Path, name: str, *, status: int = 0) -> None:
    """A program ``name`` that prints its arguments."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the search path."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("board", "loader"),
    [
        ("ulx3s-45f", "ulx3s"),
        ("colorlight-i9", "colorlight-i9"),
        ("tang-nano-9k", "tangnano9k"),
        ("icebreaker", "ice40_generic"),
    ],
)
def test_openfpgaloader_loads_every_board(tools: Path, board: str, loader: str) -> None:
    _tool(tools, "openFPGALoader")
    _tool(tools, "iceprog")
    log = tools / "flash.log"
    assert flash(find_board(board), Path("/a/top.bit"), log=log) == "openFPGALoader"
    assert log.read_text() == f"-b {loader} -f /a/top.bit\n"


def test_iceprog_loads_ice40_alone(tools: Path) -> None:
    _tool(tools, "iceprog")
    command = flash_command(find_board("hx8k-evn"), Path("top.bin"))
    assert command == (str(tools / "iceprog"), "top.bin")
    with pytest.raises(
        ToolNotFoundError,
        match=r"^Loading ULX3S 25F needs openFPGALoader: run 'apt install openfpgaloader'$",
    ):
        flash_command(find_board("ulx3s-25f"), Path("top.bit"))


def test_what_to_install_is_named(tools: Path) -> None:
    with pytest.raises(ToolNotFoundError, match=r"or 'apt install fpga-icestorm'$"):
        flash_command(find_board("icebreaker"), Path("top.bin"))


def test_a_loader_that_fails(tools: Path) -> None:
    _tool(tools, "openFPGALoader", status=1)
    with pytest.raises(ToolError, match=r"^openFPGALoader failed: -b ulx3s -f"):
        flash(find_board("ulx3s-85f"), Path("top.bit"), log=tools / "flash.log")


def _built(root: Path, monkeypatch: pytest.MonkeyPatch, result: dict[str, str] | None) -> Path:
    """A directory whose synthesis had ``result``."""
    (root / "stages").mkdir(parents=True)
    (root / "synthesis").mkdir()
    monkeypatch.setattr("hwgen.cli.flash.read_result", lambda workspace, stage: result)
    return root


def _run(root: Path, *arguments: str) -> None:
    command.main([str(root), *arguments], standalone_mode=False)


def test_the_command(
    tools: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _tool(tools, "openFPGALoader")
    result = {"board": "tang-nano-9k", "bitstream": "top.fs"}
    root = _built(tmp_path / "out", monkeypatch, result)
    bitstream = root / "synthesis/top.fs"
    bitstream.write_bytes(b"bits")
    _run(root)
    assert capsys.readouterr().out == f"openFPGALoader wrote {bitstream} to Tang Nano 9K\n"
    with pytest.raises(ResourceError, match=r"must be that of the bitstream, .*: not 'icebreaker'"):
        _run(root, "--board", "icebreaker")
    bitstream.unlink()
    with pytest.raises(ResourceError, match="bitstream is missing"):
        _run(root)


def test_the_command_before_synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _built(tmp_path / "out", monkeypatch, None)
    with pytest.raises(ResourceError, match=r"There is no bitstream in .* --board BOARD'"):
        _run(root)
