"""LeNet-5-style networks for images of 28 x 28: definition, training, export and measurement.

Two convolutions, each followed by ReLU and a 2x2 maximum, then two fully connected layers. The
scripts ``digits/train.py``, ``digits-large/train.py`` and ``fashion/train.py`` choose the sizes and
the data set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fashion_mnist
import fetch_mnist
import numpy as np
import torch
from accuracy import accuracy
from idx_images import IdxImages, Load, add_arguments
from onnx_graph import GraphWriter, trainable_parameters
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FASHION", "MNIST", "DataSet", "LeNet", "run"]


@dataclass(frozen=True)
class LeNet:
    """Sizes and training of one network.

    ``channels`` and ``kernels`` of the two convolutions, ``hidden`` neurons; ``l1`` is the penalty
    on the convolutions' weights, which makes small weights vanish and the hardware cheaper.
    """

    name: str
    channels: tuple[int, int]
    kernels: tuple[int, int]
    hidden: int
    epochs: int
    l1: float = 0.0
    dropout: float = 0.0

    @property
    def features(self) -> int:
        """Inputs of the first fully connected layer."""
        side = ((28 - self.kernels[0] + 1) // 2 - self.kernels[1] + 1) // 2
        return self.channels[1] * side * side

    def build(self) -> nn.Sequential:
        """The network on pixels divided by 256, (N, 1, 28, 28), with fresh weights."""
        return nn.Sequential(
            nn.Conv2d(1, self.channels[0], self.kernels[0]),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(self.channels[0], self.channels[1], self.kernels[1]),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(self.features, self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, 10),
        )


def bent(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random shift up to 2 pixels, rotation up to 9 degrees, zoom and slant up to 10 %."""

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(len(x), generator=generator) - 1) * bound

    angle, zoom, slant = uniform(0.16), 1 + uniform(0.1), uniform(0.1)
    theta = torch.zeros(len(x), 2, 3)
    theta[:, 0, 0] = zoom * torch.cos(angle)
    theta[:, 0, 1] = slant - zoom * torch.sin(angle)
    theta[:, 1, 0] = zoom * torch.sin(angle)
    theta[:, 1, 1] = zoom * torch.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = uniform(2 / 14), uniform(2 / 14)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def mirrored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored left to right."""
    flip = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)


@dataclass(frozen=True)
class DataSet:
    """What to train on.

    ``load`` reads the images; ``augment`` varies a batch of them; one training image in
    ``kept_out`` is not trained on, none if 0.
    """

    load: Load
    augment: Callable[[Tensor, torch.Generator], Tensor]
    kept_out: int = 0

    def trained_on(self, images: IdxImages) -> tuple[Tensor, Tensor]:
        """Training images and labels without those that are kept out."""
        every = np.arange(len(images.train_y))
        kept = every % self.kept_out != 0 if self.kept_out else every >= 0
        return torch.tensor(images.train_x[kept]), torch.tensor(images.train_y[kept].astype(int))


MNIST = DataSet(fetch_mnist.load, bent)
FASHION = DataSet(fashion_mnist.load, mirrored, kept_out=10)


def train(config: LeNet, data: DataSet, everything: IdxImages, seed: int) -> nn.Sequential:
    """Train on the training images; the test images play no part and nothing is selected."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = config.build()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    batch = 125
    images, labels = data.trained_on(everything)
    steps = len(labels) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, config.epochs * steps)
    for epoch in range(config.epochs):
        order = torch.randperm(len(labels), generator=generator)
        plain = epoch == config.epochs - 1  # end on the images as they are
        total = 0.0
        for chosen in order.reshape(steps, batch):
            x = images[chosen].float() / 256
            loss = functional.cross_entropy(
                net(x if plain else data.augment(x, generator)), labels[chosen]
            )
            total += float(loss.detach())
            if config.l1:
                loss = loss + config.l1 * (net[0].weight.abs().sum() + net[3].weight.abs().sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}", flush=True)
    return net.eval()


def export(net: nn.Sequential, path: Path, name: str) -> None:
    """Write the network for pixels 0..255: the first layer takes over the division by 256."""
    value = {key: tensor.detach().numpy() for key, tensor in net.state_dict().items()}
    graph = GraphWriter(name, (1, 28, 28))
    tensor = "x"
    for index, layer, scale in ((1, 0, 256), (2, 3, 1)):
        weight, bias = value[f"{layer}.weight"] / scale, value[f"{layer}.bias"]
        tensor = graph.conv(f"conv{index}", tensor, weight, bias)
        tensor = graph.node("Relu", f"relu{index}", tensor)
        tensor = graph.node("MaxPool", f"pool{index}", tensor, kernel_shape=[2, 2], strides=[2, 2])
    tensor = graph.node("Flatten", "flat", tensor)
    tensor = graph.gemm("dense1", tensor, value["8.weight"], value["8.bias"])
    tensor = graph.node("Relu", "relu3", tensor)
    tensor = graph.gemm("dense2", tensor, value["11.weight"], value["11.bias"])
    graph.save(path, tensor, outputs=(10,))


def write_data(folder: Path, images: IdxImages) -> None:
    """Every tenth official test image and every thirtieth training image, pixels 0..255."""
    np.savez_compressed(folder / "test.npz", x=images.test_x[::10], y=images.test_y[::10])
    np.savez_compressed(folder / "data.npz", x=images.train_x[::30], y=images.train_y[::30])


def run(config: LeNet, data: DataSet, folder: Path) -> None:
    """Train, export and measure one network; ``folder`` gets its files."""
    parser = argparse.ArgumentParser(description=f"Train the network {config.name}")
    add_arguments(parser)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = data.load(arguments.idx)
    model = folder / f"{config.name}.onnx"
    export(train(config, data, images, arguments.seed), model, config.name.replace("-", "_"))
    if not (folder / "data.npz").exists():
        write_data(folder, images)
    with tempfile.TemporaryDirectory() as name:
        official = Path(name) / "official.npz"
        np.savez(official, x=images.test_x, y=images.test_y)
        record = {
            "parameters": trainable_parameters(model),
            "official_10000": accuracy(model, official),
            "test": accuracy(model, folder / "test.npz"),
            "seed": arguments.seed,
        }
    (folder / "accuracy.json").write_text(json.dumps(record, indent=1) + "\n")
    print(record)
