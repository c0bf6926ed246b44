"""DianNao's benchmark layers on the NFU at its reference point, in the cycle model.

    python benchmarks/bench_nfu_diannao.py
    python benchmarks/bench_nfu_diannao.py --csv layers.csv --plot roofline.svg

16 x 16 lanes of 16 bits, 64 words in each buffer. Weights have two signed powers of two, which the
lanes take in one cycle. Valid padding, stride 1; pools have strides as wide as their windows and
are averages. Large layers are measured on a part of their output, and what that takes is scaled to
all of it. Private kernels are those of a fully connected layer, each used once.

The ideal is what Tn x Ti lanes need without any stall. With full rate each port moves a word a
cycle. With a bandwidth each port has a fixed share of so many bytes a cycle, which it alone can
use: the best of some, by what each moves or a root of it. A bus that gives what one port does not
use to the others would be faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from nfu_layers import conv_network, measured_program, pool_network

from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.nfu.chart import draw_roofline, save
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import REFERENCE
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.isa import Instruction
from hwgen.nfu.metrics import (
    Effort,
    LayerMetrics,
    metrics_csv,
    moved_bytes,
    pool_effort,
    port_bytes,
)
from hwgen.nfu.timing import Timing, rate

CLOCK = 0.98e9
"""DianNao's clock."""

LATENCY = 10
"""Cycles from a request to its first word."""

BANDWIDTHS = (256, 32)
"""Bytes a cycle: about the 250 GB/s that DianNao's memory is said to have, and an eighth."""

POWERS = (1.0, 0.75, 0.5, 0.25)
"""Shares of the bandwidth are powers of the bytes that the ports move."""

WEIGHT = 3  # 4 - 1


@dataclass(frozen=True)
class Layer:
    """A layer of the benchmark; ``part`` (rows, columns) of its output is what is measured."""

    name: str
    kind: str
    size: tuple[int, int]
    kernel: int
    inputs: int
    outputs: int
    part: tuple[int, int]

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the output."""
        width, height = self.size
        if self.kind == "pool":
            return height // self.kernel, width // self.kernel
        return height - self.kernel + 1, width - self.kernel + 1

    @property
    def times(self) -> Fraction:
        """How many times the layer is what is measured."""
        height, width = self.pixels
        return Fraction(height * width, self.part[0] * self.part[1])

    @property
    def effort(self) -> Effort:
        """Effort of the whole layer."""
        height, width = self.pixels
        if self.kind == "pool":
            kernel = (self.kernel, self.kernel)
            return pool_effort(REFERENCE, kernel, (self.inputs, height, width))
        taps = self.kernel**2 * height * width
        groups, blocks = -(-self.outputs // REFERENCE.tn), -(-self.inputs // REFERENCE.ti)
        macs = taps * self.inputs * self.outputs
        return Effort(macs, macs, 2 * macs, taps * groups * blocks)

    @property
    def ideal(self) -> int:
        """Additions of a pool are Ti a cycle, multiplications Tn x Ti."""
        return self.effort.dense

    def network(self) -> IntegerNetwork:
        """The part that is measured."""
        height, width = self.part
        if self.kind == "pool":
            size = (height * self.kernel, width * self.kernel)
            return pool_network((self.inputs, *size), self.kernel)
        if self.kind == "private":
            return conv_network(*self._private())
        shape = (self.outputs, self.inputs, self.kernel, self.kernel)
        op = Conv(np.full(shape, WEIGHT), np.zeros(self.outputs))
        size = (height + self.kernel - 1, width + self.kernel - 1)
        return conv_network(op, (self.inputs, *size))

    def _private(self) -> tuple[Conv, tuple[int, int, int]]:
        """Pixels of a row, each with kernels of its own, as neurons that read a window each."""
        padded = -(-self.outputs // REFERENCE.tn) * REFERENCE.tn
        _, pixels = self.part
        width = self.kernel + pixels - 1
        weight = np.zeros((pixels, padded, self.inputs, self.kernel, width), dtype=np.int64)
        for pixel in range(pixels):
            weight[pixel, : self.outputs, :, :, pixel : pixel + self.kernel] = WEIGHT
        weight = weight.reshape(-1, *weight.shape[2:])
        return Conv(weight, np.zeros(len(weight))), (self.inputs, self.kernel, width)


LAYERS = (
    Layer("CONV1", "conv", (500, 375), 9, 32, 48, part=(2, 123)),
    Layer("POOL1", "pool", (492, 367), 2, 12, 12, part=(16, 246)),
    Layer("CLASS1", "class", (1, 1), 1, 960, 20, part=(1, 1)),
    Layer("CONV2*", "private", (200, 200), 18, 8, 8, part=(1, 16)),
    Layer("CONV3", "conv", (32, 32), 4, 108, 200, part=(2, 29)),
    Layer("POOL3", "pool", (32, 32), 4, 100, 100, part=(8, 8)),
    Layer("CLASS3", "class", (1, 1), 1, 200, 100, part=(1, 1)),
    Layer("CONV4", "conv", (32, 32), 7, 16, 512, part=(2, 26)),
    Layer("CONV5*", "private", (256, 256), 11, 256, 384, part=(1, 1)),
    Layer("POOL5", "pool", (256, 256), 2, 256, 256, part=(2, 128)),
)


def shares(program: tuple[Instruction, ...], bandwidth: int, power: float) -> Timing:
    """Ports that share ``bandwidth`` bytes a cycle as their bytes to the power of ``power``."""
    sizes, moved = port_bytes(REFERENCE), moved_bytes(REFERENCE, program)
    wanted = {port: count**power for port, count in moved.items() if count}
    patterns = {}
    for port, share in wanted.items():
        words = Fraction(bandwidth * share / sum(wanted.values()) / sizes[port])
        words = min(Fraction(1), max(Fraction(1, 512), words.limit_denominator(512)))
        name = port if port == "store" else f"{port}_words"
        patterns[name] = rate(words.numerator, words.denominator)
    return Timing(LATENCY, patterns)


def shared(program: tuple[Instruction, ...], bandwidth: int) -> Timing:
    """The best of some fixed shares of the bandwidth."""
    timings = [shares(program, bandwidth, power) for power in POWERS]
    return min(timings, key=lambda timing: count_cycles(REFERENCE, program, timing).total)


def scaled(one: LayerMetrics, layer: Layer) -> LayerMetrics:
    """Metrics of the whole layer from those of the part that was measured."""

    def times(counts: Mapping[str, int]) -> dict[str, int]:
        return {key: round(count * layer.times) for key, count in counts.items()}

    return replace(
        one,
        effort=layer.effort,
        cycles=round(one.cycles * layer.times),
        rows=round(one.rows * layer.times),
        stalls=times(one.stalls),
        moved=times(one.moved),
        # a pool has one term a lane and a lane an input: Ti terms a row
        slots=REFERENCE.ti if layer.kind == "pool" else one.slots,
    )


def measured(layer: Layer) -> list[LayerMetrics]:
    """Metrics of a layer at full rate, then with each bandwidth."""
    program = compile_network(layer.network(), REFERENCE).program
    timings = [Timing(LATENCY), *(shared(program, bandwidth) for bandwidth in BANDWIDTHS)]
    return [
        scaled(measured_program(REFERENCE, layer.name, program, layer.effort, timing), layer)
        for timing in timings
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--csv", type=Path, help="write all figures at the least bandwidth")
    parser.add_argument("--plot", type=Path, help="draw the roofline at the least bandwidth")
    arguments = parser.parse_args()
    heads = [f"{b} B/cycle: cycles | roofline" for b in BANDWIDTHS]
    print(
        f"| layer | ideal cycles | its utilisation | cycles | utilisation | {' | '.join(heads)} |"
    )
    print("|---" * (5 + 2 * len(BANDWIDTHS)) + "|")
    slowest = []
    for layer in LAYERS:
        full, *limited = measured(layer)
        cells = [layer.name, f"{layer.ideal:,}", f"{full.ideal / layer.ideal:.2f}"]
        cells += [f"{full.cycles:,}", f"{full.efficiency:.2f}"]
        for one, bandwidth in zip(limited, BANDWIDTHS, strict=True):
            cells += [f"{one.cycles:,}", f"{one.roof(bandwidth) / one.cycles:.0%}"]
        print(f"| {' | '.join(cells)} |", flush=True)
        slowest.append(limited[-1])
    figures = {"bytes_a_cycle": float(BANDWIDTHS[-1]), "clock_hz": CLOCK}
    if arguments.csv is not None:
        arguments.csv.write_text(metrics_csv(slowest, **figures), encoding="utf-8")
    if arguments.plot is not None:
        save(draw_roofline(slowest, **figures), arguments.plot)


if __name__ == "__main__":
    main()
