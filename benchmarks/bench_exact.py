"""How many small random matrices are solved exactly, and in what time.

    python benchmarks/bench_exact.py [--count N] [--largest N] [--bits N] [--time S] [--seed N]

Sizes are uniform from 1x1 to the largest, entries uniform over all signed numbers of so many bits.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from hwgen.shiftadd import optimize
from hwgen.shiftadd.exact import optimal_graph


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--largest", type=int, default=4)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--time", type=float, default=30.0, help="seconds a matrix, two threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--square", action="store_true", help="the largest size only")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    half = 1 << (options.bits - 1)
    proved = 0
    print("| size | quick | fewest | lower bound | proved | CPU s | s |")
    print("|---|---|---|---|---|---|---|")
    for _ in range(options.count):
        rows, columns = random.integers(1, options.largest + 1, 2)
        if options.square:
            rows = columns = options.largest
        matrix = random.integers(-half, half, (rows, columns))
        quick = optimize(matrix).adders
        wall, cpu = time.perf_counter(), time.process_time()
        found = optimal_graph(matrix, at_most=quick, time_limit=options.time)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        fewest = found.graph.adders if found.graph is not None else quick
        done = fewest == found.lower_bound
        proved += done
        cells = (
            quick,
            fewest,
            found.lower_bound,
            "yes" if done else "no",
            f"{cpu:.2f}",
            f"{wall:.2f}",
        )
        print("|", f"{rows}x{columns}", "|", " | ".join(map(str, cells)), "|", flush=True)
    print(f"\n{proved} of {options.count} proved optimal")


if __name__ == "__main__":
    main()
