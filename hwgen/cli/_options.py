"""Options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from hwgen.boards import LINKS
from hwgen.cli._images import (
    SEED,
    TEST,
    Decorator,
    budget_option,
    calibration_option,
    data_option,
    finetune_option,
    given_options,
)
from hwgen.flow.options import (
    ACTIVATIONS,
    BACKENDS,
    COSTS,
    MEMORIES,
    OBJECTIVES,
    PRESCALES,
    ApproximateOptions,
    Backend,
    GenerateOptions,
    Memory,
    PlanOptions,
    SynthOptions,
    VerifyOptions,
)
from hwgen.flow.stages import searched_options
from hwgen.flow.workspace import Workspace

__all__ = [
    "APPROXIMATE_OPTIONS",
    "DIRECTORY",
    "GENERATE_OPTIONS",
    "JSON",
    "RATE_OPTIONS",
    "SYNTH_OPTIONS",
    "TILE",
    "VERIFY_OPTIONS",
    "FiniteRange",
    "add_options",
    "approximate_options",
    "generate_options",
    "plan_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])


_PATH = click.Path(path_type=Path)
_A, _G, _V, _S = ApproximateOptions, GenerateOptions, VerifyOptions, SynthOptions

DIRECTORY = click.argument("directory", type=_PATH, metavar="DIR")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_EFFORT = click.option(
    "--effort",
    type=click.IntRange(0),
    default=_G.effort,
    show_default=True,
    metavar="STEPS",
    help="Work to save adders: steps of a search for each of them; 10,000 take about a second.",
)


class FiniteRange(click.FloatRange):
    """Click type of a number in a range; NaN, which compares with nothing, is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return found


class _Size(click.ParamType[tuple[int, int]]):
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a height and a width such as 120x160", param, ctx)
        return int(found[1]), int(found[2])


class _Tile(click.ParamType[tuple[int, int]]):
    name = "tile"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"(\d+)x(\d+)", str(value).strip())
        if found is None or not {int(found[1]), int(found[2])} <= {1, 2, 4, 8, 16}:
            self.fail(f"{value!r} is not two of 1, 2, 4, 8, 16 such as 8x4", param, ctx)
        return int(found[1]), int(found[2])


TILE = _Tile()
"""Click type of the tile of an NFU: ``8x4`` is (8, 4)."""

SIZE_OPTIONS = (
    click.option(
        "--size",
        type=_Size(),
        metavar="HxW",
        help="Build for larger pictures than the network was trained on, such as 120x160: it "
        "slides over them and gives the map of its scores.",
    ),
    click.option(
        "--pixels",
        type=click.IntRange(1, 64),
        default=_G.pixels,
        show_default=True,
        help="Pixels of a row that the streaming datapath takes in a cycle; larger, and as many "
        "times faster. They must divide the width of every layer they reach.",
    ),
)
"""What the hardware takes: how large pictures, and how many pixels at once."""

GENERATE_OPTIONS = (
    _EFFORT,
    click.option(
        "--forms",
        default=_G.forms,
        metavar="FORMS",
        help="How layers of the streaming datapath are built, such as 'conv1=parallel,*=memory:4': "
        "parallel, every constant wired in; rows, the same but a column of pixels multiplied once "
        "for all windows it is in; serial:D, every constant wired in, D bits a cycle; or memory:P, "
        "P accumulators with weights in memory, memory:PxT if each is to take T channels a cycle. "
        "Layers that are not named get what suits a "
        "pipeline as fast as its input. 'planned' is what 'hwgen plan' chose.",
    ),
    click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default=_G.backend,
        show_default=True,
        help="What to build: a datapath for each layer, a program for an NFU, or datapaths for the "
        "first layers and a program for the others.",
    ),
    click.option(
        "--cut",
        metavar="LAYER",
        help="Layer behind which a hybrid is cut: up to it there is a datapath for each layer.",
    ),
    click.option(
        "--tile",
        type=TILE,
        metavar="TNxTI",
        help="Outputs and inputs that an NFU works on in a cycle, each 1, 2, 4, 8 or 16; by "
        "default what leaves room on the board of 'hwgen build', and 4x4 without a board.",
    ),
    click.option(
        "--memory",
        type=click.Choice(MEMORIES),
        help="Where the activations of an NFU lie: in block RAM, or in the single-port RAM that "
        "only iCE40 UltraPlus has; by default there if the board of 'hwgen build' has it.",
    ),
    *SIZE_OPTIONS,
    click.option(
        "--loadable",
        is_flag=True,
        help="Let the NFU take other programs over the host link ('hwgen run --load'); its "
        "memories are larger, as nothing in them is known.",
    ),
    click.option(
        "--room-for",
        type=_PATH,
        multiple=True,
        metavar="DIR",
        help="With --loadable: parameters and memories that the network in DIR needs too. May be "
        "given several times.",
    ),
)

RATE_OPTIONS = (
    click.option(
        "--fps",
        type=FiniteRange(0, min_open=True),
        metavar="RATE",
        help="Images a second that the board must keep, with the least area.",
    ),
    click.option("--fit", is_flag=True, help="As fast as fits the board."),
)
"""How the forms of layers are planned."""

APPROXIMATE_OPTIONS = (
    data_option(
        "One part calibrates formats and outputs, another chooses the recipes. Required, but for a "
        "--point of a front that is there."
    ),
    TEST,
    budget_option("Accuracy that the approximation may cost, for example 0.5%."),
    click.option(
        "--cost",
        type=click.Choice(COSTS),
        default=_A.cost,
        show_default=True,
        help="What to save: adders before sharing, adders after sharing, cycles of a term-serial "
        "NFU, or bits of weight memory.",
    ),
    click.option(
        "--objective",
        type=click.Choice(OBJECTIVES),
        default=_A.objective,
        show_default=True,
        help="Whose error is made small: that of the weights, or that of the layers' outputs.",
    ),
    click.option(
        "--point",
        metavar="NAME",
        help="Build this point of the front, such as p7, instead of the one that the budget "
        "chooses; 'hwgen front' lists them. Without --data, all other options are those of the "
        "search that was made.",
    ),
    click.option(
        "--mix",
        metavar="MIX",
        help="Use these recipes instead of searching: one everywhere such as P4, P8@0.7 or "
        "'terms(2,-5,0)@1.2/layer', sets in the order of the layers such as 'A(7,3,3)', or "
        "recipes by layer such as 'conv1=P7,*=P4'.",
    ),
    calibration_option(_A.calibration, "formats and outputs"),
    finetune_option("the dyadic weights"),
    click.option(
        "--bits",
        type=click.IntRange(2, 16),
        default=_A.bits,
        show_default=True,
        help="Bits of the activations.",
    ),
    click.option(
        "--activation",
        type=click.Choice(ACTIVATIONS),
        default=_A.activation,
        show_default=True,
        help="What replaces each tanh or sigmoid: 'minimax', the piecewise-linear function of few "
        "segments within 1/128 of the amplitude, or one of Cintra et al., whatever its error: "
        "'asg' and 'plan' are within 1/26 if prescaled, 'linear2' is a clamp, 'linear1' a wider "
        "one. All other functions are minimax.",
    ),
    click.option(
        "--prescale",
        type=click.Choice(PRESCALES),
        default=_A.prescale,
        show_default=True,
        help="For those of Cintra et al.: 'match' scales their input by three signed powers of "
        "two to come nearest to the trained function, 'none' takes them as they are, for x.",
    ),
    SEED,
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
        "--clock",
        type=FiniteRange(1, 1000),
        metavar="MHZ",
        help="Clock of the design, which the board's PLL makes, or just less; by default that of "
        "its oscillator.",
    ),
    click.option(
        "--link",
        type=click.Choice(LINKS),
        default=_S.link,
        show_default=True,
        help="What the host link runs over: the board's USB serial port, or an SPI controller at "
        "pins that 'hwgen boards' names.",
    ),
    click.option(
        "--baud",
        type=click.IntRange(1),
        help="Rate of the host link in bits a second; by default 1,000,000 if the clock gives it "
        "and the design is fast enough, else less, and over SPI an eighth of the clock.",
    ),
    click.option(
        "--frequency",
        type=FiniteRange(1, 1000),
        metavar="MHZ",
        help="Clock that place and route aims at, in MHz; by default what suits the board.",
    ),
    click.option(
        "--time-limit",
        type=FiniteRange(1),
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


def plan_options(
    fps: float | None, *, fit: bool, size: tuple[int, int] | None, pixels: int
) -> PlanOptions:
    """How forms are planned; as fast as fits if nothing else is asked for.

    Raises
    ------
    click.UsageError
        If both a rate and the best one are asked for.
    """
    if fps is not None and fit:
        raise click.UsageError("--fps asks for a rate and --fit for the best one")
    return PlanOptions(rate=fps, size=size, pixels=pixels)


def build_plan_options(
    fps: float | None, *, fit: bool, hardware: GenerateOptions
) -> PlanOptions | None:
    """How forms of what is built are planned, None if they are not.

    Raises
    ------
    click.UsageError
        If both a rate and the best one are asked for, or options of the ``hardware`` choose too.
    """
    if fps is None and not fit:
        return None
    if hardware.forms or hardware.backend != "stream":
        raise click.UsageError("--fps and --fit choose forms and back end; leave these out")
    return plan_options(fps, fit=fit, size=hardware.size, pixels=hardware.pixels)


def generate_options(
    *,
    effort: int,
    forms: str,
    backend: Backend,
    tile: tuple[int, int] | None,
    memory: Memory | None,
    cut: str | None,
    size: tuple[int, int] | None,
    pixels: int,
    loadable: bool,
    room_for: tuple[Path, ...],
    family: str | None = None,
) -> GenerateOptions:
    """The options of the hardware.

    Raises
    ------
    click.UsageError
        If one is of hardware that is not built.
    """
    if forms and backend == "nfu":
        raise click.UsageError("--forms says how a streaming datapath is built")
    if pixels > 1 and backend != "stream":
        raise click.UsageError("--pixels says how a streaming datapath is built")
    if room_for and not loadable:
        raise click.UsageError("--room-for is for an NFU that takes programs; add --loadable")
    if loadable and backend == "hybrid":
        raise click.UsageError("--loadable is for an NFU alone: a hybrid has layers wired in")
    given = (("--tile", tile), ("--memory", memory), ("--loadable", loadable or None))
    for option, value in given:
        if value is not None and backend == "stream":
            raise click.UsageError(f"{option} says how an NFU is built; add --backend nfu")
    if (cut is not None) != (backend == "hybrid"):
        raise click.UsageError("--cut and --backend hybrid go together")
    return GenerateOptions(
        family=family,
        effort=effort,
        forms=forms,
        backend=backend,
        tile=tile,
        memory=memory,
        cut=cut,
        size=size,
        pixels=pixels,
        loadable=loadable,
        room_for=tuple(map(str, room_for)),
    )


def approximate_options(workspace: Workspace) -> ApproximateOptions:
    """The options of the approximation that the user gave to the running command.

    The others are defaults, or those of the search whose point is built if no data are given.

    Raises
    ------
    click.UsageError
        If options are missing or contradict each other.
    """
    given = given_options(ApproximateOptions)
    if "point" in given and "mix" in given:
        raise click.UsageError("Only one of '--point' and '--mix' can say what is built")
    if "data" in given:
        return ApproximateOptions(**given)
    if "point" not in given:
        raise click.UsageError("Missing option '--data'.")
    return replace(searched_options(workspace), **given)
