"""Segments and errors of piecewise-linear activations with dyadic slopes.

    python benchmarks/bench_activations.py [--terms 2] [--plot activations.svg]

For each function and allowed error: the segments found, the error that they reach, the fewest
segments of any piecewise-linear function (any slopes, jumps allowed), and the error relative to the
least of any function with as many segments. All on -8 .. 8, exp on -8 .. 0.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from hwgen.approx.activations import activation_error, approximate_activation
from hwgen.approx.minimax_bound import least_error_bound, segments_bound
from hwgen.approx.piecewise import evaluate
from hwgen.network.execute import apply
from hwgen.network.types import Activation, FloatArray

KINDS = ("tanh", "sigmoid", "silu", "gelu", "exp")
ERRORS = (64, 128, 256)


def _range(kind: str) -> tuple[float, float]:
    return (-8.0, 0.0) if kind == "exp" else (-8.0, 8.0)


def _exact(kind: str, x: FloatArray) -> FloatArray:
    return np.asarray(apply(Activation(kind), [x.reshape(1, 1, 1, -1)])).ravel()


@click.command()
@click.option("--terms", default=2, show_default=True, help="Signed powers of two in a slope.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the errors as a picture.")
def main(terms: int, plot: Path | None) -> None:
    """Print the table."""
    table = Table("function", "error", "segments", "reached", "bound", "of least error", "seconds")
    figure = Figure(figsize=(8, 9), layout="constrained")
    for row, kind in enumerate(KINDS):
        axes = figure.add_subplot(len(KINDS), 1, row + 1)
        axes.set_title(kind)
        for parts in ERRORS:
            op, (lo, hi) = Activation(kind), _range(kind)
            start = time.perf_counter()
            form = approximate_activation(op, lo, hi, max_error=1 / parts, terms=terms)
            seconds = time.perf_counter() - start
            segments, error = form.slopes.shape[1], activation_error(form, op, lo, hi)

            def exact(x: FloatArray, kind: str = kind) -> FloatArray:
                return _exact(kind, x)

            bound = segments_bound(exact, lo, hi, max_error=1 / parts)
            least = least_error_bound(exact, lo, hi, segments=segments)
            table.add_row(
                kind,
                f"1/{parts}",
                str(segments),
                f"1/{1 / error:.0f}",
                str(bound),
                f"{error / least:.2f}",
                f"{seconds:.2f}",
            )
            x = np.linspace(lo, hi, 2001)
            axes.plot(x, evaluate(form, x) - exact(x), lw=0.8, label=f"{segments} segments")
        axes.legend(loc="upper right", fontsize=7)
    Console().print(table)
    if plot is not None:
        figure.savefig(plot)


if __name__ == "__main__":
    main()
