"""Tables of text that lose no character, however narrow the terminal or the pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["print_table"]

_WIDTH = 4096
"""More columns than any row has; the table is as wide as its cells, and none is cut."""


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    numbers: Sequence[str] = (),
    file: TextIO | None = None,
) -> None:
    """Print ``rows`` under ``columns``, of which those in ``numbers`` are aligned to the right.

    Onto ``file``, or standard output if it is None.
    """
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, file=file)
    console.width = _WIDTH
    console.print(table)
