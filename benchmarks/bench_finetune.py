"""Accuracy on test images before and after fine-tuning, by epochs.

    python benchmarks/bench_finetune.py MODEL.onnx TRAIN.npz TEST.npz --recipe P1 [--recipe P2]
        [--epochs 1 --epochs 3] [--images 20000] [--learning-rate 0.005] [--no-labels]

Needs the extra ``train``. The approximation is the nearest one (Frobenius norm); fine-tuning sees
images of TRAIN only, and TEST chooses nothing. Loss: points of accuracy that the approximated
network loses against the float network, with its 95 % interval.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from hwgen.approx.approximate import approximate
from hwgen.approx.measure import decide, without_decision
from hwgen.approx.recipes import parse_mix
from hwgen.approx.types import ApproxNetwork
from hwgen.finetune.finetune import finetune
from hwgen.flow.data import load_images
from hwgen.flow.intervals import paired_loss
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.numeric import csd_weight

_FILE = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("model", type=_FILE)
@click.argument("train", type=_FILE)
@click.argument("test", type=_FILE)
@click.option("--recipe", "recipes", multiple=True, required=True)
@click.option("--epochs", multiple=True, type=int, default=(1, 3))
@click.option("--images", type=int, help="Training images; all by default.")
@click.option("--learning-rate", type=float, default=5e-3)
@click.option("--batch", type=int, default=64)
@click.option("--labels/--no-labels", default=True, help="Without: distillation alone.")
def main(
    model: Path,
    train: Path,
    test: Path,
    recipes: tuple[str, ...],
    epochs: tuple[int, ...],
    images: int | None,
    learning_rate: float,
    batch: int,
    labels: bool,
) -> None:
    network = import_onnx(model)
    training, testing = (load_images(path, network.input_shape) for path in (train, test))
    if images is not None:
        training = training.take(np.random.default_rng(0).permutation(len(training))[:images])
    exact = decide(run(without_decision(network), testing.x)) == testing.y
    click.echo(f"float: {exact.mean():.2%} of {len(testing)}; {len(training)} training images")
    click.echo("| recipe | epochs | terms a weight | accuracy | loss, points | 95 % | seconds |")
    click.echo("|---|---|---|---|---|---|---|")
    layers = [node.name for node, _ in network.convs()]
    for recipe in recipes:
        start = approximate(network, recipes=parse_mix(recipe, layers))
        for count in (0, *epochs):
            began = time.perf_counter()
            tuned = finetune(
                network,
                start,
                training.x,
                training.y if labels else None,
                epochs=count,
                learning_rate=learning_rate,
                batch=batch,
            )
            seconds = time.perf_counter() - began
            right = decide(run(without_decision(tuned.to_network()), testing.x)) == testing.y
            loss = paired_loss(exact, right)
            cells = [recipe, count, f"{terms(tuned):.3f}", f"{right.mean():.2%}"]
            cells += [f"{100 * loss.loss:.2f}", f"{100 * loss.low:.2f} .. {100 * loss.high:.2f}"]
            click.echo(f"| {' | '.join(map(str, cells))} | {seconds:.0f} |")


def terms(approx: ApproxNetwork) -> float:
    """Signed powers of two a weight, zeros included."""
    counts, weights = 0, 0
    for _, filters in approx.filters:
        values, times = np.unique(filters.codes, return_counts=True)
        counts += sum(csd_weight(int(v)) * int(t) for v, t in zip(values, times, strict=True))
        weights += filters.codes.size
    return counts / weights


if __name__ == "__main__":
    main()
