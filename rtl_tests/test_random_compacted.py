"""Random networks with zeros, compacted, on both back ends: odd kernels, pads, and lone channels.

One in the default run; ``pytest -m slow`` runs forty.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sparse_networks import noise, sparse_network

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.nfu.compile import compile_network
from hwgen.nfu.fit import fit_config
from hwgen.nfu.golden import execute
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.sim.verify import verify
from hwgen.slim.compact import compact
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit

_QUICK = 1
_CAMPAIGN = 40


def _check(seed: int, directory: Path) -> None:
    network = compact(sparse_network(seed))
    images = noise(network, 24)
    approx = approximate(network, recipes=parse_recipe("P8"))
    integer = quantise(approx, calibrate(approx.to_network(), images))
    some = 2 * images[:4]  # wilder than calibration, so that every saturation is met
    codes = integer.input_format.quantise(some)
    expected = run(integer, codes)
    config = fit_config(integer, tn=2, ti=2)
    compiled = compile_network(integer, config)
    for image, output in zip(codes, expected, strict=True):
        golden = execute(config, compiled.program, compiled.with_image(image))
        np.testing.assert_array_equal(compiled.result(golden.activations), output)
    report = verify(
        integer,
        emit(plan_pipeline(integer), taps=True),
        some,
        mode="fast",
        layers=True,
        seed=seed,
        stall=Stall(0.3, 0.3),
        build_dir=directory.parent / "the simulators",
        waves=False,
    )
    assert report.passed, report
    pixels = int(np.prod(expected.shape[2:])) * len(codes)
    assert report.layers[-1].words_compared == pixels


@pytest.mark.parametrize("seed", range(_QUICK))
def test_random_compacted_network(seed: int, tmp_path: Path) -> None:
    _check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(_QUICK, _CAMPAIGN))
def test_random_compacted_network_campaign(seed: int, tmp_path: Path) -> None:
    _check(seed, tmp_path)
