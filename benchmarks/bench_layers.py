"""One convolution layer built five ways: LUTs, flip-flops and clock on an ECP5.

    python benchmarks/bench_layers.py [--layers face:c1 digits:conv1 ...] [--no-route] > table.md

Weights: the trained layer rounded to 8 bits, and its dyadic approximation by the set P4. Forms:
``x*constant``, a product a weight written with ``*`` and summed by a registered tree, which is left
to Yosys; canonical signed digits (CSD) without sharing; the shared adder graph that hwgen builds.
All forms take one window a cycle and register every sum. Areas are those of the layer alone. For
the clock the layer stands between shift registers, because its window has more bits than the
package has pins.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.back import rtlil

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.boards import find_board
from hwgen.errors import HwgenError
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv
from hwgen.numeric import IntArray, Range
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.optimise import csd_graph, optimize
from hwgen.stream.datapath import ShiftAdd
from hwgen.stream.matrix import conv_matrix
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.synthesis import Multipliers, SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog

MODELS = Path(__file__).parent.parent / "models"
LAYERS = ("face:c1", "digits:conv1", "digits:conv2")
BOARD = "ulx3s-45f"
PIXEL = Range(0, 255)


@dataclass(frozen=True)
class Form:
    """One way to build a matrix: Verilog of a module ``layer`` with the ports of a stream block."""

    weights: str
    name: str
    adders: int | None
    verilog: str
    multipliers: Multipliers = "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=LAYERS, metavar="NETWORK:LAYER")
    parser.add_argument("--no-route", action="store_true", help="areas only, no clock")
    arguments = parser.parse_args()
    print("| layer | weights | form | adders | LUT4 | FF | DSP | MHz |")
    print("|---|---|---|---|---|---|---|---|")
    for layer in arguments.layers:
        network, _, node = layer.partition(":")
        op = import_onnx(MODELS / network / f"{network}.onnx").node(node).op
        if not isinstance(op, Conv):
            sys.exit(f"{layer} is not a convolution")
        for form in forms(op):
            with tempfile.TemporaryDirectory() as directory:
                print(row(layer, form, Path(directory), route=not arguments.no_route), flush=True)


def forms(op: Conv) -> list[Form]:
    """The layer with 8-bit and with dyadic weights, in each form."""
    step = np.abs(op.weight).max() / 127
    eight_bits = conv_matrix(_integer(op, np.rint(op.weight / step).astype(np.int64)))
    dyadic = conv_matrix(_integer(op, approximate_filters(op, parse_recipe("P4")).codes))
    found = []
    for weights, matrix in (("8-bit", eight_bits), ("P4", dyadic)):
        inputs = (PIXEL,) * len(matrix)
        product = products_verilog(matrix)
        found.append(Form(weights, "x*constant, logic", None, product, "logic"))
        if weights == "8-bit":
            found.append(Form(weights, "x*constant, DSP blocks", None, product, "dsp"))
        for name, graph in (
            ("CSD", csd_graph(matrix, inputs)),
            ("hwgen", optimize(matrix, inputs=inputs)),
        ):
            found.append(Form(weights, name, graph.adders, graph_verilog(graph)))
    return found


def _integer(op: Conv, weight: IntArray) -> Conv:
    return Conv(weight, np.zeros(len(weight)), groups=op.groups)


def graph_verilog(graph: AdderGraph) -> str:
    """The pipelined datapath of an adder graph."""
    component = ShiftAdd(graph)
    return rtlil_to_verilog(rtlil.convert(component, name="layer"))


def products_verilog(matrix: IntArray) -> str:
    """What one writes by hand: every product with ``*``, registered, and a registered tree."""
    rows, columns = matrix.shape
    depth = max(int(np.count_nonzero(c)) - 1 for c in matrix.T).bit_length() + 1
    lines, outputs = [], []

    def register(name: str, value: str, values: Range) -> tuple[str, Range]:
        width = Range(min(values.lo, -1), values.hi).width
        lines.append(f"  reg signed [{width - 1}:0] {name};")
        lines.append(f"  always @(posedge clk) if (ce) {name} <= {value};")
        return name, values

    for o in range(columns):
        found = []
        for k in np.flatnonzero(matrix[:, o]).tolist():
            weight = int(matrix[k, o])
            pixel = f"$signed({{1'b0, i__payload[{8 * k + 7}:{8 * k}]}})"
            found.append(register(f"p{o}_{k}", f"{pixel} * ({weight})", PIXEL.scale(weight)))
        for level in range(1, depth):
            found = [
                register(f"s{o}_{level}_{j}", " + ".join(n for n, _ in pair), _total(pair))
                for j, pair in enumerate(_pairs(found))
            ]
        outputs.append(found[0])
    concatenation = ", ".join(name for name, _ in reversed(outputs))
    bits = sum(Range(min(r.lo, -1), r.hi).width for _, r in outputs)
    body = "\n".join(lines)
    return f"""
module layer(input clk, input rst, input [{8 * rows - 1}:0] i__payload, input i__valid,
  output i__ready, output [{bits - 1}:0] o__payload, output o__valid, input o__ready);
  reg [{depth - 1}:0] full = 0;
  wire ce = ~o__valid | o__ready;
  assign i__ready = ce;
  assign o__valid = full[{depth - 1}];
  always @(posedge clk) if (rst) full <= 0; else if (ce) full <= {{full, i__valid}};
{body}
  assign o__payload = {{{concatenation}}};
endmodule
"""


_Named = tuple[str, Range]


def _total(pair: Sequence[_Named]) -> Range:
    total = pair[0][1]
    for _, values in pair[1:]:
        total = total + values
    return total


def _pairs(named: Sequence[_Named]) -> list[Sequence[_Named]]:
    return [named[k : k + 2] for k in range(0, len(named), 2)]


def harness(verilog: str) -> str:
    """The layer between shift registers, so that few pins are needed."""
    widths = {}
    for port in ("i__payload", "o__payload"):
        before = verilog[: verilog.index(f" {port};") if f" {port};" in verilog else None]
        text = before if f" {port};" in verilog else verilog[: verilog.index(f"] {port}") + 1]
        widths[port] = int(text[text.rindex("[") + 1 : text.rindex(":")]) + 1
    i, o = widths["i__payload"], widths["o__payload"]
    return f"""
module harness(input clk, input sdi, input load, output reg sdo);
  reg [{i - 1}:0] window, shift;
  reg [{o - 1}:0] result;
  wire [{o - 1}:0] sums;
  wire valid;
  always @(posedge clk) begin
    shift <= {{shift, sdi}};
    if (load) window <= shift;
    result <= valid ? sums : {{1'b0, result[{o - 1}:1]}};
    sdo <= result[0];
  end
  layer layer(.clk(clk), .rst(1'b0), .i__payload(window), .i__valid(load), .i__ready(),
    .o__payload(sums), .o__valid(valid), .o__ready(1'b1));
endmodule
"""


def row(layer: str, form: Form, directory: Path, *, route: bool) -> str:
    """One line of the table."""
    board = find_board(BOARD)
    sources = {"layer.v": form.verilog}
    (alone,) = synthesise(
        SynthesisJob(sources, "layer", board.family, directory / "layer", form.multipliers)
    )
    clock = "-"
    if route:
        sources["harness.v"] = harness(form.verilog)
        job = SynthesisJob(sources, "harness", board.family, directory, form.multipliers)
        synthesise(job)
        try:
            routed = place_and_route(board.device, name="harness", directory=directory, freq=200)
            clock = f"{routed.fmax_mhz:.0f}"
        except HwgenError as error:
            clock = str(error).partition(":")[0]
    area = alone.area
    cells = f"{area.luts} | {area.ffs} | {area.dsps}"
    adders = "" if form.adders is None else str(form.adders)
    return f"| {layer} | {form.weights} | {form.name} | {adders} | {cells} | {clock} |"


if __name__ == "__main__":
    main()
