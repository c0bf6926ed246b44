"""Time and gap of the knapsack solver against HiGHS on growing zero-one programs.

    .venv/bin/python benchmarks/bench_zero_one.py [--largest 10000000] [--limit 60]

Gaussian weights, one block, a scale at which P8 has about one signed power of two a weight, and a
limit of 0.7 a weight on the whole program. HiGHS goes on to ten times the weights only while it
takes less than a fifth of its limit. Both are timed from the program to the codes; compilation is
not timed. ``excess`` is the knapsack's error over that of HiGHS, less one (HiGHS keeps to its
tolerances); ``relaxation`` how far the Lagrangian bound was below the optimum before the gap was
closed; ``gap`` what is not proved.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from hwgen.approx import knapsack
from hwgen.approx.sets import parse_set
from hwgen.approx.zero_one import Block, Limit, ZeroOneProgram, ZeroOneSolution, solve_highs
from hwgen.errors import BudgetError

_SCALE = 3.0
_MEAN = 0.7


def _program(size: int, dyadic_set: str, seed: int) -> ZeroOneProgram:
    weights = np.random.default_rng(seed).standard_normal(size)
    block = Block(weights, _SCALE, parse_set(dyadic_set))
    return ZeroOneProgram((block,), (Limit("terms", int(_MEAN * size)),))


def _timed(
    solve: Callable[[ZeroOneProgram], ZeroOneSolution], program: ZeroOneProgram
) -> tuple[ZeroOneSolution, float]:
    start = time.perf_counter()
    return solve(program), time.perf_counter() - start


@click.command()
@click.option("--largest", type=int, default=10_000_000, show_default=True, help="Most weights.")
@click.option("--limit", type=float, default=60.0, show_default=True, help="Seconds for HiGHS.")
@click.option("--set", "dyadic_set", default="P8", show_default=True, help="Dyadic set.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(largest: int, limit: float, dyadic_set: str, seed: int) -> None:
    """Print the table."""
    knapsack.solve(_program(100, dyadic_set, seed))
    sizes = [10**k for k in range(2, 9) if 10**k <= largest]
    table = Table("weights", title=f"{dyadic_set}, at most {_MEAN} terms a weight")
    for column in ("knapsack s", "relaxation", "gap", "peak GB", "HiGHS s", "excess", "speed-up"):
        table.add_column(column, justify="right")
    rows = []
    # all of the knapsack first: HiGHS raises the peak of memory
    for size in sizes:
        fast, seconds = _timed(knapsack.solve, _program(size, dyadic_set, seed))
        below = (fast.error - fast.relaxation) / fast.error
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux: KiB
        cells = [f"{size:,}", f"{seconds:.4f}", f"{below:.1e}", f"{fast.gap:.1e}", f"{peak:.2f}"]
        rows.append((size, fast.error, seconds, cells))
    allowed = True
    for size, error, seconds, cells in rows:
        if allowed:
            try:
                program = _program(size, dyadic_set, seed)
                exact, slow = _timed(lambda p: solve_highs(p, time_limit=limit), program)
                excess = error / exact.error - 1
                cells += [f"{slow:.2f}", f"{excess:.1e}", f"{slow / seconds:,.0f}"]
                allowed = slow <= limit / 5
            except BudgetError:
                cells += [f"over {limit:g}", "", ""]
                allowed = False
        table.add_row(*cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
