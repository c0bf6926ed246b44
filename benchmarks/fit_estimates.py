"""Calibrates the estimates of :mod:`hwgen.estimate` by real synthesis, and measures their error.

    python benchmarks/fit_estimates.py CACHE [WORKSPACE ...] [--boards NAME] [--write]

Synthesises random stages of every form, NFUs, and small random networks whose layers have random
forms, stage by stage and whole, and keeps what they took in the folder CACHE. Costs of parts come
from all stages, by non-negative least squares of relative errors, factors of forms from those of
the networks. ``--boards`` also places and routes networks alone on the FPGAs of these boards, and
fits how slow each is.

The error is that of each network in a fit without it, and of designs that no fit has seen: those of
the given workspaces, which 'hwgen build' or 'hwgen synth' has left. ``--write`` stores the
coefficients in the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from estimate_fits import PARTS, Areas, fit
from estimate_samples import (
    Design,
    Row,
    alone,
    folded_stages,
    nfus,
    of_family,
    of_network,
    of_workspace,
    routed_mhz,
)
from estimate_stages import random_stages

import hwgen.estimate
from hwgen.boards import Board, find_board
from hwgen.errors import HwgenError
from hwgen.estimate.critical import critical_path
from hwgen.estimate.model import COEFFICIENTS, period
from hwgen.flow.estimation import device_speed
from hwgen.toolchain.synthesis import FAMILIES

LARGE = 30  # LUTs or flip-flops from which the error of a stage is reported
PACKAGE = Path(hwgen.estimate.__file__).parent / COEFFICIENTS
Found = tuple[str, Design, float | None]


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.argument("workspaces", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--count", default=4, show_default=True, help="Stages of each form.")
@click.option("--networks", default=4, show_default=True, help="Folded random networks.")
@click.option("--family", multiple=True, default=sorted(FAMILIES), help="Families to fit.")
@click.option("--boards", multiple=True, help="Boards to place and route networks for.")
@click.option("--route", "routes", multiple=True, default=(1, 2, 3), help="Networks to route.")
@click.option("--write", is_flag=True, help="Store the coefficients in the package.")
def main(
    cache: Path,
    workspaces: tuple[Path, ...],
    count: int,
    networks: int,
    family: tuple[str, ...],
    boards: tuple[str, ...],
    routes: tuple[int, ...],
    write: bool,
) -> None:
    """Fit estimates to real synthesis, and report their error on designs the fit did not see."""
    models: dict[str, Any] = json.loads(PACKAGE.read_text()) if PACKAGE.exists() else {}
    others = [found for found in map(of_workspace, workspaces) if found is not None]
    stages = [*folded_stages(count), *random_stages(0, count)]
    for name in family:
        click.echo(name)
        rows = [*alone(of_family(stages, name), name, cache), *nfus(name, cache)]
        designs = [of_network(seed, name, cache) for seed in range(networks)]
        unseen = [design for board, design, _ in others if find_board(board).family == name]
        found = {resource: _areas(rows, designs, unseen, resource) for resource in PARTS}
        models[name] = models.get(name, {"slowness": {}}) | {
            key: value
            for resource, areas in found.items()
            for key, value in ((resource, areas.cost), (f"{resource[:-1]}_scale", areas.scale))
        }
        for design in (*designs, *unseen):
            blocks = sum(row.parts.get("blocks", 0) for row in design.rows)
            if blocks != design.taken["brams"]:
                click.echo(f"  blocks of {design.name}: {blocks}, of {design.taken['brams']}")
    for board in map(find_board, boards):
        speed = models[board.family]["slowness"]
        speed[device_speed(board)] = _slowness(board, others, cache, routes)
    if write:
        PACKAGE.write_text(json.dumps(models, indent=1, sort_keys=True) + "\n")


def _areas(
    rows: Sequence[Row], designs: Sequence[Design], unseen: Sequence[Design], resource: str
) -> Areas:
    """Coefficients of a resource, and a report of their errors."""
    found = fit(rows, designs, resource)
    stages = [*rows, *(row for design in designs for row in design.rows)]
    large = [row for row in stages if row.taken[resource] > LARGE]
    click.echo(f"  {resource} of stages: {_median(map(found.error, large))}")
    sums = {
        design.name: sum(row.taken[resource] for row in design.rows) / design.taken[resource] - 1
        for design in designs
    }
    click.echo(f"  {resource} of stages together, beside whole networks: {_listed(sums)}")
    without = _each_left_out(designs, lambda some: fit(rows, some, resource).error)
    click.echo(f"  {resource} of networks that were left out: {_listed(without)}")
    if unseen:
        errors = {design.name: found.error(design) for design in unseen}
        click.echo(f"  {resource} of other designs: {_listed(errors)}")
    return found


def _slowness(board: Board, others: Sequence[Found], cache: Path, routes: Sequence[int]) -> float:
    """By how much the slowest path is slower on the device of a board than at typical routing."""
    timed: dict[str, float] = {}
    for seed in routes:
        try:
            mhz = routed_mhz(seed, board, cache)
        except HwgenError as error:
            click.echo(f"{board.name}: network {seed}: {error}", err=True)
            continue
        timed[f"folded{seed}"] = _ratio(of_network(seed, board.family, cache), board, mhz)
    found = float(np.exp(np.mean(np.log(list(timed.values())))))
    click.echo(f"{board.name}: paths take {found:.3f} of what is typical")
    without = {
        name: float(np.exp(np.mean(np.log([r for n, r in timed.items() if n != name])))) / ratio - 1
        for name, ratio in timed.items()
    }
    click.echo(f"  period of networks that were left out: {_listed(without)}")
    errors = {
        design.name: found / _ratio(design, board, mhz) - 1
        for name, design, mhz in others
        if mhz is not None and device_speed(find_board(name)) == device_speed(board)
    }
    if errors:
        click.echo(f"  period of other designs, host link included: {_listed(errors)}")
    return round(found, 3)


def _ratio(design: Design, board: Board, mhz: float) -> float:
    """Period over what is estimated at typical routing."""
    path = critical_path(design.plan.stages, board.family).delay
    return 1e3 / mhz / period(path, design.taken["luts"])


def _each_left_out(
    designs: Sequence[Design], fit: Callable[[Sequence[Design]], Callable[[Design], float]]
) -> dict[str, float]:
    return {
        design.name: fit([each for each in designs if each is not design])(design)
        for design in designs
    }


def _median(errors: Iterable[float]) -> str:
    found = [abs(error) for error in errors]
    return f"median error {np.median(found):.1%} of {len(found)}"


def _listed(errors: Mapping[str, float]) -> str:
    one = ", ".join(f"{name} {value:+.1%}" for name, value in errors.items())
    return f"{_median(errors.values())} ({one})"


if __name__ == "__main__":
    main()
