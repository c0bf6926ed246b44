"""A streaming design built for a board: synthesis, fit, place and route, bitstream."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hwgen.boards.clocking import board_clock
from hwgen.boards.constraints import constraints
from hwgen.boards.top import core_name, link_rate, top_name, top_verilog
from hwgen.boards.types import Board, Wires
from hwgen.errors import ResourceError
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.instances import area_by_instance
from hwgen.toolchain.nextpnr import Utilisation, pack, pack_plan, place_and_route, route_plan
from hwgen.toolchain.plan import BuildPlan
from hwgen.toolchain.synthesis import Area, SynthesisJob, synthesis_plan, synthesise
from hwgen.toolchain.tools import TOOLS

__all__ = ["BuildResult", "Progress", "board_plan", "build_board"]

_SCRIPT = "build.sh"
_SECONDS_A_LUT = 0.12  # three times what nextpnr took for 40,000 on a slow machine


class Progress(Protocol):
    """Called with what is being done and the share of it that is done, 0 to 1."""

    def __call__(self, task: str, fraction: float) -> None: ...


@dataclass(frozen=True)
class BuildResult:
    """What a build measured; everything is read from the tools' JSON reports.

    ``core`` is the area of the design alone, ``instances`` its share of each instance in it, by
    name, ``top`` that of the whole module on the board.
    ``baud`` is the rate of the host link, which runs over ``link``.
    ``fmax_mhz`` is the highest clock of the routed top, which runs at ``clock_mhz``;
    ``target_mhz`` was asked for, and ``seed`` reached it; ``attempts`` holds (seed, outcome).
    Without place and route ``fmax_mhz``, ``seed`` and ``bitstream`` are ``None``. ``bitstream`` and
    ``script``, which repeats the build by hand, are names in the build's directory. ``tools``
    holds (tool, version), ``seconds`` (step, wall time).
    """

    board: str
    part: str
    core: Area
    instances: tuple[tuple[str, Area], ...]
    top: Area
    utilisation: tuple[Utilisation, ...]
    baud: int
    clock_mhz: float
    target_mhz: float
    fmax_mhz: float | None
    seed: int | None
    attempts: tuple[tuple[int, str], ...]
    bitstream: str | None
    script: str
    tools: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, float], ...]
    link: Wires = "uart"


def board_plan(
    design: StreamDesign,
    board: Board,
    *,
    clock_mhz: float | None = None,
    baud: int | None = None,
    link: Wires = "uart",
    frequency: float | None = None,
    seed: int = 1,
) -> BuildPlan:
    """Plan the whole build of ``design`` for ``board``, Verilog to bitstream, with one ``seed``.

    ``clock_mhz`` is the clock of the design, that of the oscillator if ``None``; ``frequency`` the
    clock in MHz that place and route aims at, the board's own target or a higher clock of the
    design if ``None``; ``baud`` the rate of the host link, which runs over ``link``
    (:func:`~hwgen.boards.top.link_rate` if ``None``).
    """
    name = top_name(design)
    target = _target(board, clock_mhz, frequency)
    pins = constraints(board, link)
    return (
        synthesis_plan(
            _sources(design, board, clock_mhz, baud, link), top=name, family=board.family
        )
        .then(route_plan(board.device, name=name, constraints=pins, freq=target, seed=seed))
        .then(pack_plan(board.device, name=name))
    )


def build_board(
    design: StreamDesign,
    board: Board,
    directory: Path,
    *,
    clock_mhz: float | None = None,
    baud: int | None = None,
    link: Wires = "uart",
    frequency: float | None = None,
    time_limit: float = 1800,
    attempts: int = 3,
    route: bool = True,
    progress: Progress | None = None,
) -> BuildResult:
    """Build ``design`` for ``board`` in ``directory``, which is made if missing.

    Parameters
    ----------
    clock_mhz
        Clock of the design in MHz, which the board's PLL makes, or just less; that of the
        oscillator if ``None``.
    baud
        Rate of the host link; what :func:`~hwgen.boards.top.link_rate` gives if ``None``.
    link
        What the host link runs over.
    frequency
        Clock in MHz that place and route aims at; the board's own target, or a higher clock of the
        design, if ``None``.
    time_limit
        Seconds for each synthesis and for each attempt of place and route, which has
        ``_SECONDS_A_LUT`` for each LUT if that is longer.
    attempts
        Seeds that place and route tries: 1, 2, ...
    route
        Whether to place, route and pack after synthesis.

    Raises
    ------
    ResourceError
        If the design is larger than the board or slower than its clock, if the board has no such
        clock, if the clock does not give the baud rate, or the time is over.
    UnsupportedError
        If an image or a result is too large for the host link.
    VerifyError
        If the design holds a multiplier, a DSP block or a latch.
    ToolError
        If a tool fails or is missing.
    """
    if attempts < 1:
        raise ValueError(f"Number of attempts must be at least 1, not {attempts}")
    for tool in _tools(board, route=route):
        TOOLS[tool].require()
    told: Callable[[str, float], object] = progress or (lambda task, fraction: None)
    target = _target(board, clock_mhz, frequency)
    clock = board_clock(board, clock_mhz)
    name = top_name(design)
    directory.mkdir(parents=True, exist_ok=True)
    # What an earlier build left must not pass for this one's if this one fails.
    for stale in (f"{name}.{board.device.bitstream_suffix}", _SCRIPT):
        (directory / stale).unlink(missing_ok=True)

    told(f"Synthesis for {board.title}", 0.0)
    start = time.monotonic()
    sources = _sources(design, board, clock_mhz, baud, link)
    alone = {f"{design.name}.v": design.verilog}
    core, top = synthesise(
        SynthesisJob(alone, core_name(design), board.family, directory / "core"),
        SynthesisJob(sources, name, board.family, directory),
        time_limit=time_limit,
    )
    seconds = [("synthesis", time.monotonic() - start)]
    _check_fit(top.area, board)

    def plan_for(seed: int) -> BuildPlan:
        return board_plan(
            design, board, clock_mhz=clock_mhz, baud=baud, link=link, frequency=frequency, seed=seed
        )

    plan = plan_for(1)

    routed = None
    bitstream = None
    if route:
        told(f"Place and route for {board.title}", 0.3)
        routed = place_and_route(
            board.device,
            name=name,
            directory=directory,
            constraints=constraints(board, link),
            freq=target,
            seeds=range(1, attempts + 1),
            time_limit=max(time_limit, _SECONDS_A_LUT * top.area.luts),
        )
        seconds.append(("place and route", routed.seconds))
        _check_clock(routed.fmax_mhz, board, clock.hz)
        told("Packing the bitstream", 0.95)
        start = time.monotonic()
        bitstream = pack(board.device, name=name, directory=directory).name
        seconds.append(("packing", time.monotonic() - start))
        plan = plan_for(routed.seed)
    plan.write(directory, script=_SCRIPT)
    told(f"Build for {board.title}", 1.0)
    return BuildResult(
        board=board.name,
        part=board.part,
        core=core.area,
        instances=area_by_instance(core.netlist, top=core_name(design), family=board.family),
        top=top.area,
        utilisation=routed.utilisation if routed else (),
        baud=link_rate(link, clock.hz, baud=baud),
        clock_mhz=clock.hz / 1e6,
        target_mhz=target,
        fmax_mhz=routed.fmax_mhz if routed else None,
        seed=routed.seed if routed else None,
        attempts=routed.attempts if routed else (),
        bitstream=bitstream,
        script=_SCRIPT,
        tools=tuple((tool, TOOLS[tool].version) for tool in _tools(board, route=route)),
        seconds=tuple(seconds),
        link=link,
    )


def _target(board: Board, clock_mhz: float | None, frequency: float | None) -> float:
    """Clock in MHz that place and route aims at."""
    return max(board.target_mhz, clock_mhz or 0.0) if frequency is None else frequency


def _sources(
    design: StreamDesign, board: Board, clock_mhz: float | None, baud: int | None, link: Wires
) -> dict[str, str]:
    return {
        f"{design.name}.v": design.verilog,
        f"{top_name(design)}.v": top_verilog(
            design, board, clock_mhz=clock_mhz, baud=baud, link=link
        ),
    }


def _check_fit(area: Area, board: Board) -> None:
    """Raise :class:`ResourceError` if a netlist needs more than the board's FPGA has."""
    capacity = board.capacity
    needs = (
        ("LUTs", area.luts, capacity.luts),
        ("flip-flops", area.ffs, capacity.ffs),
        ("memory blocks", area.brams, capacity.brams),
    )
    over = [f"{used} {what} of {there}" for what, used, there in needs if used > there]
    if over:
        raise ResourceError(
            f"The design does not fit {board.title}, it needs {', '.join(over)}: "
            "choose a larger board, a smaller network or a coarser approximation"
        )


def _check_clock(fmax_mhz: float, board: Board, clock_hz: int) -> None:
    """Raise :class:`ResourceError` if a routed design is slower than its clock."""
    if fmax_mhz * 1e6 < clock_hz:
        raise ResourceError(
            f"The routed design runs at {fmax_mhz:.1f} MHz, but its clock on {board.title} at "
            f"{clock_hz / 1e6:g} MHz: try a lower --clock, another seed (--attempts), a higher "
            "--frequency or a smaller network"
        )


def _tools(board: Board, *, route: bool) -> tuple[str, ...]:
    return ("yosys", *(board.device.tools if route else ()))
