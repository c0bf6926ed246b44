"""Convert the published ConvNetJS network for CIFAR-10 to ONNX.

Usage: python models/convert_convnetjs.py WEIGHTS.npz OUT.onnx

WEIGHTS.npz holds conv1, conv2, conv3 and fc, each ``.weight`` (OIHW, or (O, I) with I in CHW order)
and ``.bias``. The network takes RGB pixels 0..255 and begins with its normalisation x / 255 - 0.5;
then three times a 5x5 convolution padded by 2, ReLU and a 2x2 maximum, and one dense layer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from onnx_graph import GraphWriter, trainable_parameters
from weights_file import Weights, read_npz, require

LAYERS = ("conv1", "conv2", "conv3", "fc")


def convert(weights: Weights, path: Path) -> None:
    """Write the network."""
    graph = GraphWriter("convnetjs", (3, 32, 32))
    tensor = graph.affine("normalise", "x", 1 / 255, -0.5)
    for index in (1, 2, 3):
        weight, bias = weights[f"conv{index}.weight"], weights[f"conv{index}.bias"]
        tensor = graph.conv(f"conv{index}", tensor, weight, bias, pad=2)
        tensor = graph.node("Relu", f"relu{index}", tensor)
        tensor = graph.node("MaxPool", f"pool{index}", tensor, kernel_shape=[2, 2], strides=[2, 2])
    tensor = graph.node("Flatten", "flat", tensor)
    tensor = graph.gemm("fc", tensor, weights["fc.weight"], weights["fc.bias"])
    graph.save(path, tensor, outputs=(10,))


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
    print(f"{arguments.out}: {trainable_parameters(arguments.out)} parameters")


if __name__ == "__main__":
    main()
