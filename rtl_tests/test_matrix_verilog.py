"""The Verilog of a single matrix: exact, one vector a cycle, with the latency that it states."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.hdl import ClockSignal, Module
from amaranth.sim import Simulator, SimulatorContext

from hwgen.numeric import Range
from hwgen.shiftadd import AdderGraph, Operand, optimize
from hwgen.stream.datapath import ShiftAdd
from hwgen.stream.matrix_verilog import MatrixProduct, matrix_verilog
from hwgen.toolchain.yosys import run_yosys

_WIRES = """module \\$dff (CLK, D, Q);
  parameter WIDTH = 1;
  parameter CLK_POLARITY = 1;
  input CLK;
  input [WIDTH-1:0] D;
  output [WIDTH-1:0] Q;
  assign Q = D;
endmodule
"""


def problem(seed: int) -> tuple[AdderGraph, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-60, 61, rng.integers(1, 5, 2)) * (rng.random() < 0.9)
    inputs = [Range(-128, 127), Range(0, 15), Range(-3, 9), Range(-8, -2)][: len(matrix)]
    graph = optimize(matrix, inputs=inputs)
    ends = np.array([[r.lo, r.hi] for r in inputs])
    inner = rng.integers(ends[:, 0], ends[:, 1], (8, len(inputs)), endpoint=True)
    return graph, np.concatenate([ends.T, inner])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("adders_per_stage", [1, 2, 9])
def test_one_vector_a_cycle(seed: int, adders_per_stage: int) -> None:
    graph, x = problem(seed)
    product = ShiftAdd(graph, adders_per_stage=adders_per_stage)
    pins = MatrixProduct(product)
    m = Module()
    m.submodules.pins = pins
    m.d.comb += pins.clk.eq(ClockSignal())
    got = []

    async def bench(context: SimulatorContext) -> None:
        for cycle in range(len(x) + product.latency):
            for k, value in enumerate(x[min(cycle, len(x) - 1)].tolist()):
                context.set(getattr(pins, f"x{k}"), value)
            await context.tick()
            got.append([context.get(getattr(pins, f"y{k}")) for k in range(len(graph.outputs))])

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    delay = product.latency - 1
    np.testing.assert_array_equal(got[delay : delay + len(x)], x @ graph.matrix)


@pytest.mark.parametrize("seed", range(3))
def test_the_text_is_exact(seed: int, tmp_path: Path) -> None:
    graph, x = problem(seed)
    (tmp_path / "p.v").write_text(matrix_verilog(graph, name="prod", adders_per_stage=1 + seed))
    (tmp_path / "wires.v").write_text(_WIRES)
    count = range(len(graph.outputs))
    # With wires for registers the module is a function, which Yosys evaluates.
    commands = ["read_verilog p.v", "proc", "techmap -map wires.v", "opt_clean", "cd prod"]
    for vector in x.tolist():
        sets = [
            f"-set x{k} {span.width}'d{value % (1 << span.width)}"
            for k, (value, span) in enumerate(zip(vector, graph.inputs, strict=True))
        ]
        commands.append(" ".join(["eval", *sets, *(f"-show y{k}" for k in count)]))
    run_yosys(commands, directory=tmp_path)
    log = (tmp_path / "yosys.log").read_text()
    found = re.findall(r"Eval result: \\y(\d+) = \d+'([01]+)", log)
    assert len(found) == len(x) * len(count)
    got = np.zeros((len(x), len(count)), np.int64)
    for place, (output, bits) in enumerate(found):
        value = int(bits, 2)
        if graph.output_ranges[int(output)].signed and bits[0] == "1":
            value -= 1 << len(bits)
        got[place // len(count), int(output)] = value
    np.testing.assert_array_equal(got, x @ graph.matrix)


def test_the_header_tells_ports_and_fraction() -> None:
    graph = optimize([[3, 5]], inputs=[Range(0, 15)])
    text = matrix_verilog(graph, name="prod", frac=4)
    head = [line for line in text.splitlines() if line.startswith("//")]
    assert head[0] == "// y = x * M * 2**-4 for a constant matrix M of 1 by 2:"
    assert head[1] == "// 2 additions and subtractions, no multiplication."
    assert head[2].endswith("its product is at y 1 edge later.")
    assert "// x0: unsigned, 4 bits, 0 .. 15" in head
    assert "// y1: unsigned, 7 bits, 0 .. 75" in head
    assert text == matrix_verilog(graph, name="prod", frac=4)


def test_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="must be an identifier, not '9'"):
        matrix_verilog(optimize([[3]]), name="9")
    with pytest.raises(ValueError, match="at least one output"):
        matrix_verilog(AdderGraph((Range(0, 1),), (), ()), name="prod")
    assert "y0" in matrix_verilog(AdderGraph((Range(0, 1),), (), (Operand(0),)), name="prod")
