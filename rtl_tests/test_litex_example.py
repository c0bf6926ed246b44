"""The LiteX example: its SoC holds the network, and the whole is sound Verilog."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from networks import NETWORKS

from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.stream.wrappers.wrap import wrap
from hwgen.toolchain.yosys import run_yosys

_EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "litex_soc.py"


@pytest.mark.skipif(importlib.util.find_spec("litex") is None, reason="LiteX is not installed")
def test_soc_with_a_network(tmp_path: Path) -> None:
    design = emit(plan_pipeline(NETWORKS["bare"]()))
    (tmp_path / "design.v").write_text(design.verilog)
    (tmp_path / "design_wishbone.v").write_text(wrap(design, "wishbone"))
    subprocess.run(
        [sys.executable, str(_EXAMPLE), str(tmp_path), "--out", "soc"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=250,
    )
    commands = [
        "read_verilog design.v design_wishbone.v soc/gateware/soc.v",
        "hierarchy -check -top soc",
        "select -assert-count 1 soc/t:hwgen_net_wishbone",
    ]
    run_yosys(commands, directory=tmp_path)
