"""Neurons of a layer that group sparsity removes, and what of accuracy and memory is left.

    python benchmarks/bench_neuron_removal.py MODEL.onnx TRAIN.npz TEST.npz --layer dense1
        --strength 3 --strength 6 [--copies mirrored] [--out FILE.json]

Needs the extra ``train``. Every twelfth image of TRAIN chooses, the others train; TEST chooses
nothing. For each strength, forward-backward splitting trains neurons of the layer away and
fine-tuning follows, both of the layer and those behind it only: what lies before it stays as it
is and runs once. Of the results with at most ``--share`` of the
neurons, the one most often right on the choosing images is compacted, which removes the neurons
exactly, and compared with the network on TEST, with the paired 95 % interval of the loss.

``--copies`` adds a copy of every training image to train on: ``mirrored`` left to right, or
``shifted`` by a pixel in one of eight directions.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from training_images import COPIES, right, split, with_copies

from hwgen.finetune.slim import finetune_slim, train_sparse
from hwgen.flow.data import Images, load_images
from hwgen.flow.intervals import paired_loss
from hwgen.network.execute import affected, run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.slim.account import compression, markdown, memory_footprint, parameter_table
from hwgen.slim.compact import compact

_FILE = click.Path(exists=True, path_type=Path)


def parts(network: Network, layer: str) -> tuple[Network, Network]:
    """``network`` up to what ``layer`` reads, and from there on."""
    source = network.node(layer).inputs[0]
    behind = affected(network, layer)
    nodes = tuple(node for node in network.nodes if node.name in behind)
    others = tuple(node for node in network.nodes if node.name not in behind)
    if {name for node in nodes for name in node.inputs} - {source, *behind}:
        raise click.UsageError(f"All that follows must read {layer} or what it reads alone")
    stem = replace(network, nodes=others, output=source)
    head = replace(network, input_name=source, input_shape=network.shape(source), nodes=nodes)
    return stem, head


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
    before, (stem, head) = right(network, choosing), parts(network, layer)
    training, choosing = (
        Images(run(stem, images.x), images.y) if stem.nodes else images
        for images in (with_copies(training, copies), choosing)
    )
    testing = load_images(test, network.input_shape)
    total = neurons(network, layer)
    click.echo(f"{total} neurons; {before.mean():.2%} of {len(choosing)} choosing images right")
    best: tuple[float, float, Network] | None = None
    for strength in strengths:
        begin = time.process_time()
        sparse = train_sparse(
            head, training.x, training.y, epochs=epochs, strengths={layer: strength},
            learning_rate=learning_rate, batch=64, seed=seed, distillation=distillation,
        )  # fmt: skip
        shrunk = right(sparse, choosing).mean()
        tuned = finetune_slim(
            head, sparse, training.x, training.y, epochs=tuning,
            learning_rate=learning_rate / 2, batch=64, seed=seed, distillation=distillation,
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
    whole = (*stem.nodes, *tuned.nodes)
    slim = compact(replace(network, nodes=whole))
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
