"""Verification beyond the Verilog: the netlist that was synthesised, and the adder graphs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_workspace import fill, tiny_network

from hwgen.errors import DataError, UnsupportedError, VerifyError
from hwgen.flow.checks import verify_formal, verify_netlist
from hwgen.flow.options import FormalOptions, GenerateOptions, NetlistOptions
from hwgen.flow.progress import Progress
from hwgen.flow.stages import generate
from hwgen.flow.summary import summarise
from hwgen.flow.workspace import Workspace
from hwgen.network.types import Conv, MaxPool, Network, Node, Softmax


def _quiet(task: str, fraction: float) -> None:
    pass


_PROGRESS: Progress = _quiet


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    filled = fill(tmp_path_factory.mktemp("checks"), ("import", "approximate"))
    generate(filled, GenerateOptions(), _PROGRESS)
    return filled


def _result(workspace: Workspace, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(workspace.path(f"results/{name}.json").read_text())
    return found


def _one_pixel() -> Network:
    """The largest of all pixels, and a class by it: the least logic that is a network."""
    layer = Conv(np.array([0.5, -1.0, 2.0]).reshape(3, 1, 1, 1), np.array([0.0, 0.5, -0.5]))
    nodes = (
        Node("pool", MaxPool((6, 6), (6, 6)), ("image",), (1, 1, 1)),
        Node("classes", layer, ("pool",), (3, 1, 1)),
        Node("softmax", Softmax(), ("classes",), (3, 1, 1)),
    )
    return Network("pixel", "image", (1, 6, 6), nodes, "softmax")


@pytest.mark.parametrize(
    "network",
    [_one_pixel(), pytest.param(tiny_network(), marks=pytest.mark.slow)],
    ids=lambda n: n.name,
)
def test_netlist_of_a_family(tmp_path: Path, build_dir: Path, network: Network) -> None:
    filled = fill(tmp_path, ("import", "approximate"), network=network)
    filled.path("simulation").symlink_to(build_dir)  # what is compiled there serves other tests
    generate(filled, GenerateOptions(), _PROGRESS)
    verify_netlist(filled, NetlistOptions(family="ice40"), _PROGRESS)
    report = _result(filled, "verify_netlist")["report"]
    assert isinstance(report, dict)
    assert report["mode"] == "netlist, ice40"
    assert (report["images"], report["fault"]) == (2, None)


def test_netlist_needs_a_synthesis_of_this_design(workspace: Workspace) -> None:
    with pytest.raises(DataError, match=r"run 'hwgen synth' first, or give a --family"):
        verify_netlist(workspace, NetlistOptions(), _PROGRESS)


def test_proofs_are_kept_and_change_with_the_design(workspace: Workspace) -> None:
    verify_formal(workspace, FormalOptions(solver=0), _PROGRESS)
    result = _result(workspace, "verify_formal")
    assert result["others"] == []
    graphs = result["graphs"]
    assert isinstance(graphs, list)
    assert [graph["fault"] for graph in graphs] == [None] * len(graphs)
    assert {graph["solver"] for graph in graphs} == {None}
    assert "verification" in summarise(workspace)


def test_another_datapath_is_not_proved(tmp_path: Path) -> None:
    other = fill(tmp_path, ("import", "approximate"))
    generate(other, GenerateOptions(), _PROGRESS)
    text = other.path("design.json").read_text()
    changed = text.replace("<= n0;", "<= ~n0;", 1) if "<= n0;" in text else ""
    changed = changed or text.replace(" + $signed(", " - $signed(", 1)
    assert changed != text
    other.write("design.json", changed)
    with pytest.raises(VerifyError, match="is not its matrix: Output"):
        verify_formal(other, FormalOptions(solver=0), _PROGRESS)
    graphs = _result(other, "verify_formal")["graphs"]
    assert isinstance(graphs, list)
    assert any(graph["fault"] for graph in graphs)


def test_an_nfu_has_no_adder_graph(tmp_path: Path) -> None:
    other = fill(tmp_path, ("import", "approximate"))
    generate(other, GenerateOptions(backend="nfu"), _PROGRESS)
    with pytest.raises(UnsupportedError, match="leave out --formal"):
        verify_formal(other, FormalOptions(), _PROGRESS)
