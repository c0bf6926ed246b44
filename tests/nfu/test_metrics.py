"""Metrics of layers: counted by hand, and sums that must agree."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from nfu_networks import random_graph, random_layers, suitable_config

from hwgen.integer.types import Conv
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import REFERENCE, DyadicLane, NfuConfig
from hwgen.nfu.cycles import count_cycles, schedule
from hwgen.nfu.metrics import (
    Effort,
    LayerMetrics,
    bandwidth,
    conv_effort,
    measure,
    metrics_csv,
    metrics_table,
    moved_bytes,
    network_metrics,
    pool_effort,
    port_bytes,
)
from hwgen.nfu.timing import Timing, rate


def test_words_of_the_reference() -> None:
    """Two terms of 6 bits a weight and 7 of index; 16 scales of 56 bits and two terms of 6."""
    assert port_bytes(REFERENCE) == {
        "sb": (256 * 2 * 6 + 7 + 7) // 8,
        "nbin": 32,
        "table": 16 * (56 + 2 * 6) // 8,
        "store": 32,
    }
    timing = Timing(3, {"sb_words": rate(1, 4), "store": rate(1, 2)})
    assert bandwidth(REFERENCE, timing) == 385 / 4 + 32 + 136 + 16


def test_effort_of_a_convolution() -> None:
    """5 filters, 3 channels on 4 x 2 lanes: two groups, two blocks; 7 has two digits, 1 one."""
    weight = np.zeros((5, 3, 1, 2), dtype=np.int64)
    weight[0, 0, 0] = [7, 1]
    config = NfuConfig(tn=4, ti=2)
    op = Conv(weight, np.zeros(5, dtype=np.int64))
    assert conv_effort(config, op, (5, 3, 3)) == Effort(
        macs=30 * 9, effectual=2 * 9, terms=3 * 9, dense=2 * 2 * 2 * 2 * 9
    )
    two = NfuConfig(tn=4, ti=2, lane=DyadicLane(2, 8))
    assert conv_effort(two, op, (5, 3, 3)).dense == 2 * 2 * 2 * 9


def test_powers_of_two_that_weights_share_are_no_effort() -> None:
    """A lane of four exponents, whose filters leave 2**9 and 2**4 to their scales."""
    weight = np.array([[512, -1024], [16, 48]]).reshape(2, 2, 1, 1)
    config = NfuConfig(tn=2, ti=2, lane=DyadicLane(1, 4))
    op = Conv(weight, np.zeros(2, dtype=np.int64))
    assert conv_effort(config, op, (2, 1, 1)) == Effort(macs=4, effectual=4, terms=5, dense=2)


def test_effort_of_groups() -> None:
    """6 channels one by one: at 4 x 2 lanes, filters 0 to 3 read two blocks and the others one."""
    op = Conv(np.ones((6, 1, 3, 3), np.int64), np.zeros(6, np.int64), groups=6)
    assert conv_effort(NfuConfig(tn=4, ti=2), op, (6, 2, 2)).dense == 3 * 9 * 4


@pytest.mark.parametrize("seed", range(3))
def test_layers_of_a_network_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = suitable_config(rng, exponents=16)
    compiled = compile_network(random_graph(rng, layers=4, size=5), config)
    layers = network_metrics(config, compiled, Timing(3))
    assert [layer.name for layer in layers] == [one.layer.output for one in compiled.layers]
    assert all(layer.effort.terms > 0 for layer in layers)
    count = count_cycles(config, compiled.program, Timing(3))
    assert sum(layer.cycles for layer in layers) == count.total
    moved = moved_bytes(config, compiled.program)
    assert {port: sum(one.moved[port] for one in layers) for port in moved} == moved


def test_effort_of_diannaos_layers() -> None:
    """Ideal cycles at 16 x 16: CONV3, CLASS3 and POOL3."""

    def conv(outputs: int, inputs: int, k: int, pixels: int) -> int:
        op = Conv(np.ones((outputs, inputs, k, k), np.int64), np.zeros(outputs, np.int64))
        return conv_effort(REFERENCE, op, (outputs, pixels, pixels)).dense

    assert conv(200, 108, 4, 29) == 1_224_496
    assert conv(100, 200, 1, 1) == 91
    assert pool_effort(REFERENCE, (4, 4), (100, 8, 8)).dense == 7_168


def test_figures_of_a_layer() -> None:
    layer = LayerMetrics(
        name="c",
        effort=Effort(macs=6400, effectual=1600, terms=1600, dense=400),
        cycles=200,
        rows=160,
        stalls={"fetch": 40},
        moved={"sb": 300, "nbin": 100},
        slots=16,
    )
    assert layer.ideal == 100
    assert (layer.speed_up, layer.efficiency, layer.utilisation) == (2.0, 0.5, 0.625)
    assert layer.intensity == 3200 / 400
    assert layer.roof(2.0) == 200
    assert layer.roof(100.0) == 100
    assert layer.giga_operations(1e9) == pytest.approx(64.0)


@pytest.mark.parametrize("seed", range(3))
def test_parts_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = suitable_config(rng)
    program = compile_network(random_layers(rng, layers=3, size=5), config).program
    found = schedule(config, program)
    effort = Effort(1, 1, 1, 1)
    middle = len(program) // 2
    parts = [
        measure(config, name, effort, program, found, part=part)
        for name, part in (("a", (0, middle)), ("b", (middle, len(program))))
    ]
    whole = measure(config, "all", effort, program, found)
    count = count_cycles(config, program)
    assert whole.cycles == count.total == sum(part.cycles for part in parts)
    assert whole.stalls == count.stalls
    assert whole.rows == count.busy == sum(part.rows for part in parts)
    assert whole.moved == moved_bytes(config, program)

    columns, rows = metrics_table(parts, bytes_a_cycle=8.0, clock_hz=1e8)
    assert [row[0] for row in rows] == ["a", "b", "total"]
    assert {len(row) for row in rows} == {len(columns)}
    assert rows[-1][1] == f"{count.total:,}"
    lines = list(csv.DictReader(metrics_csv(parts, bytes_a_cycle=8.0, clock_hz=1e8).splitlines()))
    assert sum(int(line["cycles"]) for line in lines) == count.total
    assert sum(int(line["stall_sb"]) for line in lines) == count.stalls["sb"]
