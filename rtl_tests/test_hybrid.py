# amaranth: UnusedElaboratable=no
"""A pipeline with an NFU behind it: words of the golden model, cycles of the cycle model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from networks import NETWORKS, images_for
from streambench import StreamRun, run_stream

from hwgen.hybrid.design import build_hybrid
from hwgen.hybrid.plan import PlannedHybrid, plan_hybrid
from hwgen.hybrid.system import Hybrid
from hwgen.hybrid.timing import hybrid_interval, hybrid_timing, least_depth, queued
from hwgen.numeric import IntArray
from hwgen.sim.golden import run
from hwgen.sim.verify import verify
from hwgen.stream.forms import parse_folding
from hwgen.stream.pipeline import Pipeline
from hwgen.toolchain.yosys import run_yosys

CASES = [
    ("classifier", "t1", (2, 4), ""),
    ("small", "a", (4, 4), "*=memory:1"),
    ("tanh", "t1", (1, 1), "*=serial:2"),
    pytest.param("inception", "t6", (4, 4), "", marks=pytest.mark.slow),
    pytest.param("chain", "conv2", (4, 2), "conv1=serial:4", marks=pytest.mark.slow),
    pytest.param("residual", "t7", (2, 2), "*=memory:2", marks=pytest.mark.slow),
]
PLANNED: dict[tuple[str, str], PlannedHybrid] = {}


def planned(name: str, cut: str, tile: tuple[int, int], forms: str) -> PlannedHybrid:
    if (name, cut) not in PLANNED:
        network = NETWORKS[name]()
        PLANNED[name, cut] = plan_hybrid(
            network, cut=cut, tile=tile, depth=64, folding=parse_folding(forms)
        )
    return PLANNED[name, cut]


def stream(
    name: str, found: PlannedHybrid, images: IntArray, *, deadline: int = 20_000, **options: Any
) -> StreamRun:
    """Compare what a hybrid makes of images with the golden model."""
    return run_stream(
        Hybrid(Pipeline(found.plan.front), found.unit.system),
        images,
        expected=run(NETWORKS[name](), images),
        deadline=deadline,
        drain=int(found.plan.timing.interval),
        **options,
    )


@pytest.mark.parametrize(("name", "cut", "tile", "forms"), CASES)
def test_hybrid_equals_golden(name: str, cut: str, tile: tuple[int, int], forms: str) -> None:
    network, found = NETWORKS[name](), planned(name, cut, tile, forms)
    timing = found.plan.timing
    images = images_for(network, 4)
    deadline = int(12 * (timing.image + 4 * timing.interval)) + 500
    for stall in (0.0, 0.3):
        result = stream(
            name, found, images, stall_in=stall, stall_out=stall, seed=1, deadline=deadline
        )
        if not stall:
            size = math.prod(network.shape(network.output)[1:])
            assert result.produced[0] == timing.first
            assert result.produced[size - 1] == timing.image
            ends = result.produced[size - 1 :: size]
            assert ends[-1] - ends[-2] == timing.interval
            average = hybrid_interval(found.plan.front.stages, found.plan.beats, len(ends))
            assert ends[-1] - ends[0] == average * (len(ends) - 1)


@pytest.mark.parametrize(("name", "cut", "tile", "forms"), CASES)
def test_no_shorter_queue_costs_as_little_time(
    name: str, cut: str, tile: tuple[int, int], forms: str
) -> None:
    """Images follow each other as fast as the slower part alone."""
    plan = planned(name, cut, tile, forms).plan
    stages, output, beats = plan.front.stages, plan.front.output, plan.beats
    assert len(beats.reader.takes) == plan.unit.interval
    slower = max(plan.front.timing.interval, plan.unit.interval)
    for slack in (0.0, 1 / 16):
        depth = least_depth(stages, output, beats, slack=slack)
        for pixels in (depth, depth - 1)[: depth - 1]:
            interval = hybrid_timing(queued(stages, output, pixels)[0], beats).interval
            assert (interval <= slower * (1 + slack)) == (pixels == depth)
    assert plan.queue == depth


@pytest.mark.parametrize("reset_at", [25, 90])
def test_reset_in_an_image(reset_at: int) -> None:
    """While the pipeline works, and while the program runs."""
    found = planned("classifier", "t1", (2, 4), "")
    images = images_for(NETWORKS["classifier"](), 2, seed=6)
    stream("classifier", found, images, stall_in=0.1, stall_out=0.1, seed=2, reset_at=reset_at)


@pytest.mark.parametrize(("stall_in", "stall_out"), [(0.9, 0.0), (0.0, 0.95)])
def test_slow_sides(stall_in: float, stall_out: float) -> None:
    found = planned("tanh", "t1", (1, 1), "*=serial:2")
    images = images_for(NETWORKS["tanh"](), 2, seed=3)
    stream("tanh", found, images, stall_in=stall_in, stall_out=stall_out, seed=4)


def test_parts_of_the_verilog_fit(tmp_path: Path) -> None:
    """No port is missing, too wide or too narrow, and nothing is undriven."""
    found = planned("classifier", "t1", (2, 4), "")
    design = build_hybrid(found, name="both").design
    (tmp_path / "design.v").write_text(design.verilog, encoding="utf-8")
    commands = ["read_verilog design.v", "hierarchy -check -top both", "proc", "check -assert"]
    log = run_yosys(commands, directory=tmp_path).log
    assert "Resizing cell port" not in log
    network = NETWORKS["classifier"]()
    assert (design.input_shape, design.output_shape) == (network.input_shape, (1, 1, 1))


@pytest.mark.slow  # a compiled simulation
@pytest.mark.parametrize("name", ["classifier", "tanh"])
def test_verilog_equals_golden(name: str, tmp_path: Path) -> None:
    case = next(tuple(c) for c in CASES if isinstance(c, tuple) and c[0] == name)
    network, found = NETWORKS[name](), planned(*case)
    images = network.input_format.dequantise(images_for(network, 4))
    report = verify(network, build_hybrid(found).design, images, build_dir=tmp_path)
    assert report.passed
