"""Adders and LUTs of a network's convolution layers, with one optimiser and with another.

    python benchmarks/bench_layer_graphs.py NETWORK.onnx [--recipe R] [--effort N] [--before FOLDER]

The matrices are those of the convolutions' nearest dyadic weights under the recipe ``R``, 8-bit
pixels come in. Graphs: "greedy", without local search (``optimize(matrix)``); "now", as hwgen
builds networks (``optimize(matrix, objective="luts:ice40", effort=N)``); and "before", what
``optimize(matrix)`` of another version gives, whose package ``hwgen`` is in ``FOLDER`` (``git
archive COMMIT hwgen | tar x -C FOLDER``). All become the same pipelined datapath, a register after
every adder. LUTs are those of Yosys where a graph has at most ``--synthesise`` adders, and those
that the cost model expects.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import click
import numpy as np
from bench_shiftadd_luts import area
from matrix_forms import graph_form

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv
from hwgen.numeric import IntArray, Range
from hwgen.shiftadd import AdderGraph, optimize
from hwgen.shiftadd.luts import PROFILES, luts
from hwgen.stream.matrix import conv_matrix

PIXEL = Range(0, 255)
OTHER = """
import sys
import numpy as np
from hwgen.numeric import Range
from hwgen.shiftadd import optimize
matrix = np.load(sys.argv[1])
print(optimize(matrix, inputs=(Range(0, 255),) * len(matrix)).to_json())
"""


def matrices(network: Path, recipe: str) -> Iterator[tuple[str, IntArray]]:
    """Name and matrix (inputs, outputs) of every convolution of more than one pixel."""
    for node in import_onnx(network).nodes:
        if isinstance(node.op, Conv) and max(node.op.weight.shape[2:]) > 1:
            codes = approximate_filters(node.op, parse_recipe(recipe)).codes
            yield node.name, conv_matrix(Conv(codes, np.zeros(len(codes)), groups=node.op.groups))


def other_graph(folder: Path, matrix: IntArray) -> AdderGraph:
    """The graph that the version of hwgen in a folder makes."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, matrix)
        found = subprocess.run(
            [sys.executable, "-c", OTHER, file.name],
            cwd=folder,  # the first place where it looks for hwgen
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return AdderGraph.from_json(found.stdout)


@click.command()
@click.argument("network", type=click.Path(path_type=Path, exists=True))
@click.option("--recipe", default="terms(2,-6,0)@1", show_default=True, help="Of the weights.")
@click.option("--effort", default=50, show_default=True, help="Of the search.")
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="Another version.")
@click.option("--family", type=click.Choice(["ice40", "ecp5"]), default="ice40")
@click.option("--synthesise", "most", default=1 << 30, help="Most adders of what Yosys gets.")
@click.option("--results", type=click.Path(path_type=Path), help="JSON file of all results.")
def main(
    network: Path, recipe: str, effort: int, before: Path | None, family: str, most: int,
    results: Path | None,
) -> None:  # fmt: skip
    """Compare the adder graphs of a network's convolutions."""
    rows: dict[str, Any] = {}
    if results is not None and results.exists():
        rows = json.loads(results.read_text())
    print("| layer | matrix | graph | adders | depth | model, LUTs | LUT4 | search, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, matrix in matrices(network, recipe):
        search = partial(optimize, matrix, inputs=(PIXEL,) * len(matrix))
        makers = {
            **({"before": partial(other_graph, before, matrix)} if before is not None else {}),
            "greedy": search,
            "now": partial(search, objective=f"luts:{family}", effort=effort),
        }
        for label, make in makers.items():
            row = rows.setdefault(f"{name} {label} {family}", {})
            if not row:
                started = process_time()
                graph = make()
                row |= {"graph": graph.to_json(), "seconds": process_time() - started}
            graph = AdderGraph.from_json(row["graph"])
            graph.verify(matrix)
            if "luts" not in row and graph.adders <= most:
                form = graph_form(label, graph, 1, complement=PROFILES[family].inverters)
                row["luts"] = area(form, family, early=False).luts
            if results is not None:
                results.write_text(json.dumps(rows))
            shape = "x".join(map(str, matrix.shape))
            figures = [f"{graph.adders:,}", graph.depth, f"{luts(graph, family):,.0f}"]
            figures += [f"{row['luts']:,}" if "luts" in row else "", f"{row['seconds']:.1f}"]
            print(f"| {name} | {shape} | {label} | {' | '.join(map(str, figures))} |", flush=True)


if __name__ == "__main__":
    main()
