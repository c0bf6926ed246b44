"""The command that counts operations: whole tables, files, and one sentence for what is wrong."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_workspace import STAGES, fill, tiny_network

from hwgen.approx import store
from hwgen.approx.complexity import count_operations
from hwgen.cli.complexity import complexity
from hwgen.flow.workspace import Workspace
from hwgen.report.complexity import to_csv, to_json, to_latex

LONG = "a_layer_whose_name_is_longer_than_that_of_most_of_the_layers_of_other_networks/"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return fill(tmp_path_factory.mktemp("counted"), STAGES[:2], network=tiny_network(prefix=LONG))


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(complexity, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("shared", [False, True])
def test_a_table_that_is_whole(workspace: Workspace, shared: bool) -> None:
    lines = _run(workspace.root, *["--shared"][: int(shared)]).splitlines()
    assert lines[0] == "One output pixel of each layer"
    assert "One image" in lines
    assert ("Shared +" in lines[1]) == shared
    for layer in ("stem", "stem_relu", "branch", "curve", "sum", "pool", "classes"):
        rows = [line.split() for line in lines if line.startswith(f"{LONG}{layer} ")]
        assert [len(row) for row in rows] == [10 + 3 * shared] * 2
    assert not any("\u2026" in line for line in lines)


@pytest.mark.parametrize("shared", [False, True])
def test_formats(workspace: Workspace, shared: bool, tmp_path: Path) -> None:
    approx = store.from_json(workspace.path("approx.json").read_text())
    counted = count_operations(approx, shared=shared)
    flag = ["--shared"][: int(shared)]
    for name, convert in (("csv", to_csv), ("json", to_json), ("latex", to_latex)):
        assert _run(workspace.root, "--format", name, *flag) == convert(counted)
        out = tmp_path / name
        assert _run(workspace.root, "--format", name, "--out", out, *flag) == ""
        assert out.read_text() == convert(counted)
    text = _run(workspace.root, "--format", "csv", *flag)
    assert sum(1 for _ in csv.reader(io.StringIO(text))) == 1 + 8 * (2 + shared) * 2
    assert len(json.loads(_run(workspace.root, "--format", "json", *flag))["layers"]) == 7


def test_a_table_into_a_file(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "table.txt"
    assert _run(workspace.root, "--out", out) == ""
    assert out.read_text() == _run(workspace.root)


def test_wrong_use(tmp_path: Path, hwgen: Callable[..., tuple[int, str, str]]) -> None:
    only_imported = fill(tmp_path, STAGES[:1]).root
    (tmp_path / "more").mkdir()
    approximated = fill(tmp_path / "more", STAGES[:2]).root
    for arguments, status, sentence in (
        ([tmp_path / "none"], 1, "is not a directory of hwgen"),
        ([only_imported], 1, "run 'hwgen approximate' first"),
        ([approximated, "--format", "xml"], 2, "'xml' is not one of"),
        ([approximated, "--out", tmp_path / "no" / "f"], 1, "No such file or directory"),
    ):
        found, _, error = hwgen("complexity", *arguments)
        assert found == status
        assert sentence in error
