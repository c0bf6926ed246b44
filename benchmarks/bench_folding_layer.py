"""Area against throughput of one layer: all at once, and with digits of 8, 4, 2 and 1 bits.

    python benchmarks/bench_folding_layer.py RESULTS.json [--plot FIGURE.svg] [--family F] [--route]

The layer is a convolution of 8 to 8 channels, 3 x 3, padded, on frames of 32 x 32 unsigned bytes,
with its requantisation to bytes: normally distributed weights, seeded, as the nearest filters of
the dyadic set P6 (``--set``), whose scales become multipliers of two signed powers of two.
``product`` is the constant matrix alone: in the parallel form with a register after every adder, in
the others from digits to sums. ``layer`` is what ``hwgen generate`` writes: line buffer, window,
product and requantisation. Every layer is compared with the golden model, bit for bit, in a
compiled simulation of two frames with random gaps on both sides and one run without, which gives
the cycles a window. ``--route`` places and routes each layer on an HX8K or an ECP5-45. Results are
stored after every point; a second run goes on where it ended.
"""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from amaranth.back import rtlil
from figure_style import axes_of, plt

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.boards import find_board
from hwgen.errors import HwgenError
from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import Conv, IntegerNetwork, IntNode, IntOp, Requantise
from hwgen.integer.verify import verify
from hwgen.network.types import Conv as FloatConv
from hwgen.numeric import Dyadic, FixedFormat
from hwgen.sim.fast import run_fast
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.stream.datapath import ShiftAdd
from hwgen.stream.digit_serial import DigitSerial
from hwgen.stream.forms import parse_form
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.synthesis import Area, SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog

FORMS = ("parallel", "serial:8", "serial:4", "serial:2", "serial:1")
DEVICES = {"ice40": "hx8k-evn", "ecp5": "ulx3s-45f"}
CHANNELS, SIZE = 8, 32
Row = dict[str, Any]


def layer(recipe: str) -> IntegerNetwork:
    """The layer as an integer network."""
    weight = np.random.default_rng(88).standard_normal((CHANNELS, CHANNELS, 3, 3))
    found = approximate_filters(FloatConv(weight, np.zeros(CHANNELS)), parse_recipe(recipe))
    pads = (1, 1, 1, 1)
    bias = np.random.default_rng(8).integers(-500, 500, CHANNELS)
    conv = Conv(found.codes, bias, pads=pads)
    network = IntegerNetwork(
        "layer", "image", (CHANNELS, SIZE, SIZE), FixedFormat(8, 8, signed=False), (), "image"
    )
    network = _with(network, conv, "conv.sum")
    # Sums of random pixels have 9 bits or so left of them: some saturate, most do not.
    spread = np.sqrt((found.codes.astype(float) ** 2).sum(axis=(1, 2, 3))) * 128
    scales = [Dyadic.nearest(128 / each, terms=2) for each in spread]
    shift = [-scale.exponent for scale in scales]
    requantise = Requantise(
        np.array([scale.mantissa for scale in scales]).reshape(-1, 1, 1),
        np.array(shift).reshape(-1, 1, 1),
        0,
        255,
    )
    return verify(_with(network, requantise, "conv"))


def _with(network: IntegerNetwork, op: IntOp, name: str) -> IntegerNetwork:
    shape = network.input_shape
    source = network.output
    ranges = output_ranges(op, [network.ranges(source)], shape, shape)
    node = IntNode(name, op, (source,), shape, ranges, (1.0,) * CHANNELS, "conv")
    return IntegerNetwork(
        network.name, network.input_name, shape, network.input_format, (*network.nodes, node), name
    )


def measure(part: str, plan: PipelinePlan, network: IntegerNetwork, family: str) -> Any:
    """One part of what is known of a form."""
    design = emit(plan, name="layer")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match part:
            case "layer":
                return _area(design.verilog, "layer", family, folder)
            case "product":
                return _area(_product(plan), "product", family, folder)
            case "words":
                images = np.random.default_rng(1).integers(0, 256, (2, *network.input_shape))
                golden = run(network, images)
                for stall in (Stall(0.3, 0.3), Stall(0.0, 0.0)):
                    result = run_fast(design, images, stall=stall, build_dir=folder)
                    if not np.array_equal(result.outputs, golden):
                        raise SystemExit(f"{plan.name}: outputs differ from the golden model")
                return int(golden.size)
            case _:
                _area(design.verilog, "layer", family, folder)
                return _clock(family, folder)


def _product(plan: PipelinePlan) -> str:
    """Verilog of the matrix alone."""
    (stage,) = (stage for stage in plan.stages if stage.graph is not None)
    assert stage.graph is not None
    block = (
        DigitSerial(stage.graph, digit=stage.digit, flags=stage.depth)
        if stage.digit
        else ShiftAdd(stage.graph, complement=stage.complement)
    )
    return rtlil_to_verilog(rtlil.convert(block, name="product"))


def _area(verilog: str, top: str, family: str, folder: Path) -> Row:
    (result,) = synthesise(SynthesisJob({f"{top}.v": verilog}, top, family, folder))
    area: Area = result.area
    return {"luts": area.luts, "ffs": area.ffs, "brams": area.brams}


def _clock(family: str, folder: Path) -> float | str:
    device = find_board(DEVICES[family]).device
    try:
        return place_and_route(device, name="layer", directory=folder, freq=200).fmax_mhz
    except HwgenError as error:
        return str(error).partition(":")[0]


def table(rows: list[Row]) -> None:
    """Print what is stored."""
    print(
        "| family | form | adders | cycles a window | product LUT4 | FF | layer LUT4 | FF | BRAM "
        "| words equal | MHz |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        matrix, whole = row["product"], row["layer"]
        mhz = row.get("mhz", "")
        print(
            f"| {row['family']} | {row['form']} | {row['adders']} | {row['interval']:g} "
            f"| {matrix['luts']:,} | {matrix['ffs']:,} "
            f"| {whole['luts']:,} | {whole['ffs']:,} | {whole['brams']} "
            f"| {row.get('words', '')} | {f'{mhz:.0f}' if isinstance(mhz, float) else mhz} |"
        )


def plot(rows: list[Row], path: Path) -> None:
    """LUTs of product and layer against windows a cycle."""
    with axes_of(path) as axes:
        for family, colour in zip(
            sorted({row["family"] for row in rows}), ("C0", "C1"), strict=False
        ):
            own = [row for row in rows if row["family"] == family]
            rates = [1 / row["interval"] for row in own]
            for part, style in (("layer", "o-"), ("product", "s--")):
                luts = [row[part]["luts"] for row in own]
                axes.plot(rates, luts, style, color=colour, label=f"{family}, {part}")
            for row, rate in zip(own, rates, strict=True):
                axes.annotate(
                    row["form"], (rate, row["layer"]["luts"]), (0, 6),
                    textcoords="offset points", ha="center", fontsize=7,
                )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="windows a cycle", ylabel="LUT4")
        axes.xaxis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:g}"))
        axes.legend()


@click.command(help=__doc__.splitlines()[0])
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--plot", "figure", type=click.Path(path_type=Path))
@click.option("--family", "families", multiple=True, type=click.Choice(list(DEVICES)))
@click.option("--form", "forms", multiple=True, default=FORMS, show_default=True)
@click.option("--set", "recipe", default="P6", show_default=True)
@click.option("--route", is_flag=True, help="Place and route too.")
def main(
    results: Path,
    figure: Path | None,
    families: tuple[str, ...],
    forms: tuple[str, ...],
    recipe: str,
    route: bool,
) -> None:
    rows: list[Row] = json.loads(results.read_text()) if results.exists() else []
    network = layer(recipe)
    for part in ("layer", "product", "words", *(["mhz"] if route else [])):
        for family, form in product(families, forms):
            row = next((r for r in rows if (r["form"], r["family"]) == (form, family)), None)
            if row is None:
                row = {"form": form, "family": family}
                rows.append(row)
            if part in row:
                continue
            plan = plan_pipeline(network, folding={"*": parse_form(form)}, family=family)
            row["adders"] = plan.adders
            row["interval"] = plan.timing.interval / SIZE**2
            row[part] = measure(part, plan, network, family)
            rows.sort(key=lambda row: (row["family"], FORMS.index(row["form"])))
            results.write_text(json.dumps(rows, indent=1) + "\n")
    rows = [row for row in rows if "product" in row]
    table(rows)
    if figure is not None:
        plot(rows, figure)


if __name__ == "__main__":
    main()
