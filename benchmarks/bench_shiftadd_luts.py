"""LUTs, flip-flops and clock of constant matrices: hwgen's adder graphs beside da4ml's Verilog.

    python benchmarks/bench_shiftadd_luts.py --da4ml PYTHON [--time S] [--stage K] [--clock LUTS]
    python benchmarks/bench_shiftadd_luts.py --profiles

Every matrix takes one vector of signed bytes a cycle, with a register after every ``K`` adders.
Forms: hwgen's graph, found in ``S`` seconds for each family; the Verilog that da4ml writes for the
same matrix with its own settings (``PYTHON`` is the interpreter of an environment with da4ml);
canonical signed digits (CSD) without sharing; a product an entry, written with ``*``, and a
registered tree of sums. Each is synthesised as Yosys does it, and with ``--early`` the first two
once more with its pass ``alumacc`` run before all others, so that graphs are compared and not what
Yosys makes of their text. The stream handshake of hwgen's component is tied off, and the registers
that da4ml has at its inputs are not counted. Every form is compared with the matrix on random
vectors.

``--clock`` places and routes every form of at most so many LUTs, between shift registers, on an
HX8K and an ECP5 of speed grade 6. Results are stored after every form; a second run with the same
file goes on where it ended, and tables are made of all that the file holds.

The column "model" is the estimate of :mod:`hwgen.shiftadd.luts`; ``--profiles`` compares it with
Yosys for all its targets.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from joblib import Parallel, delayed
from matrix_forms import Form, check, da4ml_form, graph_form, port_bits, products_form
from scipy.fft import dct

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.boards import find_board
from hwgen.errors import HwgenError, ResourceError
from hwgen.integer.types import Conv as IntegerConv
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv
from hwgen.numeric import IntArray
from hwgen.shiftadd import AdderGraph, csd_graph, optimize
from hwgen.shiftadd.luts import PROFILES, estimate
from hwgen.stream.matrix import conv_matrix
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.synthesis import FAMILIES, Area
from hwgen.toolchain.yosys import run_yosys

MODELS = Path(__file__).parent.parent / "models"
LARGE = 100  # adders from which a matrix counts in the summary
ROUTE_LIMIT = 600.0  # seconds of nextpnr, which can loop for ever, with one of three seeds
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
Row = dict[str, Any]


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


def clock(form: Form, family: str, graph: AdderGraph) -> float | str:
    """MHz of the form between shift registers, or why there are none."""
    widths = {"i": port_bits(graph.inputs) - 1, "o": port_bits(graph.output_ranges) - 1}
    inside = Form(form.name, None, 0, form.verilog + HARNESS.format(**widths))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _synthesised(inside, family, folder, top="harness", early=True)
        try:
            routed = place_and_route(
                DEVICES[family], name="harness", directory=folder, freq=200, time_limit=ROUTE_LIMIT
            )
        except ResourceError:
            return "does not fit"
        except HwgenError:
            return "not routed"
    return routed.fmax_mhz


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    python: str
    limit: float
    stage: int
    clock: int
    early: bool
    families: tuple[str, ...]
    graphs: bool
    baselines: bool
    only: str
    jobs: int
    results: Path | None


def makers(
    matrix: IntArray, family: str, options: Options
) -> dict[str, Callable[[], tuple[Form, float | None]]]:
    """What makes each form of a matrix for a family, and the LUTs that are expected of it."""
    stage, complement = options.stage, PROFILES[family].inverters

    def own() -> tuple[Form, float]:
        graph = optimize(matrix, objective=f"luts:{family}", time_limit=options.limit)
        form = graph_form("hwgen", graph, stage, complement=complement)
        return form, estimate(graph, PROFILES[family], adders_per_stage=stage).luts

    def beside() -> tuple[Form, None]:
        return da4ml_form(options.python, matrix, csd_graph(matrix), stage), None

    def digits() -> tuple[Form, None]:
        return graph_form("CSD", csd_graph(matrix), stage, complement=complement), None

    def products() -> tuple[Form, None]:
        return products_form(matrix, csd_graph(matrix)), None

    return {
        **({"hwgen": own} if options.graphs else {}),
        **({"da4ml": beside} if options.graphs and options.python else {}),
        **({"CSD": digits, "x*constant": products} if options.baselines else {}),
    }


def measured(
    name: str,
    matrix: IntArray,
    family: str,
    make: Callable[[], tuple[Form, float | None]],
    options: Options,
) -> Row:
    """Figures of one form."""
    form, model = make()
    graph = csd_graph(matrix)
    check(form, matrix, graph)
    own = area(form, family, early=False)
    row = {
        "matrix": name, "family": family, "form": form.name, "adders": form.adders,
        "stages": form.stages, "luts": own.luts, "ffs": own.ffs - form.input_registers,
        "model": model,
    }  # fmt: skip
    if options.early and form.name in ("hwgen", "da4ml"):
        row["early"] = area(form, family, early=True).luts
    if own.luts <= options.clock:
        row["clock"] = clock(form, family, graph)
    return row


def compare(options: Options) -> None:
    """Measure what is not yet measured, and print tables of all results."""
    store = options.results
    rows: dict[str, Row] = {}
    if store is not None and store.exists():
        rows = json.loads(store.read_text())
    for name, matrix in matrices():
        if options.only not in name:
            continue
        work = {}
        for family in options.families or DEVICES:
            for form, make in makers(matrix, family, options).items():
                key = f"{name} {family} {form} {options.stage}"
                known = rows.get(key)
                if known is None or ("clock" not in known and known["luts"] <= options.clock):
                    work[key] = delayed(measured)(name, matrix, family, make, options)
        results = Parallel(n_jobs=options.jobs, return_as="generator")(work.values())
        for key, row in zip(work, results, strict=True):
            rows[key] = row
            print(" ".join(str(value) for value in row.values()), flush=True)
            if store is not None:
                store.write_text(json.dumps(rows, indent=0))
    tell([row for key, row in rows.items() if key.endswith(f" {options.stage}")])


COLUMNS = ("adders", "stages", "luts", "ffs", "clock")
NAMES = ("adders", "stages", "LUT4", "FF", "MHz")


def tell(rows: Sequence[Row]) -> None:
    """Print the table of all matrices and forms, and the change from da4ml to hwgen."""
    cases: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        cases.setdefault((row["matrix"], row["family"]), {})[row["form"]] = row
    heading = ["matrix", "family", "model", *(f"hwgen {n}" for n in NAMES)]
    heading += [f"da4ml {n}" for n in NAMES] + ["LUT4", "FF", "MHz"]
    heading += [f"{form} {name}" for form in ("CSD", "x*constant") for name in ("LUT4", "MHz")]
    print(f"\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    gains: dict[tuple[str, str], list[float]] = {}
    for (name, family), forms in cases.items():
        ours, theirs = forms.get("hwgen", {}), forms.get("da4ml", {})
        ratios = {
            key: _ratio(ours.get(key), theirs.get(key)) for key in ("luts", "ffs", "clock", "early")
        }
        cells = [name, family, _text(ours.get("model"))]
        cells += [_text(row.get(key)) for row in (ours, theirs) for key in COLUMNS]
        cells += [_change(ratios[key]) for key in ("luts", "ffs", "clock")]
        cells += [
            _text(forms.get(form, {}).get(key))
            for form in ("CSD", "x*constant")
            for key in ("luts", "clock")
        ]
        print(f"| {' | '.join(cells)} |")
        for key, ratio in ratios.items():
            if ratio is not None:
                gains.setdefault((family, key), []).append(ratio)
                if theirs["adders"] >= LARGE:
                    gains.setdefault((family, f"{key}, at least {LARGE} adders"), []).append(ratio)
    for (family, key), found in sorted(gains.items()):
        print(
            f"{family} {key}: {np.mean(found):+.1%} in the mean of {len(found)}, "
            f"{min(found):+.1%} to {max(found):+.1%}"
        )


def _ratio(ours: Any, theirs: Any) -> float | None:
    """How much more the first is than the second, if both are numbers."""
    numbers = all(isinstance(value, int | float) for value in (ours, theirs))
    return ours / theirs - 1 if numbers else None


def _change(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:+.1%}"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}" if isinstance(value, int | float) else value


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
@click.option("--clock", default=0, metavar="LUTS", help="Route forms of at most so many LUTs.")
@click.option("--early", is_flag=True, help="Also with alumacc before all other passes.")
@click.option("--profiles", is_flag=True, help="Compare the cost profiles with Yosys instead.")
@click.option(
    "--family", "families", type=click.Choice(list(DEVICES)), multiple=True, help="Only this one."
)
@click.option("--graphs/--no-graphs", default=True, help="Forms of hwgen and da4ml.")
@click.option("--baselines/--no-baselines", default=True, help="Forms of CSD and products.")
@click.option("--only", default="", help="Matrices whose name contains this.")
@click.option("--jobs", default=2, help="Forms at a time.")
@click.option("--results", type=click.Path(path_type=Path), help="JSON file of all results.")
def main(*, profiles: bool, **chosen: Any) -> None:
    """Measure constant matrices in silicon."""
    options = Options(**chosen)
    if profiles:
        calibrate(options.only, options.limit)
    else:
        compare(options)


if __name__ == "__main__":
    main()
