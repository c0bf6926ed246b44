"""Error of layers' outputs with smaller kernels, by how the weights that stay are found.

    python benchmarks/bench_slim_kernels.py [--figure docs/figures/kernel-sizes.svg]

All filters of one layer are reduced, all other layers are exact. Weights and biases are found on
images of ``data.npz``, and the error is that on ``test.npz``, squared and relative to the variance
of the layer's output. ``crop``: the weights as they are. ``fitted``: those of least error.
``filter`` and ``channel``: the same with the sums of weights of each filter, or of each of its
kernels, kept. ``taps``: fitted on the best taps for the layer, as many as the size has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np
from figure_style import figure_of

from hwgen.approx.moments import Moments, layer_moments
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv, Pair
from hwgen.slim.kernels import reduce_kernels, restrict_taps, size_chain
from hwgen.slim.taps import choose_taps

MODELS = Path(__file__).parents[1] / "models"
NETWORKS = {"digits": 256, "resnet20": 100}
"""Networks, and images that weights are fitted on."""


def _taps(op: Conv, filters: range, size: Pair, moments: Moments) -> Conv:
    mask = choose_taps(op, filters, moments).masks[size[0] * size[1]]
    return restrict_taps(op, filters, mask, moments)


METHODS: dict[str, Callable[[Conv, range, Pair, Moments], Conv]] = {
    "crop": lambda op, filters, size, moments: reduce_kernels(op, filters, size),
    "fitted": reduce_kernels,
    "filter": lambda op, filters, size, moments: reduce_kernels(
        op, filters, size, moments, keep_gain="filter"
    ),
    "channel": lambda op, filters, size, moments: reduce_kernels(
        op, filters, size, moments, keep_gain="channel"
    ),
    "taps": _taps,
}


@dataclass(frozen=True)
class Row:
    """Errors of one layer with kernels of one size, by method."""

    network: str
    layer: str
    kernel: Pair
    size: Pair
    errors: dict[str, float]


def rows(name: str, images: int) -> Iterator[Row]:
    """Every layer of the network ``name`` with kernels, for every smaller size."""
    network = import_onnx(MODELS / name / f"{name}.onnx")
    fitted, seen = (
        layer_moments(network, _images(name, file)[:count])
        for file, count in (("data", images), ("test", None))
    )
    for node, op in network.convs():
        moments, others = fitted[node.name], seen[node.name]
        power = float(others.output_variance.sum())
        for size in _sizes(op.kernel):
            errors = {}
            for method, reduced in METHODS.items():
                weight = reduced(op, range(len(op.weight)), size, moments).weight
                errors[method] = float(others.errors(weight).sum()) / power
            yield Row(name, node.name, op.kernel, size, errors)


def _images(name: str, file: str) -> np.ndarray:
    with np.load(MODELS / name / f"{file}.npz") as data:
        return np.asarray(data["x"])


def _sizes(kernel: Pair) -> tuple[Pair, ...]:
    """Smaller centres, lines through the middle among them; none for 1x1."""
    if max(kernel) == 1:
        return ()
    return ((1, kernel[1]), (kernel[0], 1), *size_chain(kernel)[1:-1])


def table(found: Iterable[Row]) -> Iterator[str]:
    """Lines of a Markdown table, and the medians of each network and size."""
    yield "| network | layer | kernel | size | " + " | ".join(METHODS) + " |"
    yield "|---|---|---|---|" + "---|" * len(METHODS)
    groups: dict[tuple[str, Pair, Pair], list[Row]] = {}
    for row in found:
        groups.setdefault((row.network, row.kernel, row.size), []).append(row)
        yield _line(row.network, row.layer, row.kernel, row.size, row.errors)
    for (network, kernel, size), each in groups.items():
        if len(each) > 1:
            errors = {m: median(row.errors[m] for row in each) for m in METHODS}
            yield _line(network, f"median of {len(each)}", kernel, size, errors)


def _line(network: str, layer: str, kernel: Pair, size: Pair, errors: dict[str, float]) -> str:
    shapes = (f"{height}x{width}" for height, width in (kernel, size))
    cells = (network, layer, *shapes, *(f"{errors[method]:.3f}" for method in METHODS))
    return "| " + " | ".join(cells) + " |"


def draw(found: list[Row], path: Path) -> None:
    """Errors against sizes for the layers of digits, and for all layers of ResNet-20 by error."""
    styles = {"crop": "o:", "fitted": "o-", "channel": "o--", "taps": "s-"}
    labels = {
        "crop": "1x3, cropped",
        "fitted": "1x3, fitted",
        "channel": "1x3, fitted, sums of kernels kept",
        "taps": "best three taps, fitted",
    }
    with figure_of(path, width=7.2, height=3.2) as figure:
        left, right = figure.subplots(1, 2)
        for colour, layer in zip(("C0", "C1", "C2"), ("conv1", "conv2", "dense1"), strict=True):
            own = [row for row in found if (row.network, row.layer) == ("digits", layer)]
            own = [row for row in own if row.size[0] == row.size[1]]
            for method in ("crop", "fitted", "channel"):
                label = layer if method == "fitted" else None
                sides = [own[0].kernel[0], *(row.size[0] for row in own)]
                errors = [0.0, *(row.errors[method] for row in own)]
                left.plot(sides, errors, styles[method], color=colour, lw=1, label=label)
        left.set_title("digits: cropped (dotted), fitted, sums kept (dashed)", fontsize=9)
        left.set_ylabel("relative squared error of the output")
        left.set_xlabel("side of the kernel")
        left.set_xticks([1, 3, 5])
        left.invert_xaxis()
        lines = [row for row in found if row.network == "resnet20" and row.size == (1, 3)]
        for method, label in labels.items():
            errors = sorted(row.errors[method] for row in lines)
            numbers = range(1, len(errors) + 1)
            right.plot(numbers, errors, styles[method], lw=1, label=label)
        right.set_title("ResNet-20, three taps of nine", fontsize=9)
        right.set_xlabel("layers in the order of their errors")
        for axes in (left, right):
            axes.legend(fontsize=8, loc="upper left")
        left.set_ylim(0, 1.25)
        right.set_ylim(0, 0.9)
        right.set_xticks(range(1, len(lines) + 1, 3))


@click.command()
@click.option("--figure", type=click.Path(path_type=Path), help="Where to draw the plot.")
def main(figure: Path | None) -> None:
    """Print the table, and draw the plot."""
    found = [row for name, images in NETWORKS.items() for row in rows(name, images)]
    for line in table(found):
        print(line)
    if figure is not None:
        draw(found, figure)


if __name__ == "__main__":
    main()
