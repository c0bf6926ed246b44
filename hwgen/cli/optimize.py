"""``hwgen optimize``: one constant matrix as additions, subtractions and shifts."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import hwgen.flow.matrices as matrices
from hwgen.cli._console import ERRORS, print_json
from hwgen.cli._options import JSON, FiniteRange
from hwgen.errors import ResourceError

__all__ = ["optimize"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Few-adder graph of one constant matrix.")
@click.argument("source", type=click.Path(path_type=Path), metavar="MATRIX")
@click.option(
    "--objective",
    type=click.Choice(matrices.OBJECTIVES),
    default="adders",
    show_default=True,
    help="What to save: adders; adder cells (bits of carry chains); or LUTs of --target, with the "
    "registers of a pipeline.",
)
@click.option(
    "--target",
    type=click.Choice(matrices.TARGETS),
    help="Technology whose LUTs (asic: gates) are told, and that the Verilog suits.",
)
@click.option(
    "--depth",
    type=click.IntRange(0),
    metavar="N",
    help="Most adders on a path; 0 means as few as the matrix allows.",
)
@click.option(
    "--time",
    "seconds",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    help="How long to search; by default a short, fixed amount of work.",
)
@click.option(
    "--input-bits",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    metavar="N",
    help="Bits of each input.",
)
@click.option("--unsigned", is_flag=True, help="Inputs are not negative.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the search.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Threads; by default one a core.")
@click.option("--out", type=_FILE, metavar="GRAPH.json", help="Write the graph as JSON.")
@click.option("--svg", type=_FILE, metavar="FILE", help="Write a drawing of the graph.")
@click.option("--verilog", type=_FILE, metavar="FILE", help="Write a pipelined Verilog module.")
@click.option(
    "--stage-adders",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Adders between two registers of the Verilog; many: a register at the outputs only.",
)
@JSON
def optimize(
    source: Path,
    objective: str,
    target: str | None,
    depth: int | None,
    seconds: float | None,
    input_bits: int,
    unsigned: bool,
    seed: int,
    jobs: int | None,
    out: Path | None,
    svg: Path | None,
    verilog: Path | None,
    stage_adders: int,
    as_json: bool,
) -> None:
    """Find a graph of few adders for y = x MATRIX.

    MATRIX is an .npy, .csv or .txt file of inputs by outputs. It holds integers, or floats that
    are taken exactly and scaled up by a common power of two: the outputs then have as many
    fraction bits. Ctrl-C ends the search with the best graph so far.

    The lower bound is proved: no graph whatsoever has fewer adders.

    \b
        hwgen optimize dct.npy --time 10 --verilog dct.v
        hwgen optimize m.csv --objective bits --depth 0 --input-bits 12 --json
        hwgen optimize m.csv --objective luts --target ice40 --verilog m.v
    """
    if objective == "luts" and target is None:
        raise click.UsageError("--objective luts needs --target")
    matrix = matrices.load_matrix(source)
    options = matrices.MatrixOptions(
        input_range=matrices.input_range(input_bits, signed=not unsigned),
        objective=objective,
        target=target,
        max_depth=depth,
        time_limit=seconds,
        seed=seed,
        jobs=jobs or os.cpu_count() or 1,
    )
    with _interruptible() as interrupted, _best(seconds, quiet=as_json) as show:
        result = matrices.optimise_matrix(matrix, options, show)
    if interrupted:
        ERRORS.print("Interrupted; this is the best graph until then.")
    written = {"graph": out, "drawing": svg, "verilog": verilog}
    if out is not None:
        _write(out, result.graph.to_json() + "\n")
    if svg is not None:
        _write(svg, matrices.drawing(result.graph))
    if verilog is not None:
        text = matrices.verilog(result.graph, matrix, adders_per_stage=stage_adders, target=target)
        _write(verilog, text)
    if as_json:
        print_json(result.summary | {"fraction_bits": matrix.frac})
    else:
        _print(result, matrix, written)


@contextlib.contextmanager
def _interruptible() -> Iterator[list[bool]]:
    """A list that is empty until Ctrl-C has been pressed."""
    pressed: list[bool] = []

    def note(number: int, frame: Any) -> None:
        pressed.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _best(seconds: float | None, *, quiet: bool) -> Iterator[Callable[[int, int, int], None]]:
    """A function that shows the best graph so far on standard error, beside the time."""
    if quiet:
        yield lambda adders, cells, depth: None
        return
    limit = "" if seconds is None else f"of {seconds:g} s"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn(limit),
    )
    with Progress(*columns, console=ERRORS, transient=not ERRORS.is_terminal) as bars:
        task = bars.add_task("optimize", total=None)

        def show(adders: int, cells: int, depth: int) -> None:
            text = f"{adders:,} adders, {cells:,} cells, depth {depth}"
            bars.update(task, description=text)

        yield show


def _print(
    result: matrices.MatrixResult, matrix: matrices.DyadicMatrix, written: dict[str, Path | None]
) -> None:
    graph, bound = result.graph, result.solution.bound
    claim = (
        "optimal, proved"
        if result.solution.proved_optimal
        else f"at least {bound.adders:,} are needed"
    )
    rows = [
        ("adders", f"{graph.adders:,} ({claim}: {bound.proof})"),
        ("adder cells", f"{graph.bits:,}"),
        *([("LUTs", f"about {result.luts:,.0f}")] if result.luts is not None else []),
        ("depth", f"{graph.depth}"),
        ("time", f"{result.seconds:.2f} s ({result.cpu_seconds:.2f} s of processors)"),
    ]
    if matrix.frac:
        rows.insert(-1, ("outputs", f"with {matrix.frac} fraction bits"))
    rows += [(kind, str(path)) for kind, path in written.items() if path is not None]
    width = max(len(subject) for subject, _ in rows)
    for subject, line in rows:
        click.echo(f"{subject:<{width}}  {line}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResourceError(f"Cannot write {str(path)!r}: {error.strerror}") from None
