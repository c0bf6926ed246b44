"""Neurons of a trained layer that others may stand for, without training: the table "Merging".

    python benchmarks/bench_merging.py MODEL.onnx TRAIN.npz TEST.npz --layer dense1
        [--resemblance equal] [--calibration 512] [--out FILE.json]

Neurons of the layer are merged one after the other (hwgen.slim.remove). Of 5, 10, ... 95 % the most
are taken of which no accuracy is lost on ``--choosing`` images of TRAIN. With ``--calibration``, so
many other images of TRAIN, without their labels, fit the weights behind anew to the outputs that
they had (hwgen.slim.fitting). The result is compacted and compared with the network on TEST, which
chooses nothing, with the paired 95 % interval of the loss.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import click
import numpy as np

from hwgen.approx.measure import decide, without_decision
from hwgen.flow.data import Images, load_images
from hwgen.flow.intervals import paired_loss
from hwgen.network.execute import affected, run, run_all
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.slim.account import compression, memory_footprint, parameter_table
from hwgen.slim.compact import compact
from hwgen.slim.fitting import refit
from hwgen.slim.remove import Resemblance, merge_neurons

_FILE = click.Path(exists=True, path_type=Path)
_SHARES = np.arange(1, 20) / 20


def behind(network: Network, layer: str) -> Network:
    """What follows the tensor that ``layer`` reads, if nothing else of the network does."""
    (source,) = network.node(layer).inputs
    names = affected(network, layer)
    nodes = tuple(node for node in network.nodes if node.name in names)
    if not {name for node in nodes for name in node.inputs} <= {source, *names}:
        raise click.UsageError(f"Branches pass by {layer!r}")
    return replace(network, input_name=source, input_shape=network.shape(source), nodes=nodes)


def put_back(network: Network, end: Network) -> Network:
    """``network`` with the nodes of ``end`` in place of its own."""
    nodes = {node.name: node for node in end.nodes}
    return replace(network, nodes=tuple(nodes.get(node.name, node) for node in network.nodes))


def right(network: Network, images: Images) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each image is decided right."""
    return np.asarray(decide(run(network, images.x)) == images.y)


def before(network: Network, tensor: str, images: Images) -> Images:
    """The ``tensor`` of the network for ``images``."""
    parts = [
        run_all(network, images.x[start : start + 100])[tensor]
        for start in range(0, len(images), 100)
    ]
    return Images(np.concatenate(parts), images.y)


@click.command()
@click.argument("model", type=_FILE)
@click.argument("train", type=_FILE)
@click.argument("test", type=_FILE)
@click.option("--layer", required=True)
@click.option("--resemblance", type=click.Choice(get_args(Resemblance)), default="scaled")
@click.option("--calibration", default=0, show_default=True, help="Images to fit weights to.")
@click.option("--choosing", default=2000, show_default=True, help="Images to choose with.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(
    model: Path,
    train: Path,
    test: Path,
    layer: str,
    resemblance: Resemblance,
    calibration: int,
    choosing: int,
    seed: int,
    out: Path | None,
) -> None:
    network = without_decision(import_onnx(model))
    end = behind(network, layer)
    images = load_images(train, network.input_shape)
    order = np.random.default_rng(seed).permutation(len(images))[: calibration + choosing]
    read = before(network, end.input_name, images.take(order))
    fitting, choice = (
        read.take(np.arange(calibration)),
        read.take(np.arange(calibration, len(order))),
    )
    exact = right(end, choice)
    neurons = end.shape(layer)[0]
    click.echo(f"{neurons} neurons; {exact.mean():.2%} of {len(exact)} choosing images right")
    chosen, count = end, 0
    begin = time.process_time()
    for share in _SHARES:
        merging = merge_neurons(end, layer, gone := int(neurons * share), resemblance)
        merged = merging.network
        if calibration:
            merged = refit(merged, end, fitting.x)
        accuracy = right(merged, choice).mean()
        click.echo(f"{gone} merged: {accuracy:.2%}, saliency {merging.saliencies[-1]:.3g}")
        if accuracy >= exact.mean():
            chosen, count = merged, gone
    seconds = time.process_time() - begin
    slim = compact(put_back(network, chosen))
    testing = load_images(test, network.input_shape)
    loss = paired_loss(right(network, testing), after := right(slim, testing))
    result = {
        "network": network.name,
        "layer": layer,
        "resemblance": resemblance,
        "calibration": calibration,
        "neurons": [neurons, neurons - count],
        "parameters": [sum(row.total for row in parameter_table(n)) for n in (network, slim)],
        "compression": compression(parameter_table(network), parameter_table(slim)),
        "running_bytes": [memory_footprint(n).running_bytes for n in (network, slim)],
        "accuracy": float(after.mean()),
        "cpu_seconds": seconds,
        **asdict(loss),
    }
    click.echo(json.dumps(result, indent=1))
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
