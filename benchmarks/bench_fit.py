"""The scale search at AlexNet's size: time, memory, growth, and against zero-one programs.

    OMP_NUM_THREADS=1 python benchmarks/bench_fit.py [--jobs 2] [--backend threading] [--json]

Every matrix of :mod:`alexnet` gets its exact best scale over P6 = {0, ±1/4, ±1/2, ±1, ±2, ±4}.

* All matrices: wall clock and processor seconds of the fit, peak memory of the whole program and of
  its largest child (weights and codes included). Compiled code is loaded before.
* Growth: the first 10^3 to 10^6 matrices of fc6, the same way.
* A random sample of the same matrices as zero-one programs, one after the other on one core. HiGHS
  gets the best scale for free and finds the codes only. ``cvxpy`` is
  :func:`hwgen.approx.zero_one.solve_highs`, whose time is mostly the statement; ``milp`` hands the
  same program to HiGHS directly through SciPy. The multiple compares processor seconds a matrix,
  so that the number of cores does not enter. The errors must be equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from hwgen.approx.bulk import MatrixFit, fit_matrices
from hwgen.approx.scale import best_scale
from hwgen.approx.sets import parse_set
from hwgen.approx.zero_one import Block, ZeroOneProgram, solve_highs

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import alexnet

P6 = parse_set("P6")
GROWTH = (1_000, 10_000, 100_000, 1_000_000)

Weights = Mapping[str, npt.NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--backend", default="threading", choices=["threading", "loky", "dask"])
    parser.add_argument("--sample", type=int, default=200, help="matrices solved by HiGHS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    weights = {
        name: alexnet.weights(shape, arguments.seed + index)
        for index, (name, shape) in enumerate(alexnet.SHAPES.items())
    }
    options = {"jobs": arguments.jobs, "backend": arguments.backend}
    fit_matrices({"w": weights["fc6"][:1]}, P6, **options)
    found = {"jobs": arguments.jobs, "backend": arguments.backend}
    found |= all_matrices(weights, options)
    found["growth"] = growth(weights["fc6"], options)
    found["zero_one"] = zero_one(weights, arguments.sample, arguments.seed)
    for solver in ("cvxpy", "milp"):
        entry = found["zero_one"][solver]
        entry["multiple"] = entry["seconds_a_matrix"] * found["matrices"] / found["cpu_seconds"]
    if arguments.json:
        json.dump(found, sys.stdout, indent=1)
    else:
        print_tables(found)


def timed(work: Callable[[], MatrixFit]) -> tuple[MatrixFit, float, float]:
    """The result of ``work``, its seconds of wall clock, and those of processors, children too."""
    wall, cpu = time.monotonic(), cpu_seconds()
    result = work()
    return result, time.monotonic() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (_SELF, _CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


_SELF, _CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN


def peak_megabytes(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def all_matrices(weights: Weights, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every matrix of AlexNet, with a progress bar."""
    with Progress() as bar:
        task = bar.add_task("matrices")
        fit, wall, cpu = timed(
            lambda: fit_matrices(
                weights,
                P6,
                **options,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        )
    return {
        "matrices": fit.matrices,
        "weights": fit.weights,
        "seconds": wall,
        "cpu_seconds": cpu,
        "matrices_a_second": fit.matrices / wall,
        "peak_megabytes": peak_megabytes(_SELF),
        "peak_megabytes_of_a_child": peak_megabytes(_CHILDREN),
        "relative_squared_error": fit.relative_error(),
        "terms": fit.terms(),
        "adders": fit.adders(),
    }


def growth(kernels: npt.NDArray[np.float32], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same for the first matrices of one layer; of three repetitions the fastest."""
    matrices = kernels.reshape(-1, *kernels.shape[2:])
    rows = []
    for count in GROWTH:
        part = {"w": matrices[:count]}
        work = partial(fit_matrices, part, P6, **options)
        wall, cpu = min(timed(work)[1:] for _ in range(3))
        rows.append({"matrices": count, "seconds": wall, "cpu_seconds": cpu})
    return rows


def zero_one(weights: Weights, sample: int, seed: int) -> dict[str, Any]:
    """A sample of the matrices as zero-one programs, each by two ways to HiGHS."""
    rng = np.random.default_rng(seed)
    counts = [len(w) * w.shape[1] for w in weights.values()]
    matrices = []
    for index in rng.choice(sum(counts), size=sample, replace=False).tolist():
        for weight, count in zip(weights.values(), counts, strict=True):
            if index < count:
                matrices.append(weight.reshape(count, -1)[index].astype(np.float64))
                break
            index -= count
    best = [best_scale(matrix[None], P6) for matrix in matrices]
    found: dict[str, Any] = {"sample": sample}
    ways: dict[str, Callable[[npt.NDArray[np.float64], float], float]] = {
        "cvxpy": lambda matrix, scale: (
            solve_highs(ZeroOneProgram((Block(matrix, scale, P6),))).error
        ),
        "milp": direct,
    }
    for name, solve in ways.items():
        solve(matrices[0], float(best[0].scale[0]))
        start = cpu_seconds()
        errors = [solve(m, float(b.scale[0])) for m, b in zip(matrices, best, strict=True)]
        seconds = cpu_seconds() - start
        energy = [float(m @ m) for m in matrices]
        apart = [
            abs(error - float(b.error[0])) / e
            for error, b, e in zip(errors, best, energy, strict=True)
        ]
        found[name] = {
            "seconds_a_matrix": seconds / sample,
            "largest_difference_of_errors": max(apart),
            "equal": sum(difference < 1e-9 for difference in apart),
        }
    return found


def direct(matrix: npt.NDArray[np.float64], scale: float) -> float:
    """The least squared error at ``scale``, by HiGHS through SciPy."""
    numbers = scale * P6.values
    cost = (matrix[:, None] - numbers) ** 2
    one_each = sparse.kron(sparse.eye_array(len(matrix)), np.ones((1, len(numbers))), "csr")
    solution = milp(
        (cost / (matrix @ matrix)).ravel(),
        integrality=np.ones(cost.size),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(one_each, 1, 1),
    )
    return float(cost.ravel() @ np.rint(solution.x))


def print_tables(found: Mapping[str, Any]) -> None:
    print(f"| {found['backend']}, {found['jobs']} jobs | |\n|---|---|")
    print(f"| matrices | {found['matrices']:,} ({found['weights']:,} weights) |")
    print(f"| wall clock | {found['seconds']:.1f} s |")
    print(f"| processors | {found['cpu_seconds']:.1f} s |")
    print(f"| matrices a second | {found['matrices_a_second']:,.0f} |")
    print(f"| peak memory | {found['peak_megabytes']:,.0f} MB |")
    print(f"| ... of the largest child | {found['peak_megabytes_of_a_child']:,.0f} MB |")
    print(f"| relative squared error | {found['relative_squared_error']:.4%} |")
    print("\n| matrices | wall clock | processors | microseconds of processor a matrix |")
    print("|---|---|---|---|")
    for row in found["growth"]:
        each = 1e6 * row["cpu_seconds"] / row["matrices"]
        print(
            f"| {row['matrices']:,} | {row['seconds']:.4f} s | {row['cpu_seconds']:.4f} s "
            f"| {each:.2f} |"
        )
    sample = found["zero_one"]
    print(f"\n| {sample['sample']} as zero-one programs | ms a matrix | multiple | equal errors |")
    print("|---|---|---|---|")
    for name in ("cvxpy", "milp"):
        row = sample[name]
        print(
            f"| HiGHS through {name} | {1e3 * row['seconds_a_matrix']:.2f} "
            f"| {row['multiple']:,.0f} | {row['equal']} of {sample['sample']} |"
        )


if __name__ == "__main__":
    main()
