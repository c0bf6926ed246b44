"""Metrics of layers on an NFU: cycles against what they could be, stalls, bytes, the roofline."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from hwgen.integer.types import Conv
from hwgen.network.types import Pair, Shape
from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import CAUSES, Schedule, schedule
from hwgen.nfu.isa import Instruction, Nfu1
from hwgen.nfu.layers import Layer
from hwgen.nfu.memory import word_width
from hwgen.nfu.timing import LOADS, Timing
from hwgen.numeric import odd_parts

__all__ = [
    "Effort",
    "LayerMetrics",
    "bandwidth",
    "conv_effort",
    "layer_effort",
    "measure",
    "metrics_csv",
    "metrics_table",
    "moved_bytes",
    "network_metrics",
    "pool_effort",
    "port_bytes",
]


def port_bytes(config: NfuConfig) -> dict[str, int]:
    """Bytes that a word of each load port, and of the store (``store``), moves."""
    bits = {port: word_width(config, port) for port in LOADS}
    bits["store"] = config.tn * config.activation_width
    return {port: -(-width // 8) for port, width in bits.items()}


def moved_bytes(config: NfuConfig, program: Sequence[Instruction]) -> dict[str, int]:
    """Bytes that a program loads through each port, and stores."""
    words = {port: sum(int(getattr(one, f"{port}_size")) for one in program) for port in LOADS}
    words["store"] = sum(
        one.nbin_positions * one.nbout_groups
        for one in program
        if one.nfu_op != Nfu1.NOP and one.nbout_store
    )
    sizes = port_bytes(config)
    return {port: count * sizes[port] for port, count in words.items()}


def bandwidth(config: NfuConfig, timing: Timing) -> float:
    """Bytes a cycle that all ports move together at most."""
    return sum(
        size * float(np.mean(timing.patterns.get(port if port == "store" else f"{port}_words", 1)))
        for port, size in port_bytes(config).items()
    )


@dataclass(frozen=True)
class Effort:
    """What a layer has to do, however it is executed.

    Parameters
    ----------
    macs : int
        Multiplications of the layer, those by zero weights and in the padding included.
    effectual : int
        Of these, those by weights that are not zero.
    terms : int
        Signed powers of two in the weights of those.
    dense : int
        Cycles of an NFU of the same tile and lanes that skips nothing and never waits.
    """

    macs: int
    effectual: int
    terms: int
    dense: int


def conv_effort(config: NfuConfig, op: Conv, output_shape: Shape) -> Effort:
    """Effort of a convolution or a fully connected layer.

    A dense NFU issues a row for every tap, every block of Ti inputs and every Tn filters that reads
    any of them, whatever its groups; of as many parts as the layer's longest weight takes of the
    lane.
    """
    pixels = output_shape[1] * output_shape[2]
    count, per_group, *kernel = op.weight.shape
    values, times = np.unique(op.weight, return_counts=True)
    # a power of two changes neither terms nor parts, and may be one that is left to the scale
    split = config.lane.split(
        odd_parts(values).reshape(-1, 1, 1)
    )  # (values, parts, 1, 1, operands)
    lengths = np.count_nonzero(split, axis=(1, 2, 3, 4))
    parts = max(1, int(split.any(axis=(2, 3, 4)).sum(axis=1).max()))
    taps = int(np.prod(kernel))
    first = np.arange(count) // (count // op.groups) * per_group
    blocks = {
        (n // config.tn, block)
        for n, begin in enumerate(first.tolist())
        for block in range(begin // config.ti, (begin + per_group - 1) // config.ti + 1)
    }
    rows = len(blocks) * taps
    return Effort(
        macs=op.weight.size * pixels,
        effectual=int(np.count_nonzero(op.weight)) * pixels,
        terms=int((lengths * times).sum()) * pixels,
        dense=rows * parts * pixels,
    )


def pool_effort(config: NfuConfig, kernel: Pair, output_shape: Shape) -> Effort:
    """Effort of pooling: each value of a window is added, or compared, once."""
    channels, height, width = output_shape
    values = kernel[0] * kernel[1] * height * width
    blocks = -(-channels // min(config.tn, config.ti))
    return Effort(values * channels, values * channels, values * channels, values * blocks)


def layer_effort(config: NfuConfig, layer: Layer) -> Effort:
    """Effort of a layer of a compiled network, all its addends together."""
    efforts = [conv_effort(config, addend.op, layer.node.shape) for addend in layer.addends]
    return _sum(efforts)


def _sum(efforts: Sequence[Effort]) -> Effort:
    return Effort(*(sum(figures) for figures in zip(*map(astuple, efforts), strict=True)))


@dataclass(frozen=True)
class LayerMetrics:
    """How a layer ran.

    Parameters
    ----------
    name : str
        Name.
    effort : Effort
        What it had to do.
    cycles : int
        Cycles, by the cycle model, which is that of the hardware.
    rows : int
        Of these, those in which a row was issued.
    stalls : dict of str to int
        The others by cause.
    moved : dict of str to int
        Bytes by port.
    slots : int
        Terms that a row has room for.
    """

    name: str
    effort: Effort
    cycles: int
    rows: int
    stalls: dict[str, int]
    moved: dict[str, int]
    slots: int

    @property
    def ideal(self) -> float:
        """Cycles if every term slot of every cycle held a term."""
        return self.effort.terms / self.slots

    @property
    def speed_up(self) -> float:
        """Skip speed-up: how many times fewer cycles than a dense NFU that never waits."""
        return self.effort.dense / self.cycles

    @property
    def efficiency(self) -> float:
        """Skip efficiency: ideal cycles over actual ones."""
        return self.ideal / self.cycles

    @property
    def utilisation(self) -> float:
        """Lane utilisation: share of the term slots that hold a term, of the rows issued."""
        return self.ideal / max(1, self.rows)

    @property
    def intensity(self) -> float:
        """Operational intensity: operations by weights that are not 0, two each, a byte."""
        return 2 * self.effort.effectual / max(1, sum(self.moved.values()))

    def roof(self, bytes_a_cycle: float) -> float:
        """Least cycles by the roofline: of the lanes, or of the bytes that it moved."""
        return max(self.ideal, sum(self.moved.values()) / bytes_a_cycle)

    def giga_operations(self, clock_hz: float) -> float:
        """Effective 10^9 operations a second: two a multiplication of the layer, zeros included."""
        return 2 * self.effort.macs / self.cycles * clock_hz / 1e9


def measure(
    config: NfuConfig,
    name: str,
    effort: Effort,
    program: Sequence[Instruction],
    schedule: Schedule,
    *,
    part: tuple[int, int] | None = None,
) -> LayerMetrics:
    """Metrics of a layer whose instructions are those [from, to) of ``part``, or all of a program.

    Cycles are those in which the sequencer waits for them or issues their rows, and, for the last
    ones of a program, those until it is done: layers that follow one another add up to the total.
    """
    begin, end = part or (0, len(program))
    waits = schedule.stalls[begin : end + (end == len(program))].sum(axis=0)
    stalls = dict(zip(CAUSES, waits.tolist(), strict=True))
    rows = int(schedule.work.rows[begin:end][~schedule.work.nop[begin:end]].sum())
    return LayerMetrics(
        name=name,
        effort=effort,
        cycles=rows + sum(stalls.values()),
        rows=rows,
        stalls=stalls,
        moved=moved_bytes(config, program[begin:end]),
        slots=config.tn * config.ti * config.lane.operands,
    )


def network_metrics(
    config: NfuConfig, compiled: CompiledNetwork, timing: Timing
) -> tuple[LayerMetrics, ...]:
    """Metrics of the layers of a compiled network, in the order of the program."""
    found = schedule(config, compiled.program, timing)
    return tuple(
        measure(
            config,
            one.layer.output,
            layer_effort(config, one.layer),
            compiled.program,
            found,
            part=one.part,
        )
        for one in compiled.layers
    )


_COLUMNS = (
    *("cycles", "dense", "ideal", "speed-up", "efficiency", "utilisation"),
    *("stalls", "bytes", "operations a byte", "roof", "effective GOP/s"),
)


def metrics_table(
    layers: Sequence[LayerMetrics], *, bytes_a_cycle: float, clock_hz: float
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns, and a row of text a layer, then one of the total; stalls as ``cause cycles``."""
    rows = [_row(layer, bytes_a_cycle, clock_hz) for layer in layers]
    if len(layers) > 1:
        rows.append(_row(_total(layers), bytes_a_cycle, clock_hz))
    return ("layer", *_COLUMNS), rows


def metrics_csv(layers: Sequence[LayerMetrics], *, bytes_a_cycle: float, clock_hz: float) -> str:
    """A line a layer, all figures in full, stalls and bytes each in columns of their own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ports = (*LOADS, "store")
    writer.writerow(
        [
            *("layer", "macs", "effectual_macs", "terms", "cycles", "rows", "dense_cycles"),
            *("ideal_cycles", "skip_speed_up", "skip_efficiency", "lane_utilisation"),
            *(f"stall_{cause}" for cause in CAUSES),
            *(f"bytes_{port}" for port in ports),
            *("operations_a_byte", "roof_cycles", "effective_gops"),
        ]
    )
    for one in layers:
        effort = one.effort
        writer.writerow(
            [
                *(one.name, effort.macs, effort.effectual, effort.terms, one.cycles, one.rows),
                *(effort.dense, one.ideal, one.speed_up, one.efficiency, one.utilisation),
                *(one.stalls[cause] for cause in CAUSES),
                *(one.moved[port] for port in ports),
                *(one.intensity, one.roof(bytes_a_cycle), one.giga_operations(clock_hz)),
            ]
        )
    return text.getvalue()


def _row(one: LayerMetrics, bytes_a_cycle: float, clock_hz: float) -> tuple[str, ...]:
    stalls = ", ".join(f"{cause} {count:,}" for cause, count in one.stalls.items() if count)
    return (
        one.name,
        f"{one.cycles:,}",
        f"{one.effort.dense:,}",
        f"{one.ideal:,.0f}",
        f"{one.speed_up:.2f}",
        f"{one.efficiency:.1%}",
        f"{one.utilisation:.1%}",
        stalls,
        f"{sum(one.moved.values()):,}",
        f"{one.intensity:.2f}",
        f"{one.roof(bytes_a_cycle):,.0f}",
        f"{one.giga_operations(clock_hz):.2f}",
    )


def _total(layers: Sequence[LayerMetrics]) -> LayerMetrics:
    return LayerMetrics(
        name="total",
        effort=_sum([layer.effort for layer in layers]),
        cycles=sum(layer.cycles for layer in layers),
        rows=sum(layer.rows for layer in layers),
        stalls={cause: sum(layer.stalls[cause] for layer in layers) for cause in CAUSES},
        moved={port: sum(layer.moved[port] for layer in layers) for port in layers[0].moved},
        slots=layers[0].slots,
    )
