"""``hwgen complexity``: multiplications, additions and shifts, layer by layer."""

from __future__ import annotations

import io
from pathlib import Path

import click

import hwgen.flow.complexity as counting
from hwgen.cli._console import progress_bars
from hwgen.cli._options import DIRECTORY
from hwgen.cli._result import write_file
from hwgen.cli._table import print_table
from hwgen.flow.workspace import Workspace
from hwgen.report.complexity import EXPORTS, complexity_tables
from hwgen.report.tables import Table

__all__ = ["complexity"]

_TABLE = "table"


@click.command(short_help="Count multiplications, additions and shifts.")
@DIRECTORY
@click.option(
    "--shared",
    is_flag=True,
    help="Also count after common subexpressions are shared; takes seconds a large layer.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice((_TABLE, *EXPORTS)),
    default=_TABLE,
    show_default=True,
    help="How to write the counts.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this file instead of standard output.",
)
def complexity(directory: Path, shared: bool, form: str, out: Path | None) -> None:
    """Count the operations of the network in DIR, float and dyadic, for one output and one image.

    An output is one pixel of all channels of a layer. Dyadic counts are those before any sharing of
    partial sums, as papers count; with --shared those after it too.

    \b
        hwgen complexity out/face
        hwgen complexity out/face --shared --format latex --out face.tex
    """
    workspace = Workspace.open(directory)
    with progress_bars(quiet=False) as progress:
        counted = counting.complexity(workspace, shared=shared, progress=progress)
    text = _tables(complexity_tables(counted)) if form == _TABLE else EXPORTS[form](counted)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_file(out, text.encode())


def _tables(tables: tuple[tuple[str, Table], ...]) -> str:
    text = io.StringIO()
    for place, (title, table) in enumerate(tables):
        text.write(f"\n{title}\n" if place else f"{title}\n")
        print_table(table.columns, table.rows, numbers=table.columns[table.texts :], file=text)
    text.write("\n\u00d7 multiplications, + additions, \u226a shifts (wires in hardware)\n")
    return text.getvalue()
