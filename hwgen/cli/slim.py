"""``hwgen slim``: fewer features and smaller kernels within an accuracy budget."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._console import print_json, progress_bars
from hwgen.cli._options import JSON, add_options
from hwgen.cli._result import finish
from hwgen.cli._slim import SLIM_OPTIONS, slim_options
from hwgen.cli._table import print_table
from hwgen.flow.source import undo_slim
from hwgen.flow.summary import gather
from hwgen.flow.workspace import Workspace
from hwgen.report.slim import slim_facts, slim_table

__all__ = ["slim"]

_PATH = click.Path(path_type=Path)


@click.command(short_help="Drop features and reduce kernels.")
@click.argument("source", type=_PATH, metavar="DIR|MODEL.onnx")
@click.option("--out", type=_PATH, help="Output directory, for MODEL.onnx.")
@add_options(SLIM_OPTIONS)
@click.option(
    "--undo",
    is_flag=True,
    help="Go back to the network as it was imported; nothing else is done.",
)
@JSON
def slim(source: Path, out: Path | None, undo: bool, as_json: bool, **_: object) -> None:
    """Make the network smaller, without training, as far as the budget allows.

    Features that others can stand for are left out, and kernels reduced to fewer taps; the weights
    that stay make up for it. Then every command works on the slimmed network, and every loss stays
    the loss against the network as it was imported: the --budget of 'hwgen approximate' is for
    both together. The table shows each layer before and after.

    \b
        hwgen slim face.onnx --out out/face --data train.npz --test test.npz --budget 0.5%
        hwgen approximate out/face --data train.npz --test test.npz --budget 1%
        hwgen slim out/face --undo
    """
    if out is None and source.is_file():
        raise click.UsageError("Missing option '--out': where to put what is made of the model.")
    if undo:
        workspace = Workspace.open(source if out is None else out)
        undo_slim(workspace)
        finish(workspace, as_json=as_json)
        return
    workspace = Workspace.open(source) if out is None else Workspace.create(out)
    options = slim_options()
    if out is not None:
        stages.import_model(workspace, source)
    with progress_bars(quiet=as_json) as progress:
        stages.slim(workspace, options, progress)
    found = gather(workspace).slim
    assert found is not None
    if as_json:
        print_json(found)
        return
    table = slim_table(found)
    print_table(table.columns, table.rows, numbers=table.columns[table.texts :])
    click.echo()
    for subject, line in slim_facts(found):
        click.echo(f"{subject:<9}{line}")
