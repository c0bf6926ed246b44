"""Programs that fail, hang, vanish or leave children behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from hwgen.errors import ToolError, ToolNotFoundError
from hwgen.toolchain.process import TimeLimitError, error_line, run_program


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_of_both_kinds_is_kept_in_the_log(tmp_path: Path) -> None:
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    finished = run_program(
        _python(code), name="Tool", directory=tmp_path, log=tmp_path / "t.log", time_limit=60
    )
    assert finished.log == "out\nerr\n" == (tmp_path / "t.log").read_text()
    assert finished.returncode == 0


def test_failure_quotes_the_line_that_matters(tmp_path: Path) -> None:
    code = "print('Info: fine'); print('ERROR: no such cell: X'); print('bye'); raise SystemExit(3)"
    with pytest.raises(ToolError, match=r"^Tool failed: no such cell: X \(log: .*t.log\)$"):
        run_program(
            _python(code), name="Tool", directory=tmp_path, log=tmp_path / "t.log", time_limit=60
        )


def test_failure_without_check_is_returned(tmp_path: Path) -> None:
    finished = run_program(
        _python("raise SystemExit(3)"),
        name="Tool",
        directory=tmp_path,
        log=tmp_path / "t.log",
        time_limit=60,
        check=False,
    )
    assert finished.returncode == 3


def test_death_by_signal_is_named(tmp_path: Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(ToolError, match="ended by signal SIGKILL, perhaps for want of memory"):
        run_program(
            _python(code), name="Tool", directory=tmp_path, log=tmp_path / "t.log", time_limit=60
        )


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolNotFoundError, match=r"^Tool cannot be started"):
        run_program(
            [str(tmp_path / "nothing")],
            name="Tool",
            directory=tmp_path,
            log=tmp_path / "t.log",
            time_limit=60,
        )


def test_time_limit_kills_the_program_and_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "t.log"
    start = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"^Tool did not end within 2 s; its log is .*t.log$"):
        run_program(_python(code), name="Tool", directory=tmp_path, log=log, time_limit=2)
    assert time.monotonic() - start < 30
    _assert_dead(int(log.read_text()))


def _assert_dead(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state in "ZX":
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("the child outlived its time limit")


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("a.v:1: ERROR: syntax error\n", "a.v:1: ERROR: syntax error"),
        ("note\nERROR: Max frequency\n", "Max frequency"),
        ("first\nlast\n\n", "last"),
        ("", "it printed nothing"),
    ],
)
def test_error_line(log: str, line: str) -> None:
    assert error_line(log) == line
