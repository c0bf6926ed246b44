"""Fits what adder graphs will take before they are optimised (:mod:`hwgen.estimate.graphs`).

    python benchmarks/fit_graph_parts.py CACHE WORKSPACE... [--terms N] [--write]

Optimises the matrices of the linear layers of approximated workspaces, and parts of the columns of
those that have more than N digits, as stages of every form, keeps their parts in the folder CACHE,
fits how adders grow with a matrix, and the parts by non-negative least squares of relative errors.
The errors are reported for each matrix, fitted without those of its workspace. ``--write`` stores
what was found in the package.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.optimize import nnls

import hwgen.estimate
from hwgen.estimate.graphs import (
    FILE,
    Features,
    features,
    graph_kind,
    matrix_terms,
    spread_sample,
)
from hwgen.estimate.structure import structure
from hwgen.flow.options import GenerateOptions
from hwgen.integer import store
from hwgen.integer.types import IntegerNetwork, Requantise
from hwgen.numeric import IntArray
from hwgen.shiftadd.luts import PROFILES
from hwgen.shiftadd.optimise import optimize
from hwgen.stream.blocks import Stage
from hwgen.stream.forms import parse_folding
from hwgen.stream.planner import Planner

FORMS = ("parallel", "rows", "serial:8", "serial:4", "serial:2", "serial:1")
FAMILIES = ("ecp5", "gowin", "ice40")
SMALL = 8.0  # bits below which an error counts as if there were so many
Row = dict[str, Any]


def samples(network: IntegerNetwork, most: int) -> Iterator[tuple[Stage, IntArray]]:
    """Stages with matrices of at most so many digits: whole layers, or some of their columns."""
    for form in FORMS:
        planner = Planner(network, parse_folding(f"*={form}"))
        planner.run()
        for stage in planner.stages:
            matrix = planner.matrices.get(stage.name)
            if matrix is None:
                continue
            terms = matrix_terms(matrix)
            if terms > most:
                count = max(1, matrix.shape[1] * most // terms)
                step = matrix.shape[1] / count
                columns = [int(k * step) for k in range(count)]
                stage, matrix = restricted(stage, matrix, columns)
                if matrix_terms(matrix) > most:
                    continue
            yield stage, matrix


def restricted(stage: Stage, matrix: IntArray, columns: Sequence[int]) -> tuple[Stage, IntArray]:
    """A stage with some of its outputs alone."""
    op: Any = stage.op
    if isinstance(op, Requantise) and op.multiplier.size > 1:
        picked = {name: getattr(op, name)[list(columns)] for name in ("multiplier", "shift")}
        op = replace(op, **picked)
    kept = replace(
        stage,
        op=op,
        bias=tuple(stage.bias[k] for k in columns) if stage.bias else (),
        output_shape=(len(columns), *stage.output_shape[1:]),
        output_ranges=tuple(stage.output_ranges[k] for k in columns),
    )
    return kept, matrix[:, list(columns)]


def measured(stage: Stage, matrix: IntArray, family: str, cache: Path) -> Row:
    """Features and parts of a stage with an optimised graph; what is in the cache is not made."""
    objective = "adders" if stage.digit else f"luts:{family}"
    ranges = tuple((r.lo, r.hi) for r in stage.ranges[0])
    text = repr((matrix.tolist(), ranges, objective, stage.form, stage.digit, stage.bias))
    file = cache / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    if not file.exists():
        effort = GenerateOptions().effort
        graph = optimize(matrix, inputs=stage.ranges[0], objective=objective, effort=effort)
        complement = PROFILES[family].inverters and not stage.digit
        parts = structure(replace(stage, graph=graph, complement=complement), family)
        row = {"adders": graph.adders, "words": dict(parts.words)}
        file.write_text(json.dumps(row))
    row = json.loads(file.read_text())
    return {
        "kind": graph_kind(stage, family),
        "features": features(stage, matrix),
        "matrix": matrix,
        **row,
    }


def sampling(rows: Sequence[Row]) -> dict[str, float]:
    """What search saves beside a quick graph, and how adders grow with the digits of a sample."""
    saved, powers = [], []
    for row in rows:
        if row["adders"] > 20:
            quick = optimize(row["matrix"]).adders
            saved.append(row["adders"] / quick)
            part = matrix_terms(row["matrix"]) // 6
            sample = spread_sample(row["matrix"], part)
            terms, adders = matrix_terms(sample), optimize(sample).adders
            if part > 60 and adders > 20:
                grown = math.log(quick / adders) / math.log(matrix_terms(row["matrix"]) / terms)
                powers.append(grown)
    return {
        "search": round(float(np.median(saved)), 4),
        "power": round(float(np.median(powers)), 4),
    }


def linear_parts(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each kind of part, what it takes of each product of the features."""
    products = [row["features"].products for row in rows]
    names = list(products[0])
    found = {}
    for kind in sorted({kind for row in rows for kind in row["words"]} - {"stage"}):
        bits = np.array([float(row["words"].get(kind, 0)) for row in rows])
        weight = 1 / np.maximum(bits, SMALL)
        matrix = np.array([[each[name] for name in names] for each in products])
        solution, _ = nnls(matrix * weight[:, None], bits * weight)
        linear = {n: round(v, 5) for n, v in zip(names, solution, strict=True) if v > 1e-5}
        if linear:
            found[kind] = linear
    return found


def fitted(rows: Sequence[Row]) -> dict[str, Any]:
    """Parts of each kind of stage."""
    kinds = sorted({row["kind"] for row in rows})
    return {k: linear_parts([row for row in rows if row["kind"] == k]) for k in kinds}


def weighed(words: dict[str, float]) -> tuple[float, float]:
    """Bits of logic, and of registers."""
    logic = sum(n for kind, n in words.items() if kind not in ("register", "control", "stage"))
    return logic, words.get("register", 0)


def errors(rows: Sequence[Row], known: dict[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """Relative errors of adders, logic and registers of each row."""
    for row in rows:
        found: Features = row["features"]
        products = found.products
        linear = known.get(row["kind"], {})
        words = {
            kind: sum(each * products[name] for name, each in parts.items())
            for kind, parts in linear.items()
        }
        pairs = [(products["adders"], row["adders"])]
        pairs += list(zip(weighed(words), weighed(row["words"]), strict=True))
        name = f"{row['workspace']:14} {row['kind']:14} {row['adders']:6}"
        yield name, [a / max(b, SMALL) - 1 for a, b in pairs]


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.argument("workspaces", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--terms", default=1000, help="Most digits of a matrix.")
@click.option("--write", is_flag=True, help="Store what was found in the package.")
def main(cache: Path, workspaces: tuple[Path, ...], terms: int, write: bool) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for workspace in workspaces:
        network = store.from_json((workspace / "integer.json").read_text())
        for stage, matrix in samples(network, terms):
            for family in FAMILIES[:1] if stage.digit else FAMILIES:
                row = measured(stage, matrix, family, cache)
                rows.append(row | {"workspace": workspace.name})
                click.echo(f"{workspace.name} {stage.name} {row['kind']} {row['adders']}", err=True)
    off = []
    for workspace in workspaces:
        rest = [row for row in rows if row["workspace"] != workspace.name]
        if rest:
            here = [row for row in rows if row["workspace"] == workspace.name]
            for name, each in errors(here, fitted(rest)):
                off.append(each)
                click.echo(name + "".join(f" {100 * e:+7.1f} %" for e in each))
    if off:
        medians = np.median(np.abs(off), axis=0)
        click.echo(f"median error: adders, logic, registers {100 * medians} %")
    if write:
        path = Path(hwgen.estimate.__file__).parent / FILE
        found = {**sampling(rows), "parts": fitted(rows)}
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
