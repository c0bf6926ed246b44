"""Neurons of a layer that group sparsity removes, and what of accuracy and memory is left.

    python benchmarks/bench_neuron_removal.py MODEL.onnx TRAIN.npz TEST.npz --layer dense1
        --strength 3 --strength 6 [--train dense1,dense2] [--copies mirrored] [--out FILE.json]

Needs the extra ``train``. Every twelfth image of TRAIN chooses, the others train; TEST chooses
nothing. For each strength, forward-backward splitting trains neurons of the layer away and
fine-tuning follows, both from the network as it is. Of the results with at most ``--share`` of the
neurons, the one most often right on the choosing images is compacted, which removes the neurons
exactly, and compared with the network on TEST, with the paired 95 % interval of the loss.

``--copies`` adds a copy of every training image to train on: ``mirrored`` left to right, or
``shifted`` by a pixel in one of eight directions.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from training_images import COPIES, right, split, with_copies

from hwgen.finetune.slim import finetune_slim, train_sparse
from hwgen.flow.data import load_images
from hwgen.flow.intervals import paired_loss
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.slim.account import compression, markdown, memory_footprint, parameter_table
from hwgen.slim.compact import compact

_FILE = click.Path(exists=True, path_type=Path)


def neurons(network: Network, layer: str) -> int:
    """Neurons of ``layer`` that are left."""
    op = dict((node.name, op) for node, op in network.convs())[layer]
    return int((op.weight.any(axis=(1, 2, 3)) | (op.bias != 0)).sum())


def sizes(network: Network) -> dict[str, Any]:
    """Parameters and memory in bytes, in single precision."""
    memory = memory_footprint(network)
    return {
        "parameters": memory.weights + memory.biases,
        "parameter_bytes": memory.parameter_bytes,
        "running_bytes": memory.running_bytes,
        "peak_bytes": memory.peak_bytes,
    }


@click.command()
@click.argument("model", type=_FILE)
@click.argument("train", type=_FILE)
@click.argument("test", type=_FILE)
@click.option("--layer", required=True)
@click.option("--strength", "strengths", type=float, multiple=True, required=True)
@click.option("--train", "trained", help="Layers that train, by commas; all by default.")
@click.option("--copies", type=click.Choice(tuple(COPIES)))
@click.option("--share", default=0.3, show_default=True, help="Most neurons that may be left.")
@click.option("--epochs", default=6, show_default=True, help="Of forward-backward splitting.")
@click.option("--tuning", default=4, show_default=True, help="Epochs of fine-tuning.")
@click.option("--learning-rate", default=2e-2, show_default=True)
@click.option("--distillation", default=0.5, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(
    model: Path,
    train: Path,
    test: Path,
    layer: str,
    strengths: tuple[float, ...],
    trained: str | None,
    copies: str | None,
    share: float,
    epochs: int,
    tuning: int,
    learning_rate: float,
    distillation: float,
    seed: int,
    out: Path | None,
) -> None:
    network = import_onnx(model)
    training, choosing = split(load_images(train, network.input_shape))
    training = with_copies(training, copies)
    testing = load_images(test, network.input_shape)
    layers = None if trained is None else trained.split(",")
    total, before = neurons(network, layer), right(network, choosing)
    click.echo(f"{total} neurons; {before.mean():.2%} of {len(choosing)} choosing images right")
    best: tuple[float, float, Network] | None = None
    for strength in strengths:
        begin = time.process_time()
        sparse = train_sparse(
            network, training.x, training.y, epochs=epochs, strengths={layer: strength},
            layers=layers, learning_rate=learning_rate, batch=64, seed=seed,
            distillation=distillation,
        )  # fmt: skip
        shrunk = right(sparse, choosing).mean()
        tuned = finetune_slim(
            network, sparse, training.x, training.y, epochs=tuning, layers=layers,
            learning_rate=learning_rate / 2, batch=64, seed=seed,
            distillation=distillation,
        )  # fmt: skip
        left, now = neurons(tuned, layer), float(right(tuned, choosing).mean())
        seconds = time.process_time() - begin
        click.echo(
            f"strength {strength:g}: {left} neurons, choosing {shrunk:.2%}, fine-tuned {now:.2%}, "
            f"{seconds:.0f} CPU s"
        )
        if left <= share * total and (best is None or now > best[0]):
            best = now, strength, tuned
    if best is None:
        raise click.ClickException(f"No strength leaves at most {share:.0%} of the neurons")
    _, strength, tuned = best
    slim = compact(tuned)
    loss = paired_loss(right(network, testing), after := right(slim, testing))
    tables = parameter_table(network), parameter_table(slim)
    result = {
        "network": network.name,
        "layer": layer,
        "strength": strength,
        "neurons": [total, neurons(slim, layer)],
        "before": sizes(network),
        "after": sizes(slim),
        "compression": compression(*tables),
        "accuracy": float(after.mean()),
        "test": asdict(loss),
    }
    for name, table in zip(("before", "after"), tables, strict=True):
        click.echo(f"\n{name}\n\n{markdown(table)}")
    click.echo(json.dumps(result, indent=1))
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
