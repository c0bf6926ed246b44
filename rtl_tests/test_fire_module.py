# amaranth: UnusedElaboratable=no
"""A fire module of SqueezeNet through everything: kernels of two sizes in one concatenation."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
from fire_networks import fire_images, fire_onnx
from nfubench import run_nfu
from onnx_build import save
from streambench import run_stream

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import Concat, IntegerNetwork
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.timing import Timing
from hwgen.sim import golden
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import plan_pipeline


@functools.cache
def fire() -> tuple[IntegerNetwork, np.ndarray]:
    """Imported, approximated on calibration images and quantised; two other images as integers."""
    with tempfile.TemporaryDirectory() as folder:
        network = import_onnx(save(fire_onnx(), Path(folder)))
    calibration, images = fire_images(20, seed=3), fire_images(2, seed=4)
    recipe = parse_recipe("P8")
    approx = approximate(network, recipes=recipe, images=calibration, objective="output")
    integers = quantise(approx, calibrate(approx.to_network(), calibration))
    quantised = integers.input_format.quantise(images)
    expected = run(network, images, dtype=np.float64)
    found = golden.run(integers, quantised) * integers.scale(integers.output)[0]
    assert np.square(found - expected).mean() < 0.01 * np.square(expected).mean()
    assert any(isinstance(node.op, Concat) for node in integers.nodes)
    return integers, quantised


def test_stream() -> None:
    integers, images = fire()
    run_stream(
        Pipeline(plan_pipeline(integers)),
        images,
        expected=golden.run(integers, images),
        stall_in=0.2,
        stall_out=0.2,
        seed=1,
    )


def test_nfu_and_its_cycles() -> None:
    integers, images = fire()
    config = fit_config(integers, tn=4, ti=4)
    compiled = compile_network(integers, config)
    memory, timing = compiled.with_image(images[0]), Timing(latency=3)
    count = count_cycles(config, compiled.program, timing)
    result = run_nfu(config, compiled.program, memory, timing, deadline=count.total + 200)
    assert (result.starts, result.total) == (count.starts, count.total)
    for one in result.stores:
        memory.activations[one.address * config.tn : (one.address + 1) * config.tn] = one.values
    expected = golden.run(integers, images)[0]
    np.testing.assert_array_equal(compiled.result(memory.activations), expected)
