"""What a user can choose in each stage."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from hwgen.approx.approximate import ActivationStyle, Objective
from hwgen.approx.costs import COSTS as _COSTS
from hwgen.approx.paper_activations import Prescale
from hwgen.boards import Wires
from hwgen.slim.outcome import FAMILIES, Family, Method

__all__ = [
    "ACTIVATIONS",
    "BACKENDS",
    "COSTS",
    "MEMORIES",
    "OBJECTIVES",
    "PRESCALES",
    "SLIM_IMPORTANCES",
    "SLIM_MOVES",
    "SLIM_OBJECTIVES",
    "SLIM_SEARCHES",
    "ApproximateOptions",
    "Backend",
    "FormalOptions",
    "GenerateOptions",
    "Memory",
    "NetlistOptions",
    "PlanOptions",
    "RunOptions",
    "SlimImportance",
    "SlimObjective",
    "SlimOptions",
    "SynthOptions",
    "VerifyOptions",
]

COSTS = tuple(_COSTS)
"""Names of what a search can save."""

OBJECTIVES: tuple[str, ...] = get_args(Objective)
"""Whose error can be made small."""

ACTIVATIONS: tuple[ActivationStyle, ...] = ("minimax", "asg", "plan", "linear1", "linear2")
"""What can replace a tanh or sigmoid; the paper's quadratics need a multiplier."""

PRESCALES: tuple[Prescale, ...] = get_args(Prescale)
"""What can be done to the input of one of the paper's functions."""

Backend = Literal["stream", "nfu", "hybrid"]
"""What hardware a network becomes: a datapath for each layer, a program for an NFU, or datapaths
for the first layers and a program for the others."""

BACKENDS: tuple[Backend, ...] = get_args(Backend)
"""Names of the back ends."""

Memory = Literal["bram", "spram"]
"""Where the activations of an NFU lie: in block RAM, or in single-port RAM of iCE40 UltraPlus."""

MEMORIES: tuple[Memory, ...] = get_args(Memory)
"""Names of the memories."""


SlimObjective = Literal["macs", "cycles", "luts", "bytes"]
"""What slimming can save: multiplications, cycles of an NFU, LUTs of a datapath, or memory."""

SLIM_OBJECTIVES: tuple[SlimObjective, ...] = get_args(SlimObjective)
"""Names of what slimming can save."""

SLIM_MOVES: tuple[Family, ...] = get_args(Family)
"""Names of what slimming can do."""

SLIM_SEARCHES: tuple[Method, ...] = get_args(Method)
"""How slimming can search: move by move, or starting by bisection of what every layer gives."""

SlimImportance = Literal["error", "qr", "norm", "ablation", "taylor"]
"""By what the features of a layer are ranked: the error that their loss adds to what reads them, or
one of :data:`hwgen.slim.importance.METHODS`."""

SLIM_IMPORTANCES: tuple[SlimImportance, ...] = get_args(SlimImportance)
"""Names of the rankings."""


@dataclass(frozen=True, kw_only=True)
class SlimOptions:
    """Choices of slimming.

    ``budget`` is the share of accuracy that the slimmed network may lose on the choosing split
    (0.01 is one point), ``objective`` what is saved, ``tile`` (Tn, Ti) of the NFU whose cycles are
    (None: what suits small FPGAs), ``family`` of the FPGAs whose LUTs are, ``moves`` what may be
    done, ``search`` how it is searched and ``importance`` by what features are ranked.
    ``calibration`` is the most images that outputs are fitted to, ``finetune`` the number of epochs
    that what is left is trained for.
    """

    data: Path
    test: Path | None = None
    budget: float = 0.01
    objective: SlimObjective = "macs"
    moves: tuple[Family, ...] = FAMILIES
    search: Method = "greedy"
    tile: tuple[int, int] | None = None
    family: str = "ecp5"
    importance: SlimImportance = "error"
    calibration: int = 256
    finetune: int = 0
    seed: int = 0

    def of_search(self) -> dict[str, object]:
        """The options that decide what is found, beside the data."""
        names = (field.name for field in fields(self) if field.name not in ("data", "test"))
        chosen = {name: getattr(self, name) for name in names}
        return chosen | {"held_out": self.test is None}


@dataclass(frozen=True, kw_only=True)
class ApproximateOptions:
    """Choices of the approximation.

    ``budget`` is the share of accuracy that may be lost on the choosing split (0.01 is one
    point), ``cost`` the name of what a search saves (:data:`hwgen.approx.costs.COSTS`) and
    ``point`` the point of its front that is built, None for the one that the budget chooses.
    ``mix`` gives each layer its recipe instead, without a search. ``objective`` says whose error
    is made small, that of weights or of outputs; ``calibration`` is the most images that formats
    and outputs are fitted to, ``bits`` are those of activations. ``finetune`` is the number of
    epochs that the built mix is trained for, on all images but the test images. ``activation`` is
    what replaces a tanh or sigmoid, and ``prescale`` whether the input of one of the paper's
    functions is scaled to meet it (:class:`hwgen.approx.approximate.Settings`).
    """

    data: Path
    test: Path | None = None
    budget: float = 0.01
    cost: str = "terms"
    objective: Objective = "output"
    mix: str | None = None
    point: str | None = None
    calibration: int = 256
    finetune: int = 0
    bits: int = 8
    seed: int = 0
    activation: ActivationStyle = "minimax"
    prescale: Prescale = "match"

    def of_search(self) -> dict[str, object]:
        """The options that decide what a search finds, beside the data."""
        built = ("data", "test", "mix", "point", "finetune")
        names = (field.name for field in fields(self) if field.name not in built)
        chosen = {name: getattr(self, name) for name in names}
        return chosen | {"held_out": self.test is None}


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Choices of the hardware.

    ``family`` of FPGAs whose LUTs are saved (None: any; adders are saved then); ``effort`` that
    the search for adder graphs makes, in steps for each adder. ``forms`` of layers of the streaming
    datapath (:mod:`hwgen.stream.forms`). ``backend`` that makes it, and ``tile``, (Tn, Ti) of an
    NFU (None: what suits small FPGAs), and the ``memory`` of its activations (None: block RAM).
    ``cut`` is the tensor or layer up to which a hybrid is a streaming datapath.
    ``size``, height and width of larger pictures that it scans (None: the network's own).
    ``pixels`` of a row that the streaming datapath takes at once. Whether an NFU is ``loadable``
    with other programs over the host link, and directories whose networks there is ``room_for``.
    """

    family: str | None = None
    effort: int = 50
    forms: str = ""
    backend: Backend = "stream"
    tile: tuple[int, int] | None = None
    memory: Memory | None = None
    cut: str | None = None
    size: tuple[int, int] | None = None
    pixels: int = 1
    loadable: bool = False
    room_for: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How forms are planned: for ``rate`` images a second, None for the most that fits.

    ``size`` and ``pixels`` are those of :class:`GenerateOptions`.
    """

    rate: float | None = None
    size: tuple[int, int] | None = None
    pixels: int = 1


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Choices of the verification.

    ``images`` test images go through cocotb with random stalls, ``fast_images`` (None: all)
    through the compiled simulation; ``layers`` compares every layer as well.
    """

    images: int = 20
    fast_images: int | None = None
    layers: bool = False
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class NetlistOptions:
    """Choices of the simulation of a netlist.

    ``family`` of FPGAs that the design is synthesised for (None: the netlist of the last synthesis
    for a board is taken); the number of ``images``, few because gates are slow.
    """

    family: str | None = None
    images: int = 2
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class FormalOptions:
    """Choices of the proofs.

    A SAT solver has ``solver`` seconds for each adder graph of at most ``solver_adders`` adders,
    beside the proof by words; 0 seconds leave it out.
    """

    solver: int = 5
    solver_adders: int = 16


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """Choices of synthesis and place and route.

    ``clock`` of the design in MHz, which the board's PLL makes or just less (None: the board's
    oscillator); ``link`` what the host link runs over, and ``baud`` its rate (None: the fastest
    that suits the clock and the design); ``frequency`` in MHz that place and route aims at (None:
    the board's own target); ``time_limit`` in seconds of one attempt, of which there are at most
    ``attempts``.
    """

    board: str
    clock: float | None = None
    link: Wires = "uart"
    baud: int | None = None
    frequency: float | None = None
    time_limit: float = 1800.0
    attempts: int = 3
    route: bool = True


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Choices of a run on a board.

    ``port`` is the serial port of the board, or the SPI controller that its pins are connected to
    (None: a simulated board), at ``baud`` (None: the rate that the bitstream was built
    for); ``check`` compares each result with the golden model.
    ``load`` is a directory whose network is loaded first, and takes the images (None: the board has
    a program).
    """

    port: str | None = None
    baud: int | None = None
    check: bool = True
    load: Path | None = None
