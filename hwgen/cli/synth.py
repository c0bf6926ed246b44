"""``hwgen synth``: synthesis, place and route, bitstream."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.boards import Wires
from hwgen.cli._console import progress_bars
from hwgen.cli._options import DIRECTORY, JSON, SYNTH_OPTIONS, add_options
from hwgen.cli._result import finish
from hwgen.flow.options import SynthOptions
from hwgen.flow.workspace import Workspace

__all__ = ["synth"]


@click.command(short_help="Synthesise, place, route and pack a bitstream.")
@DIRECTORY
@add_options(SYNTH_OPTIONS)
@JSON
def synth(
    directory: Path,
    board: str,
    clock: float | None,
    link: Wires,
    baud: int | None,
    frequency: float | None,
    time_limit: float,
    attempts: int,
    no_route: bool,
    as_json: bool,
) -> None:
    """Build the bitstream of DIR/design.v for a board, without any multiplier or DSP block.

    \b
        hwgen synth out/face --board ulx3s-25f
    """
    workspace = Workspace.open(directory)
    options = SynthOptions(
        board=board,
        clock=clock,
        link=link,
        baud=baud,
        frequency=frequency,
        time_limit=time_limit,
        attempts=attempts,
        route=not no_route,
    )
    with progress_bars(quiet=as_json) as progress:
        stages.synthesise(workspace, options, progress)
    finish(workspace, as_json=as_json)
