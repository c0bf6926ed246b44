"""What networks take of boards over the images a second that they then do: the curves of plans.

    python benchmarks/bench_plans.py PLANS.json out/face out/digits
        --board icebreaker --board ulx3s-25f [--plot FIGURE.svg]

Runs ``hwgen plan --fit`` of each workspace, an approximated network, for each board, and prints
what it chose and the processor seconds that it took. Results are stored after every plan; a second
run goes on where it ended. What does not fit a board at all is printed as refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import click
from figure_style import figure_of
from matplotlib.lines import Line2D

from hwgen.boards import find_board
from hwgen.errors import ResourceError
from hwgen.flow.options import PlanOptions
from hwgen.flow.planning import plan_folding
from hwgen.flow.progress import silent
from hwgen.flow.workspace import Workspace

COLUMNS = 2
Plan = dict[str, Any]


@click.command()
@click.argument("results", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("workspaces", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--board", "boards", multiple=True, required=True, help="Board to plan for.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw all that is stored to this SVG file."
)
def main(
    results: Path, workspaces: tuple[Path, ...], boards: tuple[str, ...], plot: Path | None
) -> None:
    """Plan each workspace for each board."""
    plans: dict[str, dict[str, Plan]] = json.loads(results.read_text()) if results.exists() else {}
    for board in boards:
        for workspace in workspaces:
            done = plans.setdefault(board, {})
            if workspace.name not in done:
                done[workspace.name] = _plan(workspace, board)
                results.write_text(json.dumps(plans, indent=1, sort_keys=True) + "\n")
            click.echo(_row(board, workspace.name, done[workspace.name]))
    if plot is not None:
        _draw(plot, plans)


def _plan(workspace: Path, board: str) -> Plan:
    start = time.process_time()
    try:
        found = plan_folding(Workspace.open(workspace), board, PlanOptions(), silent)
    except ResourceError as error:
        return {"refused": str(error), "seconds": time.process_time() - start}
    return found | {"seconds": time.process_time() - start}


def _row(board: str, name: str, plan: Plan) -> str:
    if "refused" in plan:
        return f"| {name} | {board} | refused: {plan['refused']} | | | | {plan['seconds']:.0f} |"
    total = _total(plan)
    numbers = (f"{total['luts']:,}", f"{total['brams']}", f"{plan['images_per_second']:,.0f}")
    cells = (name, board, f"`{plan['name']}`", *numbers, f"{plan['seconds']:.0f}")
    return f"| {' | '.join(cells)} |"


def _total(plan: Plan) -> Mapping[str, Any]:
    predicted: Mapping[str, Any] = plan["predicted"]
    total: Mapping[str, Any] = predicted.get("total", predicted)
    return total


def _draw(path: Path, boards: Mapping[str, Mapping[str, Plan]]) -> None:
    """A panel a board, a colour a network: pipelines as lines, other systems as squares."""
    names = sorted({name for plans in boards.values() for name in plans})
    rows = ceil(len(boards) / COLUMNS)
    with figure_of(path, width=3.6 * COLUMNS, height=2.7 * rows) as figure:
        panels = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True).flat
        for (board, plans), axes in zip(sorted(boards.items()), panels, strict=False):
            axes.set_title(find_board(board).title, loc="left")
            for number, name in enumerate(names):
                plan = plans.get(name, {})
                _points(axes, plan.get("curve", ()), f"C{number}", ".-")
                _points(axes, plan.get("systems", ()), f"C{number}", "s")
                if "refused" not in plan and plan:
                    chosen = [(plan["images_per_second"], _total(plan)["luts"])]
                    axes.plot(*zip(*chosen, strict=True), "o", color=f"C{number}", ms=7, mfc="none")
                    axes.axhline(plan["capacity"]["luts"], color="0.4", lw=0.8, ls="--")
            axes.set_xscale("log")
            axes.set_yscale("log")
        for axes in list(panels):
            axes.set_visible(False)
        figure.supxlabel("images a second at the clock of the board", fontsize=9)
        figure.supylabel("LUTs, predicted", fontsize=9)
        colours = [
            Line2D([], [], color=f"C{number}", label=name) for number, name in enumerate(names)
        ]
        figure.legend(handles=colours, loc="outside upper center", ncols=len(names), fontsize=8)


def _points(axes: Any, points: Sequence[Mapping[str, Any]], colour: str, mark: str) -> None:
    rates = [point["images_per_second"] for point in points]
    axes.plot(rates, [point["luts"] for point in points], mark, color=colour, lw=0.8, ms=3)


if __name__ == "__main__":
    main()
