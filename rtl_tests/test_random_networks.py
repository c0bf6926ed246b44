"""Random networks through the whole chain: ONNX, float, dyadic, integer, golden model, Verilog.

Ten in the default run; ``pytest -m slow`` runs two hundred.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from random_networks import random_images, random_onnx

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import Recipe
from hwgen.approx.sets import LADDER
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.sim.types import Stall
from hwgen.sim.verify import verify
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit

_QUICK = 10
_CAMPAIGN = 200
_IMAGES = 4


def _check(seed: int, directory: Path) -> None:
    model = random_onnx(seed)
    path = directory / f"random{seed}.onnx"
    onnx.save(model, path)
    rng = np.random.default_rng(seed)
    network = import_onnx(path)
    calibration = random_images(seed, model, 24).astype(np.float64)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: calibration.astype(np.float32)})
    got = run(network, calibration)
    np.testing.assert_allclose(
        got.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )
    samples = calibrate(network, calibration).samples
    ranges = {name: (float(s[0]), float(s[-1])) for name, s in samples.items()}
    recipes = {node.name: Recipe(LADDER[rng.integers(len(LADDER))]) for node, _ in network.convs()}
    approx = approximate(network, recipes=recipes, ranges=ranges)
    integer = quantise(
        approx,
        calibrate(approx.to_network(), calibration),
        activation_bits=int(rng.integers(4, 11)),
    )
    design = emit(plan_pipeline(integer), taps=True)
    # wilder than the calibration images, so that every saturation is met
    images = 3 * random_images(seed + 1, model, _IMAGES).astype(np.float64)
    report = verify(
        integer,
        design,
        images,
        mode="fast",
        layers=True,
        seed=seed,
        stall=Stall(float(rng.uniform(0, 0.6)), float(rng.uniform(0, 0.6))),
        build_dir=directory.parent / "the simulators",
        waves=False,
    )
    assert report.passed, report
    output = int(np.prod(integer.shape(integer.output)[1:])) * _IMAGES
    assert report.layers[-1].words_compared == output
    assert len(report.layers) > 1


@pytest.mark.parametrize("seed", range(_QUICK))
def test_random_network(seed: int, tmp_path: Path) -> None:
    _check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(_QUICK, _CAMPAIGN))
def test_random_network_campaign(seed: int, tmp_path: Path) -> None:
    _check(seed, tmp_path)
