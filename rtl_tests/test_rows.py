# amaranth: UnusedElaboratable=no
"""The row-transposed form of convolutions against the golden model, over shapes, stalls, resets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, Sketch, images_for
from streambench import run_stream

from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.numeric import Range
from hwgen.sim.golden import run
from hwgen.stream.chain import Chain
from hwgen.stream.column import Column
from hwgen.stream.forms import parse_folding
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.scan import Scan
from hwgen.stream.store import plan_from_json, plan_to_json
from hwgen.stream.verilog import emit

CASES = {
    "valid": ((2, 5, 6), (3, 3)),
    "same": ((1, 5, 6), (3, 3), (1, 1), (1, 1, 1, 1)),
    "5x5_same": ((1, 7, 6), (5, 5), (1, 1), (2, 2, 2, 2)),
    "stride2": ((1, 6, 6), (3, 3), (2, 2), (1, 1, 1, 1)),
    "wide_pads": ((1, 3, 2), (2, 3), (1, 1), (4, 5, 3, 4)),
    "dilated": ((1, 8, 7), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    "dilated_tall": ((1, 8, 4), (2, 3), (1, 2), (0, 1, 1, 1), (3, 1)),
    "narrow": ((2, 6, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
    "pixel": ((1, 1, 1), (5, 5), (1, 1), (2, 2, 2, 2)),
    "narrower_than_kernel": ((1, 4, 2), (3, 5), (1, 1), (1, 2, 1, 2)),
    "whole_frame": ((2, 4, 3), (4, 3)),
    "row_kernel": ((1, 4, 5), (1, 3), (1, 1), (0, 1, 0, 1)),
    "stride_beyond_kernel": ((1, 9, 8), (2, 2), (4, 3)),
    "trailing_rows": ((1, 7, 5), (2, 2), (5, 3)),
    "stride_wrapping": ((1, 5, 6), (3, 3), (1, 2), (1, 0, 1, 1)),
}
STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]
ROWS = parse_folding("*=rows")


def one_layer(case: str) -> IntegerNetwork:
    shape, kernel, *rest = CASES[case]
    s = Sketch(shape, signed=True, seed=len(case))
    return s.done(s.conv("image", 2, kernel, *rest))


def compare(
    network: IntegerNetwork, plan: PipelinePlan, *, stalls: tuple[float, float], seed: int = 0
) -> None:
    """Run images through the pipeline; check its cycles too where neither side waits."""
    images = images_for(network, 3, seed=seed)
    golden = run(network, images)
    result = run_stream(
        Pipeline(plan),
        images,
        expected=golden,
        stall_in=stalls[0],
        stall_out=stalls[1],
        seed=seed,
        deadline=int(20 * (plan.timing.image + 3 * plan.timing.interval)) + 500,
        drain=int(2 * plan.timing.image),
    )
    if not any(stalls):
        per_image = golden[0, 0].size
        assert result.produced[0] == plan.timing.first
        ends = result.produced[per_image - 1 :: per_image]
        assert ends[0] == plan.timing.image
        assert ends[2] - ends[1] == plan.timing.interval


@pytest.mark.parametrize("case", CASES)
def test_a_layer_by_rows(case: str) -> None:
    network = one_layer(case)
    plan = plan_pipeline(network, folding=ROWS)
    assert [s.form for s in plan.stages][:3] == ["column", "adders", "chain"]
    for stalls in STALLS[:: 3 if len(case) % 2 else 1]:
        compare(network, plan, stalls=stalls, seed=3)


@pytest.mark.parametrize("case", CASES)
def test_rows_are_as_fast_and_no_wider_than_windows(case: str) -> None:
    network = one_layer(case)
    rows, direct = (
        plan_pipeline(network, folding=parse_folding(f"*={form}")) for form in ("rows", "parallel")
    )
    assert rows.timing.interval == direct.timing.interval
    spans = zip(rows.output_stage.output_ranges, direct.output_stage.output_ranges, strict=True)
    for by_rows, by_windows in spans:
        assert by_windows.lo <= by_rows.lo <= by_rows.hi <= by_windows.hi


@pytest.mark.parametrize("case", CASES)
def test_the_models_of_the_blocks(case: str) -> None:
    """Column, matrix and chain as NumPy are the convolution, whatever the padding holds."""
    network = one_layer(case)
    plan = plan_pipeline(network, folding=ROWS)
    column, product, chain = plan.stages[:3]
    assert product.graph is not None
    assert column.scan is not None
    images = images_for(network, 3)
    items = Column(column.shape, column.scan, ranges=column.ranges[0]).model(images)
    fields = np.einsum("ncyx,co->noyx", items, product.graph.matrix.astype(np.int64))
    if product.bias:
        fields += np.array(product.bias).reshape(-1, 1, 1)
    model = Chain(column.scan, ranges=chain.ranges[0], bias=chain.bias or None).model(fields)
    np.testing.assert_array_equal(model, run(network, images))


@settings(derandomize=True, max_examples=25, deadline=None)
@given(data=st.data())
def test_any_layer_by_rows(data: st.DataObject) -> None:
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(2, 4)))
    dilations = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    strides = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    least = [
        max(1, d * (k - 1) + 1 - before - after)
        for k, d, before, after in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    ]
    height, width = (data.draw(st.integers(low, low + 4)) for low in least)
    s = Sketch((2, height, width), seed=data.draw(st.integers(0, 99)))
    groups = data.draw(st.sampled_from([1, 2]))
    x = s.conv("image", 2, kernel, strides, pads, dilations, groups)
    network = s.done(s.requantise(x) if data.draw(st.booleans()) else x)
    plan = plan_pipeline(network, folding=ROWS)
    compare(network, plan, stalls=data.draw(st.sampled_from(STALLS)), seed=height)


@pytest.mark.parametrize("name", ["chain", "residual", "depthwise", "inception"])
def test_networks_by_rows(name: str) -> None:
    network = NETWORKS[name]()
    plan = plan_pipeline(network, folding=ROWS, family="ice40")
    assert plan_to_json(plan_from_json(plan_to_json(plan))) == plan_to_json(plan)
    assert "chain" in {stage.form for stage in plan.stages}
    compare(network, plan, stalls=(0.0, 0.0))
    compare(network, plan, stalls=(0.3, 0.3))


@pytest.mark.parametrize("case", ["same", "wide_pads", "dilated"])
@pytest.mark.parametrize("reset_at", [0, 5, 17, 33])
def test_reset_in_a_frame(case: str, reset_at: int) -> None:
    network = one_layer(case)
    images = images_for(network, 2)
    run_stream(
        Pipeline(plan_pipeline(network, folding=ROWS)),
        images,
        expected=run(network, images),
        stall_in=0.2,
        stall_out=0.2,
        seed=4,
        deadline=2000,
        reset_at=reset_at,
    )


def test_the_last_pixels_come_out_with_a_slow_producer() -> None:
    network = one_layer("5x5_same")
    images = images_for(network, 1)
    run_stream(
        Pipeline(plan_pipeline(network, folding=ROWS)),
        images,
        expected=run(network, images),
        stall_in=0.9,
        seed=7,
        deadline=4000,
        drain=200,
    )


def test_a_layer_of_one_column_has_no_chain() -> None:
    s = Sketch((1, 5, 4))
    plan = plan_pipeline(s.done(s.conv("image", 2, (3, 1))), folding=ROWS)
    assert [stage.form for stage in plan.stages] == ["window", "adders", "buffer"]


def test_verilog_tells_of_columns_and_chains() -> None:
    verilog = emit(plan_pipeline(one_layer("same"), folding=ROWS)).verilog
    assert "field c * 3 + r is channel c, row r of the kernel" in verilog
    assert "field s * 2 + o is what column s of the kernel adds to output o" in verilog


def test_bad_arguments() -> None:
    scan = Scan(4, 4, (3, 3))
    with pytest.raises(ValueError, match="cannot be those of a frame of 1 x 4 x 5"):
        Column((1, 4, 5), scan, ranges=[Range(0, 1)])
    with pytest.raises(ValueError, match="Chain of 3 columns cannot add 4 fields"):
        Chain(scan, ranges=[Range(0, 1)] * 4)


def test_the_planner_takes_the_cheaper_form() -> None:
    """All columns of a mean have the same products; long chains of few products cost registers."""
    s = Sketch((4, 8, 8), seed=1)
    ones = np.ones((4, 1, 2, 2), dtype=np.int64)
    mean = Conv(ones, np.zeros(4), (2, 2), groups=4)
    x = s.requantise(s.add(mean, "image", shape=(4, 4, 4), name="mean.sum"), name="mean")
    weight = np.zeros((9, 4, 3, 3), dtype=np.int64)
    weight[np.arange(9), 0, np.arange(9) % 3, 0] = 1
    weight[np.arange(9), 0, np.arange(9) // 3, 2] = 2
    x = s.add(Conv(weight, np.zeros(9)), x, shape=(9, 2, 2), name="far.sum")
    network = s.done(s.requantise(x, name="far"))
    plan = plan_pipeline(network, family="ice40")
    forms = {(stage.layer, stage.form) for stage in plan.stages}
    assert {("mean", "chain"), ("far", "window")} <= forms
    compare(network, plan, stalls=(0.0, 0.0))
    named = plan_pipeline(network, family="ice40", folding=parse_folding("mean=parallel"))
    assert not any(stage.form == "chain" for stage in named.stages)
    assert not any(stage.form == "chain" for stage in plan_pipeline(network).stages)
