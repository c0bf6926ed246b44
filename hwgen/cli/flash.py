"""``hwgen flash``: the bitstream onto the board."""

from __future__ import annotations

from pathlib import Path

import click

from hwgen.boards import find_board
from hwgen.boards.flash import flash as write_flash
from hwgen.cli._options import DIRECTORY
from hwgen.errors import ResourceError
from hwgen.flow.results import read_result
from hwgen.flow.workspace import Workspace

__all__ = ["flash"]


@click.command(short_help="Write the bitstream into the board's flash memory.")
@DIRECTORY
@click.option("--board", help="Board that is connected; by default that of the bitstream.")
def flash(directory: Path, board: str | None) -> None:
    """Write the bitstream of DIR into the flash memory of a board, where it stays.

    Needs openFPGALoader, or iceprog for an iCE40.

    \b
        hwgen flash out/face
    """
    workspace = Workspace.open(directory)
    built = read_result(workspace, "synth")
    if built is None or built["bitstream"] is None:
        raise ResourceError(
            f"There is no bitstream in {workspace.root}: run 'hwgen synth {workspace.root} "
            f"--board {board or 'BOARD'}'"
        )
    target = find_board(board or built["board"])
    if target.name != built["board"]:
        raise ResourceError(
            f"The board must be that of the bitstream, {built['board']}: not {target.name!r}"
        )
    bitstream = workspace.path("synthesis") / built["bitstream"]
    if not bitstream.is_file():
        raise ResourceError(f"The bitstream is missing: {bitstream}")
    loader = write_flash(target, bitstream, log=workspace.path("synthesis") / "flash.log")
    click.echo(f"{loader} wrote {bitstream} to {target.title}")
