"""Whole shipped networks on the NFU: cycles an image, how many of them work, and why others do not.

    python benchmarks/bench_nfu_networks.py [--tile 8x8] [--images 20] [face digits-large ...]

Weights have one term (recipe P1), parameters are fitted to the network, memory has a latency of 4
cycles. The golden executor runs one image, and must give what the golden model of the integer
network gives. With ``--images`` the Verilated core runs so many of the shipped test images; every
output and the cycle of every instruction are compared. Times are processor seconds on one core.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import click
import numpy as np

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.flow.data import load_images
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.onnx_import import import_onnx
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.golden import execute
from hwgen.nfu.simulate import simulate
from hwgen.nfu.timing import Timing
from hwgen.numeric import IntArray
from hwgen.sim import golden

MODELS = Path(__file__).parent.parent / "models"
NAMES = ("face", "digits", "digits-large", "mnist-qonnx", "convnetjs", "resnet20", "vgg-cifar10")
TIMING = Timing(latency=4)


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--tile", default="8x8", help="Tn x Ti")
@click.option("--images", default=0, help="images to simulate")
def main(names: tuple[str, ...], tile: str, images: int) -> None:
    tn, ti = (int(part) for part in tile.split("x"))
    print(
        "| network | tile | instructions | rows in memory | cycles an image | with a row | waits | "
        "compiled, s | executed, s | simulated, images/s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in names or NAMES:
        network, tests = shipped(name)
        config = fit_config(network, tn=tn, ti=ti)
        begin = time.process_time()
        compiled = compile_network(network, config)
        compiling = time.process_time() - begin
        count = count_cycles(config, compiled.program, TIMING)
        begin = time.process_time()
        done = execute(config, compiled.program, compiled.with_image(tests[0]))
        executing = time.process_time() - begin
        assert (compiled.result(done.activations) == golden.run(network, tests[:1])[0]).all()
        waits = sorted(count.stalls.items(), key=lambda item: -item[1])[:3]
        speed = "-"
        if images:
            speed = f"{simulated(network, config, compiled, tests[:images]):.1f}"
        print(
            f"| {name} | {tn} x {ti} | {len(compiled.program):,} | {len(compiled.memory.rows):,} | "
            f"{count.total:,} | {count.busy / count.total:.1%} | "
            f"{', '.join(f'{cause} {cycles:,}' for cause, cycles in waits if cycles)} | "
            f"{compiling:.1f} | {executing:.2f} | {speed} |",
            flush=True,
        )


def shipped(name: str) -> tuple[IntegerNetwork, IntArray]:
    """A network whose weights have one term, and its test images as integers."""
    file = MODELS / name / ("model.onnx" if name == "mnist-qonnx" else f"{name}.onnx")
    network = import_onnx(file)
    images = load_images(MODELS / name / "test.npz", network.input_shape).x
    approx = approximate(network, recipes=parse_recipe("P1"))
    integer = quantise(approx, calibrate(approx.to_network(), images[:64]))
    return integer, integer.input_format.quantise(images)


def simulated(
    network: IntegerNetwork, config: NfuConfig, compiled: CompiledNetwork, images: IntArray
) -> float:
    """Images a second, without the building of the simulator and the start of the process."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 1, len(images)):  # the first builds
            begin = getrusage(RUSAGE_CHILDREN).ru_utime
            found = simulate(
                config, compiled, images[:count], timing=TIMING, build_dir=Path(folder)
            )
            seconds.append(getrusage(RUSAGE_CHILDREN).ru_utime - begin)
    np.testing.assert_array_equal(found.outputs, golden.run(network, images))
    return (len(images) - 1) / (seconds[2] - seconds[1])


if __name__ == "__main__":
    main()
