"""Ways to build a constant matrix in hardware, as Verilog of one interface, and their check."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.back import rtlil

from hwgen.numeric import IntArray, Range
from hwgen.shiftadd import AdderGraph
from hwgen.stream.datapath import ShiftAdd
from hwgen.toolchain.yosys import rtlil_to_verilog, run_yosys

__all__ = ["Form", "check", "da4ml_form", "graph_form", "port_bits", "products_form"]

BYTE = Range(-128, 127)
WRITER = """
import json, sys
from pathlib import Path
import numpy as np
from da4ml.codegen import RTLModel
from da4ml.trace import FixedVariableArray, comb_trace
from da4ml.types import minimal_kif
path, stage = sys.argv[1], int(sys.argv[2])
matrix = np.ascontiguousarray(np.load(path), dtype=np.float32)
ends = np.full(len(matrix), -128.0), np.full(len(matrix), 127.0), np.ones(len(matrix))
inputs = FixedVariableArray.from_lhs(*ends)
graph = comb_trace(inputs, inputs @ matrix)
model = RTLModel(graph, "product", path + ".rtl", latency_cutoff=stage)
model.write()
folder = Path(path + ".rtl/src")
files = sorted(folder.glob("product_stage*.v")) + [folder / "product.v"]
files += sorted(folder.glob("static/*.v"))
print(json.dumps({
    "adders": sum(op.opcode in (0, 1) for op in graph.ops),
    "stages": len(model._pipe.solutions),
    "outputs": [[int(sum(kif)), int(-kif[2])] for kif in map(minimal_kif, graph.out_qint)],
    "verilog": "".join(f.read_text() for f in files if f.name != "lookup_table.v"),
}))
"""

WIRES = """
(* techmap_celltype = "$dff" *)
module wires #(parameter WIDTH = 1, parameter CLK_POLARITY = 1)
             (input CLK, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
  assign Q = D;
endmodule
"""


@dataclass(frozen=True)
class Form:
    """One way to build a matrix: Verilog of a module ``bare`` with ports ``clk``, ``x``, ``y``."""

    name: str
    adders: int | None
    stages: int
    verilog: str
    input_registers: int = 0


def graph_form(name: str, graph: AdderGraph, stage: int, *, complement: bool) -> Form:
    """The datapath of an adder graph, always ready and always valid."""
    component = ShiftAdd(graph, adders_per_stage=stage, complement=complement)
    inputs, outputs = port_bits(graph.inputs), port_bits(component.ranges)
    verilog = (
        rtlil_to_verilog(rtlil.convert(component, name="product"))
        + f"""
module bare(input clk, input [{inputs - 1}:0] x, output [{outputs - 1}:0] y);
  product product(.clk(clk), .rst(1'b0), .i__payload(x), .i__valid(1'b1), .o__payload(y),
    .o__ready(1'b1));
endmodule
"""
    )
    return Form(name, graph.adders, component.latency, verilog)


def da4ml_form(python: str, matrix: IntArray, graph: AdderGraph, stage: int) -> Form:
    """What da4ml writes; ``graph`` is any graph of the matrix, for the widths."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/matrix.npy", matrix)
        command = [python, "-c", WRITER, f"{folder}/matrix.npy", str(stage)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    fields, place = [], 0
    for (width, zeros), span in zip(found["outputs"], graph.output_ranges, strict=True):
        if span == Range(0, 0):
            fields += [f"{span.width}'b0"] * (span.width > 0)
        elif (
            span.width > zeros
        ):  # low zeros are left out, and ranges are at least as wide as needed
            low = f", {zeros}'b0" if zeros > 0 else ""
            fields.append(f"{{wide[{place + span.width - zeros - 1}:{place}]{low}}}")
        place += width
    inputs, outputs = port_bits(graph.inputs), port_bits(graph.output_ranges)
    wrapper = f"""
module bare(input clk, input [{inputs - 1}:0] x, output [{outputs - 1}:0] y);
  wire [{place - 1}:0] wide;
  product product(.clk(clk), .model_inp(x), .model_out(wide));
  assign y = {{{", ".join(reversed(fields))}}};
endmodule
"""
    return Form("da4ml", found["adders"], found["stages"], found["verilog"] + wrapper, inputs)


def products_form(matrix: IntArray, graph: AdderGraph) -> Form:
    """Every product with ``*``, registered, and a registered tree of sums."""
    lines: list[str] = []
    stages = max(1, int(np.count_nonzero(matrix, axis=0).max()) - 1).bit_length() + 1

    def register(name: str, value: str, span: Range) -> tuple[str, Range]:
        lines.append(f"  reg signed [{span.width - 1}:0] {name};")
        lines.append(f"  always @(posedge clk) {name} <= {value};")
        return name, span

    sums: list[str] = []
    for o, (column, final) in enumerate(zip(matrix.T.tolist(), graph.output_ranges, strict=True)):
        terms = [
            register(
                f"p{o}_{k}", f"$signed(x[{8 * k + 7}:{8 * k}]) * ({weight})", BYTE.scale(weight)
            )
            for k, weight in enumerate(column)
            if weight
        ]
        for level in range(1, stages):
            pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
            terms = [
                register(
                    f"s{o}_{level}_{j}",
                    " + ".join(name for name, _ in pair),
                    pair[0][1] if len(pair) == 1 else pair[0][1] + pair[1][1],
                )
                for j, pair in enumerate(pairs)
            ]
        zero = f"{final.width}'b0" if final.width else ""
        sums.append(f"{terms[0][0]}[{final.width - 1}:0]" if terms else zero)
    body = "\n".join(lines)
    return Form(
        "x*constant",
        None,
        stages,
        f"""
module bare(input clk, input [{port_bits(graph.inputs) - 1}:0] x,
  output [{port_bits(graph.output_ranges) - 1}:0] y);
{body}
  assign y = {{{", ".join(name for name in reversed(sums) if name)}}};
endmodule
""",
    )


def port_bits(ranges: tuple[Range, ...]) -> int:
    """Bits of all ranges together."""
    return sum(span.width for span in ranges)


def check(form: Form, matrix: IntArray, graph: AdderGraph) -> None:
    """Compare the form, its registers taken for wires, with the matrix on random vectors."""
    x = np.random.default_rng(0).integers(-128, 128, (4, len(matrix)))
    x[0], x[1] = -128, 127
    commands = ["read_verilog bare.v", "hierarchy -top bare", "proc", "flatten", "opt_expr"]
    commands += ["opt_clean", "techmap -map wires.v", "opt_clean"]
    for row in x:
        value = _packed(row, graph.inputs)
        expected = _packed(row @ matrix, graph.output_ranges)
        commands.append(
            f"sat -verify -set x {port_bits(graph.inputs)}'h{value:x} "
            f"-prove y {port_bits(graph.output_ranges)}'h{expected:x}"
        )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bare.v").write_text(form.verilog)
        Path(folder, "wires.v").write_text(WIRES)
        run_yosys(commands, directory=Path(folder), time_limit=600)


def _packed(values: IntArray, ranges: tuple[Range, ...]) -> int:
    word, place = 0, 0
    for value, span in zip(values.tolist(), ranges, strict=True):
        word |= (value & ((1 << span.width) - 1)) << place
        place += span.width
    return word
