"""Speed of the golden model: images a second of processor time on one core.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/bench_golden.py [face digits ...]

Beside it stands the float network in single precision, run by hwgen on the same images. Three
repetitions; the median.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.flow.data import load_images
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.sim import golden

MODELS = Path(__file__).parent.parent / "models"


def main() -> None:
    print("| network | golden model, images/s | float network, images/s |")
    print("|---|---|---|")
    for name in sys.argv[1:] or ["face", "digits", "digits-large"]:
        network = import_onnx(MODELS / name / f"{name}.onnx")
        x = load_images(MODELS / name / "test.npz", network.input_shape).x
        approx = approximate(network, recipes=parse_recipe("P4"))
        integer = quantise(approx, calibrate(approx.to_network(), x[:64]))
        images = np.concatenate([x] * (1 + 1000 // len(x)))[:1000]
        exact = rate(partial(golden.run, integer, integer.input_format.quantise(images)))
        single = rate(partial(run, network, images))
        print(f"| {name} | {len(images) * exact:,.0f} | {len(images) * single:,.0f} |")


def rate(work: Callable[[], object]) -> float:
    """Runs a second of processor time, the median of three."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1 / median(seconds)


if __name__ == "__main__":
    main()
