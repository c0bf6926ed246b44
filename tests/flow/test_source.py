"""Behind a slimmed network: what is built, and what it is measured against."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_workspace import tiny_network

from hwgen.approx import store as approx_store
from hwgen.approx.measure import decide
from hwgen.errors import BudgetError, DataError
from hwgen.flow import approximating, stages
from hwgen.flow.complexity import complexity
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import silent
from hwgen.flow.searches import load_front
from hwgen.flow.source import check_same_images, load_source, undo_slim
from hwgen.flow.summary import gather, summarise
from hwgen.flow.workspace import Workspace
from hwgen.network import storage as network_store
from hwgen.network.execute import run
from hwgen.network.types import Conv, Network
from hwgen.slim import store as slim_store
from hwgen.slim.store import Slimmed

_REDUCED = ("stem", "classes")


def _slimmed(network: Network, mix: str | None = None) -> Slimmed:
    """The tiny network with crosses for the kernels of its first and last layer."""
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])

    def less(op: Conv) -> Conv:
        return replace(op, weight=op.weight * cross)

    masked = replace(
        network,
        nodes=tuple(
            replace(n, op=less(n.op)) if n.name in _REDUCED and isinstance(n.op, Conv) else n
            for n in network.nodes
        ),
    )
    return Slimmed(replace(masked, name="less"), masked, mix)


Make = Callable[..., tuple[Workspace, ApproximateOptions]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A workspace with the tiny network, slimmed unless ``mix`` is ``""``, and its images."""

    def made(mix: str | None = None) -> tuple[Workspace, ApproximateOptions]:
        network = tiny_network()
        workspace = Workspace.create(tmp_path / "out")
        rng = np.random.default_rng(3)
        for name, count in (("data.npz", 160), ("test.npz", 60)):
            x = rng.normal(size=(count, 1, 6, 6))
            np.savez(tmp_path / name, x=x, y=run(network, x).argmax(axis=1).reshape(-1))
        (tmp_path / "model.onnx").write_bytes(b"model")
        workspace.run(
            "import",
            lambda: workspace.write("network.json", network_store.to_json(network)),
            reads=[tmp_path / "model.onnx"],
            writes=["network.json"],
            options={},
        )
        if mix != "":
            text = slim_store.to_json(_slimmed(network, mix))
            workspace.run(
                "slim",
                lambda: workspace.write_together(
                    {"slim.json": text, "results/slim_search.json": "{}"}
                ),
                reads=[workspace.path("network.json"), tmp_path / "data.npz"],
                writes=["slim.json"],
                options=_SLIM,
            )
        options = ApproximateOptions(
            data=tmp_path / "data.npz", test=tmp_path / "test.npz", budget=0.4, calibration=30
        )
        return workspace, options

    return made


_SLIM = {
    **{"budget": 0.01, "objective": "macs", "moves": ["kernels", "features"], "tile": None},
    **{
        "family": "ecp5",
        "search": "greedy",
        "importance": "error",
        "calibration": 256,
        "seed": 0,
        "finetune": 0,
    },
    "held_out": True,
}


def test_the_stored_form_is_exact() -> None:
    slimmed = _slimmed(tiny_network(), "P4")
    text = slim_store.to_json(slimmed)
    again = slim_store.from_json(text)
    assert slim_store.to_json(again) == text
    x = np.random.default_rng(0).normal(size=(5, 1, 6, 6))
    np.testing.assert_array_equal(run(again.network, x), run(slimmed.network, x))
    assert again.mix == "P4"
    with pytest.raises(DataError, match="damaged"):
        slim_store.from_json(text[:-9])


def test_the_slimmed_network_is_built_and_measured_against_the_original(make: Make) -> None:
    workspace, options = make()
    original = tiny_network()
    stages.approximate(workspace, replace(options, mix="P8"), silent)
    approx = approx_store.from_json(workspace.path("approx.json").read_text())
    assert approx.network.name == "less"
    for name in _REDUCED:
        codes = dict(approx.filters)[name].codes
        assert not codes[:, :, ::2, ::2].any()
        assert codes.any()

    summary = summarise(workspace)
    assert summary["stages"]["slim"] == summary["stages"]["approximate"] == "done"
    assert summary["slim"] == {"test": None}
    assert summary["accuracy"]["float"] == 1.0  # the labels are the original's decisions
    with np.load(options.test) as data:
        wrong = decide(run(approx.to_network(), data["x"])) != data["y"]
    assert summary["accuracy"]["loss"]["approximated"]["spoiled"] == wrong.sum()
    counted = complexity(workspace, shared=False, progress=silent)
    stem = next(layer for layer in counted.layers if layer.name == "stem")
    assert stem.exact.multiplications == original.node("stem").op.weight.size
    assert summary["operations"]["float_multiplications"] == counted.exact.multiplications
    command = [line for line in summary["commands"] if line.startswith("hwgen slim ")]
    assert command == [f"hwgen slim {workspace.root} --data {options.data}"]


def test_one_budget_covers_both_steps(make: Make) -> None:
    workspace, options = make()
    stages.search(workspace, options, silent)
    front = load_front(workspace)
    stages.approximate(workspace, options, silent)
    choosing = gather(workspace).approximate["choosing"]
    lost = choosing["float_network"]["accuracy"] - choosing["integer"]["accuracy"]
    assert choosing["float_network"]["accuracy"] == 1.0
    assert front.point(front.chosen).loss == pytest.approx(lost)
    with pytest.raises(BudgetError, match=r"slim less, or go back with 'hwgen slim .* --undo'"):
        stages.search(workspace, replace(options, budget=0.0), silent)


def test_a_mix_that_slimming_chose_is_built_without_a_search(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = make("stem=P7,*=P4")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("The search must not run")

    monkeypatch.setattr(approximating, "search_recipes", refuse)
    stages.approximate(workspace, options, silent)
    summary = summarise(workspace)
    assert summary["approximation"]["recipes"]["stem"] == "P7"
    assert not any("--mix" in line for line in summary["commands"])
    stages.approximate(workspace, replace(options, mix="P2"), silent)
    assert set(summarise(workspace)["approximation"]["recipes"].values()) == {"P2"}


def test_going_back_is_as_if_nothing_had_been_slimmed(make: Make) -> None:
    workspace, options = make("")
    stages.search(workspace, options, silent)
    stages.approximate(workspace, options, silent)
    before = {p: p.read_bytes() for p in workspace.root.rglob("*.json") if p.parent.name == "out"}
    make()
    # results of the network that was imported are not those of the slimmed one
    assert summarise(workspace)["stages"]["approximate"] == "out of date"
    with pytest.raises(DataError, match="has no front of its network"):
        load_front(workspace)
    stages.approximate(workspace, options, silent)
    assert workspace.path("approx.json").read_bytes() != before[workspace.path("approx.json")]
    undo_slim(workspace)
    summary = summarise(workspace)
    assert summary["stages"]["approximate"] == "out of date"
    assert "slim" not in summary["stages"]
    assert summary["slim"] is None
    stages.approximate(workspace, options, silent)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_slimmed_network_of_another_one_is_refused(make: Make) -> None:
    workspace, options = make()
    network = workspace.path("network.json").read_text()
    workspace.write("network.json", network.replace('"tiny"', '"tidy"', 1))
    with pytest.raises(DataError, match="is not of the network that was imported"):
        load_source(workspace)
    with pytest.raises(DataError, match="run 'hwgen slim' again, or with --undo"):
        stages.approximate(workspace, options, silent)


def test_another_model_ends_what_was_slimmed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, options = make()
    other = options.data.with_name("other.onnx")
    other.write_bytes(b"other")
    monkeypatch.setattr(stages, "import_onnx", lambda _: tiny_network(name="other"))
    stages.import_model(workspace, options.data.with_name("model.onnx"))
    assert load_source(workspace).slimmed is not None
    stages.import_model(workspace, other)
    assert load_source(workspace).slimmed is None


def test_images_that_chose_are_not_held_out_for_testing(make: Make) -> None:
    workspace, options = make()
    source = load_source(workspace)
    check_same_images(workspace, source, options.data, seed=0, held_out=True)
    check_same_images(workspace, source, options.test, seed=3, held_out=False)
    for data, seed in ((options.data, 1), (options.test, 0)):
        with pytest.raises(DataError, match="must not have chosen the slimmed network"):
            check_same_images(workspace, source, data, seed=seed, held_out=True)
    with pytest.raises(DataError, match="must not have chosen"):
        stages.approximate(workspace, replace(options, test=None, seed=1, mix="P4"), silent)
    stages.approximate(workspace, replace(options, test=None, mix="P4"), silent)
    assert summarise(workspace)["accuracy"]["held_out"]
