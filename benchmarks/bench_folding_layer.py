"""Area, clock and windows a second of one layer in any forms: all at once, in digits, in memory.

    python benchmarks/bench_folding_layer.py RESULTS.json --family ice40 --family ecp5
        [--route hx8k-evn] [--route ulx3s-25f] [--plot FIGURE.svg]
    python benchmarks/bench_folding_layer.py OTHERS.json --family ecp5 --channels 16 --set P4
        --form parallel --form serial:1 --form memory:16x4 --form memory:16

The layer is a convolution of 8 to 8 channels (``--channels``), 3 x 3, padded, on frames of 32 x 32
unsigned bytes, with its requantisation to bytes: normally distributed weights, seeded, as the
nearest filters of the dyadic set P6 (``--set``), whose scales become multipliers of two signed
powers of two. Forms are named from the fastest; results are of one set and number of channels.
``product`` is the constant matrix alone: in the parallel form with a register after every adder, in
digits from digits to sums. ``layer`` is what ``hwgen generate`` writes: line buffer, window,
product and requantisation. Every layer is compared with the golden model, bit for bit, in a
compiled simulation of two frames with random gaps on both sides and one run without. ``--route``
places and routes the layers of the board's family, the smallest first, with one seed and a target
of 200 MHz. Results are stored after every part of a point; a second run goes on where it ended.
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
from hwgen.toolchain.nextpnr import Device, place_and_route
from hwgen.toolchain.synthesis import Area, SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog

FORMS = ("parallel", "serial:8", "serial:4", "serial:2", "serial:1")
CELLS = {"ice40": "ICESTORM_LC", "ecp5": "TRELLIS_COMB"}
SIZE = 32
Row = dict[str, Any]


def layer(recipe: str, channels: int) -> IntegerNetwork:
    """The layer as an integer network."""
    weight = np.random.default_rng(88).standard_normal((channels, channels, 3, 3))
    found = approximate_filters(FloatConv(weight, np.zeros(channels)), parse_recipe(recipe))
    pads = (1, 1, 1, 1)
    bias = np.random.default_rng(8).integers(-500, 500, channels)
    conv = Conv(found.codes, bias, pads=pads)
    network = IntegerNetwork(
        "layer", "image", (channels, SIZE, SIZE), FixedFormat(8, 8, signed=False), (), "image"
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
    node = IntNode(name, op, (source,), shape, ranges, (1.0,) * shape[0], "conv")
    return IntegerNetwork(
        network.name, network.input_name, shape, network.input_format, (*network.nodes, node), name
    )


def measure(
    part: str, plan: PipelinePlan, network: IntegerNetwork, family: str, device: Device | None
) -> Row:
    """One part of what is known of a form."""
    design = emit(plan, name="layer")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if part == "product":
            area = _area(_product(plan), "product", family, folder) if plan.adders else {}
            return {"product": area}
        if part == "words":
            images = np.random.default_rng(1).integers(0, 256, (2, *network.input_shape))
            golden = run(network, images)
            for stall in (Stall(0.3, 0.3), Stall(0.0, 0.0)):
                result = run_fast(design, images, stall=stall, build_dir=folder)
                if not np.array_equal(result.outputs, golden):
                    raise SystemExit(f"{plan.name}: outputs differ from the golden model")
            return {"words": int(golden.size)}
        row: Row = {"layer": _area(design.verilog, "layer", family, folder)}
        if part == "route" and device is not None:
            row["route"] = _route(device, CELLS[family], folder)
        return row


def _product(plan: PipelinePlan) -> str:
    """Verilog of the matrix alone."""
    (stage,) = (stage for stage in plan.stages if stage.graph is not None)
    assert stage.graph is not None
    block = (
        DigitSerial(stage.graph, digit=stage.digit, flags=stage.depth, complement=stage.complement)
        if stage.digit
        else ShiftAdd(stage.graph, complement=stage.complement)
    )
    return rtlil_to_verilog(rtlil.convert(block, name="product"))


def _area(verilog: str, top: str, family: str, folder: Path) -> Row:
    (result,) = synthesise(SynthesisJob({f"{top}.v": verilog}, top, family, folder))
    area: Area = result.area
    return {"luts": area.luts, "ffs": area.ffs, "brams": area.brams}


def _route(device: Device, cells: str, folder: Path) -> Row:
    try:
        routed = place_and_route(device, name="layer", directory=folder, freq=200, seeds=(1,))
    except HwgenError as error:
        return {"failed": str(error).partition(":")[0]}
    used = {each.kind: each.used for each in routed.utilisation}
    return {"mhz": routed.fmax_mhz, "cells": used[cells], "seconds": round(routed.seconds)}


def rate(row: Row) -> float:
    """Windows a second at the highest clock, in millions; NaN if there is none."""
    return float(row.get("route", {}).get("mhz", np.nan) / row["interval"])


def table(rows: list[Row]) -> None:
    """Print what is stored."""
    print(
        "| family | form | adders | cycles a window | layer LUT4 | parallel / this | FF | BRAM "
        "| product LUT4 | cells placed | MHz | million windows/s | words equal |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        whole, routed = row["layer"], row.get("route", {})
        base = next(
            (r for r in rows if (r["family"], r["form"]) == (row["family"], "parallel")), row
        )
        mhz = f"{routed['mhz']:.0f}" if "mhz" in routed else routed.get("failed", "")
        print(
            f"| {row['family']} | {row['form']} | {row['adders']} | {row['interval']:.3g} "
            f"| {whole['luts']:,} | {base['layer']['luts'] / whole['luts']:.2f} "
            f"| {whole['ffs']:,} | {whole['brams']} "
            f"| {row.get('product', {}).get('luts', '')} "
            f"| {routed.get('cells', 0):,} | {mhz} | {rate(row):.2f} | {row.get('words', '')} |"
        )


def plot(rows: list[Row], path: Path) -> None:
    """LUTs against windows a second at the highest clock."""
    with axes_of(path) as axes:
        for family, colour in (("ice40", "C0"), ("ecp5", "C1")):
            own = [row for row in rows if row["family"] == family and np.isfinite(rate(row))]
            luts = [row["layer"]["luts"] for row in own]
            axes.plot([rate(row) for row in own], luts, "o-", color=colour, label=family)
            for row, y in zip(own, luts, strict=True):
                axes.annotate(
                    f"{row['form']}, {row['route']['mhz']:.0f} MHz", (rate(row), y), (0, 6),
                    textcoords="offset points", ha="center", fontsize=7, color=colour,
                )  # fmt: skip
        axes.set(xscale="log", yscale="log")
        axes.set(xlabel="million windows a second at the highest clock", ylabel="LUT4 of the layer")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:g}"))
        axes.margins(0.15)
        axes.legend()


@click.command(help=__doc__.splitlines()[0])
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--plot", "figure", type=click.Path(path_type=Path))
@click.option("--family", "families", multiple=True, type=click.Choice(list(CELLS)))
@click.option("--form", "forms", multiple=True, default=FORMS, show_default=True)
@click.option("--channels", default=8, show_default=True)
@click.option("--set", "recipe", default="P6", show_default=True)
@click.option("--route", "boards", multiple=True, help="Board that layers are routed for.")
def main(
    results: Path,
    figure: Path | None,
    families: tuple[str, ...],
    forms: tuple[str, ...],
    recipe: str,
    channels: int,
    boards: tuple[str, ...],
) -> None:
    rows: list[Row] = json.loads(results.read_text()) if results.exists() else []
    devices = {device.family: device for device in (find_board(name).device for name in boards)}
    network = layer(recipe, channels)
    points = list(product(reversed(forms), families))
    for part, (form, family) in product(("route", "layer", "words", "product"), points):
        row = next((r for r in rows if (r["form"], r["family"]) == (form, family)), None)
        if row is None:
            row = {"form": form, "family": family}
            rows.append(row)
        if part in row or (part == "route" and family not in devices):
            continue
        plan = plan_pipeline(network, folding={"*": parse_form(form)}, family=family)
        row["adders"] = plan.adders
        row["interval"] = plan.timing.interval / SIZE**2
        row |= measure(part, plan, network, family, devices.get(family))
        rows.sort(key=lambda row: (row["family"], row.get("interval", 0)))
        results.write_text(json.dumps(rows, indent=1) + "\n")
    rows = [row for row in rows if "layer" in row]
    table(rows)
    if figure is not None:
        plot(rows, figure)


if __name__ == "__main__":
    main()
