# amaranth: UnusedElaboratable=no
"""The models of the block RAM of ECP5 and Gowin: memories of every width read as written.

Yosys ships no model of these to compare with, so that designs of known behaviour are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import Sketch, images_for

from hwgen.numeric import Range
from hwgen.sim.fast import run_fast
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.stream.blocks import Stage, component
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.forms import parse_folding
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.gates import netlist_to_verilog
from hwgen.toolchain.synthesis import SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog


def _netlist(design: StreamDesign, family: str, directory: Path) -> tuple[StreamDesign, int]:
    job = SynthesisJob({"design.v": design.verilog}, design.name, family, directory)
    (result,) = synthesise(job, time_limit=600)
    verilog = netlist_to_verilog(result.netlist, top=design.name, family=family)
    return replace(design, verilog=verilog, taps=()), result.area.brams


_SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("family", "depth", "width"),
    [
        ("ecp5", 700, 12),
        ("gowin", 700, 12),
        *(
            pytest.param(family, depth, width, marks=_SLOW)
            for family in ("ecp5", "gowin")
            for depth, width in ((400, 36), (1500, 8), (9000, 1))
        ),
    ],
)
def test_buffers(family: str, depth: int, width: int, tmp_path: Path, build_dir: Path) -> None:
    """A queue gives back what it took, through memories of 18, 36, 9 or 8 and 1 bits a word."""
    from amaranth.back import rtlil

    ranges = (Range(0, (1 << width) - 1),)
    shape = (1, 40, 50)
    stage = Stage("queue", "buffer", "x", "x", ("",), shape, (ranges,), shape, ranges, depth=depth)
    verilog = rtlil_to_verilog(rtlil.convert(component(stage), name="queue"), flatten=True)
    layout = PixelLayout.from_ranges(ranges)
    queue = StreamDesign("queue", verilog, shape, layout, shape, layout)
    design, brams = _netlist(queue, family, tmp_path)
    assert brams > 0
    images = np.random.default_rng(width).integers(0, 1 << width, (2, *shape))
    result = run_fast(
        design, images, seed=3, stall=Stall(0.1, 0.6), build_dir=build_dir, timeout=600
    )
    np.testing.assert_array_equal(result.outputs, images)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ecp5", "gowin"])
def test_codes_in_memory(family: str, tmp_path: Path, build_dir: Path) -> None:
    """Contents from the beginning: the codes of a dense layer."""
    sketch = Sketch((4, 6, 6), seed=3, exponents=6)
    sketch.conv("image", 24, (6, 6))
    network = sketch.network
    plan = plan_pipeline(network, folding=parse_folding("*=memory:4"))
    design, brams = _netlist(emit(plan), family, tmp_path)
    assert brams > 0
    images = images_for(network, 2)
    result = run_fast(
        design, images, seed=3, stall=Stall(0.2, 0.2), build_dir=build_dir, timeout=600
    )
    np.testing.assert_array_equal(result.outputs, run(network, images))
