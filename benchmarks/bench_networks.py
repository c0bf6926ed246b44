"""The shipped networks through the whole flow: accuracy, hardware, verification and time.

    python benchmarks/bench_networks.py [--out DIR] [face digits ...] > tables.md

Each network is built by ``hwgen build`` with the options below; what is in DIR and up to date
is not built again. Accuracies are on the shipped test images, which chose nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
BUILDS: dict[str, tuple[str, ...]] = {
    "face": ("models/face/face.onnx", "train", "--board", "ulx3s-25f"),
    "digits": (
        "models/digits/digits.onnx",
        "data",
        *("--board", "ulx3s-85f", "--budget", "0.3%"),
    ),
    "mnist-qonnx": (
        "models/mnist-qonnx/model.onnx",
        "data",
        *("--board", "ulx3s-85f", "--no-route"),
    ),
}
"""Model, stem of the data file, and further options of each build."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(BUILDS), metavar="NETWORK")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="where builds are kept")
    arguments = parser.parse_args()
    summaries = {name: build(name, arguments.out) for name in arguments.networks}
    for table in (ACCURACY, HARDWARE, CHECKED, TIME):
        print("\n| network | " + " | ".join(table) + " |")
        print("|---" * (len(table) + 1) + "|")
        for name, summary in summaries.items():
            cells = (_cell(summary, path) for path in table.values())
            print(f"| {name} | " + " | ".join(cells) + " |")


ACCURACY = {
    "test images": "accuracy.images",
    "float": "accuracy.float",
    "approximated": "accuracy.approximated",
    "integer": "accuracy.integer",
    "points lost": "accuracy.loss.integer",
    "recipes": "approximation.recipes",
    "terms a weight": "approximation.mean_terms",
    "additions an image": "operations.additions",
    "multiplications (float)": "operations.float_multiplications",
    "multiplications": "operations.multiplications",
}
HARDWARE = {
    "part": "hardware.part",
    "adders in graphs": "hardware.adders",
    "LUT4": "hardware.luts",
    "FF": "hardware.ffs",
    "BRAM": "hardware.brams",
    "DSP": "hardware.dsps",
    "clock MHz": "hardware.clock_mhz",
    "cycles an image": "hardware.cycles_per_image",
    "images a second": "hardware.images_per_second",
    "seed": "seeds.routing",
}
CHECKED = {
    "images": "verification.images",
    "words compared": "verification.words_compared",
    "words that differed": "verification.words_differed",
    "seed": "seeds.verification",
}
TIME = {
    "import s": "seconds.import",
    "search s": "seconds.search",
    "approximate s": "seconds.approximate",
    "generate s": "seconds.generate",
    "verify s": "seconds.verify",
    "synth s": "seconds.synth",
}


def build(name: str, out: Path) -> dict[str, Any]:
    """Build one network, or take what is up to date; its summary."""
    model, data, *options = BUILDS[name]
    folder = (ROOT / model).parent
    command = [
        *(sys.executable, "-c", "from hwgen.cli import main; main()", "build", str(ROOT / model)),
        *("--data", str(folder / f"{data}.npz"), "--test", str(folder / "test.npz")),
        *("--out", str(out / name), *options),
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    summary: dict[str, Any] = json.loads((out / name / "summary.json").read_text())
    return summary


def _cell(summary: dict[str, Any], path: str) -> str:
    value: Any = summary
    for key in path.split("."):
        value = value[key]
    match value:
        case None:
            return "-"
        case {"loss": loss, "low": low, "high": high}:
            return f"{100 * loss:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
        case dict():
            return ", ".join(f"{k} {v}" for k, v in value.items())
        case float() if path.startswith("accuracy"):
            return f"{value:.2%}"
        case float() if path.endswith("terms"):
            return f"{value:.3f}"
        case float():
            return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


if __name__ == "__main__":
    main()
