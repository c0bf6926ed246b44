"""Computation that slimming saves within a loss of accuracy: the tables of "Slimmer networks".

    python benchmarks/bench_slim.py row MODEL DATA [TEST] --out DIR --moves kernels --budget 0.01
    python benchmarks/bench_slim.py all DATA_FOLDER --out DIR [--only digits,resnet20]
    python benchmarks/bench_slim.py table DIR

``row`` slims one network once and writes ``DIR/NAME.json``; a row that is there is not made again,
and one that was interrupted goes on with its moves, which are in ``DIR/NAME.steps``. ``all`` makes
every row of the tables from the files that ``DATA_FOLDER`` holds, what the papers have first and
smaller networks first (rows whose files are missing are left out). ``table`` prints what is there.

Calibration and choosing images are drawn from ``DATA``, apart from each other; test images choose
nothing, and are what is left of ``DATA`` if there is no ``TEST``. The loss on them has its paired
95 % interval. Without labels, and for networks that decide nothing, the loss is the relative error
of the output. CPU seconds are those of the search alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from nfu_layers import config_of

from hwgen.approx.measure import Yardstick, decide, without_decision
from hwgen.flow.data import Images, count_classes, load_images
from hwgen.flow.intervals import paired_loss
from hwgen.flow.slim_objectives import cycles_objective, luts_objective
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.serial import dumps, loads
from hwgen.slim.moves import MOVES
from hwgen.slim.objectives import ADDITIONS, BYTES, MACS, Objective
from hwgen.slim.search import FAMILIES, Outcome, Settings, Step, search

MODELS = Path(__file__).parents[1] / "models"
_STEP_CLASSES = (Step, *MOVES)


@dataclass(frozen=True, kw_only=True)
class Row:
    """All that a row depends on beside its files."""

    moves: str
    objective: str = "macs"
    budget: float
    choosing: int
    calibration: int
    block: int
    patience: int = 8
    seed: int = 0

    def name(self, network: str) -> str:
        """File name without its end."""
        parts = [network, self.moves.replace(",", "+"), f"{self.budget:g}"]
        if self.objective != "macs":
            parts.append(self.objective.replace(":", "-"))
        return "-".join(parts)


@dataclass(frozen=True)
class Case:
    """A network and its files.

    ``model`` lies in ``models/`` or in the folder of data, where ``data`` and ``test`` are; without
    ``test``, images of ``data`` that are left over test. ``block`` is that of the moves, and
    ``tiles`` those of NFUs whose cycles are saved beside multiplications. ``budgets``: those of all
    kinds of moves alone and together, and a smaller one for the joint search. ``family`` is that of
    an FPGA whose LUTs are saved. ``patience`` is that of the search, less for larger networks.
    """

    name: str
    model: str
    data: str
    test: str | None
    choosing: int
    calibration: int
    block: int
    tiles: tuple[str, ...] = ()
    budgets: tuple[float, float] = (0.01, 0.005)
    family: str = ""
    patience: int = 8

    def rows(self) -> Iterator[tuple[int, Row]]:
        """The rows of the tables, and how soon each comes: first what the papers have."""

        def row(moves: str, budget: float, objective: str = "macs", block: int = 0) -> Row:
            return Row(
                moves=moves,
                budget=budget,
                objective=objective,
                choosing=self.choosing,
                calibration=self.calibration,
                block=block or self.block,
                patience=self.patience,
            )

        whole, small = self.budgets
        yield 0, row("features", whole)
        yield 0, row("kernels", whole)
        yield 0, row("features,kernels", whole)
        yield 0, row("blocks", whole)
        yield 0, row("features,kernels,blocks", whole)
        for tile in self.tiles:
            tn = int(tile.split("x")[0])
            yield 1, row("features,kernels,blocks", whole, f"cycles:{tile}", tn)
        yield 2, row("recipes", whole, "additions")
        yield 2, row("features,kernels,blocks,recipes", whole, "additions")
        yield 3, row("features,kernels,blocks", small)
        if self.family:
            yield 3, row("features,kernels,blocks", whole, f"luts:{self.family}")


MNIST = ("mnist_train.npz", "mnist_test.npz")
FASHION = ("fashion_train.npz", "fashion_test.npz")


def cifar(name: str) -> tuple[str, str]:
    """Files of CIFAR-10 images, laid out as a network takes them."""
    return f"cifar_train4000_{name}.npz", f"cifar_test1000_{name}.npz"


CASES = (
    Case("digits", "digits/digits.onnx", *MNIST, 8000, 2000, 2, family="ecp5"),
    Case("fashion", "fashion/fashion.onnx", *FASHION, 4000, 1500, 2),
    Case(
        *("convnetjs", "convnetjs/convnetjs.onnx", *cifar("convnetjs"), 1500, 1000, 1),
    ),
    Case("digits-large", "digits-large/digits-large.onnx", *MNIST, 6000, 1500, 4, ("4x4",)),
    Case(
        *("resnet20", "resnet20/resnet20.onnx", *cifar("resnet20"), 1000, 512, 4),
        tiles=("4x4", "16x16"),
        patience=4,
    ),
    Case(
        *("vgg-cifar10", "vgg-cifar10/vgg-cifar10.onnx", *cifar("vgg_cifar10"), 1000, 512, 8),
        patience=2,
    ),
    # the loss is the relative error of the output of the last of thirteen convolutions
    Case(
        *("vgg16", "vgg16.onnx", "imagenet20_64.npz", None, 5, 10, 16, ("16x16",)),
        budgets=(0.2, 0.1),
        patience=1,
    ),
)


def objective_of(name: str, network: Network) -> Objective:
    """The objective by name, cycles and LUTs as in ``cycles:16x16`` and ``luts:ecp5``."""
    kind, _, of = name.partition(":")
    match kind:
        case "cycles":
            return cycles_objective(config_of(*tile_of(name)))
        case "luts":
            return luts_objective(network, of)
        case _:
            return {each.name: each for each in (MACS, ADDITIONS, BYTES)}[name]


def tile_of(objective: str) -> tuple[int, int]:
    """Filters and channels that go together: of a tile, or single weights."""
    tn, _, ti = objective.partition("cycles:")[2].partition("x")
    return (int(tn), int(ti)) if ti else (1, 1)


def splits(network: Network, data: Path, row: Row) -> tuple[Images, Images, Images]:
    """Calibration and choosing images, and what is left."""
    images = load_images(data, network.input_shape, count_classes(network))
    order = np.random.default_rng(row.seed).permutation(len(images))
    count = min(row.calibration, len(images) // 2)
    end = count + row.choosing
    return images.take(order[:count]), images.take(order[count:end]), images.take(order[end:])


def measured(before: Network, after: Network, images: Images) -> dict[str, Any]:
    """What ``after`` loses against ``before`` on ``images``."""
    before, after = without_decision(before), without_decision(after)
    reference, output = run(before, images.x), run(after, images.x)
    yardstick = Yardstick.of(before, reference, images.y)
    found: dict[str, Any] = {"images": len(images), "metric": yardstick.metric}
    found["error"] = yardstick.measure(output).error
    if images.y is not None and yardstick.metric == "accuracy":
        right = [
            np.asarray(decide(each, probability=yardstick.probability) == images.y)
            for each in (reference, output)
        ]
        found |= {"before": float(right[0].mean()), "after": float(right[1].mean())}
        found |= asdict(paired_loss(*right))
    return found


def slim(network: Network, data: Path, row: Row, steps: Path) -> tuple[Outcome, float]:
    """The search, from the steps that are known, and its CPU seconds."""
    calibration, choosing, _ = splits(network, data, row)
    lines = steps.read_text().splitlines() if steps.exists() else []
    known = [loads(line, _STEP_CLASSES, Step) for line in lines]

    def keep(step: Step) -> None:
        with steps.open("a") as file:
            file.write(dumps(step) + "\n")
        click.echo(f"  {step.cost:,.0f}  loss {step.loss:.2%}", err=True)

    if not known:
        steps.unlink(missing_ok=True)
    begin = time.process_time()
    outcome = search(
        network,
        calibration.x,
        choosing.x,
        choosing.y,
        budget=row.budget,
        objective=objective_of(row.objective, network),
        families=tuple(row.moves.split(",")),  # type: ignore[arg-type]
        settings=Settings(block=row.block, tile=tile_of(row.objective), patience=row.patience),
        known=known,
        keep=keep,
    )
    return outcome, time.process_time() - begin


def make(
    network_name: str, model: Path, data: Path, test: Path | None, row: Row, out: Path
) -> None:
    """Make a row unless it is there."""
    name = row.name(network_name)
    path = out / f"{name}.json"
    if path.exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    click.echo(name, err=True)
    network = import_onnx(model)
    resumed = (out / f"{name}.steps").exists()
    outcome, seconds = slim(network, data, row, out / f"{name}.steps")
    last = outcome.steps[-1]
    result: dict[str, Any] = {
        "network": network_name,
        **asdict(row),
        "cost": [outcome.steps[0].cost, last.cost],
        "macs": [MACS.total(network), MACS.total(outcome.network, outcome.filters)],
        "choosing_loss": last.loss,
        "choosing_spoiled": last.spoiled,
        "error": last.error,
        "metric": outcome.metric,
        "effort": asdict(outcome.effort),
        "moves_taken": len(outcome.moves),
        "resumed": resumed,
        "seconds": seconds,
    }
    if test is None:
        _, _, images = splits(network, data, row)
    else:
        images = load_images(test, network.input_shape, count_classes(network))
    result["test"] = measured(network, outcome.network, images)
    weights = {
        key: array
        for node, op in outcome.network.convs()
        for key, array in ((f"{node.name}.weight", op.weight), (f"{node.name}.bias", op.bias))
    }
    np.savez_compressed(out / f"{name}.npz", **{key: a.astype("f4") for key, a in weights.items()})
    path.write_text(json.dumps(result, indent=1) + "\n")


def restored(network: Network, weights: Path) -> Network:
    """``network`` with the weights that a row ended with."""
    with np.load(weights) as found:
        ops = {
            node.name: replace(
                op, weight=found[f"{node.name}.weight"], bias=found[f"{node.name}.bias"]
            )
            for node, op in network.convs()
        }
    nodes = (replace(node, op=ops.get(node.name, node.op)) for node in network.nodes)
    return replace(network, nodes=tuple(nodes))


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows in a folder, in the order of the table."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    order = [case.name for case in CASES]
    yield from sorted(
        (row for row in found if "moves" in row),
        key=lambda row: (
            (row["objective"], -row["budget"]),
            row["moves"],
            order.index(row["network"]) if row["network"] in order else len(order),
            row["network"],
        ),
    )


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Markdown, and the median of each kind of row."""
    print(
        "| network | moves | budget | saved | loss, choosing | loss, test | 95 % interval"
        " | accuracy, test | trials | checks | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    kinds: dict[tuple[str, str, float], list[float]] = {}
    for row in rows:
        saved = 1 - row["cost"][1] / row["cost"][0]
        kinds.setdefault((row["moves"], row["objective"], row["budget"]), []).append(saved)
        test = row.get("test", {})
        cells = [row["network"], row["moves"], f"{row['budget']:.1%}"]
        cells += [f"{saved:.1%} {row['objective']}", f"{row['choosing_loss']:.2%}"]
        if "loss" in test:
            cells += [f"{test['loss']:.2%}", f"{test['low']:.2%} to {test['high']:.2%}"]
            cells += [f"{test['before']:.2%} → {test['after']:.2%} of {test['images']:,}"]
        else:
            cells += [f"{test['error']:.2%} (error)" if test else "", "", ""]
        effort = row["effort"]
        # of a search that was interrupted, what came after that is known
        more = "> " if row.get("resumed") else ""
        cells += [f"{more}{effort[each]:,}" for each in ("trials", "checks")]
        cells.append(f"{more}{row['seconds']:,.0f}")
        print(f"| {' | '.join(cells)} |")
    print()
    for (moves, objective, budget), saved in kinds.items():
        print(
            f"{moves} at {budget:.1%}, {objective}: median {np.median(saved):.1%} of "
            f"{len(saved)} networks ({min(saved):.1%} to {max(saved):.1%})"
        )


@click.group()
def main() -> None:
    pass


@main.command("row")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("test", type=click.Path(path_type=Path), required=False)
@click.option("--name", help="Name of the network; by default that of its file.")
@click.option("--moves", default=",".join(FAMILIES), show_default=True)
@click.option("--objective", default="macs", show_default=True)
@click.option("--budget", default=0.01, show_default=True)
@click.option("--choosing", default=2000, show_default=True)
@click.option("--calibration", default=512, show_default=True)
@click.option("--block", default=4, show_default=True)
@click.option("--patience", default=8, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def one_row(
    model: Path, data: Path, test: Path | None, name: str | None, out: Path, **given: Any
) -> None:
    """Make one row."""
    make(name or model.stem, model, data, test, Row(**given), out)


@main.command("all")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--only", default="", help="Names of networks, by commas; all by default.")
@click.option("--last", default=9, help="How far to go: 0 is what the papers have, 9 is all.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def all_rows(folder: Path, only: str, last: int, out: Path) -> None:
    """Make every row for which there are files."""
    chosen = set(only.split(",")) if only else {case.name for case in CASES}
    wanted = [
        (when, case, row)
        for case in CASES
        if case.name in chosen and model_of(case, folder) and (folder / case.data).exists()
        for when, row in case.rows()
        if when <= last
    ]
    for _, case, row in sorted(wanted, key=lambda each: each[0]):
        model, test = model_of(case, folder), case.test
        assert model is not None
        make(
            case.name, model, folder / case.data, None if test is None else folder / test, row, out
        )


def model_of(case: Case, folder: Path) -> Path | None:
    """The file of a network, if there is one."""
    return next((p for p in (MODELS / case.model, folder / case.model) if p.exists()), None)


@main.command("table")
@click.argument("folder", type=click.Path(path_type=Path))
def table(folder: Path) -> None:
    """Print the rows that are there."""
    print_table(list(rows_of(folder)))


if __name__ == "__main__":
    main()
