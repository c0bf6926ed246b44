"""Accuracy against signed powers of two a weight: nearest weights, nearest outputs, fixed point.

    python benchmarks/bench_output_aware.py [--mnist IDX_FOLDER] [--cifar-train FILE.npz]
        [--cifar-test FILE.npz] [--limits T ...] [--sets P ...] [--bits K ...] [--out DIR]
        [digits digits-large convnetjs resnet20 face]

Three curves a network. *frobenius* and *output* take the same recipes, so that they have the same
number of signed powers of two (and of adders before sharing) in every layer: two terms a weight
with a limit on their mean, and sets of the ladder, whose *output* form is limited to the terms that
the *frobenius* form has. *fixed point* is k-bit weights, k = 2 to 8, in canonical signed digits, at
the scale a filter of least squared error. A layer whose filters have one weight each, or equal
ones, gets P1: the scale is the weight.

Training images calibrate; other training images choose the least mean within a loss (last table);
test images, which did neither, measure. Without further files the shipped images serve, halved.
DIR gets output_aware.csv, output_aware.json and a picture a network.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hwgen.approx.approximate import Objective, approximate
from hwgen.approx.filters import EXACT
from hwgen.approx.measure import decide, without_decision
from hwgen.approx.recipes import Recipe
from hwgen.approx.sets import DyadicSet, parse_set
from hwgen.approx.types import ApproxNetwork
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.numeric import csd_weight

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "models"))

import cifar_data  # noqa: E402
import fetch_mnist  # noqa: E402

NETWORKS = ("face", "digits", "digits-large", "convnetjs", "resnet20")
SET = parse_set("terms(2,-6,0)")
LIMITS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0)
LADDER = ("P1", "P2", "P4", "P5", "P6", "P7")
BITS = range(2, 9)
LOSSES = (0.005, 0.01)
OBJECTIVES: tuple[Objective, ...] = ("frobenius", "output")
ONE_WEIGHT = Recipe(parse_set("P1"))


@dataclass(frozen=True)
class Data:
    """Images (N, C, H, W) and classes (N,) by their use."""

    calibration: np.ndarray
    choosing: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Point:
    """One approximation of one network.

    ``mean_terms`` signed powers of two a weight; ``accuracy`` on the test images and
    ``choosing_loss`` on those that choose, in shares of 1; ``error``: root-mean-square difference
    of the outputs on the test images relative to the float outputs; ``seconds`` to approximate.
    """

    network: str
    curve: str
    recipe: str
    mean_terms: float
    accuracy: float
    float_accuracy: float
    choosing_loss: float
    error: float
    images: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--mnist", type=Path, help="folder with the four IDX files of MNIST")
    parser.add_argument("--cifar-train", type=Path, help="NPZ with x (N, 32, 32, 3) and y")
    parser.add_argument("--cifar-test", type=Path, help="NPZ with x (N, 32, 32, 3) and y")
    parser.add_argument(
        "--images", type=int, default=2000, help="to calibrate with and to choose, each (2000)"
    )
    parser.add_argument(
        "--limits", type=float, nargs="*", default=LIMITS, help="on the mean of terms(2,-6,0)"
    )
    parser.add_argument(
        "--sets", nargs="*", default=LADDER, help="sets without a limit, and at equal terms"
    )
    parser.add_argument("--bits", type=int, nargs="*", default=BITS, help="of fixed point")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "output_aware")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    points: list[Point] = []
    for name in arguments.networks:
        network = without_decision(import_onnx(ROOT / "models" / name / f"{name}.onnx"))
        own = []
        for point in measure(name, network, read(name, arguments), arguments):
            print(point, file=sys.stderr, flush=True)
            own.append(point)
        plot(name, own, arguments.out / f"{name}.svg")
        points += own
        write(points, arguments.out)
    print(curves(points))
    print(least(points))


def read(name: str, arguments: argparse.Namespace) -> Data:
    """Images of a network: every second one calibrates, the others choose."""
    folder = ROOT / "models" / name
    if name.startswith("digits") and arguments.mnist:
        mnist = fetch_mnist.load(arguments.mnist)
        train, test = (mnist.train_x[::15], mnist.train_y[::15]), (mnist.test_x, mnist.test_y)
    elif name in ("convnetjs", "resnet20") and arguments.cifar_train and arguments.cifar_test:
        train = cifar_data.read(arguments.cifar_train, "train")
        test = cifar_data.read(arguments.cifar_test, "test")
    else:
        stem = "train" if name == "face" else "data"
        with np.load(folder / f"{stem}.npz") as a, np.load(folder / "test.npz") as b:
            train, test = (a["x"], a["y"]), (b["x"], b["y"])
    (images, labels), most = train, arguments.images
    choosing = images[1::2][:most], labels[1::2][:most].reshape(-1)
    return Data(images[::2][:most], choosing, test)


def measure(name: str, network: Network, data: Data, grid: argparse.Namespace) -> Iterator[Point]:
    """All points of one network."""
    layers = {node.name: op for node, op in network.convs()}
    one = {
        layer
        for layer, op in layers.items()
        if np.ptp(op.weight.reshape(len(op.weight), -1), axis=1).max() < 1e-6
    }
    float_test, float_choosing = (right(network, *each) for each in (data.test, data.choosing))
    reference = run(network, data.test[0])

    def point(curve: str, recipe: str, mix: Mapping[str, Recipe], objective: Objective) -> Point:
        start = time.perf_counter()
        approx = approximate(network, recipes=mix, images=data.calibration, objective=objective)
        seconds = time.perf_counter() - start
        network_ = approx.to_network()
        output = run(network_, data.test[0])
        return Point(
            name,
            curve,
            recipe,
            mean_terms(approx),
            float((decided(output) == data.test[1].reshape(-1)).mean()),
            float_test,
            float_choosing - right(network_, *data.choosing),
            float(np.linalg.norm(output - reference) / np.linalg.norm(reference)),
            len(output),
            round(seconds, 2),
        )

    def everywhere(recipe: Recipe) -> dict[str, Recipe]:
        return {layer: ONE_WEIGHT if layer in one else recipe for layer in layers}

    for limit in grid.limits:
        recipe = Recipe(SET, limit)
        for objective in OBJECTIVES:
            yield point(objective, recipe.name, everywhere(recipe), objective)
    for text in grid.sets:
        free = everywhere(Recipe(parse_set(text)))
        yield point("frobenius", text, free, "frobenius")
        nearest = dict(approximate(network, recipes=free).filters)
        equal = {
            layer: Recipe(recipe.dyadic_set, terms_of(nearest[layer].codes) / op.weight.size)
            for (layer, op), recipe in zip(layers.items(), free.values(), strict=True)
        }
        yield point("output", text, equal, "output")
    for bits in grid.bits:
        yield point("fixed point", f"{bits} bits", everywhere(Recipe(fixed(bits))), "frobenius")


def fixed(bits: int) -> DyadicSet:
    """Symmetric fixed-point numbers of ``bits`` bits, the sign among them."""
    unit = 1 << (bits - 1)
    return parse_set("{" + ",".join(f"{n}/{unit}" for n in range(unit)) + "}")


def decided(output: np.ndarray) -> np.ndarray:
    decisions = decide(output)
    assert decisions is not None
    return decisions


def right(network: Network, images: np.ndarray, labels: np.ndarray) -> float:
    return float((decided(run(network, images)) == labels.reshape(-1)).mean())


def terms_of(codes: np.ndarray) -> int:
    values, counts = np.unique(np.abs(codes), return_counts=True)
    return sum(csd_weight(int(v)) * int(n) for v, n in zip(values, counts, strict=True))


def mean_terms(approx: ApproxNetwork) -> float:
    """Signed powers of two a weight; layers that are exact powers of two are no approximation."""
    codes = [filters.codes for _, filters in approx.filters if filters.recipe != EXACT]
    return sum(map(terms_of, codes)) / sum(each.size for each in codes)


def write(points: list[Point], folder: Path) -> None:
    rows = [asdict(point) for point in points]
    (folder / "output_aware.json").write_text(json.dumps(rows, indent=1) + "\n")
    with (folder / "output_aware.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


STYLES = {
    "frobenius": ("nearest weights", "o--", "C0"),
    "output": ("nearest outputs", "o-", "C1"),
    "fixed point": ("k-bit fixed point", "s:", "C2"),
}


def plot(name: str, points: list[Point], path: Path) -> None:
    """Points of the three curves and their Pareto fronts."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for curve, (label, style, colour) in STYLES.items():
        own = sorted((p for p in points if p.curve == curve), key=lambda p: p.mean_terms)
        axes.plot(
            [p.mean_terms for p in own],
            [100 * p.accuracy for p in own],
            style[0],
            color=colour,
            alpha=0.35,
            markersize=4,
        )
        best = front(own)
        axes.plot(
            [p.mean_terms for p in best],
            [100 * p.accuracy for p in best],
            style,
            color=colour,
            label=label,
            markersize=4,
        )
    exact = 100 * points[0].float_accuracy
    axes.axhline(exact, color="black", linewidth=0.8, label="float")
    axes.set(xlabel="signed powers of two a weight", ylabel="accuracy, %", title=name)
    axes.set_ylim(max(0, exact - 15), min(100, exact + 1.5))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path)


def front(points: list[Point]) -> list[Point]:
    """Those of ``points`` that none with as few terms beats; by rising terms."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.mean_terms, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def curves(points: list[Point]) -> str:
    lines = ["| network | recipe | terms a weight | nearest weights | nearest outputs |"]
    lines.append("|---|---|---|---|---|")
    pairs: dict[tuple[str, str], dict[str, Point]] = {}
    for p in points:
        pairs.setdefault((p.network, p.recipe), {})[p.curve] = p
    for (network, recipe), found in pairs.items():
        base = found.get("frobenius") or found["fixed point"]
        output = found.get("output")
        cells = [f"{base.mean_terms:.3f}", f"{base.accuracy:.2%}"]
        cells.append(f"{output.accuracy:.2%}" if output else "(fixed point)")
        lines.append(f"| {network} | {recipe} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def least(points: list[Point]) -> str:
    """The fewest terms that the choosing images allow, and what they lose on the test images."""
    lines = ["| network, float | curve | within | recipe | terms a weight | loss on test images |"]
    lines.append("|---|---|---|---|---|---|")
    for network in dict.fromkeys(p.network for p in points):
        for curve in STYLES:
            own = [p for p in points if (p.network, p.curve) == (network, curve)]
            for loss in LOSSES:
                within = [p for p in own if p.choosing_loss <= loss + 1e-12]
                best = min(within, key=lambda p: p.mean_terms, default=None)
                cells = (
                    ("-", "-", "-")
                    if best is None
                    else (
                        best.recipe,
                        f"{best.mean_terms:.3f}",
                        f"{100 * (best.float_accuracy - best.accuracy):.2f} points",
                    )
                )
                head = f"| {network}, {own[0].float_accuracy:.2%} | {curve} | {100 * loss} points"
                lines.append(head + " | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
