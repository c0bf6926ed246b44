"""Convert published ResNet weights for CIFAR-10 to ONNX, whole or one residual block.

Usage: python models/convert_resnet.py WEIGHTS.npz OUT.onnx [--block layer1.0]

WEIGHTS.npz holds the tensors of https://github.com/akamaster/pytorch_resnet_cifar10 (ResNet-20 to
-110, He et al. 2016, "option A" shortcuts) under their PyTorch names without ``module.``. The whole
network takes RGB pixels 0..255 and begins with their normalisation; a block takes its input's
feature maps. Option A (every second pixel, new channels zero) becomes a 1x1 convolution of stride 2
with fixed weights 0 and 1. BatchNormalization is kept as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from onnx_graph import GraphWriter, trainable_parameters
from weights_file import Weights, read_npz, require

NORM = ("weight", "bias", "running_mean", "running_var")
MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def block_names(weights: Weights) -> list[str]:
    """Names of the residual blocks, in order: ``layer1.0``, ``layer1.1``, ..."""
    names = {key.rsplit(".", 2)[0] for key in weights if key.startswith("layer")}
    # As numbers: the eleventh block of a layer follows the tenth, not the first.
    return sorted(names, key=lambda name: [int(part) for part in name[len("layer") :].split(".")])


def tensor_names(blocks: list[str]) -> list[str]:
    """Names of all tensors that a network with these residual blocks has."""
    names = ["conv1.weight", *(f"bn1.{key}" for key in NORM), "linear.weight", "linear.bias"]
    for block in blocks or ["layer1.0"]:
        for index in (1, 2):
            names.append(f"{block}.conv{index}.weight")
            names += [f"{block}.bn{index}.{key}" for key in NORM]
    return names


def add_block(graph: GraphWriter, name: str, source: str, weights: Weights) -> str:
    """Add one residual block: two convolutions, and the shortcut around them."""
    first, second = weights[f"{name}.conv1.weight"], weights[f"{name}.conv2.weight"]
    planes, inputs = first.shape[:2]
    stride = 1 if planes == inputs else 2
    tensor = graph.conv(f"{name}.conv1", source, first, stride=stride, pad=1)
    tensor = graph.batch_norm(f"{name}.bn1", tensor, weights)
    tensor = graph.node("Relu", f"{name}.relu1", tensor)
    tensor = graph.conv(f"{name}.conv2", tensor, second, pad=1)
    tensor = graph.batch_norm(f"{name}.bn2", tensor, weights)
    shortcut = source
    if stride == 2:
        select = np.eye(planes, inputs, k=-((planes - inputs) // 2), dtype=np.float32)
        shortcut = graph.conv(
            f"{name}.shortcut", source, select[:, :, None, None], stride=2, fixed=True
        )
    total = graph.node("Add", f"{name}.add", tensor, shortcut)
    return graph.node("Relu", f"{name}.relu2", total)


def convert(weights: Weights, path: Path) -> None:
    """Write the whole network."""
    blocks = block_names(weights)
    graph = GraphWriter(f"resnet{2 * len(blocks) + 2}", (3, 32, 32))
    tensor = graph.affine("normalise", "x", 1 / (255 * STD), -MEAN / STD)
    tensor = graph.conv("conv1", tensor, weights["conv1.weight"], pad=1)
    tensor = graph.node("Relu", "relu1", graph.batch_norm("bn1", tensor, weights))
    for name in blocks:
        tensor = add_block(graph, name, tensor, weights)
    tensor = graph.node("GlobalAveragePool", "pool", tensor)
    tensor = graph.node("Flatten", "flat", tensor)
    tensor = graph.gemm("linear", tensor, weights["linear.weight"], weights["linear.bias"])
    graph.save(path, tensor, outputs=(10,))


def convert_block(weights: Weights, name: str, path: Path) -> None:
    """Write the residual block ``name`` alone."""
    planes, inputs = weights[f"{name}.conv1.weight"].shape[:2]
    side = {16: 32, 32: 16, 64: 8}
    graph = GraphWriter(name.replace(".", "_"), (inputs, side[inputs], side[inputs]))
    tensor = add_block(graph, name, "x", weights)
    graph.save(path, tensor, outputs=(planes, side[planes], side[planes]))


def main() -> None:
    """Convert and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--block", help="convert this residual block alone, such as layer1.0")
    arguments = parser.parse_args()
    weights = read_npz(arguments.weights)
    require(arguments.weights, weights, tensor_names(block_names(weights)))
    if arguments.block is None:
        convert(weights, arguments.out)
    elif arguments.block in block_names(weights):
        convert_block(weights, arguments.block, arguments.out)
    else:
        parser.error(f"no block {arguments.block!r}; there are {', '.join(block_names(weights))}")
    print(f"{arguments.out}: {trainable_parameters(arguments.out)} parameters")


if __name__ == "__main__":
    main()
