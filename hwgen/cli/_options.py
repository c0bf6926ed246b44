"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from hwgen.cli._console import BUDGET
from hwgen.flow.options import ApproximateOptions, SynthOptions, VerifyOptions

__all__ = [
    "APPROXIMATE_OPTIONS",
    "DIRECTORY",
    "JSON",
    "SYNTH_OPTIONS",
    "VERIFY_OPTIONS",
    "add_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])


class Decorator(Protocol):
    """A decorator that leaves the type of what it decorates alone."""

    def __call__(self, function: _F, /) -> _F: ...


_PATH = click.Path(path_type=Path)
_A, _V, _S = ApproximateOptions, VerifyOptions, SynthOptions

DIRECTORY = click.argument("directory", type=_PATH, metavar="DIR")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

APPROXIMATE_OPTIONS = (
    click.option(
        "--data",
        type=_PATH,
        required=True,
        metavar="DATA.npz",
        help="Images 'x' (N,C,H,W) as the model wants them, and classes 'y' (N,) if known. One "
        "part calibrates the number formats, another chooses the dyadic sets.",
    ),
    click.option(
        "--test",
        type=_PATH,
        metavar="TEST.npz",
        help="Images on which accuracy is reported; they choose nothing. Without it 30 % of DATA "
        "are held out.",
    ),
    click.option(
        "--budget",
        type=BUDGET,
        default="1%",
        show_default=True,
        help="Accuracy that the approximation may cost, for example 0.5%.",
    ),
    click.option(
        "--set",
        "dyadic_set",
        metavar="SET",
        help="Use one dyadic set everywhere instead of choosing one a layer: a name such as P4, "
        "'terms(2,-4,0)', or values such as '{0,1/4,1/2,1}'.",
    ),
    click.option(
        "--bits",
        type=click.IntRange(2, 16),
        default=_A.bits,
        show_default=True,
        help="Bits of the activations.",
    ),
    click.option("--seed", type=int, default=_A.seed, show_default=True, help="Seed of the split."),
)

VERIFY_OPTIONS = (
    click.option(
        "--images",
        type=click.IntRange(1),
        default=_V.images,
        show_default=True,
        help="Test images that cocotb drives with random gaps and random back-pressure.",
    ),
    click.option(
        "--fast-images",
        type=click.IntRange(0),
        metavar="N",
        help="Test images in the compiled simulation; all of them by default, 0 for none.",
    ),
    click.option(
        "--layers", is_flag=True, help="Compare every layer, and name the first that differs."
    ),
    click.option(
        "--verify-seed",
        type=int,
        default=_V.seed,
        show_default=True,
        help="Seed of the gaps and the back-pressure.",
    ),
)

SYNTH_OPTIONS = (
    click.option("--board", required=True, help="Board to build for; 'hwgen boards' lists them."),
    click.option(
        "--frequency",
        type=click.FloatRange(1, 1000),
        metavar="MHZ",
        help="Clock that place and route aims at, in MHz; by default what suits the board.",
    ),
    click.option(
        "--time-limit",
        type=click.FloatRange(1),
        metavar="SECONDS",
        default=_S.time_limit,
        show_default=True,
        help="Wall-clock limit of one attempt of place and route.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(1),
        default=_S.attempts,
        show_default=True,
        help="Seeds that place and route tries.",
    ),
    click.option(
        "--no-route",
        is_flag=True,
        help="Stop after synthesis: areas, but no clock and no bitstream.",
    ),
)


def add_options(options: tuple[Decorator, ...]) -> Decorator:
    """Decorator that adds each of ``options`` to a command, in this order."""

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
