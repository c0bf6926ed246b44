"""Whole networks on the NFU: in cocotb with its memory, and Verilated with memory of any timing.

What ships is approximated as the shortest recipes do it, and run on the images that ship with it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import NETWORKS, images_for

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.flow.data import load_images
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.onnx_import import import_onnx
from hwgen.nfu.compile import compile_network
from hwgen.nfu.design import build_system
from hwgen.nfu.fit import fit_config
from hwgen.nfu.golden import execute
from hwgen.nfu.simulate import simulate
from hwgen.nfu.timing import Timing, rate
from hwgen.numeric import IntArray
from hwgen.sim.cosim import run_cocotb
from hwgen.sim.golden import run
from hwgen.sim.types import Stall

MODELS = Path(__file__).parent.parent / "models"


@cache
def _shipped(name: str) -> tuple[IntegerNetwork, IntArray]:
    """A network with short weights, and its test images as integers."""
    file = MODELS / name / ("model.onnx" if name == "mnist-qonnx" else f"{name}.onnx")
    network = import_onnx(file)
    images = load_images(MODELS / name / "test.npz", network.input_shape).x
    approx = approximate(network, recipes=parse_recipe("P1"))
    integer = quantise(approx, calibrate(approx.to_network(), images[:64]))
    return integer, integer.input_format.quantise(images)


def _cocotb(network: IntegerNetwork, images: IntArray, tile: tuple[int, int], folder: Path) -> None:
    """The generated system, bit for bit, an image each ``interval`` of the model."""
    built = build_system(network, tile=tile)
    expected = run(network, images)
    deadline = 2 * built.plan.interval
    result = run_cocotb(built.design, images, expected, build_dir=folder, deadline=deadline)
    assert result.passed, result.fault
    assert result.layers[-1].words_compared == expected[:, 0].size
    assert result.cycles_per_image == built.plan.interval
    stalled = run_cocotb(
        *(built.design, images[:2], expected[:2]),
        stall=Stall(0.3, 0.3),
        build_dir=folder,
        deadline=deadline,
    )
    assert stalled.passed, stalled.fault


def _fast(
    name: str, count: int, tile: tuple[int, int], folder: Path, *, timing: Timing | None = None
) -> None:
    """The core on ``count`` images, and the golden executor on one."""
    network, images = _shipped(name)
    images = images[:count]
    assert len(images) == count
    config = fit_config(network, tn=tile[0], ti=tile[1])
    compiled = compile_network(network, config)
    expected = run(network, images)
    golden = execute(config, compiled.program, compiled.with_image(images[0]))
    np.testing.assert_array_equal(compiled.result(golden.activations), expected[0])
    timing = Timing(latency=4) if timing is None else timing
    result = simulate(config, compiled, images, timing=timing, build_dir=folder)
    np.testing.assert_array_equal(result.outputs, expected)
    assert result.totals.shape == (count,)


def test_a_small_network_in_cocotb(build_dir: Path) -> None:
    network = NETWORKS["chain"]()
    _cocotb(network, images_for(network, 3), (2, 2), build_dir)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_digits_large_in_cocotb(build_dir: Path) -> None:
    network, images = _shipped("digits-large")
    _cocotb(network, images[:20], (8, 8), build_dir)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_digits_large_on_1000_images(build_dir: Path) -> None:
    _fast("digits-large", 1000, (8, 8), build_dir)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_resnet20(build_dir: Path) -> None:
    _fast("resnet20", 2, (4, 4), build_dir)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["face", "digits", "mnist-qonnx"])
def test_small_models(name: str, build_dir: Path) -> None:
    """On memory that gives a word of weights every third cycle, one of activations every second."""
    patterns = {"sb_words": rate(1, 3), "nbin_words": rate(1, 2), "store": rate(1, 2)}
    _fast(name, 50, (4, 4), build_dir, timing=Timing(latency=9, patterns=patterns))
