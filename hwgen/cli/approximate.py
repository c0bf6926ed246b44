"""``hwgen approximate``: make every constant dyadic and every tensor an integer."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._console import progress_bars
from hwgen.cli._options import APPROXIMATE_OPTIONS, JSON, add_options, approximate_options
from hwgen.cli._result import finish
from hwgen.flow.workspace import Workspace

__all__ = ["approximate"]


@click.command(short_help="Make every constant dyadic.")
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR|MODEL.onnx")
@click.option("--out", type=click.Path(path_type=Path), help="Output directory, for MODEL.onnx.")
@add_options(APPROXIMATE_OPTIONS)
@JSON
def approximate(source: Path, out: Path | None, as_json: bool, **_: object) -> None:
    """Replace every constant of the network by sums of few signed powers of two.

    Searches the recipes of all layers for the best trade-offs of cost and loss, keeps them as a
    front, and builds the cheapest one within the budget, or the one that --point names. Then every
    tensor gets a fixed-point format. Accuracy is reported on images that chose nothing.

    \b
        hwgen approximate face.onnx --out out/face --data train.npz --test test.npz --budget 1%
        hwgen front out/face
        hwgen approximate out/face --point p7
    """
    if out is None and source.is_file():
        raise click.UsageError("Missing option '--out': where to put what is made of the model.")
    workspace = Workspace.open(source) if out is None else Workspace.create(out)
    options = approximate_options(workspace)
    if out is not None:
        stages.import_model(workspace, source)
    with progress_bars(quiet=as_json) as progress:
        stages.approximate(workspace, options, progress)
    finish(workspace, as_json=as_json)
