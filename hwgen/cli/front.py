"""``hwgen front``: the trade-offs that a search found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hwgen.cli._console import print_json
from hwgen.cli._options import DIRECTORY, JSON
from hwgen.cli._result import write_file
from hwgen.cli._table import print_table
from hwgen.flow.searches import load_front
from hwgen.flow.workspace import Workspace
from hwgen.report.front import front_csv, front_png, front_table

__all__ = ["front"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="List the approximations to choose from.")
@DIRECTORY
@click.option("--csv", "csv_file", type=_FILE, metavar="FILE", help="Write the table as CSV.")
@click.option("--plot", "plot_file", type=_FILE, metavar="FILE.png", help="Write a plot as PNG.")
@JSON
def front(directory: Path, csv_file: Path | None, plot_file: Path | None, as_json: bool) -> None:
    """List the points of the Pareto front that 'hwgen approximate' found in DIR, cheapest first.

    The loss is that on the images that chose; 'hwgen approximate' tells the loss of the point that
    it builds on images that did not. 'Spoiled' is the share of these images that would no longer be
    decided right if the outputs were somewhat further off: the budget holds for it as for the loss,
    lest a lucky point be chosen. An arrow marks the point that the budget chose. JSON and CSV hold
    the recipe of every layer too.

    \b
        hwgen front out/face --plot front.png
        hwgen approximate out/face --point p7
    """
    found = load_front(Workspace.open(directory))
    if csv_file is not None:
        write_file(csv_file, front_csv(found).encode())
    if plot_file is not None:
        write_file(plot_file, front_png(found))
    if as_json:
        print_json(asdict(found))
        return
    table = front_table(found)
    print_table(table.columns, table.rows, numbers=table.columns[table.texts :])
