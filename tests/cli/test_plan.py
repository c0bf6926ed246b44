"""``hwgen plan`` and ``hwgen estimate``: what they find, what they leave, what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from small_workspace import fill

from hwgen.flow import nfu_candidates, planning
from hwgen.flow.backends import load_plan
from hwgen.flow.candidates import find_candidates, possible_forms
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.stream.forms import parse_folding

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _small_nfu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nfu_candidates, "_TILES", ((2, 2),))


@pytest.fixture(scope="module")
def approximated(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return fill(tmp_path_factory.mktemp("plan"), ("import", "approximate"))


def test_estimate_tells_layers_and_total(hwgen: Call, approximated: Workspace) -> None:
    status, out, _ = hwgen("estimate", approximated.root, "--board", "ulx3s-25f", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["family"] == "ecp5"
    assert {"stem", "branch", "classes"} <= {layer["name"] for layer in found["layers"]}
    for key in ("ffs", "brams", "luts"):
        parts = [layer[key] for layer in found["layers"]]
        assert found["total"][key] == pytest.approx(sum(parts), abs=len(parts))
    status, out, _ = hwgen("estimate", approximated.root, "--family", "ice40")
    assert status == 0
    assert "stem" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("estimate",), "needs a board or a family: add --board or --family"),
        (("estimate", "--board", "toaster"), "There is no board 'toaster'"),
        (("estimate", "--family", "ecp5", "--forms", "x=parallel"), "must name layers among"),
        (("plan", "--board", "toaster"), "There is no board 'toaster'"),
        (("plan", "--board", "icebreaker", "--fps", "3", "--fit"), "--fps asks for a rate"),
        (("plan", "--board", "icebreaker", "--fps", "0"), "not in the range"),
        (("plan", "--board", "icebreaker", "--fps", "1e9"), "cannot be reached at 12 MHz"),
        (("generate", "--forms", "planned"), "run 'hwgen plan' first"),
    ],
)
def test_wrong_use_is_one_sentence(
    hwgen: Call, approximated: Workspace, arguments: tuple[str, ...], message: str
) -> None:
    command, *options = arguments
    status, _, error = hwgen(command, approximated.root, *options)
    assert status != 0
    assert message in error


def test_a_model_comes_first(hwgen: Call, tmp_path: Path) -> None:
    workspace = fill(tmp_path, ("import",))
    for command in ("plan", "estimate"):
        status, _, error = hwgen(command, workspace.root, "--board", "icebreaker")
        assert status == 1
        assert "run 'hwgen approximate' first" in error


def test_a_board_that_is_too_small_is_told_by_how_much(
    hwgen: Call, approximated: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MARGIN", 0.97)
    status, _, error = hwgen("plan", approximated.root, "--board", "icebreaker", "--fit")
    assert status == 1
    assert "iCEBreaker is too small: the design would take" in error


def test_a_plan_is_built(hwgen: Call, tmp_path: Path) -> None:
    workspace = fill(tmp_path, ("import", "approximate"))
    plot = tmp_path / "plot.svg"
    options = ("--board", "icebreaker", "--plot", plot, "--json")
    status, out, _ = hwgen("plan", workspace.root, *options)
    assert status == 0
    found = json.loads(out)
    assert found == json.loads(workspace.path("folding.json").read_text())
    rates = [point["images_per_second"] for point in found["curve"]]
    luts = [point["share"] for point in found["curve"]]
    assert rates == sorted(rates, reverse=True)
    assert luts == sorted(luts, reverse=True)
    assert ElementTree.fromstring(plot.read_text()).tag.endswith("svg")
    # without a rate, the fastest that fits; with one, what just keeps it takes no more
    assert found["images_per_second"] == pytest.approx(rates[0], rel=0.1)
    status, out, _ = hwgen("plan", workspace.root, "--board", "icebreaker", "--fps", "100")
    assert status == 0
    slow = json.loads(workspace.path("folding.json").read_text())
    assert slow["images_per_second"] >= 100
    if slow["backend"] == "stream":
        assert slow["predicted"]["total"]["luts"] <= found["predicted"]["total"]["luts"]
        assert slow["forms"] in out
    status, _, error = hwgen("generate", workspace.root, "--forms", "planned")
    assert status == 0, error
    built = workspace.record("generate")["options"]
    assert (built["backend"], built["forms"]) == (slow["backend"], slow["forms"])
    assert built["family"] == "ice40"
    if slow["backend"] == "stream":
        folding = parse_folding(slow["forms"])
        assert set(folding) == {"stem", "branch", "classes"}
        assert load_plan(workspace).timing.interval == slow["predicted"]["cycles_per_image"]


def test_every_layer_has_candidates(approximated: Workspace) -> None:
    integer = integer_store.from_json(approximated.path("integer.json").read_text())
    found = find_candidates(integer, "ecp5", room=1e5, effort=0, progress=lambda *_: None)
    assert set(found.layers) == {"stem", "branch", "classes"}
    for layer, candidates in found.layers.items():
        names = [c.form.name for c in candidates if c.form is not None]
        assert "parallel" in names
        assert "memory:1" in names
        slow = next(c for c in candidates if c.form and c.form.name == "memory:1")
        fast = next(c for c in candidates if c.form and c.form.name == "parallel")
        assert slow.cycles >= fast.cycles, layer
    # what a little room leaves out takes more than that, and no adder fits into none
    ops = {node.origin: op for node, op in integer.convs()}
    for layer, candidates in found.layers.items():
        for room in (1, 5, 20, 50):
            possible = set(possible_forms(ops[layer], room=room))
            assert all(c.cost.luts > room for c in candidates if c.form not in possible)
    left = {layer: {f.name for f in possible_forms(op, room=20)} for layer, op in ops.items()}
    assert left["stem"] == {"serial:4", "serial:2", "serial:1", "memory:1", "memory:2"}
    assert left["classes"] == {"memory:1", "memory:2", "memory:3"}
    tiny = find_candidates(integer, "ecp5", room=1, effort=0, progress=lambda *_: None)
    assert all(c.form.kind == "memory" for some in tiny.layers.values() for c in some if c.form)
