"""Adder graphs of the optimiser beside da4ml's, by class of matrix, at equal processor time.

Run as ``python benchmarks/bench_shiftadd.py --da4ml PYTHON [--cases FOLDER] [--depth 0] ...``.
``PYTHON`` is the interpreter of an environment with da4ml 0.6; its solver runs on the same machine,
three times, and the least processor time counts. The optimiser gets as much on the same matrix, or
50 ms if that is less, and then ``--time`` seconds of each of ``--jobs`` cores. Matrices are random,
some seeds a class, and those in ``FOLDER`` (``*_b<bits>_s<seed>.npy``, inputs by outputs). da4ml's
graph is made into an adder graph of the same kind, so that both have the same cost in cells.

Results are stored after every matrix; a second run with the same file goes on where it ended.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from hwgen.numeric import Range
from hwgen.shiftadd import AdderGraph, Operand, minimum_depth, optimize
from hwgen.shiftadd.build import Builder, fold_signs, prune

LEAST_TIME = 0.05
SOLVER = """
import json, sys, time
import numpy as np
from da4ml.cmvm import solve
matrix = np.ascontiguousarray(np.load(sys.argv[1]), dtype=np.float32)
ranges = [(-128.0, 127.0, 1.0)] * len(matrix)
seconds = []
for _ in range(3):
    started = time.process_time()
    solution = solve(matrix, qintervals=ranges, hard_dc=int(sys.argv[2]))
    seconds.append(time.process_time() - started)
stages = [
    {
        "ops": [[op.id0, op.id1, op.opcode, op.data] for op in stage.ops],
        "inputs": list(stage.inp_shifts),
        "outputs": list(zip(stage.out_idxs, stage.out_shifts, map(int, stage.out_negs))),
    }
    for stage in solution.solutions
]
print(json.dumps([seconds, stages]))
"""
Matrix = npt.NDArray[np.int64]
Row = dict[str, Any]
SHAPES = [
    *(("rnd", n, n, bits) for n in (8, 16, 32) for bits in (4, 6, 8)),
    *(("conv", n, c, bits) for n, c in ((9, 8), (9, 16), (27, 16), (72, 16)) for bits in (4, 6, 8)),
    ("rnd", 64, 64, 8),
    ("conv", 144, 16, 8),
    ("convsp50", 144, 16, 8),
    ("convsp80", 144, 16, 8),
    ("convsp95", 144, 16, 8),
    ("dyad2", 9, 16, 8),
    ("dyad2", 144, 16, 8),
]


def random_matrix(kind: str, inputs: int, outputs: int, bits: int, seed: int) -> Matrix:
    """Uniform integers, Gaussian kernels scaled to the full range, or sums of powers of two.

    Of ``convsp80`` the smallest 80 % are zero; ``dyad2`` has two signed powers of two an entry.
    """
    rng = np.random.default_rng([seed, inputs, outputs, bits])
    most = (1 << (bits - 1)) - 1
    if kind == "rnd":
        return rng.integers(-most - 1, most, (inputs, outputs), endpoint=True)
    if kind == "dyad2":
        powers = 1 << rng.integers(0, bits - 1, (2, inputs, outputs))
        dyadic: Matrix = (powers * rng.choice([-1, 1], powers.shape)).sum(axis=0)
        return dyadic
    values = rng.standard_normal((inputs, outputs))
    if kind != "conv":
        share = int(kind.removeprefix("convsp")) / 100
        values[np.abs(values) < np.quantile(np.abs(values), share)] = 0
    scaled: Matrix = np.rint(values / np.abs(values).max() * most).astype(np.int64)
    return scaled


def matrices(cases: Path | None, only: str, seeds: int) -> Iterator[tuple[str, Matrix]]:
    """Name, as far as ``_s<seed>`` the class, and matrix."""
    for kind, inputs, outputs, bits in SHAPES:
        for seed in range(1, seeds + 1):
            name = f"{kind}_{inputs}x{outputs}_b{bits}_s{seed}"
            if re.search(only, name):
                yield name, random_matrix(kind, inputs, outputs, bits, seed)
    for path in sorted(cases.glob("*.npy")) if cases else ():
        if re.search(only, path.stem):
            yield path.stem, np.load(path).astype(np.int64)


def beside(python: str, matrix: Matrix, extra: int) -> Row:
    """What da4ml makes of a matrix, at most ``extra`` adders deeper than necessary (-1: any)."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, matrix)
        command = [python, "-c", SOLVER, file.name, str(extra)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, stages = json.loads(output.stdout)
    graph = graph_of(stages, len(matrix))
    graph.verify(matrix)
    adders = sum(op[2] in (0, 1) for stage in stages for op in stage["ops"])
    return {"adders": adders, "bits": graph.bits, "depth": graph.depth, "cpu": min(seconds)}


def graph_of(stages: list[Any], inputs: int) -> AdderGraph:
    """The adder graph of da4ml's operations; its values may have binary fractions."""
    builder = Builder((Range(-128, 127),) * inputs, share=False)
    row: list[Operand | None] = [Operand(k) for k in range(inputs)]

    def moved(operand: Operand | None, shift: int, negate: bool) -> Operand | None:
        return operand and Operand(operand.source, operand.shift + shift, operand.negate ^ negate)

    for stage in stages:
        row = [moved(o, shift, False) for o, shift in zip(row, stage["inputs"], strict=True)]
        values: list[Operand | None] = []
        for first, second, opcode, shift in stage["ops"]:
            if opcode == -1:
                values.append(row[first])
                continue
            assert opcode in (0, 1), opcode
            parts = (values[first], moved(values[second], shift, opcode == 1))
            values.append(builder.sum(part for part in parts if part is not None))
        row = [None if k < 0 else moved(values[k], s, bool(n)) for k, s, n in stage["outputs"]]
    return prune(fold_signs(builder.graph(row)))


def measured(make: Callable[[], AdderGraph]) -> Row:
    """Costs of a graph, and what it took to make it."""
    wall, cpu = monotonic(), process_time()
    graph = make()
    cpu, wall = process_time() - cpu, monotonic() - wall
    return {
        "adders": graph.adders, "bits": graph.bits, "depth": graph.depth, "cpu": cpu, "wall": wall,
    }  # fmt: skip


@click.command()
@click.option("--da4ml", "python", required=True, help="Interpreter with da4ml.")
@click.option("--cases", type=click.Path(path_type=Path, exists=True), help="Folder of matrices.")
@click.option(
    "--time", "limit", default=10.0, help="Seconds of each core in the long run; 0: none."
)
@click.option("--jobs", default=2, help="Cores of the long run.")
@click.option("--seeds", default=5, help="Random matrices of each class.")
@click.option("--only", default="", help="Matrices whose name has this regular expression.")
@click.option("--objective", type=click.Choice(["adders", "bits"]), default="adders")
@click.option("--depth", type=int, help="Levels above the least depth; by default any depth.")
@click.option("--results", type=click.Path(path_type=Path), help="JSON file of all results.")
def main(
    python: str, cases: Path | None, limit: float, jobs: int, seeds: int, only: str,
    objective: str, depth: int | None, results: Path | None,
) -> None:  # fmt: skip
    """Compare with da4ml and print a table by class."""
    rows: dict[str, Row] = {}
    if results is not None and results.exists():
        rows = json.loads(results.read_text())
    for _ in range(2):  # compiles, and loads what is compiled
        for shape in ((9, 4), (4, 9)):
            matrix = random_matrix("rnd", *shape, 8, 0)
            optimize(matrix, time_limit=0.1, objective=objective, max_depth=depth and 20)
    gc.freeze()  # da4ml's process is small: no run here is to search what the compiler left behind
    beyond = "any" if depth is None else f"+{depth}"
    classes: dict[str, list[Row]] = {}
    print(f"{'matrix':24}" + "".join(f"{h:>10}" for h in HEADINGS), flush=True)
    for name, matrix in matrices(cases, only, seeds):
        theirs = rows.setdefault(f"{name} da4ml {beyond}", {})
        if not theirs:
            theirs |= beside(python, matrix, -1 if depth is None else depth)
        deepest = None if depth is None else minimum_depth(matrix) + depth
        runs = {"equal": (max(theirs["cpu"], LEAST_TIME), 1), f"{limit:g} s": (limit, jobs)}
        row = {"da4ml": theirs}
        for label, (seconds, cores) in runs.items():
            ours = rows.setdefault(f"{name} {objective} {beyond} {label} {cores}", {})
            if not ours and seconds:
                ours |= measured(
                    partial(
                        optimize, matrix, objective=objective, max_depth=deepest,
                        time_limit=seconds, jobs=cores,
                    )
                )  # fmt: skip
            row["equal" if label == "equal" else "long"] = ours or theirs
        classes.setdefault(name.rsplit("_s", 1)[0], []).append(row)
        if results is not None:
            results.write_text(json.dumps(rows, indent=0))
        print(line(name, [row], objective), flush=True)
    print(f"\nMeans by class, and totals ({objective}, depth {beyond})")
    for name, group in classes.items():
        print(line(name, group, objective))
    everything = [row for group in classes.values() for row in group]
    print(line("total", everything, objective, total=True))


HEADINGS = (
    "da4ml",
    "equal",
    "",
    "long",
    "",
    "depth",
    "equal",
    "long",
    "cpu s",
    "equal s",
    "long s",
)


def line(name: str, rows: list[Row], what: str, *, total: bool = False) -> str:
    """Means (or totals) of some matrices."""

    def mean(run: str, column: str) -> float:
        values = [row[run][column] for row in rows]
        return float(sum(values) if total else np.mean(values))

    theirs = mean("da4ml", what)
    text = f"{name:24}{theirs:10.1f}"
    for run in ("equal", "long"):
        text += f"{mean(run, what):10.1f}{mean(run, what) / theirs - 1 if theirs else 0:+10.1%}"
    text += "".join(f"{mean(run, 'depth'):10.1f}" for run in ("da4ml", "equal", "long"))
    return text + "".join(f"{mean(run, 'cpu'):10.3f}" for run in ("da4ml", "equal", "long"))


if __name__ == "__main__":
    main()
