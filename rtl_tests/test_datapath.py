# amaranth: UnusedElaboratable=no
"""The shift-add datapath: exact under stalls and reset, timing, emitted cells, proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Shape
from amaranth.sim import Simulator
from streambench import run_stream

from hwgen.errors import ToolError
from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, csd_graph, optimize
from hwgen.shiftadd.polarity import polarities
from hwgen.shiftadd.schedule import schedule
from hwgen.stream.datapath import ShiftAdd
from hwgen.toolchain.synthesis import SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog, run_yosys

BYTE = Range(0, 255)


def vectors(inputs: tuple[Range, ...], *, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Corner vectors, then random ones."""
    rng = np.random.default_rng(seed)
    ends = np.array([[r.lo, r.hi] for r in inputs])
    picks = rng.integers(0, 2, (count // 2, len(inputs)))
    extreme = ends[np.arange(len(inputs)), picks]
    inner = rng.integers(ends[:, 0], ends[:, 1], (count // 2, len(inputs)), endpoint=True)
    return np.concatenate([ends.T, extreme, inner])


def problem(seed: int) -> tuple[AdderGraph, list[int]]:
    """A random graph with inputs of any sign, and biases, some of them zero."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 6, 2)
    matrix = rng.integers(-60, 61, (rows, columns)) * (rng.random((rows, columns)) < 0.7)
    bounds = np.sort(rng.integers(-20, 21, (rows, 2)), axis=1)
    inputs = [Range(int(lo), int(hi)) for lo, hi in bounds]
    graph = csd_graph(matrix, inputs) if seed % 3 == 0 else optimize(matrix, inputs=inputs)
    bias = rng.integers(-40, 41, columns) * (rng.random(columns) < 0.5)
    return graph, bias.tolist()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("adders_per_stage", [1, 2, 3])
def test_full_rate(seed: int, adders_per_stage: int) -> None:
    graph, bias = problem(seed)
    x = vectors(graph.inputs, count=24, seed=seed)
    dut = ShiftAdd(graph, bias=bias, adders_per_stage=adders_per_stage, complement=bool(seed % 2))
    run = run_stream(dut, x, expected=x @ graph.matrix + bias, seed=seed)
    assert run.first_latency == dut.latency
    assert run.cycles == len(x) + dut.latency
    assert dut.latency <= max(1, -(-(graph.depth + 1) // adders_per_stage))


@pytest.mark.parametrize("seed", range(12))
def test_stalls_and_reset(seed: int) -> None:
    graph, bias = problem(seed + 50)
    x = vectors(graph.inputs, count=30, seed=seed)
    stalls = [(0.5, 0.5), (0.8, 0.1), (0.1, 0.8), (0.0, 0.5)][seed % 4]
    run_stream(
        ShiftAdd(graph, bias=bias, adders_per_stage=1 + seed % 2, complement=seed % 4 > 1),
        x,
        expected=x @ graph.matrix + bias,
        stall_in=stalls[0],
        stall_out=stalls[1],
        seed=seed,
        reset_at=[None, 3, 11, 17][seed % 4],
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Operand(0, ls, ln), Operand(1, rs, rn))
        for ls, rs in [(0, 0), (0, 2), (3, 0), (0, 5), (2, 4)]
        for ln, rn in [(False, False), (False, True), (True, False)]
    ],
)
@pytest.mark.parametrize("lo", [-4, 0, -7])
def test_one_adder_exhaustively(left: Operand, right: Operand, lo: int) -> None:
    inputs = (Range(lo, lo + 7), Range(-3, 4))
    graph = AdderGraph(inputs, (Adder(left, right),), (Operand(2), Operand(2, 1, True)))
    grid = np.meshgrid(*[np.arange(r.lo, r.hi + 1) for r in inputs], indexing="ij")
    x = np.stack([g.ravel() for g in grid], axis=1)
    run_stream(ShiftAdd(graph), x, expected=x @ graph.matrix)


def test_pipeline_fills_while_the_output_waits() -> None:
    dut = ShiftAdd(optimize([[105], [57]]))
    accepted = 0

    async def bench(ctx: Any) -> None:
        nonlocal accepted
        ctx.set(dut.i.valid, 1)
        for _ in range(dut.latency + 10):
            accepted += ctx.get(dut.i.ready)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert accepted == dut.latency > 2


@pytest.mark.parametrize("adders_per_stage", [1, 2])
def test_complements_of_what_is_only_subtracted(adders_per_stage: int) -> None:
    inputs = (Range(0, 9), Range(-3, 3))
    nodes = (
        Adder(Operand(0), Operand(1, 1)),
        Adder(Operand(0, 3), Operand(2, 0, True)),
        Adder(Operand(1), Operand(2, 1, True)),
        Adder(Operand(3, 2), Operand(4, 0, True)),
        Adder(Operand(1), Operand(5, 0, True)),
    )
    graph = AdderGraph(inputs, nodes, (Operand(6), Operand(5, 2, True)))
    x = np.array([[a, b] for a in range(10) for b in range(-3, 4)])
    dut = ShiftAdd(graph, adders_per_stage=adders_per_stage, complement=True)
    run_stream(dut, x, expected=x @ graph.matrix)
    assert rtlil.convert(dut, name="top").count("cell $not ") > 3


def test_complements_save_what_they_promise(tmp_path: Path) -> None:
    graph = optimize(np.random.default_rng(3).integers(-128, 128, (4, 4)))
    plan = schedule(graph)
    luts = {}
    for complement in (False, True):
        dut = ShiftAdd(graph, complement=complement)
        job = SynthesisJob(
            {"dut.v": rtlil_to_verilog(rtlil.convert(dut, name="dut"))},
            "dut",
            "ice40",
            tmp_path / str(complement),
        )
        (result,) = synthesise(job)
        luts[complement] = result.area.luts
    expected = graph.bits + polarities(graph, plan).inverters
    assert abs(luts[True] - expected) < 0.05 * expected
    assert luts[True] < 0.9 * luts[False]


def test_right_shifts() -> None:
    six = Adder(Operand(0, 2), Operand(0, 1))
    graph = AdderGraph(
        (Range(-9, 9),),
        (six, Adder(Operand(1, -1), Operand(0, 3, True))),
        (Operand(2), Operand(1, -1)),
    )
    x = np.arange(-9, 10)[:, None]
    run_stream(ShiftAdd(graph), x, expected=np.concatenate([-5 * x, 3 * x], axis=1))


def test_outputs_without_adders() -> None:
    graph = optimize([[1, -4, 0, 0], [0, 0, 0, 2]], inputs=[Range(-8, 7), Range(0, 3)])
    dut = ShiftAdd(graph, bias=[0, 0, -3, 5])
    assert dut.latency == 1
    assert dut.ranges == (Range(-8, 7), Range(-28, 32), Range(-3, -3), Range(5, 11))
    x = vectors(graph.inputs, count=10, seed=0)
    run_stream(dut, x, expected=x @ graph.matrix + [0, 0, -3, 5], stall_out=0.3)
    idle = ShiftAdd(optimize([[0]], inputs=[BYTE]))
    run_stream(idle, np.array([[1], [255]]), expected=np.zeros((2, 1), int), stall_out=0.3)


def test_ports_are_exactly_as_wide_as_their_ranges() -> None:
    graph = optimize([[7, -1], [0, 1]], inputs=[BYTE, Range(-1, 0)])
    dut = ShiftAdd(graph, bias=[8, 0], fields=["w0", "w1"])
    i, o = (Shape.cast(port.payload.shape()) for port in (dut.i, dut.o))
    assert (i.width, o.width) == (8 + 1, 11 + 9)
    assert list(dict(dut.i.payload.shape().members)) == ["w0", "w1"]
    assert dut.o.payload.shape().members["c0"] == Shape(11)
    assert dut.o.payload.shape().members["c1"] == Shape(9, signed=True)


def test_model_is_the_matrix_product() -> None:
    graph, bias = problem(4)
    x = vectors(graph.inputs, count=20, seed=4)
    np.testing.assert_array_equal(ShiftAdd(graph, bias=bias).model(x), x @ graph.matrix + bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": [1]}, "Bias must have 2 entries, not 1"),
        ({"fields": ["a", "a"]}, "2 different names, not 1"),
        ({"adders_per_stage": 0}, "at least 1, not 0"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    graph = optimize([[7, -1], [0, 1]])
    with pytest.raises(ValueError, match=message):
        ShiftAdd(graph, **options)


def test_same_text_every_time_and_one_module() -> None:
    graph, bias = problem(7)
    first, second = (rtlil.convert(ShiftAdd(graph, bias=bias), name="top") for _ in range(2))
    assert first == second
    assert first.count("\nmodule ") == 1
    assert r"\n0" in first


@pytest.mark.parametrize("adders_per_stage", [1, 2])
def test_verilog_adds_and_subtracts_only(adders_per_stage: int) -> None:
    matrix = np.random.default_rng(8).integers(-128, 128, (6, 4))
    graph = optimize(matrix, inputs=[BYTE] * 6)
    dut = ShiftAdd(graph, bias=[3, 0, -9, 0], adders_per_stage=adders_per_stage)
    text = rtlil.convert(dut, name="top")
    verilog = rtlil_to_verilog(text)
    assert "*" not in verilog.replace("(*", "").replace("*)", "").replace("/*", "").replace(
        "*/", ""
    )
    adders = text.count("cell $add ") + text.count("cell $sub ")
    assert adders == graph.adders + 2
    for cell in ("$mul", "$macc", "$neg", "$div", "$shl", "$sshr", "$shift"):
        assert f"cell {cell} " not in text


_WIRES = """
(* techmap_celltype = "$dff" *)
module wires #(parameter WIDTH = 1, parameter CLK_POLARITY = 1)
             (input CLK, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
  assign Q = D;
endmodule
"""


def prove(folder: Path, graph: AdderGraph, constants: list[int]) -> None:
    """Prove by SAT that the datapath of one input multiplies by the constants.

    Its registers become wires first: delays are balanced, as the simulations at full rate show.
    """
    dut = ShiftAdd(graph)
    (folder / "dut.il").write_text(rtlil.convert(dut, name="dut"))
    (folder / "wires.v").write_text(_WIRES)
    width = graph.inputs[0].width
    total = sum(r.width for r in dut.ranges)
    products = [
        f"wire signed [{r.width - 1}:0] p{k} = value * $signed({constant});"
        for k, (constant, r) in enumerate(zip(constants, dut.ranges, strict=True))
    ]
    value = "$signed(x)" if graph.inputs[0].signed else "$signed({1'b0, x})"
    lines = [
        f"module miter(input clk, input [{width - 1}:0] x, output same);",
        f"wire [{total - 1}:0] y;",
        f"wire signed [{width}:0] value = {value};",
        "dut dut(.clk(clk), .rst(1'b0), .i__valid(1'b1), .o__ready(1'b1), .i__payload(x),",
        "        .o__payload(y));",
        *products,
        f"assign same = y == {{{', '.join(f'p{k}' for k in reversed(range(len(products))))}}};",
        "endmodule",
    ]
    (folder / "miter.v").write_text("\n".join(lines))
    run_yosys(
        [
            "read_rtlil dut.il",
            "read_verilog miter.v",
            "hierarchy -top miter",
            "proc",
            "flatten",
            "opt_expr",
            "opt_dff",
            "opt_clean",
            "techmap -map wires.v",
            "opt",
            "sat -verify -prove same 1 -show x",
        ],
        directory=folder,
        time_limit=60,
    )


@pytest.mark.parametrize(
    ("constants", "span"),
    [
        ([3, -45, 105, 127], BYTE),
        ([-1, 23, 83, 83, -166], Range(-128, 127)),
        ([-7, -11, -13], Range(-8, 7)),
    ],
)
def test_one_input_is_proved_for_all_values(
    constants: list[int], span: Range, tmp_path: Path
) -> None:
    prove(tmp_path, optimize([constants], inputs=[span]), constants)


def test_a_wrong_constant_is_refuted(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="proof did fail"):
        prove(tmp_path, optimize([[3, 45]], inputs=[BYTE]), [3, 44])
