"""Calibrates the estimates of :mod:`hwgen.estimate` by real synthesis, and measures their error.

    python benchmarks/fit_estimates.py CACHE [WORKSPACE ...] [--count N] [--write]

Synthesises random stages of every form (``N`` of each) for each family, many of them in one run of
Yosys, keeps what each took in the folder CACHE, and finds coefficients by non-negative least
squares of the relative errors. The error is reported for whole designs that the fit did not see:
those of the given workspaces, which 'hwgen build' or 'hwgen synth' has left. ``--write`` stores the
coefficients in the package.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import click
import numpy as np
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from estimate_networks import random_network
from estimate_stages import random_stages
from scipy.optimize import nnls

import hwgen.estimate
from hwgen.boards import Board, find_board
from hwgen.boards.build import build_board
from hwgen.errors import ResourceError
from hwgen.estimate.model import COEFFICIENTS, Cost, Model, clock_features
from hwgen.estimate.structure import structure
from hwgen.flow.estimation import device_speed
from hwgen.shiftadd.luts import PROFILES
from hwgen.stream import store
from hwgen.stream.blocks import Stage, component
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.synthesis import FAMILIES, Area, SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog

BATCH = 28  # stages in one run of Yosys
TOP = "sample"
OWNER = re.compile(r"(s\d+)(?:\.|__)")
RESOURCES = ("luts", "ffs", "brams")
TIMED = (2, 3, 5, 8)  # networks that are placed and routed
SMALL = 30.0  # LUTs below which an error counts as if there were so many
MINOR = {"accumulate": 0.1, "gather": 0.1, "fork": 0.1, "concat": 0.1, "argmax": 0.3}
PARTS = {
    "luts": (
        *("add", "bypass", "cleared", "compare", "equal", "gate", "graph_adder", "increment"),
        *("inverter", "logic", "lutrams", "mux", "ram_bits", "rom_bits", "stage", "table"),
        "threshold",
    ),
    "ffs": ("register", "read", "ram_bits", "bypass"),
}
PACKAGE = Path(hwgen.estimate.__file__).parent / COEFFICIENTS
Taken = dict[str, int]


@dataclass(frozen=True)
class Row:
    """A stage: its form, its parts, and what it took alone."""

    form: str
    parts: dict[str, int]
    taken: Taken


@dataclass(frozen=True)
class Timed:
    """A routed design: what its clock depends on, and the clock in MHz."""

    name: str
    features: Mapping[str, float]
    mhz: float


@dataclass(frozen=True)
class Design:
    """A whole design: its stages, and what it took."""

    name: str
    rows: Sequence[Row]
    taken: Taken


class Sample(wiring.Component):
    """Stages side by side, all their ports led out."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.blocks: dict[str, Any] = {f"s{k}": component(s) for k, s in enumerate(stages)}
        super().__init__({name: Out(b.signature) for name, b in self.blocks.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, block in self.blocks.items():
            m.submodules[name] = block
            wiring.connect(m, wiring.flipped(getattr(self, name)), block)
        return m


def synthesised(stages: Sequence[Stage], family: str, cache: Path) -> list[Taken]:
    """LUTs, flip-flops and blocks of each stage, alone; what is in the cache is not run again."""
    folder = cache / family
    folder.mkdir(parents=True, exist_ok=True)
    texts = [rtlil.convert(component(s), name="stage", emit_src=False) for s in stages]
    files = [folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json" for text in texts]
    missing = [(s, f) for s, f in zip(stages, files, strict=True) if not f.exists()]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        run = folder / "run"
        verilog = rtlil_to_verilog(rtlil.convert(Sample([s for s, _ in batch]), name=TOP))
        (result,) = synthesise(SynthesisJob({f"{TOP}.v": verilog}, TOP, family, run))
        counted = by_stage(result.netlist)
        click.echo(f"{family}: {start + len(batch)} of {len(missing)} stages", err=True)
        for index, (stage, file) in enumerate(batch):
            area = Area.from_cells(counted.get(f"s{index}", Counter()), FAMILIES[family])
            taken = {name: getattr(area, name) for name in RESOURCES}
            file.write_text(json.dumps({"name": stage.name, **taken}))
    return [json.loads(file.read_text()) for file in files]


def by_stage(netlist: Path) -> dict[str, Counter[str]]:
    """Cells of each stage in a :class:`Sample`, whose names begin with the stage's."""
    cells = json.loads(netlist.read_text())["modules"][TOP]["cells"]
    found: dict[str, Counter[str]] = {}
    for name, cell in cells.items():
        owner = OWNER.match(name)
        found.setdefault(owner[1] if owner else "", Counter())[cell["type"]] += 1
    return found


def of_family(stages: Sequence[Stage], family: str) -> list[Stage]:
    """The stages as the planner makes them for a family."""
    keeps = PROFILES[family].inverters
    return [replace(s, complement=keeps and s.graph is not None) for s in stages]


def whole(seed: int, family: str, cache: Path) -> tuple[PipelinePlan, Taken]:
    """A random network's plan, and what its design took."""
    folder = cache / family / f"network{seed}"
    plan = plan_pipeline(random_network(seed), family=family)
    design = emit(plan)
    digest = hashlib.sha256(design.verilog.encode()).hexdigest()
    file = folder / "area.json"
    if not file.exists() or json.loads(file.read_text())["digest"] != digest:
        job = SynthesisJob({f"{design.name}.v": design.verilog}, design.name, family, folder)
        (result,) = synthesise(job)
        taken = {name: getattr(result.area, name) for name in RESOURCES}
        file.write_text(json.dumps({"digest": digest, **taken}))
        click.echo(f"{family}: network {seed} {taken}", err=True)
    return plan, json.loads(file.read_text())


def coefficients(rows: Sequence[Row], resource: str, parts: Sequence[str]) -> dict[str, float]:
    """What a bit of each part costs: non-negative least squares of relative errors."""
    counts = np.array([[row.parts.get(part, 0) for part in parts] for row in rows], dtype=float)
    taken = np.array([row.taken[resource] for row in rows], dtype=float)
    weights = np.array([MINOR.get(row.form, 1.0) for row in rows]) / (taken + SMALL)
    found, _ = nnls(counts * weights[:, None], taken * weights)
    return {part: round(float(c), 4) for part, c in zip(parts, found, strict=True) if c > 0}


def scales(
    rows: Sequence[Row], designs: Sequence[Design], cost: Mapping[str, float], resource: str
) -> dict[str, float]:
    """By what the costs of parts are off for each form; all but adders also among neighbours."""
    found = {}
    for form in sorted({row.form for row in rows}):
        pairs = [(dot(cost, row.parts), row.taken[resource]) for row in rows if row.form == form]
        predicted, taken = (np.array(x, dtype=float) for x in zip(*pairs, strict=True))
        weights = 1 / (taken + SMALL) ** 2
        found[form] = float((weights * predicted * taken).sum() / (weights * predicted**2).sum())
    kept = np.array([totals(d, cost, found, adders=True) for d in designs])
    others = np.array([totals(d, cost, found, adders=False) for d in designs])
    taken = np.array([d.taken[resource] for d in designs], dtype=float)
    joined = float(((taken - kept) * others / taken**2).sum() / (others**2 / taken**2).sum())
    click.echo(f"  {resource}: a stage among others takes {joined:.3f} of what it takes alone")
    result = {form: scale * (joined if form != "adders" else 1) for form, scale in found.items()}
    return {form: round(scale, 4) for form, scale in result.items()} | {"*": round(joined, 4)}


def totals(
    design: Design, cost: Mapping[str, float], scale: Mapping[str, float], *, adders: bool
) -> float:
    """Predicted total of the stages that are adder graphs, or of all others."""
    return sum(
        dot(cost, row.parts) * scale.get(row.form, scale.get("*", 1.0))
        for row in design.rows
        if (row.form == "adders") == adders
    )


def error(
    design: Design, cost: Mapping[str, float], scale: Mapping[str, float], resource: str
) -> float:
    """Relative error of a whole design."""
    predicted = sum(totals(design, cost, scale, adders=a) for a in (True, False))
    return predicted / design.taken[resource] - 1


def dot(cost: Mapping[str, float], parts: Mapping[str, int]) -> float:
    return sum(cost.get(part, 0.0) * count for part, count in parts.items())


def clocked(workspace: Path, models: Mapping[str, Any]) -> tuple[str, Timed] | None:
    """The board and the clock of a workspace that was placed and routed."""
    found = built(workspace)
    if found is None:
        return None
    done = json.loads((workspace / "results" / "synth.json").read_text())
    if done["fmax_mhz"] is None:
        return None
    plan = store.plan_from_json((workspace / "plan.json").read_text())
    features = clock_features(total(plan, models[found[0]], found[0]))
    return done["board"], Timed(workspace.name, features, done["fmax_mhz"])


def built(workspace: Path) -> tuple[str, Design] | None:
    """The family and the design of a workspace that was synthesised, if it is a streaming one."""
    plan, result = workspace / "plan.json", workspace / "results" / "synth.json"
    if not plan.exists() or not result.exists():
        return None
    done = json.loads(result.read_text())
    family = find_board(done["board"]).family
    stages = store.plan_from_json(plan.read_text()).stages
    rows = [Row(s.form, structure(s, family).parts(family), {}) for s in stages]
    return family, Design(workspace.name, rows, done["core"])


def routed(seed: int, board: Board, cache: Path, models: Mapping[str, Any]) -> Timed | None:
    """Clock of a random network on a board after place and route, None if it is too large."""
    plan = plan_pipeline(random_network(seed), family=board.family)
    folder = cache / board.name / f"network{seed}"
    file = folder / "clock.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            clock = build_board(emit(plan), board, folder, attempts=1).fmax_mhz
        except ResourceError as error:
            click.echo(f"{board.name}: network {seed}: {error}", err=True)
            clock = None
        file.write_text(json.dumps(clock))
        click.echo(f"{board.name}: network {seed} {clock} MHz", err=True)
    clock = json.loads(file.read_text())
    return clock and Timed(
        f"random{seed}", clock_features(total(plan, models[board.family], board.family)), clock
    )


def total(plan: PipelinePlan, model: Mapping[str, Any], family: str) -> Cost:
    """Predicted cost of a whole design."""
    chosen = Model(family, **model)
    costs = (chosen.cost(structure(stage, family), stage.form) for stage in plan.stages)
    return reduce(add, costs, Cost())


def period(timed: Sequence[Timed]) -> dict[str, float]:
    """Nanoseconds for each feature of a clock: non-negative least squares of relative errors."""
    names = list(timed[0].features)
    features = np.array([[t.features[name] for name in names] for t in timed])
    measured = np.array([t.mhz for t in timed])[:, None] / 1e3
    found, _ = nnls(features * measured, np.ones(len(timed)))
    return {name: round(float(c), 4) for name, c in zip(names, found, strict=True)}


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.argument("workspaces", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--count", default=4, show_default=True, help="Stages of each form.")
@click.option("--networks", default=8, show_default=True, help="Random networks; half are fitted.")
@click.option("--family", multiple=True, default=sorted(FAMILIES), help="Families to fit.")
@click.option("--boards", multiple=True, help="Boards to place and route networks for.")
@click.option("--write", is_flag=True, help="Store the coefficients in the package.")
def main(
    cache: Path,
    workspaces: tuple[Path, ...],
    count: int,
    networks: int,
    family: tuple[str, ...],
    boards: tuple[str, ...],
    write: bool,
) -> None:
    """Fit estimates to real synthesis, and report their error on designs the fit did not see."""
    models: dict[str, Any] = json.loads(PACKAGE.read_text()) if PACKAGE.exists() else {}
    others = [found for found in map(built, workspaces) if found is not None]
    for name in family:
        click.echo(name)
        stages = of_family(list(random_stages(0, count)), name)
        taken = synthesised(stages, name, cache)
        rows = [
            Row(stage.form, structure(stage, name).parts(name), one)
            for stage, one in zip(stages, taken, strict=True)
        ]
        designs = [random_design(seed, name, cache) for seed in range(networks)]
        seen = designs[::2]
        unseen = designs[1::2] + [design for of, design in others if of == name]
        model = models.setdefault(name, {"period": {}})
        for resource, parts in PARTS.items():
            cost = coefficients(rows, resource, parts)
            scale = scales(rows, seen, cost, resource)
            model[resource] = cost
            model[f"{resource[:-1]}_scale"] = scale
            report(
                f"{resource} of stages",
                [r for r in rows if r.taken[resource] > SMALL],
                cost,
                scale,
                resource,
            )
            errors = {d.name: error(d, cost, scale, resource) for d in unseen}
            click.echo(f"  {resource} of unseen designs: {listed(errors)}")
        for design in unseen:
            blocks = sum(row.parts.get("blocks", 0) for row in design.rows)
            click.echo(f"  memory blocks of {design.name}: {blocks}, of {design.taken['brams']}")
    if write:
        PACKAGE.write_text(json.dumps(models, indent=1, sort_keys=True) + "\n")
    routes = [found for found in (clocked(w, models) for w in workspaces) if found is not None]
    for board in map(find_board, boards):
        timed = [t for seed in TIMED if (t := routed(seed, board, cache, models)) is not None]
        found = period(timed)
        models[board.family]["period"][device_speed(board)] = found
        click.echo(f"{board.name}: clock {found}")
        for t in (*timed, *(t for name, t in routes if find_board(name).family == board.family)):
            predicted = 1e3 / dot(found, t.features)
            click.echo(
                f"  {t.name}: {predicted:.1f} MHz, of {t.mhz:.1f} ({predicted / t.mhz - 1:+.1%})"
            )
    if write:
        PACKAGE.write_text(json.dumps(models, indent=1, sort_keys=True) + "\n")


def report(
    what: str,
    rows: Sequence[Row],
    cost: Mapping[str, float],
    scale: Mapping[str, float],
    resource: str,
) -> None:
    off = [abs(dot(cost, r.parts) * scale[r.form] / r.taken[resource] - 1) for r in rows]
    click.echo(f"  {what}: median error {np.median(off):.1%} of {len(off)}")


def listed(errors: Mapping[str, float]) -> str:
    one = ", ".join(f"{name} {value:+.1%}" for name, value in errors.items())
    return f"median {np.median(np.abs(list(errors.values()))):.1%} ({one})" if errors else "none"


def random_design(seed: int, family: str, cache: Path) -> Design:
    plan, taken = whole(seed, family, cache)
    rows = [Row(s.form, structure(s, family).parts(family), {}) for s in plan.stages]
    return Design(f"random{seed}", rows, taken)


if __name__ == "__main__":
    main()
