"""``hwgen generate --loadable`` and ``hwgen run --load``: two networks on one simulated board."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_workspace import fill

from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.network.types import Conv, Network, Node
from hwgen.sim import golden

Hwgen = Callable[..., tuple[int, str, str]]


def _workspace(root: Path, name: str, classes: int) -> Workspace:
    rng = np.random.default_rng(classes)
    weight = rng.normal(size=(classes, 1, 6, 6)) / 6
    layer = Conv(weight, rng.normal(size=classes), pads=(0, 0, 0, 0))
    node = Node("classes", layer, ("image",), (classes, 1, 1))
    network = Network(name, "image", (1, 6, 6), (node,), "classes")
    root.mkdir()
    return fill(root, ("import", "approximate"), network=network)


def _expected(workspace: Workspace, x: np.ndarray) -> list[list[float]]:
    integer = integer_store.from_json(workspace.path("integer.json").read_text())
    words = golden.run(integer, integer.input_format.quantise(x))[:, :, 0, 0]
    found: list[list[float]] = (words * np.array(integer.scale(integer.output))).tolist()
    return found


@pytest.mark.slow
def test_two_networks_on_one_board(hwgen: Hwgen, tmp_path: Path) -> None:
    three, five = _workspace(tmp_path / "a", "three", 3), _workspace(tmp_path / "b", "five", 5)
    options = ("--backend", "nfu", "--tile", "1x2", "--loadable", "--room-for", five.root)
    status, _, printed = hwgen("generate", three.root, *options)
    assert status == 0, printed
    x = np.random.default_rng(4).normal(size=(2, 1, 6, 6))
    path = tmp_path / "images.npz"
    np.savez(path, x=x)
    programs = set()
    for load, of in ((five, five), (None, three), (three, three)):
        loads = () if load is None else ("--load", load.root)
        status, text, printed = hwgen("run", three.root, "--simulate", *loads, path, "--json")
        assert status == 0, printed
        found = json.loads(text)
        assert [image["outputs"] for image in found["images"]] == _expected(of, x)
        assert found["checked"]
        programs.add(found["program"])
    assert len(programs) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--room-for", "out/other"), "--room-for is for an NFU that takes programs"),
        (("--loadable",), "--loadable says how an NFU is built; add --backend nfu"),
    ],
)
def test_what_takes_no_programs(
    hwgen: Hwgen, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    workspace = _workspace(tmp_path / "a", "three", 3)
    status, _, printed = hwgen("generate", workspace.root, *options)
    assert (status, message in printed) == (2, True)


def test_fixed_hardware_loads_nothing(hwgen: Hwgen, tmp_path: Path) -> None:
    workspace = _workspace(tmp_path / "a", "three", 3)
    assert hwgen("generate", workspace.root, "--effort", "0")[0] == 0
    path = tmp_path / "images.npz"
    np.savez(path, x=np.zeros((1, 1, 6, 6)))
    loads = ("--simulate", "--load", workspace.root)
    status, _, printed = hwgen("run", workspace.root, *loads, path)
    assert status == 1
    assert "takes no programs, its weights are in the bitstream: generate it with" in printed
