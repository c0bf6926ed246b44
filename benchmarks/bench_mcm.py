"""Adders for one input, for one output and for video transforms, beside known figures.

Run as ``python benchmarks/bench_mcm.py [--cases FOLDER]... [--known CSV]... [--time S]
[--transforms]``. Matrices are ``*.npy`` files (inputs by outputs) in the folders; those with one
row or one column count. A CSV has a row for each case: its name first, and columns whose names end
in ``adders``, which are shown beside the result and summed up over the cases that have them.
"""

from __future__ import annotations

import csv
from math import cos, pi
from pathlib import Path
from time import process_time

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from hwgen.shiftadd import optimize
from hwgen.shiftadd.mcm import mcm_lower_bound

Matrix = npt.NDArray[np.int64]

# Coefficients of the odd rows of each size of the HEVC transform (ITU-T H.265, 8.6.4.2).
HEVC = {
    4: (83, 36),
    8: (89, 75, 50, 18),
    16: (90, 87, 80, 70, 57, 43, 25, 9),
    32: (90, 90, 88, 85, 82, 78, 73, 67, 61, 54, 46, 38, 31, 22, 13, 4),
}
# First halves of the rows of the 8-point transform of H.264; odd rows are antisymmetric.
H264 = (
    (8, 8, 8, 8),
    (12, 10, 6, 3),
    (8, 4, -4, -8),
    (10, -3, -12, -6),
    (8, -8, -8, 8),
    (6, -12, 3, 10),
    (4, -8, 8, -4),
    (3, -6, 10, -12),
)


def hevc(points: int) -> Matrix:
    """The HEVC transform of that size (inputs, outputs).

    Row ``k = 2**s q``, q odd, has the coefficients of the size ``points / 2**s``: at place i, that
    of the angle ``(2 i + 1) q`` in quarter turns of that size, reduced to the first one.
    """
    matrix = np.full((points, points), 64, np.int64)
    for row in range(1, points):
        size, q = points // (row & -row), row // (row & -row)
        for i in range(points):
            angle = (2 * i + 1) * q % (4 * size)
            angle = min(angle, 4 * size - angle)
            angle = min(angle, 2 * size - angle)
            value = HEVC[size][angle // 2] if size > 2 else 64
            matrix[i, row] = value if cos((2 * i + 1) * row * pi / (2 * points)) > 0 else -value
    return matrix


def transforms() -> dict[str, Matrix]:
    """The video transforms by name."""
    rows = [(*half, *((-1) ** k * v for v in half[::-1])) for k, half in enumerate(H264)]
    return {f"HEVC {n}": hevc(n) for n in HEVC} | {"H.264 8": np.array(rows, np.int64).T}


def matrices(folders: tuple[Path, ...]) -> dict[str, Matrix]:
    """Those of one row or one column, by name."""
    loaded = {path.stem: np.load(path) for folder in folders for path in folder.glob("*.npy")}
    return {name: m for name, m in sorted(loaded.items()) if min(m.shape) == 1}


def known_figures(files: tuple[Path, ...]) -> dict[str, dict[str, int]]:
    """Adders by column and case."""
    figures: dict[str, dict[str, int]] = {}
    for path in files:
        for row in csv.DictReader(path.read_text().splitlines()):
            name = next(iter(row.values()))
            for column, value in row.items():
                if column.endswith("adders"):
                    figures.setdefault(column, {})[name] = int(value)
    return figures


@click.command()
@click.option("--cases", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--known", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--time", "limit", default=10.0, help="Seconds for each matrix.")
@click.option("--objective", default="adders", type=click.Choice(["adders", "bits"]))
@click.option("--transforms", "video", is_flag=True, help="Video transforms as well.")
def main(
    cases: tuple[Path, ...], known: tuple[Path, ...], limit: float, objective: str, video: bool
) -> None:
    """Optimise each matrix and print a table, with sums."""
    figures = known_figures(known)
    problems = matrices(cases) | (transforms() if video else {})
    optimize([[3, 171]], time_limit=0.01, objective=objective)  # compiles
    heading = ["matrix", "inputs", "outputs", "adders", "bound", "bits", "depth", "seconds"]
    table = Table(*heading, *figures)
    sums: dict[str, list[int]] = {column: [] for column in figures}
    total = np.zeros(4)
    for name, matrix in problems.items():
        started = process_time()
        graph = optimize(matrix, time_limit=limit, objective=objective)
        seconds = process_time() - started
        bound = str(mcm_lower_bound(matrix[0].tolist())) if len(matrix) == 1 else ""
        total += [graph.adders, graph.bits, seconds, bound == str(graph.adders)]
        for column, adders in figures.items():
            if name in adders:
                sums[column].append(graph.adders - adders[name])
        table.add_row(
            name,
            *map(str, matrix.shape),
            str(graph.adders),
            bound,
            str(graph.bits),
            str(graph.depth),
            f"{seconds:.2f}",
            *(str(adders.get(name, "")) for adders in figures.values()),
        )
    console = Console(width=140)
    console.print(table)
    sum_of_adders, bits, sum_of_seconds, proved = total
    console.print(
        f"{len(problems)} matrices: {sum_of_adders:.0f} adders, {bits:.0f} bits, "
        f"{sum_of_seconds:.1f} s; {proved:.0f} equal to their lower bound"
    )
    for column, differences in sums.items():
        best = sum(figures[column].values())
        console.print(
            f"{column}: {best} for {len(differences)} cases, here {best + sum(differences)}; "
            f"fewer in {sum(d < 0 for d in differences)}, more in {sum(d > 0 for d in differences)}"
        )


if __name__ == "__main__":
    main()
