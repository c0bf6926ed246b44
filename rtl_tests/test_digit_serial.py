# amaranth: UnusedElaboratable=no
"""Linear layers a digit at a time: exact under stalls and reset, every cycle as predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from networks import NETWORKS, Sketch, images_for
from streambench import run_stream
from test_datapath import problem, vectors

from hwgen.integer.types import IntegerNetwork, Requantise
from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, optimize
from hwgen.sim.golden import run
from hwgen.stream.common import pixel_signature
from hwgen.stream.digit_serial import DigitSerial
from hwgen.stream.digits import Serialise
from hwgen.stream.forms import parse_folding
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.store import plan_from_json, plan_to_json

BYTE = Range(0, 255)


class Whole(wiring.Component):
    """Vectors in, digits within, vectors out."""

    def __init__(self, product: DigitSerial) -> None:
        self.product = product
        ranges = product.graph.inputs
        self.source = Serialise(ranges, digit=product.digit, digits=product.interval)
        members = {"i": In(pixel_signature(ranges)), "o": Out(pixel_signature(product.ranges))}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.source, m.submodules.product = self.source, self.product
        ends: list[Any] = [self.i, self.source.i, self.source.o, self.product.i]
        ends += [self.product.o, self.o]
        for a, b in zip(ends[::2], ends[1::2], strict=True):
            m.d.comb += [
                b.payload.as_value().eq(a.payload.as_value()),
                b.valid.eq(a.valid),
                a.ready.eq(b.ready),
            ]
        return m


@pytest.mark.parametrize(
    ("seed", "digit"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 3), (5, 16), (6, 1), (7, 5)]
)
def test_full_rate(seed: int, digit: int) -> None:
    graph, bias = problem(seed)
    product = DigitSerial(graph, digit=digit, bias=bias, complement=seed % 2 == 0)
    x = vectors(graph.inputs, count=8, seed=seed)
    expected = x @ graph.matrix + bias
    np.testing.assert_array_equal(product.model(x), expected)
    result = run_stream(Whole(product), x, expected=expected, deadline=2000)
    widest = max(r.width for r in (*graph.inputs, *product.ranges))
    assert product.interval <= -(-widest // digit)
    assert result.produced[0] == product.latency
    assert set(np.diff(result.produced).tolist()) == {product.interval}
    assert set(np.diff(result.accepted[0]).tolist()) == {product.interval}


@pytest.mark.parametrize(("seed", "digit"), [(10, 1), (11, 2), (12, 3), (13, 7), (14, 1), (15, 30)])
def test_stalls_and_reset(seed: int, digit: int) -> None:
    graph, bias = problem(seed)
    x = vectors(graph.inputs, count=8, seed=seed)
    stall_in, stall_out = [(0.5, 0.5), (0.9, 0.1), (0.1, 0.9)][seed % 3]
    run_stream(
        Whole(DigitSerial(graph, digit=digit, bias=bias, complement=seed % 2 == 1)),
        x,
        expected=x @ graph.matrix + bias,
        stall_in=stall_in,
        stall_out=stall_out,
        seed=seed,
        reset_at=[17, 31, None][seed % 3],
        deadline=4000,
    )


@pytest.mark.parametrize(("digit", "complement"), [(1, False), (3, True), (3, False)])
def test_requantised(digit: int, complement: bool) -> None:
    """Multipliers of more than one term, of none, and shifts to either side; saturation."""
    graph = optimize([[3, -5, 0, 7, 1], [1, 4, 0, -2, 1]], inputs=[BYTE, Range(-9, 9)])
    op = Requantise(
        np.array([5, 11, 3, 0, 8]).reshape(-1, 1, 1),
        np.array([4, 6, 2, 1, 1]).reshape(-1, 1, 1),
        -100,
        127,
    )
    product = DigitSerial(graph, digit=digit, bias=[7, -90, 5, 1, 0], op=op, complement=complement)
    x = vectors(graph.inputs, count=12, seed=3)
    sums = x @ graph.matrix + [7, -90, 5, 1, 0]
    scaled = sums * [5, 11, 3, 0, 8]
    shift = np.array([4, 6, 2, 1, 1])
    expected = np.clip((scaled + (1 << shift >> 1)) >> shift, -100, 127)
    np.testing.assert_array_equal(product.model(x), expected)
    run_stream(Whole(product), x, expected=expected, stall_out=0.2, deadline=3000)


def test_right_shifts_and_outputs_without_adders() -> None:
    six = Adder(Operand(0, 2), Operand(0, 1))
    graph = AdderGraph(
        (Range(-9, 9),),
        (six, Adder(Operand(1, -1), Operand(0, 3, True))),
        (Operand(2), Operand(1, -1), Operand(0, 2), None, Operand(0, 0, True)),
    )
    x = np.arange(-9, 10)[:, None]
    expected = x * [-5, 3, 4, 0, -1] + np.array([0, 0, 0, 4, 1])
    dut = Whole(DigitSerial(graph, digit=2, bias=[0, 0, 0, 4, 1]))
    run_stream(dut, x, expected=expected, deadline=1000)


def layers() -> IntegerNetwork:
    """Signed and unsigned pixels, wide padding, strides, dilation, and a layer of one pixel."""
    s = Sketch((2, 5, 4), signed=True, seed=21)
    x = s.requantise(s.conv("image", 2, (2, 3), (1, 2), (0, 3, 1, 1)), lo=-128, hi=127)
    x = s.requantise(s.conv(x, 3, (2, 1), pads=(1, 0, 2, 0), dilations=(2, 1)))
    x = s.max_pool(x)
    return s.done(s.conv(x, 2, (1, 1)))


def narrow() -> IntegerNetwork:
    """A frame narrower than the kernel."""
    s = Sketch((1, 4, 1), seed=22)
    return s.done(s.requantise(s.conv("image", 2, pads=(1, 1, 1, 1))))


SOME = {**NETWORKS, "layers": layers, "narrow": narrow}


def planned(name: str, digit: int) -> tuple[IntegerNetwork, PipelinePlan]:
    network = SOME[name]()
    plan = plan_pipeline(network, folding=parse_folding(f"*=serial:{digit}"))
    forms = {stage.form for stage in plan.stages}
    assert "digit_adders" in forms
    assert not {"adders", "dense"} & forms
    return network, plan


@pytest.mark.parametrize(
    ("name", "digit"), [("bare", 2), ("layers", 1), ("narrow", 1), ("residual", 4), ("mean", 20)]
)
def test_networks(name: str, digit: int) -> None:
    network, plan = planned(name, digit)
    images = images_for(network, 3)
    golden = run(network, images)
    limit = int(6 * (plan.timing.image + 4 * plan.timing.interval)) + 500
    for stalls in ((0.0, 0.0), (0.3, 0.3)):
        result = run_stream(
            Pipeline(plan),
            images,
            expected=golden,
            stall_in=stalls[0],
            stall_out=stalls[1],
            seed=1,
            deadline=limit,
            reset_at=47 if any(stalls) else None,
        )
        if not any(stalls):
            per_image = golden[0, 0].size
            assert result.produced[0] == plan.timing.first
            assert result.produced[per_image - 1] == plan.timing.image
            ends = result.produced[per_image - 1 :: per_image]
            assert ends[-1] - ends[-2] == plan.timing.interval


@pytest.mark.slow
@pytest.mark.parametrize("digit", [1, 2, 3, 8, 24])
@pytest.mark.parametrize("name", SOME)
def test_every_network(name: str, digit: int) -> None:
    network = SOME[name]()
    plan = plan_pipeline(network, folding=parse_folding(f"*=serial:{digit}"))
    assert plan_from_json(plan_to_json(plan)) is not None
    images = images_for(network, 3)
    limit = int(20 * (plan.timing.image + 4 * plan.timing.interval)) + 500
    for seed, stalls in enumerate([(0.0, 0.0), (0.6, 0.1), (0.1, 0.6)]):
        run_stream(
            Pipeline(plan),
            images,
            expected=run(network, images),
            stall_in=stalls[0],
            stall_out=stalls[1],
            seed=seed,
            deadline=limit,
        )


def test_bad_arguments() -> None:
    graph = optimize([[7, -1], [0, 1]])
    with pytest.raises(ValueError, match="Bias must have 2 entries, not 1"):
        DigitSerial(graph, digit=1, bias=[1])
    scale = Requantise(np.ones((2, 1, 3), dtype=np.int64), np.zeros((1, 1, 1), int), 0, 1)
    with pytest.raises(ValueError, match="must not depend on the position"):
        DigitSerial(graph, digit=1, op=scale)
    with pytest.raises(ValueError, match="at least 8 digits, not 7"):
        Serialise([BYTE], digit=1, digits=7)
