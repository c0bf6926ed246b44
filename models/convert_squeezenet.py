"""Convert SqueezeNet v1.0 with the weights of Deep Compression to ONNX.

Usage: python models/convert_squeezenet.py WEIGHTS.npz OUT.onnx

WEIGHTS.npz holds conv1, fire2 to fire9 (each ``squeeze``, ``expand1x1`` and ``expand3x3``) and
conv10, each ``.weight`` (OIHW) and ``.bias``, as they come out of ``compressed_SqueezeNet.net`` of
https://github.com/songhan/SqueezeNet-Deep-Compression. The network takes BGR pixels 0..255 and
begins by subtracting their mean over ImageNet. Layers and order follow
``SqueezeNet_deploy.prototxt`` there; Caffe's poolings round up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from onnx_graph import GraphWriter, nonzero_parameters, stored_parameters
from weights_file import Weights, read_npz, require

MEAN = (104, 117, 123)
"""Of blue, green and red over ImageNet's training images, as Caffe's networks use it."""

FIRES = range(2, 10)
POOLED = ("conv1", "fire4", "fire8")
"""What a 3x3 maximum of stride 2 follows."""

LAYERS = (
    "conv1",
    *(f"fire{n}.{part}" for n in FIRES for part in ("squeeze", "expand1x1", "expand3x3")),
    "conv10",
)


def add_layer(
    graph: GraphWriter, name: str, source: str, weights: Weights, *, stride: int = 1, pad: int = 0
) -> str:
    """Add one convolution and its ReLU."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    tensor = graph.conv(name, source, weight, bias, stride=stride, pad=pad)
    return graph.node("Relu", f"{name}.relu", tensor)


def add_pool(graph: GraphWriter, name: str, source: str) -> str:
    """Add the maximum behind ``name`` if there is one."""
    if name not in POOLED:
        return source
    return graph.node(
        "MaxPool", f"{name}.pool", source, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
    )


def convert(weights: Weights, path: Path) -> None:
    """Write the network."""
    graph = GraphWriter("squeezenet", (3, 227, 227))
    tensor = graph.node("Sub", "centre", "x", graph.constant("mean", [[[m]] for m in MEAN]))
    tensor = add_layer(graph, "conv1", tensor, weights, stride=2)
    tensor = add_pool(graph, "conv1", tensor)
    for number in FIRES:
        name = f"fire{number}"
        squeezed = add_layer(graph, f"{name}.squeeze", tensor, weights)
        narrow = add_layer(graph, f"{name}.expand1x1", squeezed, weights)
        wide = add_layer(graph, f"{name}.expand3x3", squeezed, weights, pad=1)
        tensor = graph.node("Concat", f"{name}.concat", narrow, wide, axis=1)
        tensor = add_pool(graph, name, tensor)
    tensor = add_layer(graph, "conv10", tensor, weights)
    tensor = graph.node("GlobalAveragePool", "pool", tensor)
    tensor = graph.node("Flatten", "flat", tensor)
    graph.save(path, tensor, outputs=(1000,))


def main() -> None:
    """Convert and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    weights = read_npz(arguments.weights)
    names = [f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
    require(arguments.weights, weights, names)
    convert(weights, arguments.out)
    print(
        f"{arguments.out}: {stored_parameters(arguments.out)} parameters, "
        f"{nonzero_parameters(arguments.out)} of them not zero"
    )


if __name__ == "__main__":
    main()
