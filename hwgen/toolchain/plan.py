"""Build plans: the files and commands of a build as a pure value, and their execution."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hwgen.toolchain.process import Finished, Program, run_program
from hwgen.toolchain.tools import TOOLS

__all__ = ["BuildPlan", "Step", "run_step", "step_program", "write_whole"]


@dataclass(frozen=True)
class Step:
    """One command of a build: ``tool`` (a name in :data:`~hwgen.toolchain.tools.TOOLS`) run on
    ``arguments``; what it prints goes to the file ``log``.
    """

    tool: str
    arguments: tuple[str, ...]
    log: str

    def __post_init__(self) -> None:
        if self.tool not in TOOLS:
            raise ValueError(f"Tool must be one of {', '.join(TOOLS)}, not {self.tool!r}")


@dataclass(frozen=True)
class BuildPlan:
    """Files, as (name, text), and the steps that work on them, in one directory.

    A plan depends only on what it was made from: the same design gives the same plan, byte for
    byte. It can be executed here, step by step, or written to disk and run by hand.
    """

    files: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.files]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"File names of a plan must differ, but {twice[0]!r} occurs twice")

    def then(self, other: BuildPlan) -> BuildPlan:
        """This plan followed by ``other`` in the same directory."""
        return BuildPlan(self.files + other.files, self.steps + other.steps)

    @property
    def script(self) -> str:
        """Shell script that runs the steps in its own directory, with the user's tools if wanted.

        Each tool's command can be replaced through a variable, as in ``YOSYS=yosys sh build.sh``.
        """
        tools = sorted({step.tool for step in self.steps})
        lines = ["#!/bin/sh", "set -e", 'cd "$(dirname "$0")"']
        lines += [f': "${{{TOOLS[name].variable}:={TOOLS[name].shell}}}"' for name in tools]
        for step in self.steps:
            arguments = shlex.join(step.arguments)
            variable = TOOLS[step.tool].variable
            lines.append(f"${variable} {arguments} > {shlex.quote(step.log)} 2>&1")
        return "\n".join([*lines, ""])

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the plan."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def write(self, directory: Path, *, script: str = "build.sh") -> None:
        """Write the files and the shell script into ``directory``, which is made if missing."""
        self.write_files(directory)
        write_whole(directory / script, self.script.encode())

    def write_files(self, directory: Path) -> None:
        """Write the files alone into ``directory``, which is made if missing."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.files:
            write_whole(directory / name, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half written."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def run_step(
    step: Step, directory: Path, *, time_limit: float, endless: Callable[[str], str] | None = None
) -> Finished:
    """Run one step of a plan whose files are in ``directory``; errors as :func:`run_program`.

    ``endless`` is that of :class:`~hwgen.toolchain.process.Program`.
    """
    program = step_program(step, directory)
    if endless is not None:
        program = replace(program, endless=endless)
    return run_program(program, time_limit=time_limit)


def step_program(step: Step, directory: Path) -> Program:
    """The program that one step of a plan runs in ``directory``."""
    return Program(
        TOOLS[step.tool].command(*step.arguments), step.tool, directory, directory / step.log
    )
