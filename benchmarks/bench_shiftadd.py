"""Adders of the shift-add optimiser beside da4ml's, by class of matrix, at equal processor time.

Run as ``python benchmarks/bench_shiftadd.py [--da4ml PYTHON] [--cases FOLDER] [--time S]``.
``PYTHON`` is the interpreter of an environment with da4ml; its solver runs on the same machine,
three times, and the least processor time counts. The optimiser gets as much on the same matrix, or
50 ms if that is less, and then ``S`` seconds. Matrices are random, two seeds a class, and those in
``FOLDER`` (``*_b<bits>_s<seed>.npy``, inputs by outputs).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from hwgen.shiftadd import optimize

LEAST_TIME = 0.05
SOLVER = """
import json, sys, time
import numpy as np
from da4ml.cmvm import solve
for path in sys.stdin.read().split():
    matrix = np.ascontiguousarray(np.load(path), dtype=np.float32)
    ranges = [(-128.0, 127.0, 1.0)] * len(matrix)
    seconds = []
    for _ in range(3):
        if seconds and sum(seconds) > 20:
            break
        started = time.process_time()
        solution = solve(matrix, qintervals=ranges)
        seconds.append(time.process_time() - started)
    adders = sum(op.opcode in (0, 1) for stage in solution.solutions for op in stage.ops)
    print(json.dumps([adders, min(seconds)]), flush=True)
"""
Matrix = npt.NDArray[np.int64]
SHAPES = [
    *(("rnd", n, n, bits) for n in (8, 16, 32) for bits in (4, 6, 8)),
    *(("conv", n, c, bits) for n, c in ((9, 8), (9, 16), (27, 16), (72, 16)) for bits in (4, 6, 8)),
    ("rnd", 64, 64, 8),
    ("conv", 144, 16, 8),
]


def random_matrix(kind: str, inputs: int, outputs: int, bits: int, seed: int) -> Matrix:
    """Uniform integers, or Gaussian kernels scaled to the full range."""
    rng = np.random.default_rng([seed, inputs, outputs, bits])
    most = (1 << (bits - 1)) - 1
    if kind == "rnd":
        return rng.integers(-most - 1, most, (inputs, outputs), endpoint=True)
    values = rng.standard_normal((inputs, outputs))
    return np.rint(values / np.abs(values).max() * most).astype(np.int64)


def matrices(cases: Path | None, only: str, seeds: int) -> Iterator[tuple[str, Matrix]]:
    """Name, as far as ``_s<seed>`` the class, and matrix."""
    for kind, inputs, outputs, bits in SHAPES:
        for seed in range(1, seeds + 1):
            name = f"{kind}_{inputs}x{outputs}_b{bits}_s{seed}"
            if only in name:
                yield name, random_matrix(kind, inputs, outputs, bits, seed)
    for path in sorted(cases.glob("*.npy")) if cases else ():
        if only in path.stem:
            yield path.stem, np.load(path)


def solve_beside(python: str, problems: list[tuple[str, Matrix]]) -> list[Any]:
    """Adders and processor seconds of da4ml for each matrix."""
    with tempfile.TemporaryDirectory() as folder:
        for name, matrix in problems:
            np.save(f"{folder}/{name}.npy", matrix)
        paths = "\n".join(f"{folder}/{name}.npy" for name, _ in problems)
        output = subprocess.run(
            [python, "-c", SOLVER], input=paths, stdout=subprocess.PIPE, text=True, check=True
        )
    return [json.loads(line) for line in output.stdout.splitlines()]


@click.command()
@click.option("--da4ml", "python", required=True, help="Interpreter with da4ml.")
@click.option("--cases", type=click.Path(path_type=Path, exists=True), help="Folder of matrices.")
@click.option("--time", "limit", default=10.0, help="Seconds of the long run.")
@click.option("--seeds", default=2, help="Random matrices of each class.")
@click.option("--only", default="", help="Matrices whose name contains this.")
def main(python: str, cases: Path | None, limit: float, seeds: int, only: str) -> None:
    """Compare with da4ml and print a table by class."""
    problems = list(matrices(cases, only, seeds))
    optimize(np.eye(3, 4) * 3 + 7, time_limit=0.01)  # compiles
    classes: dict[str, list[list[float]]] = {}
    heading = ("da4ml", "equal", "long", "bits", "depth", "da4ml s", "equal s")
    print(f"{'matrix':20}" + "".join(f"{h:>9}" for h in heading), flush=True)
    for (name, matrix), (adders, seconds) in zip(
        problems, solve_beside(python, problems), strict=True
    ):
        started = process_time()
        equal = optimize(matrix, time_limit=max(seconds, LEAST_TIME))
        spent = process_time() - started
        long = optimize(matrix, time_limit=limit)
        row = [adders, equal.adders, long.adders, long.bits, long.depth, seconds, spent]
        classes.setdefault(name.rsplit("_s", 1)[0], []).append(row)
        if len(name.rsplit("_s", 1)) == 2:
            show(name, row)
    print("\nMeans by class")
    for name, rows in classes.items():
        show(name, np.mean(rows, axis=0).tolist())


def show(name: str, row: list[float]) -> None:
    adders, equal, long, bits, depth, seconds, spent = row
    print(
        f"{name:20}{adders:9.1f}{equal:9.1f}{long:9.1f}{bits:9.0f}{depth:9.1f}"
        f"{seconds:9.3f}{spent:9.3f}   {equal / adders - 1:+.1%} {long / adders - 1:+.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
