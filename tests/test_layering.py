"""Imports point one way: a package reads only those on its left, and nothing goes in circles."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hwgen

_ROOT = Path(hwgen.__file__).parent

# What each package or module of hwgen may import from the others: whole packages, or one module.
_MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "numeric": set(),
    "npz": set(),
    "serial": {"errors"},
    "network": {"errors", "numeric", "serial"},
    "shiftadd": {"errors", "numeric", "serial"},
    "approx": {"errors", "npz", "numeric", "serial", "network", "shiftadd"},
    "slim": {"errors", "npz", "numeric", "serial", "network", "approx", "shiftadd"},
    "integer": {"errors", "numeric", "serial", "network", "approx"},
    "finetune": {"errors", "numeric", "network", "approx", "slim"},
    "toolchain": {"errors"},
    "stream": {
        *("errors", "numeric", "serial", "network.types", "integer", "shiftadd"),
        "toolchain",  # Yosys writes the Verilog
    },
    "estimate": {
        *("errors", "numeric", "integer", "network.types", "shiftadd", "stream"),
    },
    "sim": {
        *("errors", "numeric", "serial", "network.types", "integer", "toolchain"),
        "stream.design",
    },
    "formal": {"errors", "numeric", "integer", "stream", "toolchain"},
    "nfu": {
        *("errors", "npz", "numeric", "serial", "integer", "network.types"),
        *("stream.common", "stream.product"),  # what every block shares
        "stream.argmax",  # the decision behind an NFU
        "stream.comment",  # the head of the Verilog
        "stream.design",  # a network on an NFU is a streaming design
        "stream.programs",  # which may take programs from a host
        "toolchain",  # Yosys writes the Verilog
    },
    "hybrid": {
        *("errors", "numeric", "serial", "network.types", "integer", "stream", "nfu"),
        "toolchain",  # Yosys writes the Verilog
    },
    "link": {
        *("errors", "numeric", "toolchain", "sim.words"),
        *("stream.design", "stream.programs"),
    },
    "boards": {"errors", "numeric", "toolchain", "stream.design", "link"},
    "report": {"errors", "numeric", "serial", "network", "approx", "slim", "integer"},
    "flow": {
        *("errors", "npz", "numeric", "serial", "network", "approx", "slim", "integer"),
        *("shiftadd", "stream", "nfu", "hybrid", "sim", "link", "boards", "toolchain", "report"),
        *("estimate", "finetune", "formal"),
    },
    "cli": {"errors", "flow", "boards", "report", "toolchain", "nfu"},
}


def _module_files() -> dict[str, Path]:
    """File of every module by its dotted name, ``sim`` and ``boards`` included."""
    files = {}
    folders = [_ROOT, *(path for path in _ROOT.iterdir() if path.is_symlink())]
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = ("hwgen", *path.relative_to(_ROOT).with_suffix("").parts)
            files[".".join(parts).removesuffix(".__init__")] = path
    return files


_FILES = _module_files()


def _imports(name: str) -> set[str]:
    """Modules of hwgen that a module imports, anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; imports of hwgen are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in _FILES else str(node.module))
    return {module for module in found if module.split(".")[0] == "hwgen"} - {"hwgen"}


def _is_allowed(module: str, package: str) -> bool:
    inner = module.removeprefix("hwgen.")
    return any(
        inner == allowed or inner.startswith(f"{allowed}.")
        for allowed in (package, *_MAY_IMPORT[package])
    )


def test_every_package_is_in_the_table() -> None:
    packages = {name.split(".")[1] for name in _FILES if name != "hwgen"}
    assert packages == set(_MAY_IMPORT)
    assert {"hwgen.sim.golden", "hwgen.boards.build", "hwgen.cli.main"} <= set(_FILES)


@pytest.mark.parametrize("package", sorted(_MAY_IMPORT))
def test_imports_point_left(package: str) -> None:
    wrong = [
        f"{name} imports {module}"
        for name in sorted(_FILES)
        if name.split(".")[1:2] == [package]
        for module in sorted(_imports(name))
        if not _is_allowed(module, package)
    ]
    assert wrong == []


def test_the_table_itself_has_no_circle() -> None:
    heads = {
        package: {entry.split(".")[0] for entry in may} for package, may in _MAY_IMPORT.items()
    }
    order = list(TopologicalSorter(heads).static_order())
    assert order.index("numeric") < order.index("stream") < order.index("flow") < order.index("cli")


def test_modules_do_not_import_in_circles() -> None:
    graph = {name: _imports(name) & set(_FILES) - {name} for name in sorted(_FILES)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"Modules import each other: {' -> '.join(error.args[1])}")


def test_the_golden_model_is_independent() -> None:
    assert _imports("hwgen.sim.golden") <= {"hwgen.integer.types", "hwgen.numeric"}
