# amaranth: UnusedElaboratable=no
"""Compiled networks on the simulated NFU: the image's outputs, and the cycles of the model."""

from __future__ import annotations

import numpy as np
import pytest
from networks import images_for
from nfu_networks import random_graph, random_layers, suitable_config
from nfubench import random_timing, run_nfu

from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import BinaryLane, IntLane
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.timing import Timing
from hwgen.sim.golden import run


def _check(
    seed: int, *, tiles: tuple[int, ...] = (1, 2, 4), lane: IntLane | BinaryLane | None = None
) -> None:
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(1, 5))
    if lane is None:
        network = random_graph(rng, layers=layers, size=4)
        config = suitable_config(rng, tiles=tiles, exponents=16)
    else:
        exponents = lane.planes if isinstance(lane, BinaryLane) else 4
        network = random_layers(rng, layers=layers, size=4, exponents=exponents)
        config = suitable_config(rng, tiles=tiles, lane=lane)
    compiled = compile_network(network, config)
    image = images_for(network, 3, seed)[2:]  # the first two are the extremes
    memory = compiled.with_image(image[0])
    timing = random_timing(seed) if seed % 2 else Timing(latency=2)
    count = count_cycles(config, compiled.program, timing)
    result = run_nfu(config, compiled.program, memory, timing, deadline=count.total + 200)
    assert (result.starts, result.total) == (count.starts, count.total)
    for one in result.stores:
        memory.activations[one.address * config.tn : (one.address + 1) * config.tn] = one.values
    np.testing.assert_array_equal(compiled.result(memory.activations), run(network, image)[0])


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(seed: int) -> None:
    _check(seed)


@pytest.mark.parametrize("seed", [30, 31])
@pytest.mark.parametrize("lane", [IntLane(5), BinaryLane(), BinaryLane(4)], ids=repr)
def test_other_lanes(seed: int, lane: IntLane | BinaryLane) -> None:
    _check(seed, lane=lane)


@pytest.mark.parametrize("seed", [20, 21])
def test_large_tiles(seed: int) -> None:
    _check(seed, tiles=(8,))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2100))
def test_many_random_networks(seed: int) -> None:
    lanes = (None, IntLane(5), BinaryLane(), BinaryLane(4))
    _check(seed, tiles=(1, 2, 4, 8, 16), lane=lanes[seed % 4])
