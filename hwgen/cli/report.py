"""``hwgen report``: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._options import DIRECTORY, JSON
from hwgen.cli._result import finish
from hwgen.flow.workspace import Workspace

__all__ = ["report"]


@click.command(short_help="Write report.html.")
@DIRECTORY
@JSON
def report(directory: Path, as_json: bool) -> None:
    """Write DIR/report.html and DIR/summary.json from whatever stages have run.

    \b
        hwgen report out/face
    """
    workspace = Workspace.open(directory)
    stages.report(workspace)
    finish(workspace, as_json=as_json)
