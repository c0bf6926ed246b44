"""The NFU back end in the stages: its files, what the summary tells, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from small_workspace import fill

from hwgen.boards import find_board
from hwgen.errors import ResourceError, UnsupportedError
from hwgen.flow import stages
from hwgen.flow.backends import GENERATED, backend_of, check_memories, interval, load_plan
from hwgen.flow.options import GenerateOptions, VerifyOptions
from hwgen.flow.summary import summarise
from hwgen.network.types import Activation, Conv, Network, Node
from hwgen.nfu.design import NfuPlan
from hwgen.nfu.files import load_image, read_program
from hwgen.nfu.isa import decode
from hwgen.report.facts import facts

_OLD = ("plan.json", "design_taps.json")


def _quiet(task: str, fraction: float) -> None:
    pass


def _network() -> Network:
    rng = np.random.default_rng(1)
    stem = Conv(rng.normal(size=(2, 1, 3, 3)) / 3, rng.normal(size=2), strides=(3, 3))
    nodes = (
        Node("stem", stem, ("image",), (2, 2, 2)),
        Node("relu", Activation("relu"), ("stem",), (2, 2, 2)),
        Node("classes", Conv(rng.normal(size=(3, 2, 2, 2)), np.zeros(3)), ("relu",), (3, 1, 1)),
    )
    return Network("small", "image", (1, 6, 6), nodes, "classes")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nfu")
    made = fill(folder, ("import", "approximate"), network=_network())
    for name in _OLD:
        made.write(name, "of the other back end")
    stages.generate(made, GenerateOptions(backend="nfu", tile=(2, 1)), _quiet)
    return made


def test_program_and_memory_are_files(workspace):
    plan = load_plan(workspace)
    assert isinstance(plan, NfuPlan)
    assert (plan.config.tn, plan.config.ti) == (2, 1)
    program = read_program(workspace.path("program.nfu"))
    config, image = load_image(workspace.path("image.npz"))
    assert config == plan.config
    assert (len(image.rows), len(image.tables)) == (plan.map.weights.count, plan.map.scales.count)
    assert len(program) == plan.instructions
    where, memory = plan.map.program, workspace.path("image.bin").read_bytes()
    assert len(memory) == plan.map.size
    for k, instruction in enumerate(program):
        at = where.address + k * where.stride
        assert decode(int.from_bytes(memory[at : at + where.stride], "little")) == instruction


def test_the_summary_tells_of_the_nfu(workspace):
    summary = summarise(workspace)
    hardware, plan = summary["hardware"], load_plan(workspace)
    assert (hardware["backend"], hardware["adders"]) == ("nfu", None)
    assert hardware["nfu"]["tile"] == [2, 1]
    assert hardware["cycles_per_image"] == interval(plan) == hardware["latency_cycles"]
    assert {"program", "memory", "verilog"} <= set(summary["files"])
    assert summary["commands"][-1].endswith("--backend nfu --tile 2x1")
    assert "2 x 1" in dict(facts(summary))["NFU"]
    stages.report(workspace)
    assert "NFU" in workspace.path("report.html").read_text()


def test_layers_cannot_be_compared(workspace):
    with pytest.raises(UnsupportedError, match="leave out --layers"):
        stages.verify(workspace, VerifyOptions(layers=True), _quiet)


def test_memories_must_fit_the_board(workspace):
    plan, board = load_plan(workspace), find_board("icebreaker")
    check_memories(plan, board)
    many = replace(plan, memories=(("program", 100_000), ("weights", 50_000)))
    text = "need 150,000 bits .program 100,000, weights 50,000.*iCEBreaker has 122,880"
    with pytest.raises(ResourceError, match=text):
        check_memories(many, board)
    check_memories(replace(plan, single_port=1 << 20), board)
    with pytest.raises(ResourceError, match="8 bits of single-port RAM, and ULX3S 25F has 0"):
        check_memories(replace(plan, single_port=8), find_board("ulx3s-25f"))


def test_files_of_the_other_back_end_are_gone(workspace):
    assert backend_of(workspace) == "nfu"
    for name in _OLD:
        assert not workspace.path(name).exists()
    for name in GENERATED["nfu"]:
        assert workspace.path(name).exists()
