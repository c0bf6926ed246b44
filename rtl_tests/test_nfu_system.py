# amaranth: UnusedElaboratable=no
"""The NFU with its memory: streams of images against the golden model, cycles against the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import images_for
from nfu_networks import random_layers, suitable_config
from streambench import run_stream

from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.system import NfuSystem, frame_cycles
from hwgen.sim.golden import run


def _check(seed: int, *, tn: int, ti: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_layers(rng, layers=int(rng.integers(1, 4)), size=4)
    config = replace(suitable_config(rng), tn=tn, ti=ti, nfu3_lanes=1)
    compiled = compile_network(network, config)
    program = count_cycles(config, compiled.program).total
    interval = frame_cycles(config, compiled, program)
    images = images_for(network, 4, seed)
    expected = run(network, images)
    for stall in (0.0, 0.4):
        result = run_stream(
            NfuSystem(
                config,
                compiled,
                BlockMemory(config, compiled.program, compiled.memory),
                input_ranges=network.ranges(network.input_name),
                output_ranges=network.ranges(network.output),
            ),
            images,
            expected=expected,
            stall_in=stall,
            stall_out=stall,
            seed=seed,
            deadline=10 * len(images) * interval,
            drain=interval,
        )
        if stall == 0:
            assert result.cycles == len(images) * interval


@pytest.mark.parametrize(("tn", "ti"), [(1, 4), (2, 2), (4, 1), (4, 2), (2, 4)])
def test_random_networks(tn: int, ti: int) -> None:
    _check(10 * tn + ti, tn=tn, ti=ti)
