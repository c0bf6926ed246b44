"""Create the environment ``.venv`` and install hwgen into it, from PyPI alone.

Needs Python 3.11 or newer and nothing else: where the interpreter came without ``ensurepip``, as
Debian's does until python3-venv is installed, pip itself is fetched from the package index.
Usage: ``python3 bootstrap.py [REQUIREMENT ...]``, by default ``--editable .[test]``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path

_FOLDER = Path(".venv")
_INDEX = "https://pypi.org/simple"
_WHEEL = re.compile(r'href="(?P<link>[^"]*/pip-(?P<version>[\d.]+)-py3-none-any\.whl[^"]*)"')
_NEEDED = (3, 11)


def main(requirements: list[str]) -> int:
    """Create the environment if it is missing, and install ``requirements``."""
    if sys.version_info < _NEEDED:
        sys.stderr.write(f"hwgen needs Python 3.11 or newer, not {sys.version.split()[0]}\n")
        return 1
    python = _FOLDER / "bin" / "python"
    if not python.exists():
        sys.stdout.write(f"Creating {_FOLDER}\n")
        has_pip = importlib.util.find_spec("ensurepip") is not None
        venv.create(_FOLDER, with_pip=has_pip, symlinks=True)
    sys.stdout.write("Installing hwgen and its tools from the package index\n")
    sys.stdout.flush()
    pip = [str(python), "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        _fetch_pip(python)
    options = ["install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run(
        [*pip, *options, *(requirements or ["--editable", ".[test]"])], check=False
    ).returncode


def _fetch_pip(python: Path) -> None:
    """Install pip into the environment from the newest wheel of the index."""
    index = os.environ.get("PIP_INDEX_URL", _INDEX).rstrip("/") + "/pip/"
    page = urllib.request.urlopen(index).read().decode()
    found = [(_version(match["version"]), match["link"]) for match in _WHEEL.finditer(page)]
    if not found:
        raise SystemExit(f"{index} offers no pip: install python3-venv, or set PIP_INDEX_URL")
    link = urllib.parse.urljoin(index, max(found)[1])
    address, _, digest = link.partition("#sha256=")
    wheel = urllib.request.urlopen(address).read()
    if digest and hashlib.sha256(wheel).hexdigest() != digest:
        raise SystemExit(f"{address} is damaged: its SHA-256 is not {digest}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1]
        path.write_bytes(wheel)
        subprocess.run(
            [str(python), str(path / "pip"), "install", "--quiet", "--no-index", str(path)],
            check=True,
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip(".").split("."))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
