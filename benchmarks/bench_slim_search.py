"""Cost of a search: trials on cached tensors against runs of the whole network, and a whole search.

    python benchmarks/bench_slim_search.py [--images FILE.npz] [--block N] [--trials N]
        [--search] [--calibration N] [--out FILE.json] [resnet20]

Trials: each block of filters of each layer to the next smaller kernel, once by running what the
change concerns on cached tensors, and once by running the whole network; multiplications of an
image, and CPU seconds of this process, so that a busy machine does not matter. Both must give the
same error. With ``--search`` also a joint search of kernels and features within 1 % on 1,000
choosing images, with its parts. FILE has training images ``x`` and labels ``y``; the shipped images
serve otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv, Network
from hwgen.slim.kernels import reduce_kernels, size_chain
from hwgen.slim.objectives import MACS
from hwgen.slim.outcome import Settings
from hwgen.slim.search import search
from hwgen.slim.trial import Trials, put

MODELS = Path(__file__).parent.parent / "models"
CHOOSING = 1000
BUDGET = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="resnet20")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--trials", type=int, default=64, help="images of a trial")
    parser.add_argument("--calibration", type=int, default=256)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    network = import_onnx(MODELS / given.network / f"{given.network}.onnx")
    with np.load(given.images or MODELS / given.network / "data.npz") as data:
        x, y = data["x"], data["y"].astype(np.int64).reshape(-1)
    result: dict[str, object] = {"network": given.network}
    result["trials"] = measure_trials(network, x[: given.trials], given.block)
    if given.search:
        count = min(CHOOSING, len(x) // 2)
        cut = slice(count, count + given.calibration)
        settings = Settings(block=given.block)
        result["search"] = measure_search(network, x[cut], x[:count], y[:count], settings)
    text = json.dumps(result, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def measure_trials(network: Network, x: np.ndarray, block: int) -> dict[str, float]:
    """Every block of every layer with larger kernels than 1x1, one size down, both ways."""
    reference = run(network, x)
    trials = Trials(network, x, reference)
    norm = float(np.square(reference.astype(np.float64)).sum())
    cached = whole = 0.0
    for node, op in network.convs():
        if op.kernel == (1, 1):
            continue
        for changed in _moves(node.name, op, block):
            before = time.process_time()
            error = trials.attempt(changed)
            between = time.process_time()
            output = run(put(network, changed), x)
            cached += between - before
            whole += time.process_time() - between
            expected = float(np.square(output - reference, dtype=np.float64).sum()) / norm
            if abs(error - expected) > 1e-4 * expected + 1e-9:
                sys.exit(f"Trials of {node.name!r} differ: {error} and {expected}")
    return {
        "moves": trials.count,
        "images": len(x),
        "block": block,
        "multiplications_share": trials.share,
        "multiplications_ratio": 1 / trials.share,
        "cached_cpu_s": cached,
        "whole_cpu_s": whole,
        "cpu_ratio": whole / cached,
    }


def _moves(name: str, op: Conv, block: int) -> list[dict[str, Conv]]:
    size = size_chain(op.kernel)[1]
    return [
        {name: reduce_kernels(op, range(at, min(at + block, len(op.weight))), size)}
        for at in range(0, len(op.weight), block)
    ]


def measure_search(
    network: Network, calibration: np.ndarray, x: np.ndarray, y: np.ndarray, settings: Settings
) -> dict[str, object]:
    """A joint search of kernels and features, on the CPU's clock."""
    start, wall = time.process_time(), time.monotonic()
    found = search(network, calibration, x, y, budget=BUDGET, objective=MACS, settings=settings)
    return {
        "choosing": len(x),
        "calibration": len(calibration),
        "cpu_s": time.process_time() - start,
        "wall_s": time.monotonic() - wall,
        "saved": found.saved,
        "trajectory": [
            (round(1 - step.cost / found.steps[0].cost, 4), step.loss, step.spoiled)
            for step in found.steps
        ],
        "loss": found.steps[-1].loss,
        "steps": len(found.steps),
        "effort": asdict(found.effort),
    }


if __name__ == "__main__":
    main()
