"""Rankings of feature maps compared: what dropping the least of each layer costs, maps folded.

    python benchmarks/bench_importance.py [--networks digits,resnet20] [--shares 0.125,0.25,0.5]
        [--data NAME=CALIBRATION.npz,TEST.npz]... [--calibration 128] [--test 500] [--seed 1]

prints a table a network: of every layer whose maps can be folded, that share of the maps is dropped
by each ranking at once, as combinations of the others (``folded``), after which all layers are
fitted again (``fitted``); ``zeroed`` is the same without making up for anything. ``readers`` ranks
by what the layers that read a map would lose (``hwgen.slim.feature_errors``). Cells are accuracy
lost on the test images in points, and the relative error of the outputs. Images of CALIBRATION rank
and fit, those of TEST measure; by default they are the shipped ones.

    python benchmarks/bench_importance.py --qr FILE.onnx [--images IMAGES.npz] [--calibration 4]

prints what the block-wise QR of every layer's maps takes: time, memory, and the share of the last
map that is new beside what the pivoted Cholesky decomposition of the maps' products makes of it.
The network is run at the size of the images; without any, on noise of its own size.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.linalg import lapack

from hwgen.approx.measure import Yardstick, without_decision
from hwgen.approx.moments import Accumulator
from hwgen.flow.data import Images, load_images
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.shapes import output_shape
from hwgen.network.types import Conv, FloatArray, Network
from hwgen.slim.channels import feature_tensor, in_batches, tensor_moments
from hwgen.slim.feature_errors import feature_errors
from hwgen.slim.features import Combination, fit_combination, fold, fold_obstacle
from hwgen.slim.fitting import refit
from hwgen.slim.importance import METHODS, FeatureQr, channel_importance

ROOT = Path(__file__).parents[1]
NETWORKS = ("digits", "digits-large", "convnetjs", "resnet20", "vgg-cifar10")
LEAST = 6
"""Maps of a layer, fewer of which are not worth a ranking."""
ABLATED = {"vgg-cifar10": 8, "resnet20": 64}
"""Images for the ablation of networks where it takes minutes otherwise."""

Scores = Mapping[str, FloatArray]
Form = Callable[[Network, str, Sequence[int]], Network]


@dataclass(frozen=True)
class Bench:
    """A network with its images; ``layers`` maps every layer that is slimmed to its tensor."""

    name: str
    network: Network
    calibration: Images
    test: Images

    @property
    def layers(self) -> dict[str, str]:
        found = {}
        for node, op in self.network.convs():
            tensor = feature_tensor(self.network, node.name)
            if len(op.weight) >= LEAST and fold_obstacle(self.network, tensor) is None:
                found[node.name] = tensor
        return found

    def rankings(self, seed: int) -> dict[str, tuple[Scores, float]]:
        """Scores by each ranking, and the CPU seconds that they took."""
        rng = np.random.default_rng(seed)
        random = {name: rng.random(self.network.shape(name)[0]) for name in self.layers}
        found: dict[str, tuple[Scores, float]] = {"random": (random, 0.0)}
        for method in METHODS:
            images = self.calibration
            if method == "ablation":
                images = images.take(np.arange(min(len(images), ABLATED.get(self.name, 10**9))))
            before = time.process_time()
            scores = channel_importance(self.network, images.x, images.y, method=method)
            found[method] = (scores, time.process_time() - before)
        before = time.process_time()
        found["readers"] = (self.reader_errors(), time.process_time() - before)
        return found

    def reader_errors(self) -> Scores:
        """What the layers that read a map would lose without it, relative, fitted again."""
        found = {}
        for layer, tensor in self.layers.items():
            found[layer] = np.zeros(self.network.shape(tensor)[0])
            for node in self.network.consumers(tensor):
                if isinstance(node.op, Conv):
                    sums = Accumulator(node.op)
                    for _, tensors in in_batches(self.network, self.calibration.x):
                        sums.add(tensors[tensor])
                    found[layer] += feature_errors(node.op, sums.moments())
        return found

    def folded(self) -> Form:
        """Drops maps as combinations of the others, with a constant where that is exact."""
        moments = tensor_moments(self.network, self.calibration.x, set(self.layers.values()))

        def drop(network: Network, tensor: str, dropped: Sequence[int]) -> Network:
            for constant in (True, False):
                made = fit_combination(moments[tensor], dropped, constant=constant)
                if fold_obstacle(network, tensor, made) is None:
                    return fold(network, tensor, made)
            raise AssertionError(f"{tensor} can be folded without a constant")

        return drop

    def slimmed(self, scores: Scores, share: float, form: Form) -> Network:
        network = self.network
        for layer, tensor in self.layers.items():
            order = np.argsort(scores[layer], kind="stable")
            network = form(network, tensor, order[: round(share * len(order))].tolist())
        return network


def zeroed(network: Network, tensor: str, dropped: Sequence[int]) -> Network:
    nothing = Combination(tuple(dropped), (), np.zeros((0, len(dropped))), np.zeros(len(dropped)))
    return fold(network, tensor, nothing)


def compare(bench: Bench, shares: Sequence[float], seed: int) -> None:
    """Print the table of one network."""
    yardstick = Yardstick.of(bench.network, run(bench.network, bench.test.x), bench.test.y)
    rankings, folded = bench.rankings(seed), bench.folded()
    print(
        f"\n{bench.name}: {len(bench.layers)} layers, {len(bench.calibration)} calibration and "
        f"{len(bench.test)} test images\n"
    )
    print("| dropped | form |", " | ".join(rankings), "|")
    print("|---|---|" + "---|" * len(rankings))

    def cell(network: Network) -> str:
        loss = yardstick.measure(run(network, bench.test.x))
        return f"{100 * loss.loss:.1f} / {loss.error:.3f}"

    for share in shares:
        rows: dict[str, list[str]] = {"zeroed": [], "folded": [], "fitted": []}
        for scores, _ in rankings.values():
            slim = bench.slimmed(scores, share, folded)
            rows["zeroed"].append(cell(bench.slimmed(scores, share, zeroed)))
            rows["folded"].append(cell(slim))
            rows["fitted"].append(cell(refit(slim, bench.network, bench.calibration.x)))
        for form, cells in rows.items():
            print(f"| {100 * share:g} % | {form} |", " | ".join(cells), "|", flush=True)
    print("| CPU s | |", " | ".join(f"{spent:.1f}" for _, spent in rankings.values()), "|")


def resized(network: Network, size: Sequence[int]) -> Network:
    """``network`` for larger or smaller images."""
    shapes = {network.input_name: (network.input_shape[0], size[0], size[1])}
    nodes = []
    for node in network.nodes:
        shapes[node.name] = output_shape(node.op, [shapes[name] for name in node.inputs])
        nodes.append(replace(node, shape=shapes[node.name]))
    return replace(network, input_shape=shapes[network.input_name], nodes=tuple(nodes))


def measure_qr(path: Path, file: Path | None, count: int, seed: int) -> None:
    """Print time and memory of the QR of the maps of a network."""
    network = without_decision(import_onnx(path))
    if file is None:
        images = np.random.default_rng(seed).standard_normal((count, *network.input_shape))
    else:
        images = np.load(file)["x"][:count].astype(np.float64)
        network = resized(network, images.shape[2:])
    tensors = dict.fromkeys(feature_tensor(network, node.name) for node, _ in network.convs())
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = dict.fromkeys(tensors, 0.0)
    sums = {name: FeatureQr(network.shape(name)[0]) for name in tensors}
    products = {name: np.zeros((network.shape(name)[0],) * 2) for name in tensors}
    before = time.process_time()
    for _, found in in_batches(network, images):
        for name, each in sums.items():
            began = time.process_time()
            each.add(found[name])
            spent[name] += time.process_time() - began
            maps = found[name].swapaxes(0, 1).reshape(len(products[name]), -1).astype(np.float64)
            products[name] += maps @ maps.T
    print("| tensor | maps | rows | whole matrix, MB | CPU s | R_rr / R_11 | by Cholesky |")
    print("|---|---|---|---|---|---|---|")
    for name, each in sums.items():
        channels, *pixels = network.shape(name)
        rows = len(images) * math.prod(pixels)
        _, added = each.pivots()
        factor, _, rank, _ = lapack.dpstrf(products[name], tol=0.0)
        other = np.abs(factor.diagonal())
        last = np.flatnonzero(added > 1e-14 * added[0])[-1]
        ratios = [f"{each[last] / each[0]:.1e}" for each in (added, other)]
        if last >= rank:
            ratios[1] = "none"
        print(
            f"| {name} | {channels} | {rows} | {rows * channels * 8 / 2**20:.1f} "
            f"| {spent[name]:.2f} | {ratios[0]} | {ratios[1]} |"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{len(images)} images of {network.input_shape}: {time.process_time() - before:.1f} CPU "
        f"s, {sum(spent.values()):.1f} of them QR; peak {peak:.0f} MB, {start:.0f} MB before"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--shares", default="0.125,0.25,0.5")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=CAL.npz,TEST.npz")
    parser.add_argument("--calibration", type=int, default=128)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--qr", type=Path, metavar="FILE.onnx")
    parser.add_argument("--images", type=Path, metavar="IMAGES.npz")
    args = parser.parse_args()
    if args.qr:
        measure_qr(args.qr, args.images, args.calibration, args.seed)
        return
    given = dict(entry.split("=", 1) for entry in args.data)
    for name in args.networks.split(","):
        folder = ROOT / "models" / name
        network = without_decision(import_onnx(folder / f"{name}.onnx"))
        files = given.get(name, f"{folder / 'data.npz'},{folder / 'test.npz'}").split(",")
        cal, test = (load_images(Path(file), network.input_shape) for file in files)
        cal, test = (
            each.take(np.arange(min(len(each), most)))
            for each, most in ((cal, args.calibration), (test, args.test))
        )
        compare(
            Bench(name, network, cal, test),
            [float(share) for share in args.shares.split(",")],
            args.seed,
        )


if __name__ == "__main__":
    main()
