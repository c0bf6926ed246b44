# amaranth: UnusedElaboratable=no
"""The model of the ECP5 block RAM: memories of every width read as they are written."""

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
from hwgen.toolchain.synthesis import SynthesisJob, synthesise
from hwgen.toolchain.yosys import netlist_to_verilog, rtlil_to_verilog


def _netlist(design: StreamDesign, directory: Path) -> tuple[StreamDesign, int]:
    job = SynthesisJob({"design.v": design.verilog}, design.name, "ecp5", directory)
    (result,) = synthesise(job, time_limit=600)
    verilog = netlist_to_verilog(result.netlist, top=design.name, family="ecp5")
    return replace(design, verilog=verilog, taps=()), result.area.brams


_SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("depth", "width"),
    [(700, 12), pytest.param(400, 36, marks=_SLOW), pytest.param(9000, 1, marks=_SLOW)],
)
def test_buffers(depth: int, width: int, tmp_path: Path) -> None:
    """A queue gives back what it took, through memories of 18, 36 and 1 bits a word."""
    from amaranth.back import rtlil

    ranges = (Range(0, (1 << width) - 1),)
    shape = (1, 40, 50)
    stage = Stage("queue", "buffer", "x", "x", ("",), shape, (ranges,), shape, ranges, depth=depth)
    verilog = rtlil_to_verilog(rtlil.convert(component(stage), name="queue"), flatten=True)
    layout = PixelLayout.from_ranges(ranges)
    design, brams = _netlist(StreamDesign("queue", verilog, shape, layout, shape, layout), tmp_path)
    assert brams > 0
    images = np.random.default_rng(width).integers(0, 1 << width, (2, *shape))
    result = run_fast(
        design, images, seed=3, stall=Stall(0.1, 0.6), build_dir=tmp_path, timeout=600
    )
    np.testing.assert_array_equal(result.outputs, images)


@pytest.mark.slow
def test_codes_in_memory(tmp_path: Path) -> None:
    """Contents from the beginning: the codes of a dense layer."""
    sketch = Sketch((4, 6, 6), seed=3, exponents=6)
    sketch.conv("image", 24, (6, 6))
    network = sketch.network
    plan = plan_pipeline(network, folding=parse_folding("*=memory:4"))
    design, brams = _netlist(emit(plan), tmp_path)
    assert brams > 0
    images = images_for(network, 2)
    result = run_fast(
        design, images, seed=3, stall=Stall(0.2, 0.2), build_dir=tmp_path, timeout=600
    )
    np.testing.assert_array_equal(result.outputs, run(network, images))
