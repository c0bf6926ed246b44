"""``hwgen approximate``: make every constant dyadic and every tensor an integer."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._console import progress_bars
from hwgen.cli._options import APPROXIMATE_OPTIONS, DIRECTORY, JSON, add_options
from hwgen.cli._result import finish
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.workspace import Workspace

__all__ = ["approximate"]


@click.command(short_help="Make every constant dyadic.")
@DIRECTORY
@add_options(APPROXIMATE_OPTIONS)
@JSON
def approximate(
    directory: Path,
    data: Path,
    test: Path | None,
    budget: float,
    dyadic_set: str | None,
    bits: int,
    seed: int,
    as_json: bool,
) -> None:
    """Replace every constant of the network in DIR by sums of few signed powers of two.

    Chooses the cheapest dyadic set layer by layer that keeps the loss within the budget, then
    gives every tensor a fixed-point format. Accuracy is reported on images that chose nothing.

    \b
        hwgen approximate out/face --data train.npz --test test.npz --budget 1%
    """
    workspace = Workspace.open(directory)
    options = ApproximateOptions(
        data=data, test=test, budget=budget, dyadic_set=dyadic_set, bits=bits, seed=seed
    )
    with progress_bars(quiet=as_json) as progress:
        stages.approximate(workspace, options, progress)
    finish(workspace, as_json=as_json)
