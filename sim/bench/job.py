"""The process that runs one cocotb job, so that its environment is its own.

Called as ``python -m hwgen.sim.bench.job JOB.json`` by :mod:`hwgen.sim.cosim`, which has built the
simulator; prints the number of cocotb tests that ran and that failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

__all__ = ["main"]


def main(path: str) -> None:
    """Run the job in the file ``path``."""
    job = json.loads(Path(path).read_text())
    folder = Path(path).parent
    results = folder / "results.xml"
    try:
        get_runner("verilator").test(
            test_module="hwgen.sim.bench.stream",
            hdl_toplevel=job["top"],
            hdl_toplevel_lang="verilog",
            build_dir=job["model"],
            test_dir=folder,
            results_xml=str(results),
            seed=job["seed"],
            # whatever the design does not initialise begins at random
            plusargs=[
                f"+job={path}",
                "+verilator+rand+reset+2",
                f"+verilator+seed+{job['seed'] % 2147483646 + 1}",
            ],
            test_args=["--trace", "--trace-file", job["wave"]] if job["wave"] else [],
        )
    finally:
        ran, failed = get_results(results)
        (folder / "tests.json").write_text(json.dumps({"ran": ran, "failed": failed}))


if __name__ == "__main__":
    main(sys.argv[1])
