"""Train the binary digits network: weights of plus and minus one, and signs between the layers.

Usage: pip install torch onnx onnxruntime; python models/binary-digits/train.py [--idx FOLDER]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fetch_mnist
from accuracy import accuracy
from onnx_graph import GraphWriter, trainable_parameters

CHANNELS = (16, 32)
EPOCHS = 12
BATCH = 100


class Sign(torch.autograd.Function):
    """1 where x >= 0, otherwise -1; the gradient is that of a clip to -1 and 1."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


def binary(weight: Tensor) -> Tensor:
    """Each filter's signs, times the mean magnitude of its weights, which takes no gradient."""
    scale = weight.detach().abs().flatten(1).mean(dim=1)
    return Sign.apply(weight) * scale.reshape(-1, *[1] * (weight.ndim - 1))


class BinaryNet(nn.Module):
    """Two convolutions and a fully connected layer on pixels 0..255, (N, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        first, second = CHANNELS
        self.conv1 = nn.Conv2d(1, first, 5, bias=False)
        self.norm1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(second)
        self.dense = nn.Linear(second * 6 * 6, 10, bias=False)
        self.norm3 = nn.BatchNorm1d(10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(functional.conv2d(x / 256, binary(self.conv1.weight)))
        # the greatest sign is the sign of the greatest, and its gradient goes where that is
        x = Sign.apply(functional.max_pool2d(x, 2))
        x = self.norm2(functional.conv2d(x, binary(self.conv2.weight), padding=1))
        x = Sign.apply(functional.max_pool2d(x, 2))
        return self.norm3(functional.linear(x.flatten(1), binary(self.dense.weight)))


def train(mnist: fetch_mnist.Mnist, seed: int) -> BinaryNet:
    """Train on the 60,000 training images; the test images play no part and nothing is selected."""
    torch.manual_seed(seed)
    net = BinaryNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    steps = len(mnist.train_y) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    images, labels = torch.tensor(mnist.train_x), torch.tensor(mnist.train_y.astype(np.int64))
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in torch.randperm(len(labels)).reshape(steps, BATCH):
            loss = functional.cross_entropy(net(images[chosen].float()), labels[chosen])
            total += float(loss.detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for layer in (net.conv1, net.conv2, net.dense):
                    layer.weight.clamp_(-1, 1)
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}", flush=True)
    return net.eval()


def export(net: BinaryNet, path: Path) -> None:
    """Write the network for pixels 0..255, whose division by 256 is in the first scales."""
    state = {key: tensor.detach() for key, tensor in net.state_dict().items()}
    weight = {name: binary(each).numpy() for name, each in state.items() if each.ndim > 1}
    value = {name: each.numpy() for name, each in state.items()}
    graph = GraphWriter("binary_digits", (1, 28, 28))
    tensor = "x"
    for index, (divisor, pad) in enumerate(((256, 0), (1, 1)), start=1):
        conv = f"conv{index}"
        tensor = graph.conv(conv, tensor, weight[f"{conv}.weight"] / divisor, pad=pad)
        tensor = graph.batch_norm(f"norm{index}", tensor, value)
        tensor = graph.node("MaxPool", f"pool{index}", tensor, kernel_shape=[2, 2], strides=[2, 2])
        zero, one = graph.constant(f"zero{index}", 0), graph.constant(f"one{index}", 1)
        minus = graph.constant(f"minus{index}", -1)
        above = graph.node("GreaterOrEqual", f"above{index}", tensor, zero)
        tensor = graph.node("Where", f"sign{index}", above, one, minus)
    tensor = graph.node("Flatten", "flat", tensor)
    gain = value["norm3.weight"] / np.sqrt(value["norm3.running_var"] + 1e-5)
    bias = value["norm3.bias"] - value["norm3.running_mean"] * gain
    tensor = graph.gemm("dense", tensor, weight["dense.weight"] * gain[:, None], bias)
    graph.save(path, tensor, outputs=(10,))


def main() -> None:
    """Train, export and measure."""
    parser = argparse.ArgumentParser(description="Train the binary digits network")
    fetch_mnist.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mnist = fetch_mnist.load(arguments.idx)
    folder = Path(__file__).resolve().parent
    model = folder / "binary-digits.onnx"
    export(train(mnist, arguments.seed), model)
    with tempfile.TemporaryDirectory() as name:
        everything = Path(name) / "mnist.npz"
        np.savez(everything, x=mnist.test_x, y=mnist.test_y)
        record = {
            "parameters": trainable_parameters(model),
            "official_10000": accuracy(model, everything),
            "test": accuracy(model, folder.parent / "digits" / "test.npz"),
            "seed": arguments.seed,
        }
    (folder / "accuracy.json").write_text(json.dumps(record, indent=1) + "\n")
    print(record)


if __name__ == "__main__":
    main()
