"""LUTs, flip-flops and clock of constant matrices: hwgen's adder graphs beside da4ml's Verilog.

    python benchmarks/bench_shiftadd_luts.py --da4ml PYTHON [--time S] [--stage K] [--route]
    python benchmarks/bench_shiftadd_luts.py --profiles

Every matrix takes one vector of signed bytes a cycle, with a register after every ``K`` adders.
Forms: hwgen's graph, found in ``S`` seconds for each family; the Verilog that da4ml writes for the
same matrix with its own settings (``PYTHON`` is the interpreter of an environment with da4ml);
canonical signed digits (CSD) without sharing; a product an entry, written with ``*``, and a
registered tree of sums. Each is synthesised as Yosys does it, and the first two once more with its
pass ``alumacc`` run before all others, so that graphs are compared and not what Yosys makes of
their text. The stream handshake of hwgen's component is tied off, and the registers that da4ml has
at its inputs are not counted. Every form is compared with the matrix on random vectors. The column
"model" is the estimate of :mod:`hwgen.shiftadd.luts`; ``--profiles`` compares it with Yosys for all
its targets. ``--route`` places and routes the first two forms between shift registers.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from amaranth.back import rtlil
from joblib import Parallel, delayed
from scipy.fft import dct

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.boards import find_board
from hwgen.errors import HwgenError
from hwgen.integer.types import Conv as IntegerConv
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv
from hwgen.numeric import IntArray, Range
from hwgen.shiftadd import AdderGraph, csd_graph, optimize
from hwgen.shiftadd.luts import PROFILES, estimate
from hwgen.stream.datapath import ShiftAdd
from hwgen.stream.matrix import conv_matrix
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.synthesis import FAMILIES, Area
from hwgen.toolchain.yosys import rtlil_to_verilog, run_yosys

MODELS = Path(__file__).parent.parent / "models"
LARGE = 100  # adders from which a matrix counts in the summary
BYTE = Range(-128, 127)
DEVICES = {"ice40": find_board("hx8k-evn").device, "ecp5": find_board("ulx3s-45f").device}
GATES = "AND,NAND,OR,NOR,XOR,XNOR,MUX,AOI3,OAI3"
EARLY = ("proc", "flatten", "opt_expr", "opt_clean", "wreduce", "opt_clean", "alumacc")
PROFILE_RUNS = {
    **{name: (f"{f.synthesis}{f.no_dsp} -top bare",) for name, f in FAMILIES.items()},
    "gowin": ("synth_gowin -top bare",),
    "xilinx": ("synth_xilinx -family xc7 -nodsp -top bare",),
    "asic": ("synth -flatten -top bare", f"abc -g {GATES}", "opt_clean"),
}
LOGIC = re.compile(r"ALU|LUT\d|INV|SB_LUT4|\$_(?!DFF|SDFF).*")  # cells of "luts", but not of ECP5
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


@dataclass(frozen=True)
class Form:
    """One way to build a matrix: Verilog of a module ``bare`` with ports ``clk``, ``x``, ``y``."""

    name: str
    adders: int | None
    stages: int
    verilog: str
    input_registers: int = 0


def matrices() -> Iterator[tuple[str, IntArray]]:
    """Name and matrix (inputs, outputs) of every case."""
    for size in (8, 16):
        for bits in (6, 8):
            yield f"random {size}x{size} {bits}b", _random(size, size, bits)
    for inputs, outputs, bits in ((9, 8, 8), (27, 16, 4), (27, 16, 8), (72, 16, 4)):
        yield f"conv {inputs}x{outputs} {bits}b", _kernels(inputs, outputs, bits)
    yield "dct 8 9b", np.rint(dct(np.eye(8), norm="ortho") * 256).astype(np.int64)
    yield "mcm 1x24 12b", np.random.default_rng(24).integers(1, 2048, (1, 24)) * 2 + 1
    yield "fir 1x31 10b", np.rint(np.sinc(np.arange(31) / 4.5)[None] * 511).astype(np.int64)
    for node in ("conv1", "conv2"):
        op = import_onnx(MODELS / "digits" / "digits.onnx").node(node).op
        assert isinstance(op, Conv)
        if node == "conv1":
            codes = np.rint(op.weight * 127 / np.abs(op.weight).max()).astype(np.int64)
            yield f"digits {node} 8b", _layer(codes, op)
        yield f"digits {node} P4", _layer(approximate_filters(op, parse_recipe("P4")).codes, op)


def _random(rows: int, columns: int, bits: int) -> IntArray:
    half = 1 << (bits - 1)
    return np.random.default_rng([rows, columns, bits]).integers(-half, half, (rows, columns))


def _kernels(rows: int, columns: int, bits: int) -> IntArray:
    values = np.random.default_rng([rows, columns, bits]).standard_normal((rows, columns))
    scale = ((1 << (bits - 1)) - 1) / np.abs(values).max()
    return np.asarray(np.rint(values * scale), dtype=np.int64)


def _layer(codes: IntArray, op: Conv) -> IntArray:
    return conv_matrix(IntegerConv(codes, np.zeros(len(codes), dtype=np.int64), groups=op.groups))


def graph_form(name: str, graph: AdderGraph, stage: int, *, complement: bool) -> Form:
    """The datapath of an adder graph, always ready and always valid."""
    component = ShiftAdd(graph, adders_per_stage=stage, complement=complement)
    inputs, outputs = _bits(graph.inputs), _bits(component.ranges)
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
    inputs, outputs = _bits(graph.inputs), _bits(graph.output_ranges)
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
module bare(input clk, input [{_bits(graph.inputs) - 1}:0] x,
  output [{_bits(graph.output_ranges) - 1}:0] y);
{body}
  assign y = {{{", ".join(name for name in reversed(sums) if name)}}};
endmodule
""",
    )


def _bits(ranges: tuple[Range, ...]) -> int:
    return sum(span.width for span in ranges)


HARNESS = """
module harness(input clk, input sdi, input load, output reg sdo);
  reg [{i}:0] window, shift;
  reg [{o}:0] result;
  wire [{o}:0] y;
  always @(posedge clk) begin
    shift <= {{shift, sdi}};
    if (load) window <= shift;
    result <= load ? y : {{1'b0, result[{o}:1]}};
    sdo <= result[0];
  end
  bare bare(.clk(clk), .x(window), .y(y));
endmodule
"""
WIRES = """
(* techmap_celltype = "$dff" *)
module wires #(parameter WIDTH = 1, parameter CLK_POLARITY = 1)
             (input CLK, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
  assign Q = D;
endmodule
"""


def area(form: Form, family: str, *, early: bool) -> Area:
    """Resources of the form alone."""
    with tempfile.TemporaryDirectory() as folder:
        return _synthesised(form, family, Path(folder), top="bare", early=early)


def _synthesised(form: Form, family: str, folder: Path, *, top: str, early: bool) -> Area:
    chosen = FAMILIES[family]
    commands = [
        f"hierarchy -check -top {top}",
        *(EARLY if early else ()),
        f"{chosen.synthesis}{chosen.no_dsp} -top {top}",
        f"write_json {top}.json",
    ]
    return Area.from_cells(_cells(form.verilog, commands, folder), chosen)


def _cells(verilog: str, commands: Sequence[str], folder: Path) -> dict[str, int]:
    """Cells by type after the commands."""
    (folder / "form.v").write_text(verilog)
    count = ["delete t:$scopeinfo", "tee -q -o stat.json stat -json"]
    run_yosys(["read_verilog form.v", *commands, *count], directory=folder, time_limit=3600)
    found: dict[str, int] = json.loads((folder / "stat.json").read_text())["design"][
        "num_cells_by_type"
    ]
    return found


def clock(form: Form, family: str, graph: AdderGraph) -> str:
    """MHz of the form between shift registers, or why there are none."""
    widths = {"i": _bits(graph.inputs) - 1, "o": _bits(graph.output_ranges) - 1}
    inside = Form(form.name, None, 0, form.verilog + HARNESS.format(**widths))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _synthesised(inside, family, folder, top="harness", early=True)
        try:
            routed = place_and_route(
                DEVICES[family], name="harness", directory=folder, freq=200, time_limit=600
            )
        except HwgenError as error:
            return str(error).partition(":")[0]
    return f"{routed.fmax_mhz:.0f}"


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
            f"sat -verify -set x {_bits(graph.inputs)}'h{value:x} "
            f"-prove y {_bits(graph.output_ranges)}'h{expected:x}"
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


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    python: str
    limit: float
    stage: int
    route: bool
    families: tuple[str, ...]
    graphs: bool
    baselines: bool
    only: str
    jobs: int


@dataclass(frozen=True)
class Row:
    """A form for a family, and how it is measured: also with ``alumacc`` early, also routed."""

    family: str
    form: Form
    model: float | None
    compared: bool


def rows(matrix: IntArray, options: Options) -> list[Row]:
    """The forms of a matrix by family."""
    plain, stage = csd_graph(matrix), options.stage
    beside = [da4ml_form(options.python, matrix, plain, stage)] if options.python else []
    found = []
    for family in options.families or DEVICES:
        complement = PROFILES[family].inverters
        if options.graphs:
            graph = optimize(matrix, objective=f"luts:{family}", time_limit=options.limit)
            own = graph_form("hwgen", graph, stage, complement=complement)
            model = estimate(graph, PROFILES[family], adders_per_stage=stage).luts
            found.append(Row(family, own, model, compared=True))
            found += [Row(family, form, None, compared=True) for form in beside]
        if options.baselines:
            base = graph_form("CSD", plain, stage, complement=complement)
            found.append(Row(family, base, None, compared=False))
            found.append(Row(family, products_form(matrix, plain), None, compared=False))
    return found


def measured(row: Row, matrix: IntArray, *, route: bool) -> dict[str, Any]:
    """Figures of one row."""
    graph = csd_graph(matrix)
    check(row.form, matrix, graph)
    own = area(row.form, row.family, early=False)
    figures: dict[str, Any] = {"luts": own.luts, "ffs": own.ffs - row.form.input_registers}
    if row.compared:
        figures["early"] = area(row.form, row.family, early=True).luts
        if route:
            figures["clock"] = clock(row.form, row.family, graph)
    return figures


def compare(options: Options) -> None:
    """Print the table of all matrices and forms, and what hwgen saves beside da4ml."""
    print("| matrix | family | form | adders | stages | LUT4 | FF | LUT4, early | model | MHz |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    saved: dict[tuple[str, str], list[float]] = {}
    for name, matrix in matrices():
        if options.only not in name:
            continue
        found = rows(matrix, options)
        work = (delayed(measured)(row, matrix, route=options.route) for row in found)
        least: dict[str, tuple[int, dict[str, Any]]] = {}
        for row, figures in zip(
            found, Parallel(n_jobs=options.jobs, return_as="generator")(work), strict=True
        ):
            form = row.form
            cells = [name, row.family, form.name, form.adders or "", form.stages]
            cells += [figures["luts"], figures["ffs"], figures.get("early", "")]
            cells += ["" if row.model is None else f"{row.model:.0f}", figures.get("clock", "")]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            if form.name == "hwgen":
                least[row.family] = (form.adders or 0, figures)
            if form.name == "da4ml" and (form.adders or 0) >= LARGE:
                for key in ("luts", "early", "ffs"):
                    ratio = least[row.family][1][key] / figures[key] - 1
                    saved.setdefault((row.family, key), []).append(ratio)
    for (family, key), ratios in saved.items():
        print(
            f"{family} {key}: {np.mean(ratios):+.1%} in the mean of {len(ratios)} matrices of at "
            f"least {LARGE} adders, between {min(ratios):+.1%} and {max(ratios):+.1%}"
        )


def calibrate(only: str, limit: float) -> None:
    """Print what the profiles estimate beside what Yosys makes, for graphs of two kinds."""
    print("| matrix | profile | model | Yosys | error | FF, model | FF |")
    print("|---|---|---|---|---|---|---|")
    for name, matrix in matrices():
        if only not in name:
            continue
        graph = optimize(matrix, objective="bits", time_limit=limit)
        for profile, commands in PROFILE_RUNS.items():
            form = graph_form("hwgen", graph, 1, complement=profile == "ice40")
            with tempfile.TemporaryDirectory() as folder:
                cells = _cells(form.verilog, (*EARLY, *commands), Path(folder))
            if profile == "ecp5":
                count = Area.from_cells(cells, FAMILIES["ecp5"]).luts
            else:
                count = sum(n for cell, n in cells.items() if LOGIC.fullmatch(cell))
            ffs = sum(n for cell, n in cells.items() if re.search("DFF|_FF|FDRE", cell))
            model = estimate(graph, PROFILES[profile])
            print(
                f"| {name} | {profile} | {model.luts:.0f} | {count} | "
                f"{model.luts / count - 1:+.1%} | {model.ffs} | {ffs} |",
                flush=True,
            )


@click.command()
@click.option("--da4ml", "python", default="", help="Interpreter with da4ml.")
@click.option("--time", "limit", default=10.0, help="Seconds to look for a graph.")
@click.option("--stage", default=1, help="Adders between two registers.")
@click.option("--route", is_flag=True, help="Place and route, for the clock.")
@click.option("--profiles", is_flag=True, help="Compare the cost profiles with Yosys instead.")
@click.option(
    "--family", "families", type=click.Choice(list(DEVICES)), multiple=True, help="Only this one."
)
@click.option("--graphs/--no-graphs", default=True, help="Rows of hwgen and da4ml.")
@click.option("--baselines/--no-baselines", default=True, help="Rows of CSD and products.")
@click.option("--only", default="", help="Matrices whose name contains this.")
@click.option("--jobs", default=2, help="Syntheses at a time.")
def main(*, profiles: bool, **chosen: Any) -> None:
    """Measure constant matrices in silicon."""
    options = Options(**chosen)
    if profiles:
        calibrate(options.only, options.limit)
    else:
        compare(options)


if __name__ == "__main__":
    main()
