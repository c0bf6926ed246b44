"""Emitted pipelines under both benches: bit for bit, cycle for cycle, and mistakes found."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import NETWORKS, images_for

from hwgen.integer.types import IntegerNetwork
from hwgen.sim.cosim import run_cocotb
from hwgen.sim.fast import run_fast
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.sim.verify import Mode, verify
from hwgen.stream.design import StreamDesign
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.verilog import emit


@cache
def made(name: str) -> tuple[IntegerNetwork, PipelinePlan, StreamDesign]:
    """A network of :mod:`networks`, its plan and its design with taps."""
    network = NETWORKS[name]()
    plan = plan_pipeline(network)
    return network, plan, emit(plan, taps=True)


def real_images(network: IntegerNetwork, count: int) -> np.ndarray:
    """Images as the float network would get them."""
    return network.input_format.dequantise(images_for(network, count))


@pytest.mark.parametrize("mode", ["cocotb", "fast"])
def test_every_layer_of_a_pipeline_is_right(mode: Mode, build_dir: Path) -> None:
    network, _, design = made("chain")
    images = real_images(network, 5)
    report = verify(network, design, images, mode=mode, layers=True, build_dir=build_dir, seed=2)
    assert report.passed, report.summary
    assert [c.node for c in report.layers] == [*(t.node for t in design.taps), network.output]
    shapes = [*(tap.shape for tap in design.taps), design.output_shape]
    for check, (_, height, width) in zip(report.layers, shapes, strict=True):
        assert check.words_compared == 5 * height * width


def test_the_promised_cycles_are_those_of_the_verilog(build_dir: Path) -> None:
    network, plan, design = made("chain")
    result = run_fast(design, images_for(network, 4), build_dir=build_dir)
    assert result.first_valid_cycle == plan.timing.first
    assert result.frame_cycles[0] == plan.timing.image
    assert np.diff(result.frame_cycles)[-1] == plan.timing.interval


def test_reset_in_mid_frame(build_dir: Path) -> None:
    network, _, design = made("chain")
    images = images_for(network, 2)
    golden = run(network, images)
    stall = Stall(0.25, 0.25)
    for words in (1, 47, 89, 130):
        result = run_fast(design, images, stall=stall, build_dir=build_dir, reset_after=words)
        np.testing.assert_array_equal(result.outputs, golden)
    checked = run_cocotb(design, images, golden, stall=stall, build_dir=build_dir, reset_after=130)
    assert checked.passed


def test_a_mistake_between_two_layers_is_found_in_the_second(build_dir: Path) -> None:
    network, _, design = made("chain")
    right = (
        "t2_window t2_window (\n    .clk(clk),\n    .rst(rst),\n    .i__payload(t2_fifo__payload)"
    )
    assert design.verilog.count(right) == 1
    wrong = right.replace("(t2_fifo__payload)", "(t2_fifo__payload ^ 20'h1)")
    report = verify(
        network,
        replace(design, verilog=design.verilog.replace(right, wrong)),
        real_images(network, 3),
        mode="fast",
        layers=True,
        build_dir=build_dir,
    )
    assert not report.passed
    assert report.layers[0].node == "conv1"
    assert report.layers[0].words_differed == 0
    found = report.first_difference
    assert found is not None
    assert (found.node, found.channel) == ("t2", 0)
    assert report.waveform is not None
    assert "t2_window" in Path(report.waveform).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "chain"])
def test_every_pipeline_is_right(name: str, build_dir: Path) -> None:
    network, plan, design = made(name)
    images = real_images(network, 6)
    for mode in ("fast", "cocotb"):
        report = verify(network, design, images, mode=mode, layers=True, build_dir=build_dir)
        assert report.passed, report.summary
    result = run_fast(design, images_for(network, 4), build_dir=build_dir)
    assert result.first_valid_cycle == plan.timing.first
    assert np.diff(result.frame_cycles)[-1] == plan.timing.interval
