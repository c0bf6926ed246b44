"""DianNao's layers at its reference point, and reduced kernels, on the Verilated NFU.

The simulation asserts that every instruction begins in the cycle that the model says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import Sketch, images_for

from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import REFERENCE, DyadicLane
from hwgen.nfu.simulate import simulate
from hwgen.nfu.timing import Timing, rate
from hwgen.sim.golden import run

pytestmark = pytest.mark.slow


def class3(s: Sketch) -> str:
    return s.conv("image", 100, (1, 1))


def conv3(s: Sketch) -> str:
    return s.conv("image", 200, (4, 4))


def pool3_average(s: Sketch) -> str:
    return s.sum_pool("image", (4, 4), (4, 4))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(class3, (200, 1, 1)), (conv3, (108, 6, 6)), (pool3_average, (100, 32, 32))],
    ids=["CLASS3", "CONV3, cropped", "POOL3, average"],
)
@pytest.mark.parametrize("slow", [False, True], ids=["full rate", "an eighth"])
@pytest.mark.timeout(3000)
def test_layers_of_diannao(
    layer: Callable[[Sketch], str], shape: tuple[int, int, int], slow: bool, build_dir: Path
) -> None:
    s = Sketch(shape, seed=1)
    network = s.done(s.requantise(layer(s)))
    _check(network, slow, build_dir)


@pytest.mark.parametrize("slow", [False, True], ids=["full rate", "an eighth"])
@pytest.mark.timeout(3000)
def test_maximum_of_pool3(slow: bool, build_dir: Path) -> None:
    s = Sketch((100, 32, 32), seed=1)
    _check(s.done(s.max_pool("image", 4, 4)), slow, build_dir)


def _check(network: IntegerNetwork, slow: bool, build_dir: Path) -> None:
    config = replace(REFERENCE, maximum=True, lane=DyadicLane(2, 8), scale_exponents=32)
    ports = ("sb_words", "nbin_words", "store")
    timing = Timing(10, {port: rate(1, 8) for port in ports} if slow else {})
    images = images_for(network, 3)
    compiled = compile_network(network, config)
    result = simulate(config, compiled, images, timing=timing, build_dir=build_dir)
    np.testing.assert_array_equal(result.outputs, run(network, images))


@pytest.mark.timeout(3000)
def test_reduced_kernels(build_dir: Path) -> None:
    """64 filters of 3 x 3 on 64 channels, some reduced to 1 x 1: how many times faster."""
    s = Sketch((64, 14, 14), seed=2)
    network = s.done(s.requantise(s.conv("image", 64, pads=(1, 1, 1, 1))))
    conv, *others = network.nodes
    assert isinstance(conv.op, Conv)
    config = replace(
        REFERENCE,
        lane=DyadicLane(1, 4),
        activation_width=8,
        sb_depth=1024,
        nbin_depth=1024,
        nbout_depth=256,
        scale_exponents=32,
    )
    rng = np.random.default_rng(3)
    weight = 1 << rng.integers(0, 4, conv.op.weight.shape)
    centre = np.zeros((3, 3), dtype=np.int64)
    centre[1, 1] = 1
    images = images_for(network, 2)
    cycles = []
    for full in (64, 32, 20, 16, 0):
        slim = weight.copy()
        slim[full:] *= centre
        changed = replace(conv, op=replace(conv.op, weight=slim))
        reduced = replace(network, nodes=(changed, *others))
        result = simulate(config, compile_network(reduced, config), images, build_dir=build_dir)
        np.testing.assert_array_equal(result.outputs, run(reduced, images))
        cycles.append(int(result.totals[0]))
    gains = [cycles[0] / each for each in cycles[1:]]
    # the fill of the pipeline and the first loads are most of what is missing
    assert gains == pytest.approx([1.8, 1.8, 3.0, 9.0], rel=0.1)
