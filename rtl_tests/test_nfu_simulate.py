"""Compiled networks on the Verilated NFU, memory of given timing around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import images_for
from nfu_networks import random_graph, suitable_config
from nfubench import random_timing

from hwgen.errors import VerifyError
from hwgen.nfu import simulate as module
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.simulate import simulate
from hwgen.nfu.timing import Timing
from hwgen.sim.golden import run


def test_random_networks(build_dir: Path) -> None:
    rng = np.random.default_rng(5)
    config = suitable_config(rng, exponents=16)
    for seed in range(4):
        network = random_graph(np.random.default_rng(seed), layers=3, size=5)
        compiled = compile_network(network, config)
        images = images_for(network, 20, seed)
        timing = random_timing(seed) if seed % 2 else Timing(latency=3)
        result = simulate(config, compiled, images, timing=timing, build_dir=build_dir, seed=seed)
        np.testing.assert_array_equal(result.outputs, run(network, images))
        count = count_cycles(config, compiled.program, timing)
        assert (result.totals == count.total).all()
        assert (result.starts == np.array(count.starts)).all()
        assert len(result.totals) == 20


def test_other_cycles_than_the_model(build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = suitable_config(np.random.default_rng(5), exponents=16)
    network = random_graph(np.random.default_rng(1), layers=2, size=5)
    compiled = compile_network(network, config)
    images = images_for(network, 2)

    def other(*arguments: object) -> object:
        count = count_cycles(*arguments)
        starts = (*count.starts[:-1], count.starts[-1] + 1)
        return replace(count, starts=starts)

    monkeypatch.setattr(module, "count_cycles", other)
    with pytest.raises(VerifyError, match=r"Image 0: the NFU began instruction \d+ in cycle \d+"):
        simulate(config, compiled, images, build_dir=build_dir)


def test_another_number_of_instructions() -> None:
    """One image begins fewer than the program has, and another as many more."""
    with pytest.raises(VerifyError, match="The NFU began another number of instructions"):
        module._times(np.array([1, 9, 3, 5, 7, 9]), 2, [5, 9])


def test_a_program_that_reads_outside_of_memory(build_dir: Path) -> None:
    config = suitable_config(np.random.default_rng(5), exponents=16)
    network = random_graph(np.random.default_rng(1), layers=2, size=5)
    compiled = compile_network(network, config)
    memory = replace(compiled.memory, rows=compiled.memory.rows[:-1])
    with pytest.raises(VerifyError, match="A load reads outside of memory"):
        simulate(
            config, replace(compiled, memory=memory), images_for(network, 1), build_dir=build_dir
        )
