"""What the commands of ``hwgen nfu`` share: the timing of the memory, files of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hwgen.nfu.chart import PICTURES
from hwgen.nfu.timing import LOADS, Timing, rate

__all__ = ["PICTURE", "timing_of", "timing_options"]

_PORTS = (*LOADS, "store")


class _Picture(click.ParamType[Path]):
    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        path = Path(str(value))
        if path.suffix.lower() not in PICTURES:
            self.fail(f"{str(path)!r} must end in .png, .svg or .pdf", param, ctx)
        return path


PICTURE = _Picture()
"""Click type of the file of a picture, whose suffix is known before any work is done."""


class _Rate(click.ParamType[tuple[str, int, int]]):
    name = "port=words/cycles"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int, int]:
        port, _, figures = str(value).partition("=")
        words, _, cycles = figures.partition("/")
        try:
            found = (port, int(words), int(cycles or "1"))
            rate(*found[1:])
        except ValueError:
            self.fail(f"{value!r} is not a port and its words in so many cycles, such as sb=1/4")
        if port not in _PORTS:
            self.fail(f"{port!r} is not a port; they are {', '.join(_PORTS)}", param, ctx)
        return found


def timing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds the options of the memory's timing, ``latency`` and ``rates``."""
    latency = click.option(
        "--latency",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="CYCLES",
        help="Cycles from a request for a load to its first word.",
    )
    rates = click.option(
        "--rate",
        "rates",
        type=_Rate(),
        multiple=True,
        metavar="PORT=WORDS/CYCLES",
        help=f"Words of a port ({', '.join(_PORTS)}) in so many cycles; 1 a cycle by default.",
    )
    return latency(rates(function))


def timing_of(latency: int, rates: tuple[tuple[str, int, int], ...]) -> Timing:
    """The timing that the options say."""
    patterns = {
        port if port == "store" else f"{port}_words": rate(words, cycles)
        for port, words, cycles in rates
    }
    return Timing(latency, patterns)
