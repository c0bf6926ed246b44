"""The command line as a function, for every test of it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from hwgen.cli import main


@pytest.fixture
def hwgen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run ``hwgen`` with arguments; its exit status, standard output and standard error.

    The words of standard error are separated by single blanks.
    """

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hwgen", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        status = exit_info.value.code
        assert isinstance(status, int)
        return status, printed.out, " ".join(printed.err.split())

    return call
