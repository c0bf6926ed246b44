"""A wheel and an editable installation both hold everything, ``sim`` and ``boards`` included."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parent.parent
_SHOW = (
    "import hwgen, hwgen.boards, hwgen.cli, hwgen.sim.golden\n"
    "import hwgen.boards.build, hwgen.sim.verify\n"
    "print(hwgen.__file__)\n"
    "print(hwgen.boards.__file__)\n"
    "print(hwgen.sim.golden.__file__)\n"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of what a build reads, so that nothing is written into the repository."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (_REPOSITORY / name).exists():
            shutil.copy(_REPOSITORY / name, copy)
    for name in ("hwgen", "sim", "boards"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_REPOSITORY / name, copy / name, symlinks=True, ignore=ignored)
    return copy


def _build(kind: str, source: Path, target: Path) -> Path:
    """Build a ``wheel`` or an ``editable`` one with setuptools alone, offline; unpack it."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, capture_output=True, timeout=120
    )
    (wheel,) = target.glob("*.whl")
    folder = target / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _import_alone(folder: Path) -> list[Path]:
    """Files that are imported when ``folder`` is the installation and hwgen is nowhere else."""
    code = (
        "import site, sys\n"
        f"site.addsitedir({str(folder)!r})\n"
        f"sys.path.append({sysconfig.get_path('platlib')!r})\n"
        f"sys.path.append({sysconfig.get_path('purelib')!r})\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", code + _SHOW],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.split()]


def test_wheel_holds_every_module_and_data_file(source: Path, tmp_path: Path) -> None:
    folder = _build("wheel", source, tmp_path)
    expected = {
        path.relative_to(source)
        for part in ("hwgen", "hwgen/sim", "hwgen/boards")
        for path in (source / part).rglob("*")
        if path.is_file()
    }
    packed = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert expected <= packed
    assert {Path("hwgen/py.typed"), Path("hwgen/sim/golden.py"), Path("hwgen/boards/ulx3s.py")} <= (
        packed
    )
    outside = {path for path in packed if path.parts[0] != "hwgen"}
    assert all(path.parts[0].endswith(".dist-info") for path in outside)
    for file in _import_alone(folder):
        assert file.is_relative_to(folder / "hwgen")
        assert not file.is_symlink()


def test_editable_installation_reaches_the_folders_behind_the_links(
    source: Path, tmp_path: Path
) -> None:
    files = _import_alone(_build("editable", source, tmp_path))
    assert [file.resolve() for file in files] == [
        source / "hwgen/__init__.py",
        source / "boards/__init__.py",
        source / "sim/golden.py",
    ]
