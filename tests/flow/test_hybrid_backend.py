"""The hybrid back end in the stages: its files, its words and cycles, what the summary tells."""

import pytest
from small_workspace import fill

from hwgen.boards import find_board
from hwgen.errors import DataError, UnsupportedError
from hwgen.flow import stages
from hwgen.flow.backends import GENERATED, check_memories, interval, latency, load_plan
from hwgen.flow.checks import verify_formal
from hwgen.flow.on_board import fastest_baud
from hwgen.flow.options import FormalOptions, GenerateOptions, VerifyOptions
from hwgen.flow.results import read_result
from hwgen.flow.summary import summarise
from hwgen.hybrid.plan import HybridPlan
from hwgen.report.facts import facts
from hwgen.stream import store as stream_store


def _quiet(task: str, fraction: float) -> None:
    pass


_OPTIONS = GenerateOptions(backend="hybrid", tile=(2, 1), cut="stem_relu", forms="stem=rows")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    made = fill(tmp_path_factory.mktemp("hybrid"), ("import", "approximate"))
    stages.generate(made, _OPTIONS, _quiet)
    return made


@pytest.mark.slow  # a compiled simulation
def test_words_and_cycles_are_those_of_the_plan(workspace):
    plan = load_plan(workspace)
    assert isinstance(plan, HybridPlan)
    stages.verify(workspace, VerifyOptions(images=0, fast_images=4), _quiet)
    result = read_result(workspace, "verify")
    (report,) = result["reports"]
    assert [layer["words_differed"] for layer in report["layers"]] == [0]
    assert result["cycles"]["predicted"] == result["cycles"]["simulated"]


def test_the_summary_tells_of_both_parts(workspace):
    summary, plan = summarise(workspace), load_plan(workspace)
    hardware = summary["hardware"]
    assert (hardware["backend"], hardware["cut"]) == ("hybrid", "stem_relu")
    assert hardware["adders"] == plan.front.adders
    assert hardware["nfu"]["tile"] == [2, 1]
    assert hardware["cycles_per_image"] == interval(plan)
    assert hardware["latency_cycles"] == latency(plan)
    assert {"program", "memory", "verilog"} <= set(summary["files"])
    words = "--backend hybrid --cut stem_relu --forms stem=rows --tile 2x1"
    assert summary["commands"][-1].endswith(words)
    assert "2 x 1 behind stem_relu" in dict(facts(summary))["NFU"]
    layers = {layer["name"]: layer["adders"] for layer in summary["layers"]}
    assert layers["stem"] > 0
    assert layers["branch"] is None
    stages.report(workspace)
    assert "in adder graphs" in workspace.path("report.html").read_text()


def test_adder_graphs_of_the_front_are_proved(workspace):
    verify_formal(workspace, FormalOptions(solver=0), _quiet)
    (graph,) = read_result(workspace, "verify_formal")["graphs"]
    assert (graph["layer"], graph["fault"]) == ("stem", None)


def test_pixels_come_no_faster_than_they_are_taken(workspace):
    plan = load_plan(workspace)
    design = stream_store.design_from_json(workspace.read("design.json", made_by="generate"))
    taken = max(plan.front.timing.interval, plan.beats.fill)
    assert fastest_baud(plan, design, 1e6) == pytest.approx(10e6 * 36 / (2 * taken))


def test_files_and_memories(workspace):
    for name in GENERATED["hybrid"]:
        assert workspace.path(name).exists()
    assert not workspace.path("plan.json").exists()
    check_memories(load_plan(workspace), find_board("icebreaker"))


def test_what_is_refused(workspace):
    with pytest.raises(UnsupportedError, match="leave out --layers, or --backend hybrid"):
        stages.verify(workspace, VerifyOptions(layers=True), _quiet)
    for cut, rule in (("curve", "stem_relu, sum, pool, not 'curve'"), (None, "add --cut")):
        with pytest.raises(DataError, match=rule):
            stages.generate(workspace, GenerateOptions(backend="hybrid", cut=cut), _quiet)
