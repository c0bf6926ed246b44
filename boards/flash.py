"""Bitstreams written into a board's flash memory, with a loader that the user has installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from hwgen.boards.types import Board
from hwgen.errors import ToolNotFoundError
from hwgen.toolchain.process import Program, run_program

__all__ = ["flash", "flash_command"]

_TIME_LIMIT = 600.0  # seconds; a slow cable takes two minutes for an ECP5


def flash_command(board: Board, bitstream: Path) -> tuple[str, ...]:
    """The command that writes ``bitstream``: openFPGALoader, or else iceprog for an iCE40.

    Raises
    ------
    ToolNotFoundError
        If there is no loader for the board.
    """
    if loader := shutil.which("openFPGALoader"):
        return (loader, "-b", board.loader, "-f", str(bitstream))
    if board.family == "ice40" and (loader := shutil.which("iceprog")):
        return (loader, str(bitstream))
    other = " or 'apt install fpga-icestorm'" if board.family == "ice40" else ""
    raise ToolNotFoundError(
        f"Loading {board.title} needs openFPGALoader{' or iceprog' if other else ''}: "
        f"run 'apt install openfpgaloader'{other}"
    )


def flash(board: Board, bitstream: Path, *, log: Path) -> str:
    """Write ``bitstream`` into the flash memory of ``board``; return the name of the loader.

    What the loader prints goes to the file ``log``.

    Raises
    ------
    ToolNotFoundError
        If there is no loader for the board.
    ToolError, TimeLimitError
        If the loader fails, as it does without a board, or does not end.
    """
    command = flash_command(board, bitstream.resolve())
    name = Path(command[0]).name
    run_program(Program(command, name, log.parent, log), time_limit=_TIME_LIMIT)
    return name
