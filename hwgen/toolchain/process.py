"""Outside programs run to their end, with a time limit, a log file and one line of error."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import ResourceError, ToolError, ToolNotFoundError

__all__ = [
    "Finished",
    "Program",
    "TimeLimitError",
    "error_line",
    "run_program",
    "run_together",
]

_POLL, _LOOK = 0.02, 5.0  # seconds between looks at the running programs, and at their output

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


@dataclass(frozen=True)
class Program:
    """A program to run: ``command`` in ``directory``, its output kept in the file ``log``.

    ``name`` is what messages call it. ``endless`` tells of the output so far why the program will
    never end; an empty text if it may.
    """

    command: tuple[str, ...]
    name: str
    directory: Path
    log: Path
    endless: Callable[[str], str] = lambda _: ""


def run_program(program: Program, *, time_limit: float) -> Finished:
    """Run a program to its end; the same as :func:`run_together` of it alone."""
    (finished,) = run_together((program,), time_limit=time_limit)
    return finished


def run_together(programs: Sequence[Program], *, time_limit: float) -> tuple[Finished, ...]:
    """Run programs at the same time, each as a process of its own, until all have ended.

    All of them, and all that they started, are killed when one fails, when the time is over and
    when this process is interrupted.

    Raises
    ------
    ToolNotFoundError
        If a program cannot be started.
    TimeLimitError
        If one takes longer than ``time_limit`` seconds.
    ToolError
        If one exits with anything but 0, the text holds the line of its output that matters; or if
        one will never end.
    """
    start = looked = time.monotonic()
    finished: list[Finished | None] = [None] * len(programs)
    with contextlib.ExitStack() as stack:
        processes = []
        for program in programs:
            processes.append(_start(program))
            stack.callback(_kill_group, processes[-1])
        while None in finished:
            for index, (program, process) in enumerate(zip(programs, processes, strict=True)):
                if finished[index] is None and process.poll() is not None:
                    seconds = time.monotonic() - start
                    finished[index] = _finish(program, process.returncode, seconds)
            if None in finished:
                if time.monotonic() - start > time_limit:
                    slow = programs[finished.index(None)]
                    raise TimeLimitError(
                        f"{slow.name} did not end within {time_limit:g} s; its log is {slow.log}"
                    )
                if time.monotonic() - looked > _LOOK:
                    looked = time.monotonic()
                    _raise_if_endless([p for p, f in zip(programs, finished, strict=True) if not f])
                time.sleep(_POLL)
    return tuple(one for one in finished if one is not None)


def _raise_if_endless(running: Sequence[Program]) -> None:
    for program in running:
        if reason := program.endless(program.log.read_text(encoding="utf-8", errors="replace")):
            raise ToolError(f"{program.name} would not end: {reason} (log: {program.log})")


def _start(program: Program) -> subprocess.Popen[bytes]:
    with program.log.open("wb") as output:
        try:
            return subprocess.Popen(
                program.command,
                cwd=program.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolNotFoundError(f"{program.name} cannot be started: {error}") from error


def _finish(program: Program, returncode: int, seconds: float) -> Finished:
    finished = Finished(
        program.log.read_text(encoding="utf-8", errors="replace"), returncode, seconds
    )
    if returncode:
        raise ToolError(f"{program.name} failed: {_reason(finished)} (log: {program.log})")
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
