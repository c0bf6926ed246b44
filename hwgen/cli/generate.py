"""``hwgen generate``: write the Verilog."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._console import progress_bars
from hwgen.cli._options import DIRECTORY, EFFORT, JSON
from hwgen.cli._result import finish
from hwgen.flow.options import GenerateOptions
from hwgen.flow.workspace import Workspace
from hwgen.toolchain.synthesis import FAMILIES

__all__ = ["generate"]


@click.command(short_help="Write the Verilog.")
@DIRECTORY
@click.option("--family", type=click.Choice(sorted(FAMILIES)), help="FPGA family to save LUTs on.")
@EFFORT
@JSON
def generate(directory: Path, family: str | None, effort: int, as_json: bool) -> None:
    """Build the streaming datapath of the integer network in DIR and write DIR/design.v.

    \b
        hwgen generate out/face
        hwgen generate out/face --family ice40
        hwgen generate out/face --effort 1000    # fewer adders, slower
    """
    workspace = Workspace.open(directory)
    with progress_bars(quiet=as_json) as progress:
        stages.generate(workspace, GenerateOptions(family=family, effort=effort), progress)
    finish(workspace, as_json=as_json)
