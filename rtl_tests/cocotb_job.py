"""Run the one cocotb test of a module on a compiled design, as a job in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cocotb_tools.runner import get_results, get_runner

__all__ = ["run_job"]


def run_job(path: str, *, module: str) -> None:
    """Run the job in the file ``path``; exit with an error unless its one test passes."""
    job = json.loads(Path(path).read_text())
    folder = Path(path).parent
    results = folder / "results.xml"
    get_runner("verilator").test(
        test_module=module,
        hdl_toplevel=job["top"],
        hdl_toplevel_lang="verilog",
        build_dir=job["model"],
        test_dir=folder,
        results_xml=str(results),
        plusargs=[f"+job={path}"],
    )
    if get_results(results) != (1, 0):
        sys.exit("The test failed")
