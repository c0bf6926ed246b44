# amaranth: UnusedElaboratable=no
"""Whole pipelines against the golden model, bit for bit and cycle for cycle."""

from __future__ import annotations

import numpy as np
import pytest
from networks import NETWORKS, images_for
from streambench import run_stream

from hwgen.sim.golden import run
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import PipelinePlan, plan_pipeline

PLANS: dict[str, PipelinePlan] = {}


def plan_of(name: str) -> PipelinePlan:
    if name not in PLANS:
        PLANS[name] = plan_pipeline(NETWORKS[name]())
    return PLANS[name]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.3, 0.3)], ids=str)
def test_pipeline_equals_golden(name: str, stalls: tuple[float, float]) -> None:
    network, plan = NETWORKS[name](), plan_of(name)
    images = images_for(network, 4)
    golden = run(network, images)
    limit = int(12 * (plan.timing.image + 4 * plan.timing.interval)) + 500
    result = run_stream(
        Pipeline(plan),
        images,
        expected=golden,
        stall_in=stalls[0],
        stall_out=stalls[1],
        seed=1,
        deadline=limit,
        drain=int(2 * plan.timing.image),
    )
    if not any(stalls):
        per_image = golden[0, 0].size
        assert result.produced[0] == plan.timing.first
        assert result.produced[per_image - 1] == plan.timing.image
        ends = result.produced[per_image - 1 :: per_image]
        assert ends[-1] - ends[-2] == plan.timing.interval


@pytest.mark.parametrize("name", ["chain", "residual"])
def test_pipeline_with_complements_equals_golden(name: str) -> None:
    network = NETWORKS[name]()
    plan = plan_pipeline(network, family="ice40")
    images = images_for(network, 2, seed=4)
    run_stream(Pipeline(plan), images, expected=run(network, images), stall_out=0.2, seed=2)


@pytest.mark.parametrize("name", ["chain", "residual", "inception"])
def test_slow_sides(name: str) -> None:
    network, plan = NETWORKS[name](), plan_of(name)
    images = images_for(network, 2, seed=3)
    golden = run(network, images)
    for stall_in, stall_out in ((0.9, 0.0), (0.0, 0.95)):
        run_stream(
            Pipeline(plan),
            images,
            expected=golden,
            stall_in=stall_in,
            stall_out=stall_out,
            seed=4,
            deadline=20_000,
        )


@pytest.mark.parametrize(("name", "reset_at"), [("chain", 130), ("classifier", 70), ("twice", 30)])
def test_reset_in_an_image(name: str, reset_at: int) -> None:
    """After a reset nothing of the images before it may be left."""
    network, plan = NETWORKS[name](), plan_of(name)
    images = images_for(network, 3, seed=6)
    run_stream(
        Pipeline(plan),
        images,
        expected=run(network, images),
        stall_in=0.1,
        stall_out=0.1,
        seed=2,
        deadline=6000,
        reset_at=reset_at,
    )


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        (
            "vectors",
            "image=dense=requantise=buffer=piecewise=buffer=dense=requantise=gather-fork",
        ),
        ("small", "image=dense-requantise-buffer-dense=requantise=buffer=dense-buffer"),
    ],
)
def test_vectors_pass_in_turns(name: str, forms: str) -> None:
    """``=`` stands for one channel a beat (or the image), ``-`` for all at once."""
    stages = plan_of(name).stages[: len(forms.replace("-", "=").split("=")) - 1]
    found = "image"
    for stage in stages:
        found += ("=" if stage.shape[1] > 1 else "-") + stage.form
    assert found == forms


def test_plan_is_repeatable() -> None:
    assert [s.name for s in plan_pipeline(NETWORKS["residual"]()).stages] == [
        s.name for s in plan_of("residual").stages
    ]


def test_golden_is_not_constant() -> None:
    """The sketches must not saturate everything away."""
    for name, make in NETWORKS.items():
        golden = run(make(), images_for(make(), 8, seed=5))
        assert len(np.unique(golden)) > (1 if name == "classifier" else 8), name
