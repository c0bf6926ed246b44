"""Points of the front: searched once, built by name, equal to what the search measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_workspace import tiny_network

from hwgen.errors import BudgetError, DataError
from hwgen.flow import approximating, stages
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import silent
from hwgen.flow.searches import CheckMemory, load_front
from hwgen.flow.summary import gather, summarise
from hwgen.flow.workspace import Workspace
from hwgen.network import storage as network_store
from hwgen.network.execute import run
from hwgen.report.front import front_csv, front_png
from hwgen.report.page import render


def _workspace(root: Path) -> tuple[Workspace, ApproximateOptions]:
    """A tiny network that was imported, and images that it decides."""
    network = tiny_network()
    workspace = Workspace.create(root / "out")
    workspace.run(
        "import",
        lambda: workspace.write("network.json", network_store.to_json(network)),
        reads=[],
        writes=["network.json"],
        options={},
    )
    rng = np.random.default_rng(3)
    for name, count in (("data.npz", 160), ("test.npz", 50)):
        x = rng.normal(size=(count, 1, 6, 6))
        np.savez(root / name, x=x, y=run(network, x).argmax(axis=1).reshape(-1))
    options = ApproximateOptions(
        data=root / "data.npz", test=root / "test.npz", budget=0.05, calibration=30
    )
    return workspace, options


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, ApproximateOptions]:
    workspace, options = _workspace(tmp_path_factory.mktemp("searched"))
    stages.approximate(workspace, options, silent)
    return workspace, options


def _with(options: ApproximateOptions, **changed: object) -> ApproximateOptions:
    return ApproximateOptions(**(vars(options) | changed))


def test_a_point_is_built_as_it_was_measured_without_another_search(
    searched: tuple[Workspace, ApproximateOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = searched
    front = load_front(workspace)
    assert summarise(workspace)["approximation"]["point"] == front.chosen

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("The search must not run again")

    monkeypatch.setattr(approximating, "search_recipes", refuse)
    for point in (front.points[0], front.points[len(front.points) // 2]):
        stages.approximate(workspace, _with(options, point=point.name), silent)
        summary = summarise(workspace)
        built = summary["approximation"]
        assert (built["point"], built["mix"]) == (point.name, point.mix)
        assert built["choosing_loss"] == pytest.approx(point.loss)
        assert built["mean_terms"] == point.mean_terms
        choosing = gather(workspace).approximate["choosing"]
        assert choosing["integer"]["error"] == pytest.approx(point.error, rel=1e-6)
        assert f"--point {point.name}" in summary["commands"][-1]
    assert stages.searched_options(workspace) == options
    with pytest.raises(DataError, match="Point must be one of p1 to"):
        stages.approximate(workspace, _with(options, point="p99"), silent)
    stages.approximate(workspace, options, silent)
    assert "--point" not in summarise(workspace)["commands"][-1]


def test_test_images_play_no_part_in_the_search(
    searched: tuple[Workspace, ApproximateOptions], tmp_path: Path
) -> None:
    workspace, options = searched
    before = workspace.record("search")
    other = tmp_path / "other.npz"
    np.savez(other, x=np.ones((9, 1, 6, 6)), y=np.zeros(9, dtype=int))
    stages.approximate(workspace, _with(options, test=other), silent)
    assert workspace.record("search") == before
    assert summarise(workspace)["accuracy"]["images"] == 9
    stages.approximate(workspace, options, silent)


def test_an_interrupted_search_repeats_no_check(
    searched: tuple[Workspace, ApproximateOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = _workspace(tmp_path)
    keep = CheckMemory.keep
    kept: list[str] = []

    def interrupt(memory: CheckMemory, check: object) -> None:
        keep(memory, check)
        kept.append(check.mix)
        if len(kept) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(CheckMemory, "keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stages.search(workspace, options, silent)
    with pytest.raises(DataError, match="has no front"):
        load_front(workspace)
    resumed: list[str] = []

    def note(memory: CheckMemory, check: object) -> None:
        keep(memory, check)
        resumed.append(check.mix)

    monkeypatch.setattr(CheckMemory, "keep", note)
    stages.search(workspace, options, silent)
    assert resumed
    assert not set(kept) & set(resumed)
    assert load_front(workspace) == load_front(searched[0])
    assert not workspace.path("unfinished_search.json").exists()
    with_others = CheckMemory.open(workspace, "another search")
    assert with_others.checks == {}


def test_an_interrupted_build_of_a_new_front_leaves_no_point_of_the_old_one(
    searched: tuple[Workspace, ApproximateOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.create(tmp_path / "copy")
    shutil.copytree(searched[0].root, workspace.root, dirs_exist_ok=True)
    _, options = searched

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(approximating, "build_mix", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stages.approximate(workspace, _with(options, point="p1"), silent)
    assert summarise(workspace)["approximation"]["point"] == load_front(workspace).chosen
    with pytest.raises(KeyboardInterrupt):
        stages.approximate(workspace, _with(options, objective="frobenius"), silent)
    assert load_front(workspace) != load_front(searched[0])
    assert summarise(workspace)["approximation"] is None


def test_a_budget_that_cannot_be_met_leaves_nothing(tmp_path: Path) -> None:
    workspace, options = _workspace(tmp_path)
    before = sorted(workspace.root.rglob("*"))
    with pytest.raises(BudgetError, match=r"more than the budget of 0\.00%"):
        stages.approximate(workspace, _with(options, budget=0.0, bits=2), silent)
    assert sorted(workspace.root.rglob("*")) == before


def test_a_front_of_another_network_is_none(tmp_path: Path) -> None:
    workspace, options = _workspace(tmp_path)
    stages.search(workspace, _with(options, objective="frobenius"), silent)
    assert summarise(workspace)["front"]["points"]
    network = workspace.path("network.json").read_text()
    workspace.write("network.json", network.replace('"tiny"', '"tidy"', 1))
    with pytest.raises(DataError, match="has no front of its network"):
        load_front(workspace)


def test_a_mix_needs_no_search(tmp_path: Path) -> None:
    workspace, options = _workspace(tmp_path)
    stages.approximate(workspace, _with(options, mix="A(7,4)"), silent)
    summary = summarise(workspace)
    assert list(summary["approximation"]["recipes"].values()) == ["P7", "P4", "P4"]
    assert summary["approximation"]["budget"] is None
    assert summary["front"] is None
    assert "--mix 'A(7,4)'" in summary["commands"][-1]


def test_table_plot_and_page_show_the_front(searched: tuple[Workspace, ApproximateOptions]) -> None:
    workspace, _ = searched
    front = load_front(workspace)
    header, *rows = front_csv(front).splitlines()
    assert header.startswith("name,cost,mean_terms,loss")
    assert [row.split(",")[0] for row in rows] == [point.name for point in front.points]
    assert workspace.path("front.csv").read_text() == front_csv(front)
    assert front_png(front).startswith(b"\x89PNG")
    found = gather(workspace)
    summary = summarise(workspace, found)
    page = render(summary, approx=found.approx, integer=found.integer, front=found.front)
    assert page.count("Trade-offs that the search found") == 1
    assert f"{front.chosen} \u25c0" in page
    assert json.loads(json.dumps(summary))["front"]["chosen"] == front.chosen
