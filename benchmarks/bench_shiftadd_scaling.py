"""Adders, processor seconds and memory against the size of the matrix, beside da4ml.

    python benchmarks/bench_shiftadd_scaling.py --da4ml PYTHON [--sizes N ...] [--cap S]

Matrices are square and uniformly random, of 8 bits. Each is solved in a process of its own by da4ml
with its own settings (``PYTHON`` is the interpreter of an environment with da4ml), which is stopped
after ``S`` seconds of processor time; by hwgen without a time limit, that is by a fixed amount of
work; and by hwgen in da4ml's time, where that is known. Memory is the
largest resident set of the process. Results are stored after every run; a second run with the same
file goes on where it ended. A table is printed and a plot written beside the results.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from figure_style import figure_of

HERE = Path(__file__).parent
DA4ML = """
from da4ml.cmvm import solve
def solved(matrix, limit):
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    found = solve(matrix, qintervals=[(-128.0, 127.0, 1.0)] * len(matrix))
    return sum(op.opcode in (0, 1) for stage in found.solutions for op in stage.ops)
"""
HWGEN = """
from hwgen.shiftadd import optimize
def solved(matrix, limit):
    return optimize(matrix, time_limit=limit or None).adders
"""
RUN = """
import json, resource, sys, time
import numpy as np
{solver}
def used():
    return resource.getrusage(resource.RUSAGE_SELF)
limit = float(sys.argv[2])
solved(np.random.default_rng(0).integers(-128, 128, (8, 8)), limit and 0.1)  # compiles
matrix, before = np.load(sys.argv[1]), used()
adders = solved(matrix, limit)
after = used()
print(json.dumps({{
    "adders": adders,
    "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "mib": after.ru_maxrss / 1024,
}}))
"""
Row = dict[str, Any]
SERIES = ("da4ml", "hwgen", "hwgen in da4ml's time")


def run(
    python: str, solver: str, size: int, *, limit: float = 0, cap: int = resource.RLIM_INFINITY
) -> Row:
    """Figures of one run; only the processor time if that was more than ``cap`` seconds."""
    matrix = np.random.default_rng([size, 8]).integers(-128, 128, (size, size))
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, matrix)
        found = subprocess.run(
            [python, "-c", RUN.format(solver=solver), file.name, str(limit)],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_CPU, (cap, cap)),
        )
    if found.returncode:
        return {"cpu": cap, "stopped": True}
    row: Row = json.loads(found.stdout)
    return row


def plot(rows: dict[str, Row], sizes: Sequence[int], path: Path) -> None:
    """Draw processor seconds and adders an entry against the size."""
    with figure_of(path, width=7.5, height=3.2) as figure:
        seconds, adders = figure.subplots(1, 2)
        for series in SERIES:
            known = [n for n in sizes if "adders" in rows.get(f"{n} {series}", {})]
            found = [rows[f"{n} {series}"] for n in known]
            seconds.plot(known, [row["cpu"] for row in found], "o-", label=series)
            each = [row["adders"] / n**2 for n, row in zip(known, found, strict=True)]
            adders.plot(known, each, "o-", label=series)
        seconds.set(xscale="log", yscale="log", xlabel="size", ylabel="processor s")
        adders.set(xscale="log", xlabel="size", ylabel="adders an entry")
        for axes in (seconds, adders):
            axes.set_xticks(sizes, [str(n) for n in sizes], minor=False)
            axes.minorticks_off()
        seconds.legend()


@click.command()
@click.option("--da4ml", "python", required=True, help="Interpreter with da4ml.")
@click.option("--sizes", multiple=True, type=int, default=(8, 16, 32, 64, 128, 256, 512))
@click.option("--cap", default=600, help="Processor seconds after which da4ml is stopped.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=HERE / "results" / "shiftadd-scaling.json",
    help="JSON file of all results; the plot is written beside it.",
)
def main(python: str, sizes: tuple[int, ...], cap: int, results: Path) -> None:
    """Measure how cost grows with the size of a matrix."""
    rows: dict[str, Row] = json.loads(results.read_text()) if results.exists() else {}

    def known(size: int, series: str, make: Any) -> Row:
        key = f"{size} {series}"
        if key not in rows:
            rows[key] = make()
            results.write_text(json.dumps(rows, indent=0))
        return rows[key]

    print("| size | series | adders | processor s | memory, MiB |\n|---|---|---|---|---|")
    stopped = False
    for size in sizes:
        task = partial(run, size=size)
        if not stopped:
            theirs = known(size, SERIES[0], partial(task, python, DA4ML, cap=cap))
            stopped = "stopped" in theirs
        known(size, SERIES[1], partial(task, sys.executable, HWGEN))
        if not stopped:
            limit = theirs["cpu"]
            known(size, SERIES[2], partial(task, sys.executable, HWGEN, limit=limit))
        for series in SERIES:
            row = rows.get(f"{size} {series}")
            if row is None:
                continue
            if "stopped" in row:
                print(f"| {size} | {series} | stopped | over {row['cpu']} | |", flush=True)
            else:
                figures = f"{row['adders']:,} | {row['cpu']:.3g} | {row['mib']:,.0f}"
                print(f"| {size} | {series} | {figures} |", flush=True)
    plot(rows, sizes, results.with_suffix(".svg"))


if __name__ == "__main__":
    main()
