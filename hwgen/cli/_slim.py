"""Options of slimming, for ``hwgen slim`` and ``hwgen build --slim``."""

from __future__ import annotations

import click

from hwgen.cli._console import BUDGET
from hwgen.cli._images import (
    SEED,
    TEST,
    budget_option,
    calibration_option,
    data_option,
    finetune_option,
    given_options,
)
from hwgen.cli._options import TILE
from hwgen.flow.options import (
    SLIM_IMPORTANCES,
    SLIM_MOVES,
    SLIM_OBJECTIVES,
    SLIM_SEARCHES,
    ApproximateOptions,
    Backend,
    SlimObjective,
    SlimOptions,
)
from hwgen.toolchain.synthesis import FAMILIES

__all__ = ["BUILD_SLIM_OPTIONS", "SLIM_OPTIONS", "build_slim_options", "slim_options"]

_L = SlimOptions


class _Moves(click.ParamType[tuple[str, ...]]):
    name = "moves"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = [name.strip() for name in str(value).split(",")]
        if odd := [name for name in names if name not in SLIM_MOVES]:
            self.fail(f"{odd[0]!r} is none of {', '.join(SLIM_MOVES)}", param, ctx)
        return tuple(move for move in SLIM_MOVES if move in names)


SLIM_OPTIONS = (
    data_option(
        "To one part the weights are fitted, another chooses what goes. Required, but for --undo."
    ),
    TEST,
    budget_option(
        "Accuracy that slimming may cost; leave some of what may be lost in all to 'hwgen "
        "approximate'."
    ),
    click.option(
        "--objective",
        type=click.Choice(SLIM_OBJECTIVES),
        default=_L.objective,
        show_default=True,
        help="What to save: multiplications of the float network, cycles of an NFU, LUTs of a "
        "datapath for each layer, or bytes of weight memory.",
    ),
    click.option(
        "--tile",
        type=TILE,
        metavar="TNxTI",
        help="For --objective cycles: outputs and inputs that the NFU works on in a cycle, each 1, "
        "2, 4, 8 or 16; 4x4 by default.",
    ),
    click.option(
        "--family",
        type=click.Choice(sorted(FAMILIES)),
        default=_L.family,
        show_default=True,
        help="For --objective luts: FPGA family.",
    ),
    click.option(
        "--moves",
        type=_Moves(),
        default=",".join(_L.moves),
        show_default=True,
        metavar="NAMES",
        help="What may be done, separated by commas: 'kernels' reduces kernels, down to nothing; "
        "'features' lets layers do with fewer of the maps that they read; 'blocks' takes away the "
        "weights of a tile at a tap, or single weights if there is no tile; 'recipes' makes the "
        "weights dyadic in the same search, so that 'hwgen approximate' need not search.",
    ),
    click.option(
        "--search",
        type=click.Choice(SLIM_SEARCHES),
        default=_L.search,
        show_default=True,
        help="Move by move, what saves most for its loss first, or starting with a bisection of "
        "how much every layer gives, which checks the network less often.",
    ),
    click.option(
        "--importance",
        type=click.Choice(SLIM_IMPORTANCES),
        default=_L.importance,
        show_default=True,
        help="Which features go first: those whose loss adds least error to what reads them, or "
        "the least important ones by pivoted QR of their maps, by the norm of their filters, by "
        "the loss without them, or by its first-order estimate.",
    ),
    calibration_option(_L.calibration, "the weights that stay"),
    finetune_option("the weights that stay"),
    SEED,
)

BUILD_SLIM_OPTIONS = (
    click.option(
        "--slim",
        "slimmed",
        is_flag=True,
        help="Slim the network first, as 'hwgen slim' does with its default settings.",
    ),
    click.option(
        "--slim-budget",
        type=BUDGET,
        help="What slimming may cost of the --budget, which is for everything; by default half.",
    ),
    click.option(
        "--slim-objective",
        type=click.Choice(SLIM_OBJECTIVES),
        help="What slimming saves; by default cycles for an NFU, and LUTs otherwise.",
    ),
)


def slim_options() -> SlimOptions:
    """The options of slimming that the user gave to the running command.

    Raises
    ------
    click.UsageError
        If options are missing or contradict each other.
    """
    given = given_options(SlimOptions)
    if "data" not in given:
        raise click.UsageError("Missing option '--data'.")
    objective = given.get("objective")
    if "tile" in given and objective != "cycles":
        raise click.UsageError("--tile is of an NFU, whose cycles --objective cycles saves")
    if "recipes" in given.get("moves", ()) and objective in (None, "macs"):
        raise click.UsageError("Recipes save no MACs: --moves recipes needs another --objective")
    if "family" in given and objective != "luts":
        raise click.UsageError("--family is of FPGAs, whose LUTs --objective luts saves")
    return SlimOptions(**given)


def build_slim_options(
    approximate: ApproximateOptions,
    backend: Backend,
    *,
    slimmed: bool,
    budget: float | None,
    objective: SlimObjective | None,
) -> SlimOptions | None:
    """How ``hwgen build`` slims the network that it approximates so; None if it is to leave it.

    Raises
    ------
    click.UsageError
        If it is to leave it, but an option says how to slim it.
    """
    given = (("--slim-budget", budget), ("--slim-objective", objective))
    for option, value in given:
        if value is not None and not slimmed:
            raise click.UsageError(f"{option} says how the network is slimmed; add --slim")
    if not slimmed:
        return None
    return SlimOptions(
        data=approximate.data,
        test=approximate.test,
        budget=approximate.budget / 2 if budget is None else budget,
        objective=objective or ("cycles" if backend == "nfu" else "luts"),
        calibration=approximate.calibration,
        seed=approximate.seed,
    )
