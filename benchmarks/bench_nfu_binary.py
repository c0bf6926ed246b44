"""Binary networks on the NFU: cycles, memory and area of lanes for them, and of others.

    python benchmarks/bench_nfu_binary.py [--tile 8x8] [--area]

"binary-digits" is the shipped network; "wide" has the layers of a VGG-style binary network on
CIFAR-10 pictures at a quarter of its width (BinaryNet, arXiv 1602.02830) and random weights of 1
and -1, so that cycles are exact and accuracy is none. Every row is a network on the NFU of least
parameters for a lane: of one term, of weights of 1 and -1 on 8-bit activations, and with the image
in bit planes on activations of 2 bits. ``--area`` adds LUT4s, flip-flops and block RAMs of the core
alone after synthesis for ECP5.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import ApproxNetwork
from hwgen.flow.data import load_images
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.execute import Tensor
from hwgen.network.onnx_import import import_onnx
from hwgen.network.shapes import output_shape
from hwgen.network.steps import step
from hwgen.network.types import Conv, MaxPool, Network, Node, Op
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import BinaryLane, DyadicLane, NfuConfig
from hwgen.nfu.core import Nfu
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config, fit_lane
from hwgen.nfu.timing import Timing
from hwgen.nfu.verilog import component_verilog
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

DIGITS = Path(__file__).parents[1] / "models" / "binary-digits"
LANES = (DyadicLane(1, 16), BinaryLane(), BinaryLane(8))
WIDTHS = (32, 32, 64, 64, 128, 128)


def digits() -> IntegerNetwork:
    """The shipped binary network."""
    network = import_onnx(DIGITS / "binary-digits.onnx")
    images = load_images(DIGITS / "data.npz", network.input_shape, 10)
    return integers(network, images.x[:200])


def wide() -> IntegerNetwork:
    """Six convolutions of random weights, two between maxima, and a dense layer."""
    rng = np.random.default_rng(1)
    nodes: list[Node] = []

    def add(name: str, op: Op) -> None:
        source, shape = (nodes[-1].name, nodes[-1].shape) if nodes else ("x", (3, 32, 32))
        nodes.append(Node(name, op, (source,), output_shape(op, [shape])))

    def conv(name: str, count: int, size: int, depth: int, pad: int) -> None:
        weight = rng.choice([-1.0, 1.0], size=(count, depth, size, size))
        spread = np.sqrt(weight[0].size) * (1 if nodes else 100)
        add(name, Conv(weight, rng.normal(scale=spread / 2, size=count), pads=(pad,) * 4))

    depth = 3
    for index, width in enumerate(WIDTHS):
        conv(f"conv{index}", width, 3, depth, 1)
        add(f"sign{index}", step([0], [-1, 1]))
        if index % 2:
            add(f"pool{index}", MaxPool((2, 2), (2, 2)))
        depth = width
    conv("dense", 10, 4, depth, 0)
    network = Network("wide", "x", (3, 32, 32), tuple(nodes), "dense")
    return integers(network, rng.integers(0, 256, (20, 3, 32, 32)))


def integers(network: Network, images: Tensor) -> IntegerNetwork:
    """The integer network with weights of one power of two and a scale a filter."""
    recipe = parse_recipe("P1")
    filters = tuple((node.name, approximate_filters(op, recipe)) for node, op in network.convs())
    approx = ApproxNetwork(network, filters, (), ())
    return quantise(approx, calibrate(approx.to_network(), np.asarray(images, dtype=np.float64)))


def area(config: NfuConfig) -> tuple[int, int, int]:
    """LUT4s, flip-flops and block RAMs of the core."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {"nfu.v": component_verilog(Nfu(config), name="nfu")}
        (result,) = synthesise(SynthesisJob(sources, "nfu", "ecp5", Path(folder), "none"))
        return result.area.luts, result.area.ffs, result.area.brams


@click.command()
@click.option("--tile", default="8x8", show_default=True)
@click.option("--only", type=click.Choice(["digits", "wide"]), help="One network alone.")
@click.option("--area", "with_area", is_flag=True, help="Synthesise the core.")
def main(tile: str, only: str | None, with_area: bool) -> None:
    """Print the table."""
    tn, ti = map(int, tile.split("x"))
    print(
        "| network | lane | activations | cycles | SB rows | bits of a row | bits of activations"
        " | LUT4 | FF | block RAMs |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for network in [make() for make in (digits, wide) if only in (None, make.__name__)]:
        chosen = fit_config(network, tn=tn, ti=ti)
        for lane in LANES:
            config = fit_lane(network, lane, tn=tn, ti=ti)
            compiled = compile_network(network, config)
            cycles = count_cycles(config, compiled.program, Timing(latency=4)).total
            memory = compiled.memory
            name = f"{config.lane!r}" + " (chosen)" * (config == chosen)
            numbers = [cycles, len(memory.rows), config.row_width]
            numbers.append(len(memory.activations) * config.activation_width)
            numbers += area(config) if with_area else ()
            cells = [network.name, name, f"{config.activation_width} bits"]
            print("|", " | ".join([*cells, *(f"{n:,}" for n in numbers)]), "|", flush=True)


if __name__ == "__main__":
    main()
