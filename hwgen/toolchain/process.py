"""Outside programs run to their end, with a time limit, a log file and one line of error."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import ResourceError, ToolError, ToolNotFoundError

__all__ = ["Finished", "TimeLimitError", "error_line", "run_program"]

_ERROR = re.compile(r"(?:^|\b)(?:ERROR|Error|error|FATAL):\s*(?P<text>.*\S)")


class TimeLimitError(ResourceError):
    """A program did not end within the time that it was given."""


@dataclass(frozen=True)
class Finished:
    """A program that ended: its output (standard output and error together) and wall time."""

    log: str
    returncode: int
    seconds: float


def error_line(log: str) -> str:
    """The line of a tool's output that says what is wrong, or its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for line in lines:
        found = _ERROR.search(line)
        if found:
            return found["text"] if line.startswith(("ERROR", "FATAL")) else line
    return lines[-1] if lines else "it printed nothing"


def run_program(
    command: Sequence[str],
    *,
    name: str,
    directory: Path,
    log: Path,
    time_limit: float,
    check: bool = True,
) -> Finished:
    """Run ``command`` in ``directory`` and keep its output in the file ``log``.

    The program and all that it started are killed when the time is over and when this process is
    interrupted. ``name`` is what messages call the program.

    Raises
    ------
    ToolNotFoundError
        If the program cannot be started.
    TimeLimitError
        If it takes longer than ``time_limit`` seconds.
    ToolError
        If ``check`` and it exits with anything but 0; the text holds the line that matters.
    """
    start = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolNotFoundError(f"{name} cannot be started: {error}") from error
        try:
            process.wait(timeout=time_limit)
        except subprocess.TimeoutExpired:
            raise TimeLimitError(
                f"{name} did not end within {time_limit:g} s; its log is {log}"
            ) from None
        finally:
            _kill_group(process)
    text = log.read_text(encoding="utf-8", errors="replace")
    finished = Finished(text, process.returncode, time.monotonic() - start)
    if check and finished.returncode:
        raise ToolError(f"{name} failed: {_reason(finished)} (log: {log})")
    return finished


def _reason(finished: Finished) -> str:
    if finished.returncode < 0:
        number = -finished.returncode
        hint = ", perhaps for want of memory" if number == signal.SIGKILL else ""
        return f"it was ended by signal {signal.Signals(number).name}{hint}"
    return error_line(finished.log)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the program's process group, and reap the program itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
