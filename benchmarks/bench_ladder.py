"""Accuracy against additions for every set of the ladder and for searched mixes.

    python benchmarks/bench_ladder.py [--networks face,digits-large] [--jobs 2]
        [--data NAME=CHOOSE.npz[,TEST.npz]]... [--model NAME=FILE.onnx] [--part ladder|search|page]

measures what benchmarks/results/ladder/NAME.json does not hold yet, a process a network, and then
writes docs/accuracy.md and its plots from these files. Images of CHOOSE calibrate and choose, those
of TEST measure; by default they are the shipped ones. Without TEST, those images of CHOOSE that
calibrate also choose, if anything is searched, and the others measure. models/README.md says how to
make the larger files.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from ladder_measure import BUDGETS, Bench, divided
from ladder_page import write_page
from ladder_results import Results, load, save

from hwgen.approx.approximate import Objective
from hwgen.approx.candidates import recipes_for
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.sets import LADDER
from hwgen.errors import BudgetError
from hwgen.flow.data import load_images
from hwgen.network.onnx_import import import_onnx

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ladder"
ALL = tuple(each.name for each in LADDER)
FEW = (*(f"terms(2,-6,0)@{limit}" for limit in (0.45, 0.6, 0.8, 1, 1.25, 1.6)), "P9", "P11")
LARGE = (*BUDGETS, 0.03)
FAST = ("P1", "P2", "P4", "P7", "P8")
"""Candidates that are fitted quickly."""
SPACED = ("terms(1,-12,0)", "terms(2,-12,0)")
"""Sets for weights of all magnitudes, with numbers spaced like floating-point ones."""
WIDE = (*SPACED, "terms(1,-8,0)", "P1", "P2", "P4")


@dataclass(frozen=True)
class Plan:
    """What is measured for a network: numbers of images, sets, and how mixes are searched.

    ``candidates`` are the recipes that a search tries; by default those of ``hwgen approximate``.
    ``explored`` are the budgets that are searched: beside those that choose some greater ones, so
    that the front is dense where the loss alone is near a budget. Of a front ``most`` points are
    measured, beside those that a budget chose.
    """

    calibration: int
    choosing: int = 0
    sets: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"frobenius": ALL, "output": ALL}
    )
    searches: tuple[Objective, ...] = ("output", "frobenius")
    candidates: tuple[str, ...] = ()
    explored: tuple[float, ...] = (*BUDGETS, 0.02, 0.04)
    fed_forward: bool = False
    integer: bool = True
    most: int = 100


PLANS = {
    "face": Plan(150, 4000, fed_forward=True),
    "digits": Plan(512, 4000, fed_forward=True),
    "digits-large": Plan(512, 4000),
    "convnetjs": Plan(512, 2000),
    "resnet20": Plan(256, 1000, candidates=FEW, explored=LARGE, integer=False, most=12),
    "vgg-cifar10": Plan(
        256,
        1000,
        sets=dict.fromkeys(("frobenius", "output"), (*ALL, *SPACED)),
        candidates=WIDE,
        explored=LARGE,
        integer=False,
        most=12,
    ),
    "resnet56": Plan(
        128,
        1000,
        sets={"frobenius": ALL, "output": ALL[:8]},
        candidates=FAST,
        explored=LARGE,
        integer=False,
        most=12,
    ),
    "squeezenet": Plan(
        8, 8, candidates=(*FAST, "P9", "P11"), explored=LARGE, integer=False, most=12
    ),
    "vgg16": Plan(4, searches=(), sets={"frobenius": ALL, "output": ()}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(PLANS), help="names, with commas")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=CHOOSE[,TEST]")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=ONNX")
    parts = ("all", "ladder", "search", "page")
    parser.add_argument("--part", choices=parts, default="all", help="what to do (all)")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time (1)")
    arguments = parser.parse_args()
    models = dict(each.split("=", 1) for each in arguments.model)
    data = dict(each.split("=", 1) for each in arguments.data)
    names = [] if arguments.part == "page" else arguments.networks.split(",")
    if unknown := set(names) - PLANS.keys():
        parser.error(f"networks are {', '.join(PLANS)}, not {sorted(unknown)[0]!r}")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, spawn, max_tasks_per_child=1) as pool:
        jobs = [
            pool.submit(measure, name, models.get(name), data.get(name), arguments.part)
            for name in names
        ]
        for job in jobs:
            job.result()
    found = {name: load(RESULTS / f"{name}.json") for name in PLANS}
    write_page({name: each for name, each in found.items() if each is not None}, ROOT / "docs")


def measure(name: str, model: str | None, data: str | None, part: str) -> None:
    """Measure what is missing of one network, and save after every point."""
    folder, plan = ROOT / "models" / name, PLANS[name]
    network = import_onnx(Path(model) if model else next(folder.glob(f"{name}*.onnx")))
    choose = folder / ("train.npz" if name == "face" else "data.npz")
    files = [Path(each) for each in data.split(",")] if data else [choose, folder / "test.npz"]
    images = [load_images(path, network.input_shape) for path in files]
    test = images[1] if len(images) > 1 else None
    splits = divided(images[0], test, plan.calibration, plan.choosing)
    candidates = tuple(map(parse_recipe, plan.candidates)) or recipes_for("terms")
    bench = Bench(
        network,
        splits,
        candidates,
        plan.explored,
        fed_forward=plan.fed_forward,
        integer=plan.integer,
        most=plan.most,
    )
    path = RESULTS / f"{name}.json"
    results, start = load(path), time.monotonic()

    def report(text: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s  {name}: {text}", flush=True)

    def keep(grown: Results) -> Results:
        save(grown, path)
        return grown

    sizes = (len(splits.calibration), len(splits.test))
    if results is None or (results.calibration, results.test) != sizes:
        results = keep(bench.empty())
    if results.choosing != len(splits.choosing):
        results = keep(results.choosing_by(len(splits.choosing), shared=test is None))
    if part in ("all", "ladder"):
        for point in bench.ladder(results, plan.sets):
            results = keep(results.with_points([point]))
            report(f"{point.curve}, {point.name}: {point.mean_terms:.3f} terms, {point.error:.3g}")
    if part in ("all", "search"):
        for objective in plan.searches:
            curve = f"searched {objective}"
            if results.of(curve) or curve in dict(results.failed):
                continue
            try:
                results = keep(results.with_points(bench.searched(objective, report)))
            except BudgetError as error:
                results = keep(replace(results, failed=(*results.failed, (curve, str(error)))))


if __name__ == "__main__":
    main()
