# amaranth: UnusedElaboratable=no
"""Activations in single-port RAM: words and cycles in simulation, and the blocks of synthesis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import Sketch, images_for

from hwgen.errors import UnsupportedError
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.compile import compile_network
from hwgen.nfu.design import build_system
from hwgen.nfu.fit import fit_config
from hwgen.nfu.memory import MemoryImage
from hwgen.nfu.spram import SpramMemory
from hwgen.sim.types import Stall
from hwgen.sim.verify import verify
from hwgen.toolchain.synthesis import SynthesisJob, synthesise


def _network() -> IntegerNetwork:
    s = Sketch((1, 6, 6), seed=2)
    x = s.requantise(s.conv("image", 3, pads=(1, 1, 1, 1)))
    return s.done(s.dense(x, 4))


def _check(tn: int, ti: int, folder: Path) -> None:
    network = _network()
    built = build_system(network, tile=(tn, ti), single_port=True)
    images = images_for(network, 6) * network.input_format.step
    for stall in (Stall(), Stall(0.25, 0.25)):
        report = verify(
            network, built.design, images, mode="fast", stall=stall, build_dir=folder, waves=False
        )
        assert report.passed, report.summary
        if stall == Stall():
            assert report.cycles_per_image == built.plan.interval


def test_words_and_cycles(build_dir: Path) -> None:
    _check(2, 4, build_dir)


@pytest.mark.slow
@pytest.mark.parametrize(("tn", "ti"), [(4, 1), (2, 2), (1, 8)])
def test_tiles(tn: int, ti: int, build_dir: Path) -> None:
    _check(tn, ti, build_dir)


@pytest.mark.slow
def test_activations_become_single_port_blocks(tmp_path: Path) -> None:
    built = build_system(_network(), tile=(4, 2), single_port=True)
    name = built.design.name
    job = SynthesisJob({f"{name}.v": built.design.verilog}, name, "ice40", tmp_path)
    (result,) = synthesise(job)
    # 4 activations of 8 bits a word, 16 bits a block
    assert dict(result.area.cells)["SB_SPRAM256KA"] == 2


def test_contents_are_refused() -> None:
    network = _network()
    config = fit_config(network, tn=2, ti=2)
    compiled = compile_network(network, config)
    image = compiled.memory
    SpramMemory(config, compiled.program, image)
    other = replace(image, activations=image.activations - np.eye(1, len(image.activations))[0])
    assert isinstance(other, MemoryImage)
    with pytest.raises(UnsupportedError, match="use block RAM"):
        SpramMemory(config, compiled.program, other)
