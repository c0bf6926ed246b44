# amaranth: UnusedElaboratable=no
"""Binary networks in hardware, bit for bit, at the zeros of the padding too."""

from __future__ import annotations

import pytest
from binary_networks import binary_images, binary_integers, binary_network
from streambench import run_stream

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
