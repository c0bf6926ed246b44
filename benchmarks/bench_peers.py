"""One table: adder graphs beside da4ml's Verilog, multipliers, and Haddoc2's published networks.

    python benchmarks/bench_peers.py [--da4ml PYTHON] [--only TEXT] [--family F] [--time S]
        [--results FILE]

Every matrix takes one vector of signed bytes a cycle. Forms: hwgen's graph, found in ``S`` seconds;
what da4ml writes for the same matrix with its own settings (``PYTHON`` is the interpreter of an
environment with da4ml); a product an entry, written with ``*`` and a registered tree of sums, in
logic, and with the DSP blocks of a family that has them. Every form is compared with the matrix on
random vectors, synthesised as Yosys does it, and placed and routed between shift registers on an
HX8K and an ECP5 of speed grade 6. A picture is 32 x 32 vectors, so that pictures a second are the
clock over 1,024. Rows of Haddoc2 are the figures of its paper (Abdelouahab et al., "Tactics to
directly map CNN graphs on embedded FPGAs", IEEE Embedded Systems Letters 9, 2017), for whole
networks on an Altera Cyclone V, whose logic elements are not LUT4: they say how large such designs
are, and are no measurement of this script. Results are kept after every form.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from bench_shiftadd_luts import DEVICES, HARNESS, ROUTE_LIMIT, matrices
from matrix_forms import Form, check, da4ml_form, graph_form, port_bits, products_form

from hwgen.errors import HwgenError
from hwgen.numeric import IntArray
from hwgen.shiftadd import csd_graph, optimize
from hwgen.shiftadd.luts import PROFILES
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.synthesis import FAMILIES, Area
from hwgen.toolchain.yosys import run_yosys

MATRICES = ("conv 9x8 8b", "random 8x8 8b", "digits conv1 P4")
PICTURE = 32 * 32
HADDOC2 = (
    ("LeNet5, 3 bits", 8_067, 65.7),
    ("CIFAR-10, 6 bits", 51_276, 63.9),
    ("SVHN, 6 bits", 39_513, None),
)
DSP = {"ecp5": ""}  # option of the synthesis that lets it take DSP blocks
Row = dict[str, Any]


def synthesised(form: Form, family: str, folder: Path, *, top: str, dsp: bool) -> Area:
    """Resources of module ``top``, whose netlist is left in ``folder``."""
    chosen = FAMILIES[family]
    option = DSP[family] if dsp else chosen.no_dsp
    (folder / "form.v").write_text(form.verilog)
    commands = [
        "read_verilog form.v",
        f"{chosen.synthesis}{option} -top {top}",
        "delete t:$scopeinfo",
        f"write_json {top}.json",
        "tee -q -o stat.json stat -json",
    ]
    run_yosys(commands, directory=folder, time_limit=3600)
    stat = json.loads((folder / "stat.json").read_text())
    return Area.from_cells(stat["design"]["num_cells_by_type"], chosen)


def measured(form: Form, matrix: IntArray, family: str) -> Row:
    """LUTs, flip-flops, DSP blocks and clock of a form that is right."""
    graph = csd_graph(matrix)
    check(form, matrix, graph)
    dsp = form.name.endswith("DSP")
    widths = {"i": port_bits(graph.inputs) - 1, "o": port_bits(graph.output_ranges) - 1}
    inside = replace(form, verilog=form.verilog + HARNESS.format(**widths))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        area = synthesised(form, family, folder, top="bare", dsp=dsp)
        synthesised(inside, family, folder, top="harness", dsp=dsp)
        try:
            clock: float | None = place_and_route(
                DEVICES[family],
                name="harness",
                directory=folder,
                freq=200,
                seeds=(1, 2),
                time_limit=ROUTE_LIMIT,
            ).fmax_mhz
        except HwgenError as error:
            print(f"{form.name}, {family}: {error}", flush=True)
            clock = None
    ffs = area.ffs - form.input_registers
    return {"adders": form.adders, "luts": area.luts, "ffs": ffs, "dsps": area.dsps, "clock": clock}


def made(kind: str, matrix: IntArray, family: str, limit: float, python: str) -> Form:
    """One of the forms of a matrix."""
    if kind == "hwgen":
        graph = optimize(matrix, objective=f"luts:{family}", time_limit=limit)
        return graph_form(kind, graph, 1, complement=PROFILES[family].inverters)
    if kind == "da4ml":
        return da4ml_form(python, matrix, csd_graph(matrix), 1)
    return replace(products_form(matrix, csd_graph(matrix)), name=kind)


def tell(rows: dict[str, Row]) -> None:
    """Print the table."""
    print("\n| design | family | form | adders | LUT4 | FF | DSP | MHz | pictures/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for key, row in rows.items():
        name, family, kind = key.split("/")
        clock = row["clock"]
        speed = "not routed |" if clock is None else f"{clock:.0f} | {clock * 1e6 / PICTURE:,.0f}"
        adders = "" if row["adders"] is None else row["adders"]
        cells = [name, family, kind, adders, f"{row['luts']:,}", f"{row['ffs']:,}", row["dsps"]]
        print(f"| {' | '.join(map(str, cells))} | {speed} |")
    for name, elements, megahertz in HADDOC2:
        speed = "" if megahertz is None else f"{megahertz:g}"
        print(f"| {name} | Cyclone V | Haddoc2 (paper) | | {elements:,} LE | | | {speed} | |")


@click.command()
@click.option("--da4ml", "python", default="", help="Interpreter with da4ml.")
@click.option("--only", default="", help="Matrices whose name holds this.")
@click.option("--family", "families", type=click.Choice(list(DEVICES)), multiple=True)
@click.option("--time", "limit", default=5.0, help="Seconds to look for a graph.")
@click.option("--results", type=click.Path(path_type=Path, dir_okay=False))
def main(
    python: str, only: str, families: tuple[str, ...], limit: float, results: Path | None
) -> None:
    """Measure what is not in the results yet, and print the table."""
    rows: dict[str, Row] = {}
    if results is not None and results.exists():
        rows = json.loads(results.read_text())
    for name, matrix in matrices():
        if name not in MATRICES or only not in name:
            continue
        for family in families or DEVICES:
            kinds = ["hwgen", *(["da4ml"] if python else []), "x*constant"]
            for kind in [*kinds, *(["x*constant, DSP"] if family in DSP else [])]:
                key = f"{name}/{family}/{kind}"
                if key in rows:
                    continue
                rows[key] = measured(made(kind, matrix, family, limit, python), matrix, family)
                print(key, rows[key], flush=True)
                if results is not None:
                    results.write_text(json.dumps(rows, indent=0))
    tell(rows)


if __name__ == "__main__":
    main()
