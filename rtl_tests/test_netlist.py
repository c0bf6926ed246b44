"""Synthesised netlists against the golden model: what the FPGA gets computes the same.

The cells of the netlist are replaced by models of them, and the result runs in the bench of the
fast simulation, stalls included.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import NETWORKS, images_for

from hwgen.integer.types import IntegerNetwork
from hwgen.numeric import IntArray
from hwgen.sim.fast import run_fast
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.stream.design import StreamDesign
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.gates import netlist_to_verilog
from hwgen.toolchain.synthesis import Area, SynthesisJob, synthesise


def _netlist(design: StreamDesign, family: str, directory: Path) -> tuple[StreamDesign, Area]:
    """The design with the Verilog of its netlist instead of its own, and the netlist's area."""
    job = SynthesisJob({"design.v": design.verilog}, design.name, family, directory)
    (result,) = synthesise(job, time_limit=600)
    verilog = netlist_to_verilog(result.netlist, top=design.name, family=family)
    return replace(design, verilog=verilog, taps=()), result.area


def _check(
    network: IntegerNetwork,
    images: IntArray,
    family: str,
    directory: Path,
    build_dir: Path,
    seed: int,
) -> Area:
    design, area = _netlist(emit(plan_pipeline(network)), family, directory)
    result = run_fast(
        design, images, seed=seed, stall=Stall(0.3, 0.3), build_dir=build_dir, timeout=600
    )
    np.testing.assert_array_equal(result.outputs, run(network, images))
    assert area.dsps == 0
    return area


@pytest.mark.parametrize(("name", "family"), [("bare", "ecp5"), ("bare", "ice40")])
def test_netlist_equals_golden(name: str, family: str, tmp_path: Path, build_dir: Path) -> None:
    network = NETWORKS[name]()
    _check(network, images_for(network, 3), family, tmp_path, build_dir, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ecp5", "gowin", "ice40"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_netlist_equals_golden(
    name: str, family: str, tmp_path: Path, build_dir: Path
) -> None:
    network = NETWORKS[name]()
    _check(network, images_for(network, 8), family, tmp_path, build_dir, seed=6)
