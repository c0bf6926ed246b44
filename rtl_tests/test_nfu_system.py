# amaranth: UnusedElaboratable=no
"""The NFU with its memory: streams of images against the golden model, cycles against the model."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from amaranth.back import rtlil
from networks import NETWORKS, Sketch, images_for
from nfu_networks import random_layers, suitable_config
from streambench import run_stream

from hwgen.integer.types import Concat, IntegerNetwork
from hwgen.nfu.axi import AxiMemory
from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.image import memory_map
from hwgen.nfu.spram import SpramMemory
from hwgen.nfu.system import NfuSystem, frame_cycles
from hwgen.sim.golden import run


def _check(network: IntegerNetwork, config: NfuConfig, seed: int) -> None:
    compiled = compile_network(network, config)
    program = count_cycles(config, compiled.program).total
    interval = frame_cycles(config, compiled, program)
    images = images_for(network, 4, seed)
    expected = run(network, images)
    for stall in (0.0, 0.4):
        system = NfuSystem(config, compiled, BlockMemory(config, compiled.program, compiled.memory))
        result = run_stream(
            system,
            images,
            expected=expected,
            stall_in=stall,
            stall_out=stall,
            seed=seed,
            deadline=10 * len(images) * interval,
            drain=interval,
        )
        if stall == 0:
            assert result.cycles == len(images) * interval + system.latency


@pytest.mark.parametrize(("tn", "ti"), [(1, 4), (2, 2), (4, 1), (4, 2), (2, 4)])
def test_random_networks(tn: int, ti: int) -> None:
    seed = 10 * tn + ti
    rng = np.random.default_rng(seed)
    network = random_layers(rng, layers=int(rng.integers(1, 4)), size=4)
    _check(network, replace(suitable_config(rng), tn=tn, ti=ti, nfu3_lanes=1), seed)


@pytest.mark.parametrize(("name", "tn", "ti"), [("classifier", 4, 2), ("cut", 2, 2)])
def test_decisions_and_concatenations(name: str, tn: int, ti: int) -> None:
    network = _concatenation() if name == "cut" else NETWORKS[name]()
    _check(network, fit_config(network, tn=tn, ti=ti), 5)


def _concatenation() -> IntegerNetwork:
    """A result whose channels lie apart in memory, and of which some are shifted."""
    s = Sketch((2, 3, 3), seed=3)
    a = s.requantise(s.conv("image", 3))
    b = s.requantise(s.conv("image", 2), lo=-128, hi=127)
    return s.done(s.add(Concat((0, 2)), a, b, shape=(5, 1, 1)))


@pytest.mark.parametrize(("tn", "ti"), [(4, 1), (1, 4)])
def test_no_multiplier(tn: int, ti: int) -> None:
    network = _concatenation()
    config = fit_config(network, tn=tn, ti=ti)
    compiled = compile_network(network, config)
    memories = (
        BlockMemory(config, compiled.program, compiled.memory),
        AxiMemory(config, memory_map(config, compiled.program, compiled.memory), bus_bytes=32),
        SpramMemory(config, compiled.program, compiled.memory),
    )
    for memory in memories:
        text = rtlil.convert(NfuSystem(config, compiled, memory))
        assert "cell $add" in text
        assert not re.search(r"cell \$(mul|macc|div|mod|pow)", text)
