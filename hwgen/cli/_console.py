"""What every command shares: errors in one sentence, progress bars, budgets, JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from hwgen.flow.progress import Progress

__all__ = ["BUDGET", "ERRORS", "print_json", "progress_bars"]

ERRORS = Console(stderr=True, highlight=False)


class _Budget(click.ParamType[float]):
    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{text!r} is not a share such as 1% or 0.01", param, ctx)
        if not 0 <= share < 1:
            self.fail(f"{text!r} is not between 0 and 1 (write 1% for one point)", param, ctx)
        return share


BUDGET = _Budget()
"""Click type of an accuracy budget: ``1%`` or ``0.01`` is 0.01."""


@contextlib.contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Progress]:
    """A function that shows one progress bar a task on standard error, if that is a terminal."""
    if quiet or not ERRORS.is_terminal:
        yield lambda task, fraction: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=ERRORS) as bars:
        tasks: dict[str, TaskID] = {}

        def show(task: str, fraction: float) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=1.0)
            bars.update(tasks[task], completed=fraction)

        yield show


def print_json(value: Mapping[str, object]) -> None:
    """Print ``value`` as JSON on standard output."""
    json.dump(value, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
