"""Options of the images that a command learns from and is judged on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from hwgen.cli._console import BUDGET
from hwgen.flow.options import ApproximateOptions, SlimOptions

__all__ = [
    "SEED",
    "TEST",
    "Decorator",
    "budget_option",
    "calibration_option",
    "data_option",
    "finetune_option",
    "given_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])


class Decorator(Protocol):
    """A decorator that leaves the type of what it decorates alone."""

    def __call__(self, function: _F, /) -> _F: ...


_PATH = click.Path(path_type=Path)

TEST = click.option(
    "--test",
    type=_PATH,
    metavar="TEST.npz",
    help="Images on which accuracy is reported; they choose nothing. Without it 30 % of DATA are "
    "held out.",
)

SEED = click.option(
    "--seed",
    type=click.IntRange(0),
    default=ApproximateOptions.seed,
    show_default=True,
    help="Seed of the split.",
)


def data_option(use: str) -> Decorator:
    """``--data``; the sentences ``use`` say what its images are for."""
    return click.option(
        "--data",
        type=_PATH,
        metavar="DATA.npz",
        help="Images 'x' (N,C,H,W) as the model wants them, and classes 'y' (N,) if known. " + use,
    )


def budget_option(spent: str) -> Decorator:
    """``--budget``; ``spent`` says what on."""
    return click.option("--budget", type=BUDGET, default="1%", show_default=True, help=spent)


def calibration_option(default: int, fitted: str) -> Decorator:
    """``--calibration``, images to which ``fitted`` are fitted."""
    return click.option(
        "--calibration",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        metavar="N",
        help=f"Images of DATA, at most, to which {fitted} are fitted.",
    )


def finetune_option(trained: str) -> Decorator:
    """``--finetune``, which trains ``trained``."""
    return click.option(
        "--finetune",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        metavar="EPOCHS",
        help=f"Train {trained} for so many epochs on DATA, less the images that are held out; "
        "needs PyTorch: pip install 'hwgen[train]'.",
    )


def given_options(options: type[ApproximateOptions | SlimOptions]) -> dict[str, Any]:
    """By field of ``options``: what the user gave to the running command, without defaults."""
    context = click.get_current_context()
    return {
        field.name: context.params[field.name]
        for field in fields(options)
        if context.get_parameter_source(field.name) is not ParameterSource.DEFAULT
    }
