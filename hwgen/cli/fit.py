"""``hwgen fit``: the dyadic form of every matrix of a model, however many there are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

import hwgen.flow.fit as bulk
from hwgen.cli._console import ERRORS, print_json
from hwgen.cli._options import JSON
from hwgen.cli._table import print_table
from hwgen.flow.workspace import Workspace

__all__ = ["fit"]


@click.command(short_help="Nearest dyadic form of every matrix, in bulk.")
@click.argument("source", type=click.Path(path_type=Path), metavar="SOURCE")
@click.option(
    "--set",
    "dyadic_set",
    required=True,
    metavar="SET",
    help="Dyadic set: a name such as P6, 'terms(2,-4,0)', or values such as '{0,1/4,1/2,1}'.",
)
@click.option(
    "--scale",
    type=click.Choice(["kernel", "filter", "layer"]),
    default="kernel",
    show_default=True,
    help="What shares a scale. In hardware a scale a filter is free; a scale a kernel is not, "
    "because the sum over input channels comes before it.",
)
@click.option(
    "--scale-terms",
    type=click.IntRange(1, 8),
    metavar="N",
    help="Scales of at most N signed powers of two, chosen together with the codes; by default "
    "any real number.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output directory.")
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Parts at a time; by default one a core."
)
@click.option(
    "--backend",
    type=click.Choice(["threading", "loky", "dask"]),
    default="threading",
    show_default=True,
    help="Threads, processes (loky), or the workers of a Dask cluster (pip install 'hwgen[dask]'). "
    "Threads are fastest on one machine.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Dask scheduler such as tcp://10.0.0.1:8786; by default --backend dask starts a cluster "
    "of --jobs processes here.",
)
@JSON
def fit(
    source: Path,
    dyadic_set: str,
    scale: Any,
    scale_terms: int | None,
    out: Path,
    jobs: int | None,
    backend: Any,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Replace every matrix of SOURCE by the nearest multiple of a matrix over a dyadic set.

    SOURCE is a model (.onnx; all its linear layers) or an NPZ file of weight arrays of shape
    (O, I, H, W), (N, H, W) or (N, n). Each scale is the best of all, found exactly. No images are
    needed and no hardware is made; 'hwgen approximate' chooses sets by accuracy.

    DIR/fit.npz holds NAME/codes and NAME/scale of every layer, DIR/fit.json errors, terms and
    adders. An interrupted run continues when the same command is given again.

    \b
        hwgen fit alexnet.npz --set P6 --out out/alexnet
        hwgen fit face.onnx --set '{0,1/4,1/2,1}' --scale filter --scale-terms 3 --out out/fit
        hwgen fit alexnet.npz --set P6 --backend dask --scheduler tcp://10.0.0.1:8786 --out out/a
    """
    if scheduler is not None and backend != "dask":
        raise click.UsageError("--scheduler goes with --backend dask")
    options = bulk.FitOptions(
        dyadic_set=dyadic_set,
        scale=scale,
        scale_terms=scale_terms,
        jobs=jobs,
        backend=backend,
        scheduler=scheduler,
    )
    workspace = Workspace.create(out)
    with _bar(quiet=as_json) as progress:
        summary = bulk.fit(workspace, source, options, progress)
    if as_json:
        print_json(summary)
    else:
        _print(summary, workspace)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} scales/s")


@contextlib.contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error with the scales found, their rate and the time left."""
    if quiet:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERRORS, transient=not ERRORS.is_terminal) as bars:
        task = bars.add_task("fit", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _print(summary: Mapping[str, Any], workspace: Workspace) -> None:
    numbers = ("matrices", "weights", "scales", "squared error", "terms a weight", "adders")
    rows = [_cells(name, figures) for name, figures in summary["layers"].items()]
    rows.append(_cells("all", summary))
    print_table(("layer", *numbers), rows, numbers=numbers)
    rate = summary["matrices"] / max(summary["seconds"], 1e-3)
    click.echo(f"{summary['seconds']:.1f} s, {rate:,.0f} matrices a second")
    for name in (bulk.CODES, bulk.SUMMARY):
        click.echo(str(workspace.path(name)))


def _cells(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        *(f"{figures[key]:,}" for key in ("matrices", "weights", "scales")),
        f"{figures['relative_squared_error']:.3%}",
        f"{figures['terms_a_weight']:.3f}",
        f"{figures['adders']:,}",
    )
