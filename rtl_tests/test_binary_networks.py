# amaranth: UnusedElaboratable=no
"""Binary networks in hardware, bit for bit, at the zeros of the padding too."""

from __future__ import annotations

import numpy as np
import pytest
from binary_networks import binary_images, binary_integers, binary_network
from nfubench import run_nfu
from streambench import run_stream

from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import BinaryLane, NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.system import NfuSystem
from hwgen.nfu.timing import Timing
from hwgen.sim.golden import run
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import plan_pipeline


@pytest.mark.parametrize("pad", [0, 1])
def test_stream_of_a_binary_network(pad: int) -> None:
    network = binary_network(10 + pad, shape=(1, 8, 8), channels=(3, 4), pad=pad)
    integers = binary_integers(network)
    images = integers.input_format.quantise(binary_images(network, 3))
    plan = plan_pipeline(integers)
    run_stream(
        Pipeline(plan), images, expected=run(integers, images), stall_in=0.2, stall_out=0.2, seed=1
    )


@pytest.mark.parametrize(("width", "planes", "pad"), [(8, 1, 1), (2, 8, 1)])
def test_binary_network_on_the_nfu(width: int, planes: int, pad: int) -> None:
    """On numbers of 8 bits, and on two bits with an image in bit planes."""
    network = binary_network(30, shape=(1, 8, 8), channels=(3, 4), pad=pad)
    integers = binary_integers(network)
    image = integers.input_format.quantise(binary_images(network, 3))[2:]
    config = NfuConfig(
        *(4, 4, width, 20, BinaryLane(planes)),
        nfu3_lanes=4,
        scale_terms=4,
        scale_exponents=32,
        product_width=48,
        maximum=True,
    )
    compiled = compile_network(integers, config)
    assert compiled.input.planes == planes
    memory, timing = compiled.with_image(image[0]), Timing(latency=3)
    count = count_cycles(config, compiled.program, timing)
    result = run_nfu(config, compiled.program, memory, timing, deadline=count.total + 200)
    assert (result.starts, result.total) == (count.starts, count.total)
    for one in result.stores:
        memory.activations[one.address * config.tn : (one.address + 1) * config.tn] = one.values
    np.testing.assert_array_equal(compiled.result(memory.activations), run(integers, image)[0])


def test_system_of_a_binary_network() -> None:
    """Pixels come as numbers and are stored as bits; the compiler has chosen so."""
    network = binary_network(2, shape=(1, 5, 5), channels=(4, 16, 32), pad=1)
    integers = binary_integers(network)
    images = integers.input_format.quantise(binary_images(network, 3))
    config = fit_config(integers, tn=4, ti=4)
    assert (config.lane, config.activation_width) == (BinaryLane(8), 2)
    compiled = compile_network(integers, config)
    system = NfuSystem(config, compiled, BlockMemory(config, compiled.program, compiled.memory))
    run_stream(
        system,
        images,
        expected=run(integers, images),
        stall_in=0.2,
        stall_out=0.2,
        seed=1,
        deadline=100_000,
    )
