"""The paper's activations in a trained network: accuracy and error on its test split.

    python benchmarks/bench_face_activations.py [MODEL.onnx DATA.npz TEST.npz] [--mix P8]

Every tanh and sigmoid of the network (the face detector by default) is replaced by each of the
paper's functions that are multiplierless, with its input scaled to meet the trained function and
without, and by hwgen's own. *Alone* leaves all else as it was trained; *dyadic* makes weights
dyadic too, by the mix, fitted to the outputs with this activation; *integer* is the network that is
built, with activations of 8 bits. Error: root-mean-square difference of the network's output from
the float network's, relative to it. *Off by* is the largest difference from the trained function
over -8 .. 8, for the amplitude 1. TEST chooses nothing; a part of DATA calibrates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from hwgen.approx.measure import decide
from hwgen.approx.piecewise import evaluate
from hwgen.flow.approximation import Approximation, build_mix
from hwgen.flow.data import Images, load_images, split
from hwgen.flow.options import ACTIVATIONS, PRESCALES, ApproximateOptions
from hwgen.flow.progress import silent
from hwgen.network.execute import apply, run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Activation, Network, PiecewiseLinear

_FACE = Path(__file__).parents[1] / "models" / "face"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("model", type=_FILE, default=_FACE / "face.onnx")
@click.argument("data", type=_FILE, default=_FACE / "train.npz")
@click.argument("test", type=_FILE, default=_FACE / "test.npz")
@click.option("--mix", default="P8", show_default=True, help="Recipes of the dyadic weights.")
def main(model: Path, data: Path, test: Path, mix: str) -> None:
    """Print the table."""
    network = import_onnx(model)
    images, held = (load_images(path, network.input_shape) for path in (data, test))
    exact = accuracy(network, network, held)
    title = f"{network.name}, {len(held)} test images, mix {mix}; float: {exact[0]:.1%}"
    table = Table(title=title)
    for column in ("activation", "prescale", "segments", "off by"):
        table.add_column(column)
    for column in ("alone", "error", "dyadic", "error", "integer", "error", "points lost (95 %)"):
        table.add_column(column, justify="right")
    splits = split(images, held, seed=0)
    for activation in ACTIVATIONS:
        for prescale in PRESCALES if activation != "minimax" else ("match",):
            options = ApproximateOptions(
                data=data, test=test, activation=activation, prescale=prescale
            )
            found = build_mix(network, splits, mix, options, silent)
            table.add_row(
                activation,
                "" if activation == "minimax" else prescale,
                *curve(network, found),
                *cells(network, found, held),
            )
    Console(width=120).print(table)


def cells(network: Network, found: Approximation, held: Images) -> list[str]:
    """Accuracy and error of the three networks, and what the last one lost."""
    made = found.test
    alone = accuracy(network, with_activations(network, found), held)
    pairs = [alone] + [(a.accuracy, a.error) for a in (made.approximated, made.integer)]
    assert made.loss is not None
    low, high = 100 * made.loss.low, 100 * made.loss.high
    lost = f"{100 * made.loss.loss:.1f} ({low:.1f} to {high:.1f})"
    return [f"{value:.1%}" for pair in pairs for value in pair] + [lost]


def curve(network: Network, found: Approximation) -> tuple[str, str]:
    """Segments of the first activation, and how far it is from the trained function."""
    name, form = found.approx.activations[0]
    op = network.node(name).op
    assert isinstance(op, Activation)
    x = np.linspace(-8, 8, 4001)
    trained = np.asarray(apply(op, [x.reshape(1, 1, 1, -1)])).ravel()
    off = np.abs(evaluate(form, x) - trained).max() / abs(op.post)
    return str(form.slopes.shape[1]), f"{off:.3f}"


def with_activations(network: Network, found: Approximation) -> Network:
    """``network`` with the activations of ``found`` and nothing else replaced."""
    forms: dict[str, PiecewiseLinear] = dict(found.approx.activations)
    nodes = (replace(node, op=forms.get(node.name, node.op)) for node in network.nodes)
    return replace(network, nodes=tuple(nodes))


def accuracy(network: Network, other: Network, held: Images) -> tuple[float, float]:
    """Share of right decisions of ``other``, and its error relative to ``network``."""
    reference, output = run(network, held.x), run(other, held.x)
    decided = decide(output)
    assert held.y is not None
    assert decided is not None
    error = np.linalg.norm(output - reference) / np.linalg.norm(reference)
    return float(np.mean(decided == held.y)), float(error)


if __name__ == "__main__":
    main()
