"""Compiled layers against the golden model of the integer network, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, Sketch
from nfu_networks import check_compiled, random_graph, random_layers, suitable_config

from hwgen.errors import ResourceError, UnsupportedError
from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import Add, ArgMax, Concat, Conv, IntegerNetwork
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import BinaryLane, DyadicLane, IntLane, NfuConfig, Segments
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.layers import lower
from hwgen.nfu.layout import place
from hwgen.nfu.rows import filter_twos


@given(st.integers(0, 1 << 32), st.integers(1, 3))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_random_networks(seed: int, layers: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_layers(rng, layers=layers)
    check_compiled(network, suitable_config(rng), seed)


@given(st.integers(0, 1 << 32), st.integers(1, 5))
@settings(derandomize=True, max_examples=80, deadline=None)
def test_random_graphs(seed: int, layers: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_graph(rng, layers=layers)
    check_compiled(network, suitable_config(rng, exponents=16), seed)


@pytest.mark.parametrize("lane", [IntLane(5), BinaryLane()], ids=repr)
@given(st.integers(0, 1 << 32))
@settings(derandomize=True, max_examples=20, deadline=None)
def test_other_lanes(lane: IntLane | BinaryLane, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exponents = 1 if isinstance(lane, BinaryLane) else 4
    network = random_layers(rng, layers=2, exponents=exponents)
    check_compiled(network, suitable_config(rng, lane=lane), seed)


@pytest.mark.parametrize("lane", [DyadicLane(1, 2), IntLane(2), BinaryLane()], ids=repr)
@given(st.integers(0, 1 << 32))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_scales_take_what_filters_have_in_common(
    lane: DyadicLane | IntLane | BinaryLane, seed: int
) -> None:
    """Weights of 0, 1 and -1 times a power of two a filter, on lanes that have no such power."""
    rng = np.random.default_rng(seed)
    network = random_layers(rng, layers=2, exponents=1, guard=6)
    check_compiled(network, suitable_config(rng, lane=lane), seed)


def test_lanes_take_what_they_can() -> None:
    """A filter's common power of two goes to its scale as far as the lane has it not."""
    s = Sketch((1, 1, 1))
    weight = np.array([1, 4, 64, 0, 12]).reshape(5, 1, 1, 1)
    s.add(Conv(weight, np.zeros(5, np.int64)), "image", shape=(5, 1, 1), name="y")
    (layer,), _ = lower(s.done("y"))
    for lane, twos in (
        (DyadicLane(1, 16), [0, 0, 0, 0, 0]),
        (DyadicLane(1, 4), [0, 0, 3, 0, 1]),
        (DyadicLane(1, 2), [0, 1, 5, 0, 2]),  # 12 is 16 - 4, which leaves 4 - 1
        (IntLane(4), [0, 0, 4, 0, 1]),
        (BinaryLane(), [0, 2, 6, 0, 2]),
    ):
        config = NfuConfig(lane=lane)
        maps, _ = place(s.network, [layer], config, {})
        assert filter_twos(config, layer, [maps["image"]]).tolist() == twos


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_groups_and_depthwise(groups: int) -> None:
    s = Sketch((6, 4, 5), seed=groups)
    x = s.requantise(s.conv("image", 6, pads=(1, 1, 1, 1), groups=groups))
    network = s.done(s.conv(x, 12, groups=groups))
    for tn, ti in ((1, 2), (4, 2), (8, 16)):
        check_compiled(network, NfuConfig(tn=tn, ti=ti, product_width=48, scale_exponents=32))


def _with_weights(network: IntegerNetwork, weight: np.ndarray) -> IntegerNetwork:
    """The network with other weights in its first layer, which may not need more bits."""
    node, *others = network.nodes
    assert isinstance(node.op, Conv)
    op = replace(node.op, weight=weight)
    sources = [network.ranges(node.inputs[0])]
    ranges = output_ranges(op, sources, network.input_shape, node.shape)
    return replace(network, nodes=(replace(node, op=op, ranges=ranges), *others))


def _layer(channels: int, outputs: int, size: int, kernel: int) -> IntegerNetwork:
    s = Sketch((channels, size, size), seed=3)
    return s.done(s.requantise(s.conv("image", outputs, (kernel, kernel))))


def _busy(network: IntegerNetwork, config: NfuConfig) -> int:
    compiled = compile_network(network, config)
    return count_cycles(config, compiled.program).busy


def test_a_row_takes_as_many_cycles_as_its_longest_weight_has_terms() -> None:
    network = _layer(4, 4, 4, 1)
    one = np.ones((4, 4, 1, 1), dtype=np.int64)
    for weight, rows in ((1, 1), (3, 2), (11, 3), (0, 1)):
        weights = one.copy()
        weights[2, 1] = weight
        if weight == 0:
            weights[:] = 0  # an empty group keeps one row
        layer = _with_weights(network, weights)
        assert _busy(layer, NfuConfig(nfu3_lanes=4)) == 16 * rows
        assert _busy(layer, NfuConfig(nfu3_lanes=2)) == 16 * max(2, rows)
        two = NfuConfig(nfu3_lanes=4, lane=DyadicLane(2, 8))
        assert _busy(layer, two) == 16 * -(-rows // 2)
        check_compiled(layer, NfuConfig())


@pytest.mark.parametrize(("reduced", "speed_up"), [(32, 1.8), (44, 1.8), (48, 3.0), (64, 9.0)])
def test_reduced_kernels(reduced: int, speed_up: float) -> None:
    """64 filters of 3 x 3, some of them reduced to 1 x 1 and sorted to the end, at 16 x 16.

    Of 20 filters left, 4 share a group with reduced ones; groups of one size would give 1.71.
    """
    network = _layer(16, 64, 4, 3)
    config = NfuConfig(tn=16, ti=16, sb_depth=1024, nfu3_lanes=16)
    rng = np.random.default_rng(1)
    weights = 1 << rng.integers(0, 4, (64, 16, 3, 3))
    dense = _busy(_with_weights(network, weights), config)
    kernel = np.zeros((3, 3), dtype=np.int64)
    kernel[1, 1] = 1
    weights[64 - reduced :] *= kernel
    slim = _with_weights(network, weights)
    assert dense == 4 * 4 * 9  # outputs, groups, taps
    assert dense / _busy(slim, config) == pytest.approx(speed_up)
    check_compiled(slim, config)


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "kernel", "cycles"),
    [(960, 20, 1, 1, 120), (200, 100, 1, 1, 91), (108, 200, 5, 4, 4 * 13 * 16 * 7)],
    ids=["CLASS1", "CLASS3", "CONV3, cropped"],
)
def test_benchmark_layers(inputs: int, outputs: int, size: int, kernel: int, cycles: int) -> None:
    """Layers of DianNao's benchmark: outputs times groups times taps times blocks of inputs."""
    network = _layer(inputs, outputs, size, kernel)
    config = NfuConfig(
        tn=16, ti=16, sb_depth=64, nbin_depth=64, nbout_depth=64, nfu3_lanes=16,
        accumulator_width=32, product_width=48, scale_exponents=32,
    )  # fmt: skip
    assert _busy(network, config) == cycles
    check_compiled(network, config)


def test_several_kinds_of_chunk() -> None:
    """A layer whose sums go through NBout, one whose rows are cut, one whose groups are."""
    network = _layer(8, 24, 8, 3)
    for depths in (
        {"nbin_depth": 64},
        {"nbin_depth": 16},
        {"nbin_depth": 8},
        {"sb_depth": 8, "nbin_depth": 64},
        {"sb_depth": 64},
        {"sb_depth": 16, "nbin_depth": 32},
        {"nbout_depth": 2},
        {"table_depth": 2},
        {"table_depth": 8, "nfu3_lanes": 1},
    ):
        check_compiled(
            network,
            NfuConfig(**{"lane": DyadicLane(1, 4), "product_width": 48, "nfu3_lanes": 4} | depths),
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lane": DyadicLane(1, 2)}, "Layer 't0': Weights have exponents up to 3, and the lane"),
        ({"lane": IntLane(4)}, "Layer 't0': Weights reach from -8 to 8, and the lane has 4 bits"),
        ({"lane": BinaryLane()}, "Layer 't0': Weights reach from -8 to 8, and the lane has 1 and"),
        ({"accumulator_width": 12}, r"Layer 't0': Sums need \d\d bits, and the accumulator has 12"),
        ({"scale_terms": 1}, "Layer 't0': Scales have up to 2 terms, and NFU-3 has 1"),
        ({"scale_exponents": 2}, "Layer 't0': Scales have exponents up to"),
        ({"accumulator_width": 19, "product_width": 19}, "Layer 't0': Scaled sums need"),
        ({"activation_width": 7}, "Layer 't0': Input reaches from 0 to 255, and activations of 7"),
    ],
)
def test_what_the_parameters_do_not_hold(arguments: dict, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        compile_network(_layer(8, 24, 8, 3), NfuConfig(**arguments))


def test_buffers_that_are_too_small() -> None:
    with pytest.raises(ResourceError, match="Layer 't0': One kernel row of one block of"):
        compile_network(_layer(8, 24, 8, 3), NfuConfig(nbin_depth=2))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_whole_networks(name: str) -> None:
    config = NfuConfig(
        activation_width=12, product_width=48, scale_exponents=32, maximum=True, function=Segments()
    )
    check_compiled(NETWORKS[name](), config)


def test_operators_that_the_parameters_lack() -> None:
    with pytest.raises(UnsupportedError, match="Layer 't2': The maximum is missing in NFU-2"):
        compile_network(NETWORKS["pools"](), NfuConfig())
    with pytest.raises(UnsupportedError, match="Layer 't0': NFU-3 has no functions; give it segm"):
        compile_network(NETWORKS["tanh"](), NfuConfig())


def test_a_border_that_two_layers_read_differently() -> None:
    s = Sketch((2, 4, 4), signed=True)
    x = s.max_pool("image", 3, 1, 1)
    y = s.requantise(s.conv("image", 2, pads=(1, 1, 1, 1)), lo=-128, hi=127)
    network = s.done(s.add(Add((0, 0)), x, y, shape=(2, 4, 4)))
    with pytest.raises(UnsupportedError, match="Layer 'image': a padded maximum and a padded sum"):
        compile_network(network, NfuConfig(maximum=True))


def test_an_argmax_inside() -> None:
    s = Sketch((4, 1, 1))
    x = s.add(ArgMax(), "image", shape=(1, 1, 1))
    network = s.done(s.conv(x, 2, (1, 1)))
    with pytest.raises(UnsupportedError, match="Layer 't0': ArgMax is left to who reads the outp"):
        compile_network(network, NfuConfig())


def test_a_concatenation_of_signed_and_unsigned_values() -> None:
    s = Sketch((2, 3, 3))
    x = s.requantise(s.conv("image", 2, (1, 1)), lo=-128, hi=127)
    y = s.requantise(s.conv("image", 2, (1, 1)))
    x = s.add(Concat((0, 0)), x, y, shape=(4, 3, 3))
    network = s.done(s.conv(x, 2))
    with pytest.raises(UnsupportedError, match="Layer 't5': Input reaches from 13 to 255"):
        compile_network(network, NfuConfig())
    check_compiled(network, NfuConfig(activation_width=9, product_width=48, scale_exponents=32))


@pytest.mark.parametrize(("columns", "depth"), [(10, 256), (10, 64), (64, 256)])
def test_what_a_buffer_holds_is_not_loaded_again(columns: int, depth: int) -> None:
    """Every input row comes once, and every row of weights, if one tile has all groups."""
    s = Sketch((4, 12, columns), seed=1)
    network = s.done(s.requantise(s.conv("image", 4, pads=(1, 1, 1, 1))))
    compiled = compile_network(network, NfuConfig(nbin_depth=depth, product_width=48))
    loaded = sum(one.nbin_size for one in compiled.program)
    assert (12 + 2) * (columns + 2) <= loaded <= (12 + 2) * (columns + 2) * 1.2
    assert sum(one.sb_size for one in compiled.program) == len(compiled.memory.rows)
    assert sum(one.table_size for one in compiled.program) == len(compiled.memory.tables)


def test_a_second_tile_finds_the_whole_map() -> None:
    s = Sketch((4, 6, 6), seed=1)
    network = s.done(s.requantise(s.conv("image", 64, pads=(1, 1, 1, 1))))
    compiled = compile_network(network, NfuConfig(sb_depth=128, product_width=48))
    assert len({one.sb_source for one in compiled.program if one.sb_size}) > 1
    assert sum(one.nbin_size for one in compiled.program) == 8 * 8


def test_a_second_tile_loads_what_has_been_overwritten() -> None:
    s = Sketch((4, 14, 6), seed=1)
    network = s.done(s.requantise(s.conv("image", 64, pads=(1, 1, 1, 1))))
    check_compiled(network, NfuConfig(sb_depth=128, nbin_depth=64, product_width=48))


def test_a_tiling_by_the_cycle_model_is_none_of_the_worst() -> None:
    """Where weights do not fit, those of a chunk serve many output rows."""
    s = Sketch((64, 8, 8), seed=1)
    network = s.done(s.requantise(s.conv("image", 8, pads=(1, 1, 1, 1))))
    config = NfuConfig(sb_depth=64, nbin_depth=2048, product_width=48, nfu3_lanes=4)
    compiled = compile_network(network, config)
    count = count_cycles(config, compiled.program)
    assert count.busy / count.total > 0.8
    check_compiled(network, config)


@pytest.mark.parametrize(
    ("tn", "ti", "depth"), [(4, 4, 16), (4, 4, 32), (8, 2, 64), (2, 8, 16), (2, 4, 16)]
)
def test_pools_of_more_channels_than_fit(tn: int, ti: int, depth: int) -> None:
    """A maximum cannot be cut, but its channels can."""
    s = Sketch((18, 5, 6), seed=depth)
    x = s.max_pool("image", 3, 1, 1)
    network = s.done(s.requantise(s.sum_pool(x, (3, 2))))
    config = NfuConfig(
        tn=tn, ti=ti, nbin_depth=depth, maximum=True, product_width=48, scale_exponents=32
    )
    check_compiled(network, config)
    if tn == ti:
        with pytest.raises(ResourceError, match="Layer 't0': One kernel row of one block"):
            compile_network(network, replace(config, nbin_depth=8))


def test_constant_channels_keep_their_shift() -> None:
    s = Sketch((3, 4, 4))
    five = s.requantise(s.conv("image", 2, (1, 1)), lo=5, hi=5)
    x = s.add(Concat((2, 0)), five, "image", shape=(5, 4, 4))
    network = s.done(s.max_pool(x))
    check_compiled(network, NfuConfig(maximum=True, product_width=48))
