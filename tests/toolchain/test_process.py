"""Programs that fail, hang, vanish or leave children behind."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from hwgen.errors import ToolError, ToolNotFoundError
from hwgen.toolchain.process import Program, TimeLimitError, error_line, run_program, run_together


def _program(directory: Path, code: str) -> Program:
    command = (sys.executable, "-c", code)
    return Program(command, "Tool", directory, directory / "t.log")


def test_output_of_both_kinds_is_kept_in_the_log(tmp_path: Path) -> None:
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    finished = run_program(_program(tmp_path, code), time_limit=60)
    assert finished.log == "out\nerr\n" == (tmp_path / "t.log").read_text()
    assert finished.returncode == 0


def test_failure_quotes_the_line_that_matters(tmp_path: Path) -> None:
    code = "print('Info: fine'); print('ERROR: no such cell: X'); print('bye'); raise SystemExit(3)"
    with pytest.raises(ToolError, match=r"^Tool failed: no such cell: X \(log: .*t.log\)$"):
        run_program(_program(tmp_path, code), time_limit=60)


def test_death_by_signal_is_named(tmp_path: Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(ToolError, match="ended by signal SIGKILL, perhaps for want of memory"):
        run_program(_program(tmp_path, code), time_limit=60)


def test_missing_program_is_named(tmp_path: Path) -> None:
    missing = Program((str(tmp_path / "nothing"),), "Tool", tmp_path, tmp_path / "t.log")
    with pytest.raises(ToolNotFoundError, match=r"^Tool cannot be started"):
        run_program(missing, time_limit=60)


_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_time_limit_kills_the_program_and_its_children(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"^Tool did not end within 2 s; its log is .*t.log$"):
        run_program(_program(tmp_path, _PARENT), time_limit=2)
    assert time.monotonic() - start < 30
    _assert_dead(int((tmp_path / "t.log").read_text()))


def test_interrupt_kills_the_program_and_its_children(tmp_path: Path) -> None:
    interrupt = threading.Timer(2, signal.raise_signal, [signal.SIGINT])
    # a test run that a shell put into the background inherits that interrupts are ignored
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            run_program(_program(tmp_path, _PARENT), time_limit=60)
    finally:
        signal.signal(signal.SIGINT, inherited)
    _assert_dead(int((tmp_path / "t.log").read_text()))


def test_programs_run_at_the_same_time(tmp_path: Path) -> None:
    meet = (
        "import pathlib, sys, time\n"
        "pathlib.Path('{mine}').touch()\n"
        "while not pathlib.Path('{other}').exists(): time.sleep(0.01)\n"
        "print('{mine}')\n"
    )
    programs = [
        Program(
            (sys.executable, "-c", meet.format(mine=mine, other=other)),
            mine,
            tmp_path,
            tmp_path / f"{mine}.log",
        )
        for mine, other in (("a", "b"), ("b", "a"))
    ]
    assert [one.log for one in run_together(programs, time_limit=60)] == ["a\n", "b\n"]


def test_failure_of_one_ends_the_others(tmp_path: Path) -> None:
    failing = Program((sys.executable, "-c", "raise SystemExit(1)"), "B", tmp_path, tmp_path / "b")
    with pytest.raises(ToolError, match=r"^B failed: it printed nothing"):
        run_together((_program(tmp_path, "import time; time.sleep(600)"), failing), time_limit=60)


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
