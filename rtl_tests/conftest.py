"""One folder of compiled simulators for all tests of the hardware."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where simulators are kept during the session, together with those of other folders."""
    folder = tmp_path_factory.getbasetemp() / "the simulators"
    folder.mkdir(exist_ok=True)
    return folder
