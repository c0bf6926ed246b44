"""``hwgen plan`` and ``hwgen estimate``: what they find, what they leave, what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from small_workspace import fill

from hwgen.boards import find_board
from hwgen.errors import ResourceError
from hwgen.estimate.choose import Choice, Room
from hwgen.estimate.model import Cost
from hwgen.flow import candidates, nfu_candidates, planning
from hwgen.flow.backends import load_plan
from hwgen.flow.built import built_network
from hwgen.flow.candidates import Candidates, find_candidates, possible_forms
from hwgen.flow.commands import reproduce
from hwgen.flow.folding import Folded, Folding, link_cost
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.stream.forms import parse_folding

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _small_nfu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (nfu_candidates, planning):
        monkeypatch.setattr(module, "TILES", ((2, 2),))


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
        (("plan", "--board", "icebreaker", "--size", "4x4"), "Pictures must be at least"),
        (("plan", "--board", "icebreaker", "--pixels", "7"), "Pixels a beat must divide"),
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
    monkeypatch.setattr(planning, "MARGINS", {"ice40": {"cells": 0.97}})
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
    chosen = slow["options"]
    assert slow["name"] in out
    if chosen["backend"] == "stream":
        assert slow["predicted"]["total"]["luts"] <= found["predicted"]["total"]["luts"]
    status, _, error = hwgen("generate", workspace.root, "--forms", "planned")
    assert status == 0, error
    built = workspace.record("generate")["options"]
    assert {name: built[name] for name in chosen} == chosen
    assert built["family"] == "ice40"
    if chosen["backend"] == "stream":
        folding = parse_folding(chosen["forms"])
        assert set(folding) == {"stem", "branch", "classes"}
        assert load_plan(workspace).timing.interval == slow["predicted"]["cycles_per_image"]


@pytest.mark.slow
def test_a_plan_is_for_pictures_of_a_size(hwgen: Call, tmp_path: Path) -> None:
    workspace = fill(tmp_path, ("import", "approximate"))
    options = ("--board", "ulx3s-25f", "--fps", "1000", "--size", "6x12", "--pixels", "2")
    status, out, _ = hwgen("plan", workspace.root, *options, "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["size"], found["pixels"], found["systems"]) == ([6, 12], 2, [])
    for other in (("--size", "12x12"), ("--pixels", "3")):
        status, _, error = hwgen("generate", workspace.root, "--forms", "planned", *other)
        assert status == 1
        assert "must be for the same --size and --pixels" in error
    status, _, error = hwgen("generate", workspace.root, "--forms", "planned")
    assert status == 0, error
    plan = load_plan(workspace)
    assert plan.timing.interval == found["predicted"]["cycles_per_image"]
    assert built_network(workspace).input_shape == (2, 6, 6)
    forms = found["options"]["forms"]
    commands = reproduce(workspace)
    assert any(f"--forms {forms} --pixels 2 --size 6x12" in command for command in commands)
    arguments = ("--board", "ulx3s-25f", "--forms", forms, *options[4:], "--json")
    status, out, _ = hwgen("estimate", workspace.root, *arguments)
    assert json.loads(out) == found["predicted"]


def _found(workspace: Workspace, luts: float) -> Candidates:
    integer = integer_store.from_json(workspace.path("integer.json").read_text())
    room = Room({"luts": luts, "ffs": 1e5, "cells": 2e5, "brams": 50})
    return find_candidates(integer, "ecp5", room=room, effort=0, progress=lambda *_: None)


def test_what_was_estimated_is_counted_when_chosen(
    approximated: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _found(approximated, 1e5)
    counted.settle([c for some in counted.layers.values() for c in some])
    monkeypatch.setattr(candidates, "_SMALL", 0)
    found = _found(approximated, 1e5)
    estimated = [c for some in found.layers.values() for c in some if not c.exact]
    assert {c.form.kind for c in estimated if c.form} == {"parallel", "rows", "serial", "memory"}
    assert found.settle(estimated)
    assert not found.settle(estimated[:0])
    for layer, some in found.layers.items():
        assert all(c.exact for c in some)
        # those that are hopeless are left out
        assert set(some) <= set(counted.layers[layer])


class _Larger(Folding):
    """Whole designs take 40 LUTs more than their layers, and 400 if ``stem`` is parallel."""

    def _planned(self, choice: Choice) -> Folded:
        found = super()._planned(choice)
        forms = {c.layer: c.form and c.form.kind for c in choice.chosen}
        more = 400 if forms["stem"] in ("parallel", "rows") else 40
        cost = self.candidates.fixed + Cost(luts=more)
        for candidate in choice.chosen:
            cost = cost + candidate.cost
        stages = (replace(found.estimate.prediction.stages[0], cost=cost),)
        prediction = replace(found.estimate.prediction, stages=stages)
        share, scarcest = self.room.scarcest(cost + link_cost(self.network, "ecp5"))
        return Folded(choice, replace(found.estimate, prediction=prediction), share, scarcest)


@pytest.mark.parametrize("interval", [None, 1e9])
def test_the_whole_design_fits(approximated: Workspace, interval: float | None) -> None:
    integer = integer_store.from_json(approximated.path("integer.json").read_text())
    found = _found(approximated, 1e5)
    board = find_board("ulx3s-25f")

    def folding(luts: float) -> Folding:
        room = Room({**found.room.capacity, "luts": luts}, found.fixed + link_cost(integer, "ecp5"))
        return _Larger(integer, board, found, room)

    def folded(folding: Folding) -> Folded:
        if interval is None:
            return folding.fastest(folding.curve())
        return folding.smallest(interval)

    least = folding(1e5).choose(1e9).cost.luts
    with pytest.raises(ResourceError, match=r"too small: the design would take 1\d\d% .* stem="):
        folded(folding(least + 30))
    fitting = folded(folding(least + 60))
    assert fitting.share <= 1
    if interval is None:
        large, small = (folded(folding(luts)) for luts in (least + 5000, least + 300))
        assert large.interval <= small.interval <= fitting.interval
        assert max(large.share, small.share) <= 1


class _Buffered(Folding):
    """Whole designs take 9000 LUTs more than their layers, unless all weights are in memory."""

    def _planned(self, choice: Choice) -> Folded:
        found = super()._planned(choice)
        if {c.form.kind for c in choice.chosen if c.form is not None} == {"memory"}:
            return found
        more = Cost(luts=9000 + sum(c.cost.luts for c in choice.chosen))
        return replace(found, share=self.room.share("luts", more))


def test_buffers_of_branches_are_weighed(approximated: Workspace) -> None:
    integer = integer_store.from_json(approximated.path("integer.json").read_text())
    found = _found(approximated, 1e5)
    folding = _Buffered(integer, find_board("ulx3s-25f"), found, found.room)
    plain = Folding(integer, folding.board, found, found.room).smallest(400)
    assert {c.form.kind for c in plain.choice.chosen if c.form} == {"memory", "serial"}
    chosen = folding.smallest(400)
    assert {c.form.kind for c in chosen.choice.chosen if c.form} == {"memory"}


def test_every_layer_has_candidates(approximated: Workspace) -> None:
    integer = integer_store.from_json(approximated.path("integer.json").read_text())
    found = _found(approximated, 1e5)
    assert set(found.layers) == {"stem", "branch", "classes"}
    for layer, some in found.layers.items():
        names = [c.form.name for c in some if c.form is not None]
        assert "parallel" in names
        assert "memory:1" in names
        slow = next(c for c in some if c.form and c.form.name == "memory:1")
        fast = next(c for c in some if c.form and c.form.name == "parallel")
        assert slow.cycles >= fast.cycles, layer
    # what a little room leaves out takes more than that, and no adder fits into none
    ops = {node.origin: op for node, op in integer.convs()}
    for layer, some in found.layers.items():
        for room in (1, 5, 20, 50):
            possible = set(possible_forms(ops[layer], room=room))
            assert all(c.cost.luts > room for c in some if c.form not in possible)
    left = {layer: {f.name for f in possible_forms(op, room=10)} for layer, op in ops.items()}
    assert left["stem"] == {"serial:4", "serial:2", "serial:1", "memory:1", "memory:2"}
    assert left["classes"] == {"memory:1", "memory:2", "memory:3", "memory:3x2"}
    x2 = next(c for c in found.layers["classes"] if c.form and c.form.name == "memory:3x2")
    x1 = next(c for c in found.layers["classes"] if c.form and c.form.name == "memory:3")
    assert x2.cycles < x1.cycles
    assert x2.cost.luts > x1.cost.luts
    tiny = _found(approximated, 1)
    for layer in ("stem", "classes"):
        assert {c.form.kind for c in tiny.layers[layer] if c.form} == {"memory"}
