"""What skipping kernels gains on the NFU in cycles; bench_nfu_area.py has what it costs in LUTs.

    python benchmarks/bench_nfu_skipping.py

Cycles are those of the cycle model, which every simulation of the hardware is asserted to agree
with; memory gives a word a cycle and port, 4 cycles after a request. Weights are single signed
powers of two, so that a row holds one tap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from nfu_layers import config_of, measure_conv

from hwgen.integer.types import Conv
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv as FloatConv
from hwgen.network.types import Shape
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.metrics import LayerMetrics
from hwgen.nfu.timing import Timing
from hwgen.numeric import IntArray
from hwgen.slim.tiles import tile_blocks, without_weakest

MODELS = Path(__file__).parents[1] / "models"
TIMING = Timing(latency=4)
SAVED = 0.5
"""Share of a layer's multiplications that kernel reduction removes."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A float layer, and the shape of its input."""

    name: str
    op: FloatConv
    shape: Shape


def powers(weight: np.ndarray) -> IntArray:
    """The nearest power of two of each weight, of 8 below the greatest of its filter, or 0."""
    most = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.abs(weight) / np.where(most > 0, most, 1.0) * 2.0**7
    exponent = np.clip(np.round(np.log2(np.maximum(scaled, 2.0**-9))), 0, 7).astype(np.int64)
    return np.where(scaled >= 0.5, np.sign(weight).astype(np.int64) << exponent, 0)


def by_tile(op: FloatConv, config: NfuConfig) -> np.ndarray:
    """Kernels of Tn x Ti blocks lose the same taps: those with the least energy in the layer."""
    return without_weakest(op, tile_blocks(op, (config.tn, config.ti)), SAVED)


def by_kernel(op: FloatConv, config: NfuConfig) -> np.ndarray:
    """Each kernel loses its own taps: those with the least energy in the layer."""
    return without_weakest(op, tile_blocks(op), SAVED)


def whole_kernels(op: FloatConv, config: NfuConfig) -> np.ndarray:
    """Whole kernels go, those with the least energy in the layer, wherever they are."""
    return without_weakest(op, tile_blocks(op, kernels=True), SAVED)


def vgg16() -> list[Layer]:
    """The thirteen convolutions of VGG-16, with Gaussian weights."""
    rng = np.random.default_rng(0)
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    sizes = [224, 224, 112, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14]
    layers = []
    for k, (outputs, size) in enumerate(zip(widths, sizes, strict=True)):
        inputs = widths[k - 1] if k else 3
        weight = rng.normal(size=(outputs, inputs, 3, 3))
        op = FloatConv(weight, np.zeros(outputs), pads=(1, 1, 1, 1))
        layers.append(Layer(f"conv{k + 1}", op, (inputs, size, size)))
    return layers


def trained(name: str) -> list[Layer]:
    """The convolutions and fully connected layers of a network that hwgen ships."""
    network = import_onnx(MODELS / name / f"{name}.onnx")
    return [
        Layer(node.name, op, network.shape(node.inputs[0]))
        for node, op in network.convs()
        if op.groups == 1  # a scale a channel is no layer of an NFU
    ]


def measured(
    config: NfuConfig,
    layers: Sequence[Layer],
    reduce: Callable[[FloatConv, NfuConfig], np.ndarray] | None,
) -> list[LayerMetrics]:
    """Metrics of all layers; kernels of more than a tap are reduced, but for the first layer's."""
    found = []
    for layer in layers:
        op, weight = layer.op, layer.op.weight
        convolves = op.kernel not in ((1, 1), layer.shape[1:])
        if reduce is not None and convolves and layer is not layers[0]:
            weight = reduce(op, config)
        bias = np.zeros(len(weight), np.int64)
        whole = Conv(powers(weight), bias, op.strides, op.pads, op.dilations)
        found.append(measure_conv(config, layer.name, whole, layer.shape, TIMING))
    return found


def kernels() -> None:
    """64 filters of 3 x 3 on 64 channels, some reduced to 1 x 1."""
    print("| filters 3x3 / 1x1 | ideal | groups of one size | 16 x 16 | 8 x 8 | 4 x 4 |")
    print("|---|---|---|---|---|---|")
    weight = np.ones((64, 64, 3, 3), dtype=np.int64)
    centre = np.zeros((3, 3), dtype=np.bool_)
    centre[1, 1] = True
    op = Conv(np.zeros((64, 1, 1, 1), np.int64), np.zeros(64), pads=(1, 1, 1, 1))
    for full in (32, 20, 16, 0):
        small = np.arange(64)[:, None].repeat(64, axis=1) >= full
        ideal = 64 * 9 / (full * 9 + 64 - full)
        alone = 36 / (-(-full // 16) * 9 + -(-(64 - full) // 16))
        cells = [f"{full} / {64 - full}", f"{ideal:.2f}", f"{alone:.2f}"]
        for tile in (16, 8, 4):
            config = config_of(tile, tile)
            cycles = []
            for each in (weight, np.where(centre | ~small[:, :, None, None], weight, 0)):
                dense = replace(op, weight=each)
                cycles.append(measure_conv(config, "", dense, (64, 28, 28), TIMING).cycles)
            cells.append(f"{cycles[0] / cycles[1]:.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)


def networks() -> None:
    """Whole networks, layer by layer, with and without half of the taps of their kernels."""
    print(
        "| network | NFU | dense cycles | skipped | saved MACs | speed-up | of ideal"
        " | skip efficiency | taps anywhere | kernels anywhere |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    cases: tuple[tuple[str, Callable[[], list[Layer]], tuple[int, int]], ...] = (
        ("VGG-16, 13 layers", vgg16, (16, 16)),
        ("ResNet-20", lambda: trained("resnet20"), (16, 16)),
        ("ResNet-20", lambda: trained("resnet20"), (4, 4)),
        ("digits-large", lambda: trained("digits-large"), (4, 4)),
        ("digits-large", lambda: trained("digits-large"), (4, 1)),
    )
    for name, layers_of, tile in cases:
        config, layers = config_of(*tile), layers_of()
        dense, tiled, taps, whole = (
            measured(config, layers, reduce) for reduce in (None, by_tile, by_kernel, whole_kernels)
        )
        before, after, *others = (
            sum(m.cycles for m in each) for each in (dense, tiled, taps, whole)
        )
        macs, left = (sum(m.effort.effectual for m in each) for each in (dense, tiled))
        efficiency = sum(m.ideal for m in tiled) / after
        cells = [name, f"{tile[0]} x {tile[1]}", f"{before:,}", f"{after:,}"]
        cells += [f"{1 - left / macs:.1%}", f"{before / after:.2f}"]
        cells += [f"{before / after * left / macs:.1%}", f"{efficiency:.1%}"]
        cells += [f"{before / cycles:.2f}" for cycles in others]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    kernels()
    print()
    networks()


if __name__ == "__main__":
    main()
