"""``hwgen nfu``: a program through every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_workspace import fill

from hwgen.flow.options import GenerateOptions
from hwgen.flow.stages import generate
from hwgen.nfu.assembler import disassemble
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.files import load_image, read_program, save_image
from hwgen.nfu.memory import MemoryImage, pack_rows, pack_scales
from hwgen.nfu.timing import Timing, rate

Hwgen = Callable[..., tuple[int, str, str]]

_TEXT = """\
SB size=2 rows=2 | NBIN size=2 positions=1 | NBOUT groups=1 store=1 target=2 \\
  | NFU op=MULT
CP end=1
"""
_SUMS = "SB size=2 rows=2 | NBIN size=2 positions=1 | NBOUT groups=1 store=1 target=2 | NFU op=MULT"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A program that adds up 8 inputs four ways, and the inputs 0 to 7."""
    config = NfuConfig(nfu3_lanes=4)
    image = MemoryImage(
        pack_rows(config, np.ones((2, 4, 4, 1), dtype=np.int64), [0, 1], [0, 1]),
        pack_scales(config, np.ones((1, 4, 2), dtype=np.int64), np.zeros((1, 4), dtype=np.int64)),
        np.arange(16),
    )
    program, memory = tmp_path / "sums.nfu", tmp_path / "image.npz"
    program.write_text(_TEXT)
    save_image(memory, config, image)
    return program, memory


@pytest.mark.parametrize("suffix", ["hex", "bin"])
def test_there_and_back(
    hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path, suffix: str
) -> None:
    words, back = tmp_path / f"p.{suffix}", tmp_path / "back.nfu"
    assert hwgen("nfu", "asm", files[0], "--out", words) == (0, "", "")
    assert hwgen("nfu", "disasm", words, "--out", back) == (0, "", "")
    assert back.read_text() == f"{_SUMS}\nCP end=1\n"
    status, printed, _ = hwgen("nfu", "disasm", words)
    assert (status, printed) == (0, back.read_text())


def test_words_and_fields(hwgen: Hwgen, files: tuple[Path, Path]) -> None:
    status, printed, _ = hwgen("nfu", "asm", files[0])
    words = printed.split()
    assert status == 0
    assert [len(word) for word in words] == [80, 80]
    assert int(words[1], 16) == 1
    _, printed, _ = hwgen("nfu", "asm", files[0], "--json")
    assert json.loads(printed)["words"] == words
    _, printed, _ = hwgen("nfu", "disasm", files[0], "--json")
    first, last = json.loads(printed)["instructions"]
    assert first["NFU op"] == "MULT"
    assert first["NBOUT target"] == 2
    assert last == {"CP end": 1}


def test_run(hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path) -> None:
    after = tmp_path / "after.npz"
    status, printed, _ = hwgen("nfu", "run", *files, "--out", after)
    assert status == 0
    assert printed.split() == ["word", "values", "2", "28", "28", "28", "28"]
    np.testing.assert_array_equal(load_image(after)[1].activations[8:12], [28] * 4)
    _, printed, _ = hwgen("nfu", "run", *files, "--json")
    assert json.loads(printed) == {"stores": [{"address": 2, "values": [28] * 4}]}


def test_cycles(hwgen: Hwgen, files: tuple[Path, Path]) -> None:
    arguments = ("nfu", "cycles", *files, "--latency", 5, "--rate", "sb=1/3")
    config, _ = load_image(files[1])
    count = count_cycles(config, read_program(files[0]), Timing(5, {"sb_words": rate(1, 3)}))
    _, printed, _ = hwgen(*arguments, "--json")
    told = json.loads(printed)
    assert (told["cycles"], told["rows"], told["stalls"]) == (count.total, 2, count.stalls)
    assert told["bytes"] == {"sb": 2 * 12, "nbin": 2 * 4, "table": 0, "store": 4}
    status, printed, _ = hwgen(*arguments)
    assert status == 0
    assert f"{count.total} " in printed
    assert "stall: sb" in printed


def test_trace(hwgen: Hwgen, files: tuple[Path, Path], tmp_path: Path) -> None:
    picture = tmp_path / "t.svg"
    status, printed, _ = hwgen("nfu", "trace", *files, "--out", picture, "--from", 3, "--json")
    assert status == 0
    assert "load SB" in picture.read_text()
    spans = json.loads(printed)["spans"]
    assert {"sb", "nbin", "run", "store"} == {span["unit"] for span in spans}
    assert min(span["end"] for span in spans) >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("asm", "{p}", "--out", "p.txt"), "--out must end in .bin or .hex, not '.txt'"),
        (("asm", "no.nfu"), "Cannot read 'no.nfu': No such file or directory"),
        (("run", "{p}", "{p}"), "must be an NPZ file of a memory image"),
        (("run", "{i}", "{i}"), "is not text; is it a .bin file?"),
        (("cycles", "{p}", "{i}", "--rate", "sb"), "'--rate': 'sb' is not a port and its words"),
        (("cycles", "{p}", "{i}", "--rate", "sb=2/1"), "'--rate': 'sb=2/1' must be from 1 word"),
        (("cycles", "{p}", "{i}", "--rate", "sb=0/1"), "'--rate': 'sb=0/1' must be from 1 word"),
        (("cycles", "{p}", "{i}", "--rate", "sb=1/1000001"), "in 1,000,000 cycles to 1 a cycle"),
        (("cycles", "{p}", "{i}", "--latency", "9" * 20), "not in the range 1<=x<=1000000"),
        (("cycles", "{p}", "{i}", "--rate", "x=1"), "they are sb, nbin, table, store"),
        (("trace", "{p}", "{i}", "--out", "t.xyz"), "'--out': 't.xyz' must end in .png, .svg or"),
        (("trace", "{p}", "{i}", "--out", "t.jpg"), "'--out': 't.jpg' must end in .png, .svg or"),
        (("trace", "{p}", "{i}", "--out", "{full}.svg"), "full.svg': No space left on device"),
        (("run", "{p}", "{i}", "--out", "{full}.npz"), "full.npz': No space left on device"),
        (("layers", "{p}", "--plot", "l.gif"), "'--plot': 'l.gif' must end in .png, .svg or .pdf"),
        (("trace", "{p}", "{i}", "--out", "t.png", "--from", "99"), "--from must be at most"),
    ],
)
def test_refused(
    hwgen: Hwgen,
    files: tuple[Path, Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    p, i = files
    full = tmp_path / "full"
    for suffix in (".svg", ".npz"):
        full.with_suffix(suffix).symlink_to("/dev/full")
    status, _, error = hwgen("nfu", *(each.format(p=p, i=i, full=full) for each in arguments))
    assert status != 0
    assert message in error


def test_a_program_that_breaks_a_rule(hwgen: Hwgen, files: tuple[Path, Path]) -> None:
    files[0].write_text("SB rows=2 | NBIN positions=1 | NBOUT groups=1 | NFU op=MULT\nCP end=1\n")
    for command in (("run",), ("cycles",), ("trace", "--out", "t.png")):
        status, _, error = hwgen("nfu", command[0], *files, *command[1:])
        assert status == 1
        assert "Instruction 0: Word 0 of SB is read before it is written" in error


@pytest.mark.parametrize("option", [("--tile", "2x2"), ("--memory", "spram")])
def test_options_of_an_nfu_need_its_back_end(
    hwgen: Hwgen, tmp_path: Path, option: tuple[str, str]
) -> None:
    workspace = fill(tmp_path / "w", ("import", "approximate", "generate"))
    design = workspace.path("design.v").read_bytes()
    new = tmp_path / "new"
    build = ("build", "m.onnx", "--data", "d.npz", "--board", "icebreaker", "--out", new)
    for command in (("generate", workspace.root), build):
        status, _, error = hwgen(*command, *option)
        assert status == 2
        assert f"{option[0]} says how an NFU is built; add --backend nfu" in error
    assert workspace.path("design.v").read_bytes() == design
    assert not new.exists()


def test_single_port_memory_of_a_board_without_it(hwgen: Hwgen, tmp_path: Path) -> None:
    """Refused before the model is read, which may take long."""
    arguments = ("--data", "d.npz", "--out", tmp_path / "o", "--backend", "nfu")
    status, _, error = hwgen(
        "build", "no.onnx", *arguments, "--board", "ulx3s-25f", "--memory", "spram"
    )
    assert status == 1
    assert "ULX3S 25F has no single-port RAM: choose another board, or --memory bram" in error


def test_layers(hwgen: Hwgen, tmp_path: Path) -> None:
    """The layers add up to the program, which the other commands then take."""
    workspace = fill(tmp_path / "w", ("import", "approximate"))
    csv, plot, folder = tmp_path / "l.csv", tmp_path / "l.svg", tmp_path / "nfu"
    arguments = ("nfu", "layers", workspace.root, "--tile", "2x2", "--latency", 3)
    status, printed, _ = hwgen(*arguments, "--csv", csv, "--plot", plot, "--save", folder)
    assert status == 0
    lines = printed.splitlines()
    assert lines[0].split()[:3] == ["layer", "cycles", "dense"]
    total = int(lines[-1].split()[1].replace(",", ""))
    assert len(csv.read_text().splitlines()) == len(lines) - 1
    assert "operations a byte moved" in plot.read_text()

    files = (folder / "program.nfu", folder / "image.npz")
    _, printed, _ = hwgen("nfu", "cycles", *files, "--latency", 3, "--json")
    assert json.loads(printed)["cycles"] == total
    assert load_image(files[1])[0].tn == 2
    _, printed, _ = hwgen(*arguments, "--json")
    assert sum(layer["cycles"] for layer in json.loads(printed)["layers"]) == total


def test_layers_of_the_design(hwgen: Hwgen, tmp_path: Path) -> None:
    workspace = fill(tmp_path / "w", ("import", "approximate"))
    status, _, error = hwgen("nfu", "layers", tmp_path / "none")
    assert status == 1
    assert "none" in error
    status, _, _ = hwgen("nfu", "layers", workspace.root, "--save", tmp_path / "a")
    assert status == 0
    assert load_image(tmp_path / "a" / "image.npz")[0].tn == 4
    generate(workspace, GenerateOptions(backend="nfu", tile=(2, 1)), lambda task, fraction: None)
    status, _, _ = hwgen("nfu", "layers", workspace.root, "--save", tmp_path / "b")
    assert status == 0
    config, _ = load_image(tmp_path / "b" / "image.npz")
    assert (config.tn, config.ti) == (2, 1)
    assert disassemble(read_program(tmp_path / "b" / "program.nfu")) == (
        workspace.path("program.nfu").read_text()
    )
