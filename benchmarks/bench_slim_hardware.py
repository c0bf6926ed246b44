"""What slimming gains in hardware: cycles of an NFU, and LUTs of the streaming datapath.

    python benchmarks/bench_slim_hardware.py cycles DATA_FOLDER DIR
    python benchmarks/bench_slim_hardware.py tile DATA_FOLDER DIR 16x16
    python benchmarks/bench_slim_hardware.py luts DATA_FOLDER DIR [--family ecp5] [--mix P4]

Both read the networks that ``bench_slim.py`` left in ``DIR``. ``cycles`` compares, for each that
was slimmed to save cycles of a tile: the whole network; those that were slimmed to save
multiplications in the same budget and know of no tile; itself. Each is compacted, takes weights of
set P4, which are signed powers of two, so that a row holds one tap, and is compiled for an NFU of
the tile; cycles are those of the cycle model, which simulations are asserted to agree with, on
memory that gives a word a cycle and port, 4 cycles after a request. ``tile`` gives the cycles of
every network in ``DIR`` on an NFU of one tile, whatever it was slimmed for. ``luts`` builds the
streaming datapath of the whole network and of the slimmed one with the same recipe and synthesises
both; the column "estimate" is what the search goes by.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from bench_slim import CASES, MODELS, Case, restored, tile_of

from hwgen.approx.approximate import assemble
from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import ApproxNetwork
from hwgen.flow.data import count_classes, load_images
from hwgen.flow.slim_objectives import luts_objective
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_lane
from hwgen.nfu.lane_dyadic import DyadicLane
from hwgen.nfu.timing import Timing
from hwgen.slim.compact import compact
from hwgen.slim.objectives import MACS
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

IMAGES = 32  # that fit the formats


@dataclass(frozen=True)
class Slimmed:
    """A row of ``bench_slim.py``, and its network."""

    case: Case
    row: dict[str, Any]
    whole: Network
    network: Network
    images: np.ndarray


def rows(folder: Path, results: Path, objective: str) -> Iterator[Slimmed]:
    """Networks that were slimmed for an objective whose name begins like this."""
    for case in CASES:
        for path in sorted(results.glob(f"{case.name}-*.json")):
            row = json.loads(path.read_text())
            if row["network"] == case.name and row["objective"].startswith(objective):
                yield loaded(folder, case, row, path)


def loaded(folder: Path, case: Case, row: dict[str, Any], path: Path) -> Slimmed:
    """The network of a row."""
    model = next(p for p in (MODELS / case.model, folder / case.model) if p.exists())
    network = import_onnx(model)
    images = load_images(folder / case.data, network.input_shape, count_classes(network))
    slim = restored(network, path.with_suffix(".npz"))
    return Slimmed(case, row, network, slim, images.x[:IMAGES])


def approximated(network: Network, images: np.ndarray, recipe: str) -> ApproxNetwork:
    """``network`` with the nearest weights of a recipe; what is 0 stays 0."""
    samples = calibrate(network, images).samples
    ranges = {name: (float(s[0]), float(s[-1])) for name, s in samples.items()}
    parsed = parse_recipe(recipe)
    filters = {node.name: approximate_filters(op, parsed) for node, op in network.convs()}
    return assemble(network, filters, ranges=ranges)


def integer(approx: ApproxNetwork, images: np.ndarray) -> IntegerNetwork:
    """The integer network."""
    return quantise(approx, calibrate(approx.to_network(), images))


def cycles_of(network: Network, images: np.ndarray, tile: tuple[int, int]) -> int:
    """Cycles of an image on an NFU whose NFU-3 no group is too short for."""
    whole = integer(approximated(compact(network), images, "P4"), images)
    config = fit_lane(whole, DyadicLane(1, 16), tn=tile[0], ti=tile[1], depth=2048)
    config = replace(config, nfu3_lanes=config.tn)
    program = compile_network(whole, config).program
    return count_cycles(config, program, Timing(latency=4)).total


def luts_of(network: Network, images: np.ndarray, recipe: str, family: str) -> tuple[int, float]:
    """LUTs of the streaming datapath by Yosys, and by the estimate."""
    small = compact(network)
    approx = approximated(small, images, recipe)
    estimate = luts_objective(small, family).total(small, dict(approx.filters))
    design = emit(plan_pipeline(integer(approx, images), family=family))
    with tempfile.TemporaryDirectory() as folder:
        job = SynthesisJob({"d.v": design.verilog}, design.name, family, Path(folder))
        (result,) = synthesise(job)
    return result.area.luts, estimate


def loss_of(row: dict[str, Any]) -> str:
    """Loss on test images with its interval, or their error."""
    test = row["test"]
    if "low" not in test:
        return f"{test['error']:.1%} (error)"
    return f"{test['loss']:.2%} ({test['low']:.2%} to {test['high']:.2%})"


@click.group()
def main() -> None:
    pass


@main.command("cycles")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("results", type=click.Path(path_type=Path))
def cycles(folder: Path, results: Path) -> None:
    """Cycles of an NFU before and after."""
    print(
        "| network | NFU | slimmed for | saved MACs | cycles | speed-up | of ideal"
        " | loss, choosing | loss, test |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for aware in rows(folder, results, "cycles"):
        objective = aware.row["objective"]
        tn, ti = tile_of(objective)
        before = cycles_of(aware.whole, aware.images, (tn, ti))
        macs = MACS.total(aware.whole)
        head = f"| {aware.case.name} | {tn} x {ti}"
        print(f"{head} | nothing | 0 | {before:,} | 1.00 | | | |", flush=True)
        found = [(f"cycles, {aware.row['moves']}", aware)]
        for moves in ("features,kernels,blocks", "features,kernels"):
            name = f"{aware.case.name}-{moves.replace(',', '+')}-{aware.row['budget']:g}.json"
            if (path := results / name).exists():
                row = json.loads(path.read_text())
                found.insert(0, (f"MACs, {moves}", loaded(folder, aware.case, row, path)))
        for what, one in found:
            after = cycles_of(one.network, one.images, (tn, ti))
            left = MACS.total(one.network) / macs
            print(
                f"{head} | {what} | {1 - left:.1%} | {after:,} | {before / after:.2f} | "
                f"{before / after * left:.1%} | {one.row['choosing_loss']:.2%} | "
                f"{loss_of(one.row)} |",
                flush=True,
            )


@main.command("tile")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("tile")
def tile(folder: Path, results: Path, tile: str) -> None:
    """Cycles on an NFU of one tile, before and after."""
    size = tile_of(f"cycles:{tile}")
    print("| network | moves | saved MACs | cycles before | after | speed-up | loss, test |")
    print("|---|---|---|---|---|---|---|")
    before: dict[str, int] = {}
    for one in rows(folder, results, ""):
        name = one.case.name
        if name not in before:
            before[name] = cycles_of(one.whole, one.images, size)
        after = cycles_of(one.network, one.images, size)
        left = MACS.total(one.network) / MACS.total(one.whole)
        print(
            f"| {name} | {one.row['moves']} | {1 - left:.1%} | {before[name]:,} | {after:,} | "
            f"{before[name] / after:.2f} | {loss_of(one.row)} |",
            flush=True,
        )


@main.command("luts")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--family", default="ecp5", show_default=True)
@click.option("--mix", default="P4", show_default=True)
def luts(folder: Path, results: Path, family: str, mix: str) -> None:
    """LUTs of the streaming datapath before and after."""
    print("| network | slimmed for | saved MACs | LUTs | estimate | saved | loss, test |")
    print("|---|---|---|---|---|---|---|")
    for one in rows(folder, results, f"luts:{family}"):
        before, believed = luts_of(one.whole, one.images, mix, family)
        print(f"| {one.case.name} | nothing | 0 | {before:,} | {believed:,.0f} | 0 | |", flush=True)
        after, estimate = luts_of(one.network, one.images, mix, family)
        left = MACS.total(one.network) / MACS.total(one.whole)
        print(
            f"| {one.case.name} | LUTs | {1 - left:.1%} | {after:,} | {estimate:,.0f} | "
            f"{1 - after / before:.1%} | {loss_of(one.row)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
