"""The emitted Verilog: its text, its structure, and its behaviour in a simulator."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import NETWORKS, Sketch, images_for

from hwgen.errors import VerifyError
from hwgen.integer.types import Conv
from hwgen.sim.fast import run_fast
from hwgen.sim.golden import run_all
from hwgen.sim.types import Stall
from hwgen.stream.cycles import balance, predict
from hwgen.stream.forms import LayerForm
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.store import design_from_json, design_to_json, plan_from_json, plan_to_json
from hwgen.stream.verilog import check_multiplierless, emit, emit_both
from hwgen.toolchain.yosys import run_yosys


def test_the_family_decides_graphs_and_how_they_subtract_and_nothing_else() -> None:
    network = NETWORKS["chain"]()
    # it also chooses between windows and rows (test_rows.py), unless forms are given
    windows = dict.fromkeys(("conv1", "conv2"), LayerForm("parallel"))
    plans = {
        family: plan_pipeline(network, family=family, folding=windows)
        for family in (None, "ecp5", "ice40")
    }
    for family, plan in plans.items():
        inverted = {stage.form for stage in plan.stages if stage.complement}
        assert inverted == ({"adders"} if family == "ice40" else set())
        same = tuple(
            replace(stage, graph=other.graph, depth=other.depth, complement=False)
            for stage, other in zip(plan.stages, plans[None].stages, strict=True)
        )
        assert plan_to_json(replace(plan, stages=same)) == plan_to_json(plans[None])
    stages = zip(plans["ice40"].stages, plans[None].stages, strict=True)
    same = tuple(replace(other, complement=stage.complement) for stage, other in stages)
    inverting = replace(plans[None], stages=same)
    assert emit(inverting).verilog != emit(plans[None]).verilog
    with pytest.raises(ValueError, match=r"Family must be one of ice40, .*, not 'spartan'"):
        plan_pipeline(network, family="spartan")


@pytest.mark.parametrize("name", ["residual", "vectors"])
def test_text_is_the_same_every_time_and_after_storage(name: str) -> None:
    plan = plan_pipeline(NETWORKS[name]())
    stored = plan_to_json(plan)
    assert stored == plan_to_json(plan_pipeline(NETWORKS[name]()))
    plain, tapped = emit_both(plan)
    assert plain == emit(plan_from_json(stored))
    assert tapped == emit(plan, taps=True)
    assert design_from_json(design_to_json(tapped)) == tapped


def test_text_is_documented() -> None:
    plan = plan_pipeline(NETWORKS["chain"]())
    design = emit(plan, taps=True, name="top", notes={"conv1": "set P4, two terms"})
    text = design.verilog
    assert text.isascii()
    assert "Yosys" not in text
    assert "x" not in re.sub(r"//.*|\w*[^'\w]", "", text)
    assert str(Path(__file__).parent) not in text
    for line in (
        "// top: the network 'sketch' as a stream of pixels, without a multiplier.",
        "// weights: set P4, two terms",
        "//   tap0  tensor conv1, 3 x 10 x 9: ",
        "  input  wire [7:0]     i__payload,  // images in",
        "module conv1_window(",
        "module conv1_adders(",
        "module fc1_dense(",
        "//   tap3  tensor fc1, 1 x 6 x 1: s8",
        "//   A tensor of 1 x H*W*C x 1 passes one channel of a pixel a transfer.",
    ):
        assert any(found.startswith(line) for found in text.splitlines()), line
    assert [tap.node for tap in design.taps] == ["conv1", "t2", "conv2", "fc1", "fc2"]
    weight = plan_pipeline(NETWORKS["chain"]()).stages[1].graph
    assert weight is not None
    first = " ".join(f"{w:+d}*x{i}" for i, w in enumerate(weight.matrix[:, 0].tolist()) if w)
    assert f"= {first}"[:60] in text


@pytest.mark.parametrize("name", ["chain", "inception", "mean", "tanh"])
def test_yosys_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    design = emit(plan_pipeline(NETWORKS[name]()), taps=True)
    (tmp_path / "design.v").write_text(design.verilog)
    run_yosys(
        [
            "read_verilog design.v",
            f"hierarchy -check -top {design.name}",
            "proc",
            "check -assert",
            "select -assert-none t:$mul t:$macc t:$div t:$mod t:$dlatch t:$adlatch",
        ],
        directory=tmp_path,
    )
    log = (tmp_path / "yosys.log").read_text()
    assert "warning" not in log.lower()


@pytest.mark.parametrize(
    "name", ["twice", "vectors", *(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS)]
)
def test_verilog_equals_golden(name: str, build_dir: Path) -> None:
    network = NETWORKS[name]()
    design = emit(plan_pipeline(network), taps=True)
    images = images_for(network, 12, seed=9)
    tensors = run_all(network, images)
    stall = Stall(source=0.3, sink=0.3)
    result = run_fast(design, images, seed=1, stall=stall, build_dir=build_dir, taps=True)
    np.testing.assert_array_equal(result.outputs, tensors[network.output])
    assert list(result.taps) == [tap.node for tap in design.taps]
    for node, values in result.taps.items():
        expected = tensors[node].reshape(values.shape)
        np.testing.assert_array_equal(values, expected, err_msg=node)


@pytest.mark.parametrize(
    "code", ["assign y = a * b;", "assign y = a\n* b;", "\\$mul #(8) m (a);", "MULT18X18D m ();"]
)
def test_a_multiplier_is_found(code: str) -> None:
    check_multiplierless("// a * b\n(* keep *) wire c; /* x * y */ always @(*) assign y = a + b;")
    with pytest.raises(VerifyError, match="has a multiplier"):
        check_multiplierless(f"wire a;\n{code}\n")


def test_name_of_the_top() -> None:
    plan = plan_pipeline(NETWORKS["bare"]())
    for name in ("t0_window", "9x", "a b", ""):
        with pytest.raises(ValueError, match="Name of the top must be"):
            emit(plan, name=name)


def test_names_of_stages_are_distinct_identifiers() -> None:
    s = Sketch((1, 4, 4))
    x = s.requantise(s.conv("image", 1, name="a/b.sum"), name="a/b")
    x = s.requantise(s.conv(x, 1, kernel=(1, 1), name="a_b.sum"), name="a_b")
    x = s.requantise(s.conv(x, 1, kernel=(2, 1), name="0é.sum"), name="0é")
    names = [stage.name for stage in plan_pipeline(s.done(x)).stages]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.isascii() for name in names)
    emit(plan_pipeline(s.done(x)))


def test_groups_are_expanded() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-4, 5, (4, 3, 1, 2))
    matrix = conv_matrix(Conv(weight, np.zeros(4), groups=2))
    assert matrix.shape == (12, 4)
    np.testing.assert_array_equal(matrix[:6, 1], weight[1].ravel())
    np.testing.assert_array_equal(matrix[6:, 3], weight[3].ravel())
    assert not matrix[6:, :2].any()
    assert not matrix[:6, 2:].any()


@pytest.mark.parametrize("name", ["residual", "inception"])
def test_branch_buffers_are_deep_enough_and_no_deeper(name: str) -> None:
    plan = plan_pipeline(NETWORKS[name]())
    deep = [s for s in plan.stages if s.form == "buffer" and s.depth > 2]
    assert deep
    boundless = [replace(s, depth=999) if s in deep else s for s in plan.stages]
    assert predict(boundless).interval == plan.timing.interval
    assert balance(plan.stages) == plan.stages
    deepest = max(deep, key=lambda stage: stage.depth)
    smaller = [replace(s, depth=s.depth - 1) if s is deepest else s for s in plan.stages]
    assert predict(smaller).interval > plan.timing.interval
    least = [replace(s, depth=2) if s is deepest else s for s in plan.stages]
    with pytest.raises(VerifyError, match="a buffer is too small"):
        predict(least)
