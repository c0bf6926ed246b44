"""Speed of the two benches on the same design: cycles a second of cocotb and of the C++ harness.

Run as ``python benchmarks/bench_simulation.py [STAGES]``. The design is a pipeline of STAGES (200
by default) registers of eight 8-bit channels, each adding its neighbour's channel to its own. The
times leave out the building of the simulators, which is told apart, and the start of the processes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hwgen.numeric import IntArray
from hwgen.sim.cosim import run_cocotb
from hwgen.sim.fast import run_fast
from hwgen.sim.types import Stall
from hwgen.stream.design import PixelLayout, StreamDesign

_CHANNELS = 8
_STALL = Stall(0.25, 0.25)


def adders(stages: int) -> StreamDesign:
    """A pipeline of adders, one stage a cycle, under one clock enable."""
    width = 8 * _CHANNELS
    sums = ", ".join(
        f"data[k-1][{8 * c + 7}:{8 * c}] + data[k-1][{8 * d + 7}:{8 * d}]"
        for c in reversed(range(_CHANNELS))
        for d in [(c + 1) % _CHANNELS]
    )
    verilog = f"""
module adders(
  input clk, input rst,
  input [{width - 1}:0] i__payload, input i__valid, output i__ready,
  output [{width - 1}:0] o__payload, output o__valid, input o__ready
);
  reg [{stages}:0] full = 0;
  reg [{width - 1}:0] data [0:{stages}];
  integer k;
  assign o__valid = full[{stages}];
  assign o__payload = data[{stages}];
  assign i__ready = ~o__valid | o__ready;
  always @(posedge clk) begin
    if (i__ready) begin
      full <= {{full, i__valid}};
      data[0] <= i__payload;
      for (k = 1; k <= {stages}; k = k + 1) data[k] <= {{{sums}}};
    end
    if (rst) full <= 0;
  end
endmodule
"""
    shape = (_CHANNELS, 16, 16)
    layout = PixelLayout(((8, False),) * _CHANNELS)
    return StreamDesign("adders", verilog, shape, layout, shape, layout)


def expected(images: IntArray, stages: int) -> IntArray:
    """What :func:`adders` computes."""
    for _ in range(stages):
        images = (images + np.roll(images, -1, axis=1)) & 255
    return images


def seconds(action: Callable[[], int]) -> tuple[int, float]:
    """Cycles that ``action`` simulated, and its wall-clock time."""
    start = time.perf_counter()
    cycles = action()
    return cycles, time.perf_counter() - start


def main(stages: int) -> None:
    """Measure both benches and print a table."""
    design = adders(stages)
    images = np.random.default_rng(0).integers(0, 256, (40, *design.input_shape))
    golden = expected(images, stages)
    many = np.tile(images, (100, 1, 1, 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def cocotb(count: int) -> int:
            result = run_cocotb(
                design, images[:count], golden[:count], stall=_STALL, build_dir=folder
            )
            assert result.passed, result.fault
            return result.cycles

        def fast(count: int, *, optimise: bool) -> int:
            result = run_fast(
                design, many[:count], stall=_STALL, build_dir=folder, optimise=optimise
            )
            assert (result.outputs[:40] == golden[:count]).all()
            return result.cycles

        rows: list[tuple[str, Callable[[int], int], int]] = [
            ("cocotb", cocotb, len(images)),
            ("C++ harness", lambda n: fast(n, optimise=False), len(many)),
            ("C++ harness, optimised", lambda n: fast(n, optimise=True), len(many)),
        ]
        base = None
        print(f"{stages} stages; bench, build in s, cycles a second, times cocotb")
        for label, action, count in rows:
            _, build = seconds(lambda action=action: action(1))
            small, start = seconds(lambda action=action: action(1))
            cycles, taken = seconds(lambda action=action, count=count: action(count))
            rate = (cycles - small) / (taken - start)
            base = base or rate
            print(f"{label:24} {build - start:6.1f} {rate:12,.0f} {rate / base:8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
