"""Speed of the two benches on the same design: cycles a second of cocotb and of the C++ harness.

Run as ``python benchmarks/bench_simulation.py MODEL.onnx DATA.npz``, for example with the files in
``models/face``. The streams have the stalls of a verification; every output is compared. Times are
processor seconds, of the simulators and of Python, without the building of the simulators (told
apart) and the start of the processes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import numpy as np

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.onnx_import import import_onnx
from hwgen.sim.cosim import run_cocotb
from hwgen.sim.fast import run_fast
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit

_STALL = Stall(0.25, 0.25)
_COCOTB_IMAGES = 40


def seconds(action: Callable[[], int]) -> tuple[int, float]:
    """Cycles that ``action`` simulated, and the processor time that it took."""
    start = _used()
    cycles = action()
    return cycles, _used() - start


def _used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    uses = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def measure(label: str, action: Callable[[int], int], count: int) -> float:
    """Print the time to build and the cycles a second of ``count`` images; return the latter."""
    _, build = seconds(lambda: action(1))
    few, start = seconds(lambda: action(1))
    cycles, taken = seconds(lambda: action(count))
    rate = (cycles - few) / (taken - start)
    print(f"{label:12} {build - start:6.1f} s to build, {rate:12,.0f} cycles a second")
    return rate


def main(model: Path, data: Path) -> None:
    """Generate the design of ``model`` and measure both benches on it."""
    images = np.load(data)["x"].astype(np.float64)
    approx = approximate(import_onnx(model), recipes=parse_recipe("P5"))
    network = quantise(approx, calibrate(approx.to_network(), images[:100]))
    design = emit(plan_pipeline(network))
    many = network.input_format.quantise(np.tile(images, (1 + 1000 // len(images), 1, 1, 1)))
    golden = run(network, many)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def cocotb(count: int) -> int:
            result = run_cocotb(
                design, many[:count], golden[:count], stall=_STALL, build_dir=folder
            )
            assert result.passed, result.fault
            return result.cycles

        def fast(count: int) -> int:
            result = run_fast(design, many[:count], stall=_STALL, build_dir=folder)
            assert (result.outputs == golden[:count]).all()
            return result.cycles

        slow = measure("cocotb", cocotb, _COCOTB_IMAGES)
        quick = measure("C++ harness", fast, len(many))
        print(f"the C++ harness is {quick / slow:.1f} times as fast on one core")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
