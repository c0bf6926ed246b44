"""Place and route with nextpnr, and bitstreams packed from the result."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import ResourceError, ToolError
from hwgen.toolchain.plan import BuildPlan, Step, run_step
from hwgen.toolchain.process import TimeLimitError

__all__ = [
    "Device",
    "RouteResult",
    "Utilisation",
    "pack",
    "pack_plan",
    "place_and_route",
    "route_plan",
]

_logger = logging.getLogger(__name__)

_USED = re.compile(r"^Info:\s+(?P<kind>\w+):\s+(?P<used>\d+)/\s*(?P<available>\d+)\s+\d+%", re.M)
_CLOCK_NAME = re.compile(r"\$(?:glbnet\$|TRELLIS_IO_IN|SB_IO_IN|PACKER_\w+)|_?\$glb_clk|_IBUF_I_O$")
_ROUTING = re.compile(r"^Info: +\d+ \|(?: +\d+){2} \| +\d+ +(?P<new>\d+) \| +(?P<left>\d+)\|", re.M)
_CIRCLES = 30  # lines of a thousand steps each; of a router that ends one at most
_PLACING = "Creating initial analytic placement"


@dataclass(frozen=True)
class _Flow:
    """Programs, options and suffixes in which the families differ.

    ``place`` and ``write`` are the options before the names of the constraint file and of the
    result, each the start of one argument or an argument of its own; ``free`` lets nextpnr choose
    the pins.
    """

    router: str
    algorithm: str
    place: tuple[str, ...]
    free: tuple[str, ...]
    write: str
    packer: str
    packer_options: tuple[str, ...]
    output: tuple[str, ...]
    constraints: str
    bitstream: str


_FLOWS = {
    "ecp5": _Flow(
        router="nextpnr-ecp5",
        algorithm="router2",
        place=("--lpf", ""),
        free=("--lpf-allow-unconstrained",),
        write="--textcfg",
        packer="ecppack",
        packer_options=("--compress",),
        output=(),
        constraints="lpf",
        bitstream="bit",
    ),
    "ice40": _Flow(
        router="nextpnr-ice40",
        algorithm="router1",  # router2 often never ends, with a few wires that are overused
        place=("--pcf", ""),
        free=("--pcf-allow-unconstrained",),
        write="--asc",
        packer="icepack",
        packer_options=(),
        output=(),
        constraints="pcf",
        bitstream="bin",
    ),
    "gowin": _Flow(
        router="nextpnr-himbaechel-gowin",
        algorithm="default",
        place=("--vopt", "cst="),
        free=(),
        write="--write",
        packer="gowin_pack",
        packer_options=("--compress",),
        output=("-o",),
        constraints="cst",
        bitstream="fs",
    ),
}


@dataclass(frozen=True)
class Device:
    """An FPGA as nextpnr and the packer know it: its ``family`` and the options that choose it."""

    family: str
    options: tuple[str, ...]
    packer_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.family not in _FLOWS:
            raise ValueError(f"Family must be one of {', '.join(_FLOWS)}, not {self.family!r}")

    @property
    def tools(self) -> tuple[str, str]:
        """The programs that route and pack for it, by name."""
        flow = _FLOWS[self.family]
        return flow.router, flow.packer

    @property
    def constraint_suffix(self) -> str:
        """Suffix of the family's pin constraint files: ``lpf``, ``pcf`` or ``cst``."""
        return _FLOWS[self.family].constraints

    @property
    def bitstream_suffix(self) -> str:
        """Suffix of the family's bitstreams: ``bit``, ``bin`` or ``fs``."""
        return _FLOWS[self.family].bitstream


@dataclass(frozen=True)
class Utilisation:
    """How many of a device's resources of one ``kind`` a placed design takes."""

    kind: str
    used: int
    available: int


@dataclass(frozen=True)
class RouteResult:
    """A routed design, from nextpnr's JSON report.

    ``clocks`` holds (clock, MHz) of every clock; ``attempts`` (seed, outcome) of every run, the
    last of which succeeded with ``seed``.
    """

    clocks: tuple[tuple[str, float], ...]
    utilisation: tuple[Utilisation, ...]
    seed: int
    attempts: tuple[tuple[int, str], ...]
    seconds: float

    @property
    def fmax_mhz(self) -> float:
        """Highest frequency of the slowest clock, in MHz."""
        return min(mhz for _, mhz in self.clocks)


def route_plan(
    device: Device, *, name: str, constraints: str | None, freq: float, seed: int
) -> BuildPlan:
    """Plan the routing of ``NAME.json``; ``freq`` is the target in MHz of every clock.

    ``constraints`` is the text of the pin constraint file, and must then place every port; with
    ``None`` nextpnr chooses the pins.
    """
    flow = _FLOWS[device.family]
    pins = f"{name}.{flow.constraints}"
    place = flow.free if constraints is None else (flow.place[0], f"{flow.place[1]}{pins}")
    arguments = (
        *device.options,
        *("--json", f"{name}.json", *place, flow.write, f"{name}.config"),
        *("--report", f"{name}.report.json", "--router", flow.algorithm),
        *("--freq", f"{freq:g}", "--timing-allow-fail", "--seed", str(seed)),
    )
    files = () if constraints is None else ((pins, constraints),)
    return BuildPlan(files, (Step(flow.router, arguments, f"{name}.route.log"),))


def pack_plan(device: Device, *, name: str) -> BuildPlan:
    """Plan the packing of ``NAME.config`` into ``NAME.bit`` (or ``bin``, or ``fs``)."""
    flow = _FLOWS[device.family]
    options = (*flow.packer_options, *device.packer_options)
    arguments = (*options, f"{name}.config", *flow.output, f"{name}.{flow.bitstream}")
    return BuildPlan((), (Step(flow.packer, arguments, f"{name}.pack.log"),))


def place_and_route(
    device: Device,
    *,
    name: str,
    directory: Path,
    constraints: str | None = None,
    freq: float,
    seeds: Sequence[int] = (1, 2, 3),
    time_limit: float = 1200,
) -> RouteResult:
    """Route ``NAME.json`` in ``directory``, as :func:`route_plan` plans it.

    A run that takes more than ``time_limit`` seconds, whose router goes in circles, or that fails
    after placement began is followed by one with the next of ``seeds``.

    Raises
    ------
    ResourceError
        If the design needs more than the device has; the text names what.
    TimeLimitError, ToolError, ToolNotFoundError
        If nextpnr is missing, refuses its input, or no seed succeeds.
    """
    if not seeds:
        raise ValueError("Place and route needs at least one seed")
    start = time.monotonic()
    attempts: list[tuple[int, str]] = []
    failures: list[TimeLimitError | ToolError] = []
    for seed in seeds:
        plan = route_plan(device, name=name, constraints=constraints, freq=freq, seed=seed)
        plan.write_files(directory)
        (step,) = plan.steps
        try:
            run_step(step, directory, time_limit=time_limit, endless=_circles)
        except (TimeLimitError, ToolError) as error:
            _raise_if_hopeless(error, directory / step.log)
            _logger.warning("%s with seed %d: %s", step.tool, seed, error)
            attempts.append((seed, str(error)))
            failures.append(error)
            continue
        attempts.append((seed, "routed"))
        report = json.loads((directory / f"{name}.report.json").read_text(encoding="utf-8"))
        return _result(report, seed, tuple(attempts), time.monotonic() - start)
    tried = ", ".join(str(seed) for seed in seeds)
    raise type(failures[-1])(f"No seed of {tried} could be routed: {failures[-1]}")


def pack(device: Device, *, name: str, directory: Path, time_limit: float = 300) -> Path:
    """Pack the routed ``NAME.config`` of ``directory``; return the bitstream, written whole.

    Raises
    ------
    ToolError, ToolNotFoundError, TimeLimitError
        If the packer fails, is missing, or takes longer than ``time_limit`` seconds.
    """
    (step,) = pack_plan(device, name=name).steps
    final = directory / step.arguments[-1]
    part = final.with_name(f"{final.name}.part")
    run_step(
        Step(step.tool, (*step.arguments[:-1], part.name), step.log),
        directory,
        time_limit=time_limit,
    )
    if not part.is_file() or not part.stat().st_size:
        raise ToolError(f"{step.tool} wrote no bitstream (log: {directory / step.log})")
    return part.replace(final)


def _circles(log: str) -> str:
    """What to say of a router that only ever undoes what it did; nothing if it may get on."""
    rows = [tuple(map(int, row)) for row in _ROUTING.findall(log)][-_CIRCLES:]
    if len(rows) < _CIRCLES or len({left for _, left in rows}) > 1 or any(new for new, _ in rows):
        return ""
    return f"its router has gone in circles with {rows[-1][1]:,} connections left"


def _raise_if_hopeless(error: TimeLimitError | ToolError, log: Path) -> None:
    """Raise if another seed cannot help: the device is too small, or the input was refused."""
    if isinstance(error, TimeLimitError):
        return
    if not log.is_file():
        raise error
    text = log.read_text(encoding="utf-8", errors="replace")
    over = [
        f"{kind} {used} of {available}"
        for kind, used, available in _USED.findall(text)
        if int(used) > int(available)
    ]
    if over:
        raise ResourceError(
            f"The design does not fit the device, it needs {', '.join(over)}: "
            "choose a larger board, a smaller network or a coarser approximation"
        ) from error
    if _PLACING not in text:
        raise error


def _result(
    report: dict[str, dict[str, dict[str, float]]],
    seed: int,
    attempts: tuple[tuple[int, str], ...],
    seconds: float,
) -> RouteResult:
    clocks = tuple(
        (_CLOCK_NAME.sub("", clock), float(figures["achieved"]))
        for clock, figures in sorted(report["fmax"].items())
    )
    if not clocks:
        raise ToolError("nextpnr reports no clock: the design has no register")
    utilisation = tuple(
        Utilisation(kind, int(figures["used"]), int(figures["available"]))
        for kind, figures in sorted(report["utilization"].items())
        if figures["used"]
    )
    return RouteResult(clocks, utilisation, seed, attempts, seconds)
