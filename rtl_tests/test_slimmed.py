"""A slimmed network is the same, bit for bit and cycle for cycle, on both back ends."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Activation, Add, Conv, MaxPool, Network, Node
from hwgen.network.verify import verify as verify_network
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.golden import execute
from hwgen.nfu.simulate import simulate
from hwgen.nfu.timing import Timing
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.sim.verify import verify
from hwgen.slim.channels import tensor_moments
from hwgen.slim.features import fit_combination, fold, materialise
from hwgen.slim.kernels import reduce_kernels
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit

_SHAPE = (2, 8, 6)


def _network() -> Network:
    """Kernels of 5 x 5 and 3 x 3, a pool, a residual block and two fully connected layers."""
    rng = np.random.default_rng(0)

    def conv(outputs: int, inputs: int, size: tuple[int, int], pads: int) -> Conv:
        weight = rng.normal(size=(outputs, inputs, *size)) / np.sqrt(inputs * size[0] * size[1])
        return Conv(weight, rng.normal(scale=0.1, size=outputs), pads=(pads,) * 4)

    relu = Activation("relu")
    nodes = (
        Node("conv1", conv(5, 2, (5, 5), 2), ("x",), (5, 8, 6)),
        Node("relu1", relu, ("conv1",), (5, 8, 6)),
        Node("pool1", MaxPool((2, 2), (2, 2)), ("relu1",), (5, 4, 3)),
        Node("conv2", conv(5, 5, (3, 3), 1), ("pool1",), (5, 4, 3)),
        Node("relu2", relu, ("conv2",), (5, 4, 3)),
        Node("conv3", conv(5, 5, (3, 3), 1), ("relu2",), (5, 4, 3)),
        Node("sum", Add(), ("conv3", "relu2"), (5, 4, 3)),
        Node("relu3", relu, ("sum",), (5, 4, 3)),
        Node("dense1", conv(6, 5, (4, 3), 0), ("relu3",), (6, 1, 1)),
        Node("relu4", relu, ("dense1",), (6, 1, 1)),
        Node("dense2", conv(3, 6, (1, 1), 0), ("relu4",), (3, 1, 1)),
    )
    network = Network("slimmed", "x", _SHAPE, nodes, "dense2")
    verify_network(network)
    return network


def _changed(network: Network, name: str, op: Conv) -> Network:
    nodes = (replace(node, op=op) if node.name == name else node for node in network.nodes)
    return replace(network, nodes=tuple(nodes))


def _slimmed(images: np.ndarray) -> Network:
    """Features folded and built, kernels of many sizes, filters and neurons removed."""
    network = _network()
    folded = fit_combination(tensor_moments(network, images, ["pool1"])["pool1"], [1, 4])
    network = fold(network, "pool1", folded)
    for name, size, filters in (
        ("conv1", (3, 3), [0]),
        ("conv1", (1, 5), [2]),
        ("conv2", (1, 1), [1, 2]),
        ("conv2", (3, 1), [0]),
        ("conv3", (0, 0), [3]),
        ("dense1", (0, 0), [0, 3]),
    ):
        op = network.node(name).op
        assert isinstance(op, Conv)
        network = _changed(network, name, reduce_kernels(op, filters, size))
    built = fit_combination(tensor_moments(network, images, ["relu2"])["relu2"], [4], sources=2)
    return materialise(network, "relu2", built)


@cache
def _integer() -> tuple[IntegerNetwork, np.ndarray]:
    images = np.random.default_rng(1).random((48, *_SHAPE))
    network = _slimmed(images)
    recipes: dict[str, Recipe] = {
        node.name: parse_recipe("P8" if node.name.endswith("combined") else "P4")
        for node, _ in network.convs()
    }
    approx = approximate(network, recipes=recipes)
    for node, op in network.convs():
        codes = dict(approx.filters)[node.name].codes
        assert not codes[op.weight == 0].any()  # what is gone stays gone
    return quantise(approx, calibrate(approx.to_network(), images)), images


def test_it_is_slim() -> None:
    network = _slimmed(_integer()[1])
    weights = {node.name: op.weight for node, op in network.convs()}
    sizes = {
        name: sorted(np.count_nonzero(weight.any(axis=1), axis=(1, 2)).tolist())
        for name, weight in weights.items()
    }
    # by filter: removed ones, and those of smaller kernels; the folded maps' filters are gone
    assert sizes["conv1"] == [0, 0, 5, 9, 25]
    assert sizes["conv2"] == [0, 1, 1, 3, 9]
    assert sizes["conv3"] == [0, 9, 9, 9, 9]
    assert sizes["dense1"] == [0, 0, *[12] * 4]
    assert "relu2_combined" in weights
    assert not weights["conv2"][:, [1, 4]].any()


def test_the_stream_computes_it(build_dir: Path) -> None:
    integer, images = _integer()
    plan = plan_pipeline(integer)
    design = emit(plan, taps=True)
    for stall in (Stall(0.3, 0.3), Stall()):
        report = verify(
            *(integer, design, images),
            mode="fast",
            layers=True,
            stall=stall,
            build_dir=build_dir,
            waves=False,
        )
        assert report.passed, report
        assert all(layer.words_compared for layer in report.layers)
    assert report.cycles_per_image == plan.timing.interval


def test_the_nfu_computes_it(build_dir: Path) -> None:
    integer, images = _integer()
    q = integer.input_format.quantise(images[:4])
    config = fit_config(integer, tn=2, ti=2)
    compiled = compile_network(integer, config)
    expected = run(integer, q)
    golden = execute(config, compiled.program, compiled.with_image(q[0]))
    np.testing.assert_array_equal(compiled.result(golden.activations), expected[0])
    timing = Timing(latency=4)
    result = simulate(config, compiled, q, timing=timing, build_dir=build_dir)
    np.testing.assert_array_equal(result.outputs, expected)
    cycles = count_cycles(config, compiled.program, timing).total
    assert result.totals.tolist() == [cycles] * len(q)
