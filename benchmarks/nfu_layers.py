"""What benchmarks of the NFU share: its configuration, and layers alone with their metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import Conv, IntegerNetwork, IntNode, IntOp, Requantise, SumPool
from hwgen.network.shapes import window_shape
from hwgen.network.types import Shape
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import DyadicLane, NfuConfig
from hwgen.nfu.cycles import schedule
from hwgen.nfu.isa import Instruction
from hwgen.nfu.metrics import Effort, LayerMetrics, conv_effort, measure
from hwgen.nfu.timing import Timing
from hwgen.numeric import FixedFormat

__all__ = [
    "config_of",
    "conv_network",
    "extended",
    "measure_conv",
    "measured_program",
    "pool_network",
]


def config_of(tn: int, ti: int) -> NfuConfig:
    """An NFU with lanes of one term, an NFU-3 that no group is too short for, and deep buffers."""
    return NfuConfig(
        tn=tn,
        ti=ti,
        lane=DyadicLane(1, 8),
        accumulator_width=32,
        product_width=48,
        nfu3_lanes=tn,
        sb_depth=2048,
        nbin_depth=2048,
        nbout_depth=512,
    )


def extended(network: IntegerNetwork, name: str, op: IntOp, shape: Shape) -> IntegerNetwork:
    """``network`` with one more operator, which reads its output."""
    source = network.output
    ranges = output_ranges(op, [network.ranges(source)], network.shape(source), shape)
    node = IntNode(name, op, (source,), shape, ranges, (1.0,) * shape[0], name)
    return IntegerNetwork(
        network.name,
        network.input_name,
        network.input_shape,
        network.input_format,
        (*network.nodes, node),
        name,
    )


def _empty(shape: Shape) -> IntegerNetwork:
    """A network of no operators on unsigned bytes."""
    return IntegerNetwork("layer", "image", shape, FixedFormat(8, 8, False), (), "image")


def conv_network(op: Conv, input_shape: Shape) -> IntegerNetwork:
    """A convolution of unsigned bytes, requantised to them."""
    size = window_shape(input_shape[1:], op.kernel, op.strides, op.pads, op.dilations)
    network = extended(_empty(input_shape), "sums", op, (len(op.weight), *size))
    shift = max(0, max(r.width for r in network.ranges("sums")) - 8)
    ones = np.ones((len(op.weight), 1, 1), dtype=np.int64)
    return extended(
        network, "output", Requantise(ones, ones * shift, 0, 255), network.shape("sums")
    )


def pool_network(input_shape: Shape, kernel: int) -> IntegerNetwork:
    """An average pool of unsigned bytes without overlap, of windows of a power of two."""
    op = SumPool((kernel, kernel), (kernel, kernel))
    size = window_shape(input_shape[1:], op.kernel, op.strides, op.pads, (1, 1))
    network = extended(_empty(input_shape), "sums", op, (input_shape[0], *size))
    ones = np.ones((input_shape[0], 1, 1), dtype=np.int64)
    mean = Requantise(ones, ones * (kernel**2).bit_length() - 1, 0, 255)
    return extended(network, "output", mean, network.shape("sums"))


def measured_program(
    config: NfuConfig,
    name: str,
    program: Sequence[Instruction],
    effort: Effort,
    timing: Timing,
) -> LayerMetrics:
    """Metrics of a program that is one layer."""
    return measure(config, name, effort, program, schedule(config, program, timing))


def measure_conv(
    config: NfuConfig, name: str, op: Conv, input_shape: Shape, timing: Timing
) -> LayerMetrics:
    """Metrics of one convolution or fully connected layer, requantised."""
    network = conv_network(op, input_shape)
    effort = conv_effort(config, op, network.shape("sums"))
    return measured_program(config, name, compile_network(network, config).program, effort, timing)
