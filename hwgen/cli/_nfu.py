"""What the commands of ``hwgen nfu`` share: the timing of the memory, files of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hwgen.nfu.chart import PICTURES
from hwgen.nfu.timing import LOADS, Timing, rate

__all__ = ["PICTURE", "timing_of", "timing_options"]

_PORTS = (*LOADS, "store")
_LONGEST = 1_000_000  # cycles: counts of them stay far from 64 bits


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
        found = re.fullmatch(r"(\w+)=(\d{1,7})(?:/(\d{1,7}))?", str(value).strip())
        if found is None:
            rule = "is not a port and its words in so many cycles, such as sb=1/4"
            self.fail(f"{value!r} {rule}", param, ctx)
        port, words, cycles = found[1], int(found[2]), int(found[3] or 1)
        if port not in _PORTS:
            self.fail(f"{port!r} is not a port; they are {', '.join(_PORTS)}", param, ctx)
        if not 1 <= words <= cycles <= _LONGEST:
            rule = f"must be from 1 word in {_LONGEST:,} cycles to 1 a cycle"
            self.fail(f"{value!r} {rule}", param, ctx)
        return port, words, cycles


def timing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds the options of the memory's timing, ``latency`` and ``rates``."""
    latency = click.option(
        "--latency",
        type=click.IntRange(1, _LONGEST),
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
