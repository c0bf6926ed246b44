"""The stage ``slim``: what it leaves, that it resumes, and what builds on it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_workspace import tiny_network

from hwgen.approx.measure import decide
from hwgen.approx.recipes import parse_mix
from hwgen.errors import DataError
from hwgen.flow import approximating, slimming, stages
from hwgen.flow.data import load_images, split
from hwgen.flow.options import (
    ApproximateOptions,
    GenerateOptions,
    SlimOptions,
    SynthOptions,
    VerifyOptions,
)
from hwgen.flow.progress import silent
from hwgen.flow.slimming import slim
from hwgen.flow.source import SLIM, load_source, undo_slim
from hwgen.flow.summary import gather, summarise
from hwgen.flow.workspace import Workspace
from hwgen.network import storage as network_store
from hwgen.network.execute import run
from hwgen.network.types import Activation, Network, Node
from hwgen.report.facts import facts
from hwgen.report.page import render
from hwgen.slim.compact import compact


def _workspace(root: Path, network: Network | None = None) -> tuple[Workspace, SlimOptions]:
    """The tiny network, imported, and images that it decides; a tenth of the labels is wrong."""
    network = network or tiny_network()
    workspace = Workspace.create(root / "out")
    (root / "model.onnx").write_bytes(b"model")
    workspace.run(
        "import",
        lambda: workspace.write("network.json", network_store.to_json(network)),
        reads=[root / "model.onnx"],
        writes=["network.json"],
        options={},
    )
    rng = np.random.default_rng(3)
    for name, count in (("data.npz", 200), ("test.npz", 60)):
        x = rng.normal(size=(count, *network.input_shape))
        y = run(network, x).argmax(axis=1)[:, 0, 0]
        y[::10] = (y[::10] + 1) % 3
        np.savez(root / name, x=x, y=y)
    options = SlimOptions(
        data=root / "data.npz", test=root / "test.npz", budget=0.2, calibration=60
    )
    return workspace, options


@pytest.fixture(scope="module")
def slimmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, SlimOptions]:
    workspace, options = _workspace(tmp_path_factory.mktemp("slimmed"))
    slim(workspace, options, silent)
    return workspace, options


def test_what_it_tells_is_so(slimmed: tuple[Workspace, SlimOptions]) -> None:
    workspace, options = slimmed
    source = load_source(workspace)
    assert source.slimmed is not None
    masked, network = source.slimmed.masked, source.slimmed.network
    found = summarise(workspace)["slim"]
    assert found == json.loads(workspace.path("results/slim.json").read_text())
    images = load_images(options.data, masked.input_shape, 3)
    test = load_images(options.test, masked.input_shape, 3)
    choosing = split(images, test, seed=0, calibration=60).choosing
    for key, part in (("choosing", choosing), ("test", test)):
        exact, after = (decide(run(each, part.x)) for each in (source.original, network))
        lost = np.mean(exact == part.y) - np.mean(after == part.y)
        assert found[key]["loss"]["loss"] == pytest.approx(lost)
        assert found[key]["images"] == len(part)
    assert found["choosing"]["loss"]["loss"] <= options.budget
    np.testing.assert_allclose(run(network, test.x), run(masked, test.x), atol=1e-5)

    ops = {node.name: op for node, op in masked.convs()}
    assert [layer["name"] for layer in found["layers"]] == list(ops)
    for layer in found["layers"]:
        weight = ops[layer["name"]].weight
        pixels = np.prod(masked.node(layer["name"]).shape[1:])
        assert layer["macs"][1] == np.count_nonzero(weight) * pixels
        assert sum(layer["kernels"][1].values()) == np.count_nonzero(weight.any(axis=(2, 3)))
        assert layer["filters"][1] == np.count_nonzero(weight.any(axis=(1, 2, 3)))
    for key in ("macs", "filters", "parameters", "cost"):
        totals = [sum(layer[key][side] for layer in found["layers"]) for side in (0, 1)]
        assert found["total"][key] == totals
    assert found["total"]["cost"][1] < found["total"]["cost"][0]
    assert found["memory"]["parameters"][1] == 4 * sum(
        op.weight.size + len(op.weight) for _, op in network.convs()
    )
    assert found["memory"]["running"][0] > found["memory"]["running"][1]


def test_the_trajectory_ends_at_the_network(slimmed: tuple[Workspace, SlimOptions]) -> None:
    workspace, _ = slimmed
    found = summarise(workspace)["slim"]
    with workspace.path("slim.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["steps"]) > 1
    costs = [float(row["cost"]) for row in rows]
    assert costs == sorted(costs, reverse=True)
    assert [costs[0], costs[-1]] == found["total"]["cost"]
    assert (float(rows[0]["share"]), rows[0]["moves"]) == (1.0, "")
    assert float(rows[-1]["loss"]) == pytest.approx(found["choosing"]["loss"]["loss"])


def test_other_test_images_do_not_search_again(
    slimmed: tuple[Workspace, SlimOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = slimmed
    before = workspace.record("slim")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("The search must not run again")

    monkeypatch.setattr(slimming, "slim_network", refuse)
    slim(workspace, options, silent)
    other = tmp_path / "other.npz"
    np.savez(other, x=np.ones((9, 1, 6, 6)), y=np.zeros(9, dtype=int))
    slim(workspace, replace(options, test=other), silent)
    assert workspace.record("slim") == before
    assert summarise(workspace)["slim"]["test"]["images"] == 9
    slim(workspace, options, silent)


def test_an_interrupted_search_goes_on(
    slimmed: tuple[Workspace, SlimOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = _workspace(tmp_path)
    slim(workspace, replace(options, budget=0.0), silent)
    earlier = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}
    keep = slimming._StepMemory.keep
    kept = []

    def interrupt(memory: slimming._StepMemory, step: slimming.Step) -> None:
        keep(memory, step)
        kept.append(step)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(slimming._StepMemory, "keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            slim(workspace, options, silent)
    # what there was before is still there, and valid
    assert all(path.read_bytes() == content for path, content in earlier.items())
    assert summarise(workspace)["slim"]["budget"] == 0.0
    assert workspace.path("unfinished_slimming.json").exists()

    resumed = []

    def note(memory: slimming._StepMemory, step: slimming.Step) -> None:
        keep(memory, step)
        resumed.append(step)

    monkeypatch.setattr(slimming._StepMemory, "keep", note)
    slim(workspace, options, silent)
    assert not set(kept) & set(resumed)
    steps = summarise(workspace)["slim"]["steps"]
    moves = [slimming.describe(move) for step in kept for move in step.moves]
    assert [move for step in steps[: len(kept) + 1] for move in step["moves"]][
        : len(moves)
    ] == moves
    assert steps[0]["moves"] == []
    whole = summarise(slimmed[0])["slim"]
    assert steps[0]["cost"] == whole["steps"][0]["cost"]
    assert steps[-1]["loss"] <= options.budget
    assert not workspace.path("unfinished_slimming.json").exists()
    memory = slimming._StepMemory.open(workspace, "a search")
    memory.keep(kept[0])
    assert slimming._StepMemory.open(workspace, "a search").steps == []
    memory.keep(kept[1])
    assert slimming._StepMemory.open(workspace, "a search").steps == kept
    assert slimming._StepMemory.open(workspace, "another search").steps == []


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("objective", ["cycles", "bytes", "luts"])
def test_objectives_and_images_without_classes(
    tmp_path: Path, labels: bool, objective: str
) -> None:
    workspace, options = _workspace(tmp_path)
    if not labels:
        for path in (options.data, options.test):
            with np.load(path) as data:
                x = data["x"]
            np.savez(path, x=x)
    tile = (2, 2) if objective == "cycles" else None
    moves = ("kernels", "blocks")
    slim(workspace, replace(options, objective=objective, tile=tile, moves=moves), silent)
    summary = summarise(workspace)
    found = summary["slim"]
    assert found["metric"] == ("accuracy" if labels else "agreement")
    assert (found["test"]["loss"] is None) == (not labels)
    assert found["test"]["changed"]["images"] == 60
    assert found["total"]["cost"][1] < found["total"]["cost"][0]
    command = next(line for line in summary["commands"] if line.startswith("hwgen slim"))
    assert f"--budget 20% --objective {objective} --moves kernels,blocks" in command
    assert command.endswith("--calibration 60")


def test_a_network_without_decisions_loses_nearness(tmp_path: Path) -> None:
    whole = tiny_network()
    maps = Network("maps", whole.input_name, whole.input_shape, whole.nodes[:-2], "pool")
    workspace, options = _workspace(tmp_path, maps)
    slim(workspace, options, silent)
    found = summarise(workspace)["slim"]
    assert found["metric"] == "error"
    assert found["test"]["loss"] is found["test"]["changed"] is None
    assert 0 < found["choosing"]["after"]["error"] <= options.budget
    assert found["choosing"]["after"]["error"] == pytest.approx(
        found["steps"][-1]["loss"], rel=1e-3
    )
    told = dict(facts(summarise(workspace)))["slimmed"]
    assert "; outputs within" in told


def test_recipes_of_the_joint_search_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = _workspace(tmp_path)
    moves = ("kernels", "features", "recipes")
    given = replace(options, objective="bytes", moves=moves, search="bisection")
    tasks: dict[str, float] = {}
    slim(workspace, given, tasks.__setitem__)
    assert tasks["Slim the network"] == 1.0
    assert len(tasks) < 7
    found = load_source(workspace).slimmed
    assert found is not None
    assert found.mix is not None
    layers = [node.name for node, _ in found.network.convs()]
    assert list(parse_mix(found.mix, layers)) == layers
    assert found.mix == summarise(workspace)["slim"]["mix"]

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("The search must not run")

    monkeypatch.setattr(approximating, "search_recipes", refuse)
    approximated = ApproximateOptions(data=options.data, test=options.test, calibration=60)
    stages.approximate(workspace, approximated, silent)
    summary = summarise(workspace)
    assert summary["approximation"]["mix"] == found.mix
    command = next(line for line in summary["commands"] if line.startswith("hwgen slim"))
    assert "--objective bytes --moves kernels,features,recipes --search bisection" in command


def test_what_is_left_can_be_trained(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    workspace, options = _workspace(tmp_path)
    slim(workspace, options, silent)
    before = load_source(workspace).slimmed
    slim(workspace, replace(options, finetune=2), silent)
    after = load_source(workspace).slimmed
    assert before is not None
    assert after is not None
    for (_, old), (_, new) in zip(before.masked.convs(), after.masked.convs(), strict=True):
        assert not new.weight[old.weight == 0].any()
    command = next(c for c in summarise(workspace)["commands"] if c.startswith("hwgen slim"))
    assert command.endswith("--finetune 2")


def test_a_network_without_a_linear_layer_is_refused(tmp_path: Path) -> None:
    node = Node("relu", Activation("relu"), ("image",), (1, 6, 6))
    workspace, options = _workspace(tmp_path, Network("r", "image", (1, 6, 6), (node,), "relu"))
    with pytest.raises(DataError, match="has no linear layer, so nothing can be slimmed"):
        slim(workspace, options, silent)


def test_unfit_images_are_refused_before_any_work(tmp_path: Path) -> None:
    workspace, options = _workspace(tmp_path)
    before = sorted(workspace.root.rglob("*"))
    np.savez(tmp_path / "odd.npz", x=np.zeros((20, 1, 5, 6)))
    np.savez(tmp_path / "nan.npz", x=np.full((20, 1, 6, 6), np.nan))
    for name, message in (
        ("odd", "the model wants"),
        ("nan", "not finite"),
        ("no", "no.npz"),
    ):
        path = tmp_path / f"{name}.npz"
        for changed in (replace(options, data=path), replace(options, test=path)):
            with pytest.raises(DataError, match=message):
                slim(workspace, changed, silent)
    assert sorted(workspace.root.rglob("*")) == before


def test_the_slimmed_network_goes_through_everything_behind(
    slimmed: tuple[Workspace, SlimOptions],
) -> None:
    workspace, options = slimmed
    approximated = ApproximateOptions(
        data=options.data, test=options.test, budget=0.3, calibration=60
    )
    stages.approximate(workspace, approximated, silent)
    found = gather(workspace)
    assert found.approx is not None
    built, given = found.approx.network, load_source(workspace).network
    assert network_store.to_json(built) == network_store.to_json(given)
    stages.generate(workspace, GenerateOptions(effort=0), silent)
    assert summarise(workspace)["hardware"]["backend"] == "stream"
    summary = summarise(workspace, found)
    page = render(summary, approx=found.approx, original=found.network, integer=found.integer)
    assert page.count("<h2>Slimmer</h2>") == 1
    assert "All layers" in page


def test_a_build_says_whether_to_slim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, options = _workspace(tmp_path)
    monkeypatch.setattr(stages, "import_onnx", lambda _: tiny_network())
    for name in ("verify", "synthesise"):
        monkeypatch.setattr(stages, name, lambda *_: None)

    def build(slim_options: SlimOptions | None) -> None:
        stages.build(
            workspace,
            tmp_path / "model.onnx",
            slim_options,
            ApproximateOptions(data=options.data, test=options.test, budget=0.4, mix="P8"),
            GenerateOptions(backend="nfu"),
            VerifyOptions(),
            SynthOptions(board="icebreaker"),
            silent,
        )

    build(replace(options, objective="cycles"))
    summary = summarise(workspace)
    assert summary["slim"]["tile"] == summary["hardware"]["nfu"]["tile"] == [2, 2]
    assert workspace.path("report.html").read_text().count("<h2>Slimmer</h2>") == 1
    with pytest.raises(DataError, match="holds a slimmed network: add --slim, or go back with"):
        build(None)
    undo_slim(workspace)
    assert summarise(workspace)["slim"] is None
    assert not workspace.path(SLIM).exists()


def test_compaction_is_of_what_was_masked(slimmed: tuple[Workspace, SlimOptions]) -> None:
    found = load_source(slimmed[0]).slimmed
    assert found is not None
    again = network_store.to_json(compact(found.masked))
    assert again == network_store.to_json(found.network)
