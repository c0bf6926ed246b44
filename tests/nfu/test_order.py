"""The order of channels: never more rows, and outputs as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Sketch
from nfu_networks import check_compiled

from hwgen.integer.ranges import output_ranges
from hwgen.integer.types import Add, Conv, PiecewiseLinear
from hwgen.nfu import compile as compile_module
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import DyadicLane, NfuConfig, Segments
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.layers import lower
from hwgen.nfu.order import _needs, channel_orders, gather


def _rows(needs: np.ndarray, order: np.ndarray, size: int) -> int:
    return sum(
        int(needs[order[k : k + size]].max(axis=0).sum()) for k in range(0, len(order), size)
    )


@given(st.integers(0, 1 << 32), st.integers(1, 20), st.sampled_from([1, 2, 4]))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_an_order_is_a_permutation_hardly_worse_than_sorting(
    seed: int, filters: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    needs = rng.integers(0, 3, (filters, 6)) * (rng.random((filters, 6)) < 0.5)
    order = gather(needs, np.ones(6, dtype=np.int64), size)
    assert sorted(order.tolist()) == list(range(filters))
    # among filters of every kind, sorting by kind would not do worse either
    if filters % size == 0:
        kinds = np.lexsort(needs.T)
        assert _rows(needs, order, size) <= 1.2 * _rows(needs, kinds, size)


def test_kinds_of_filters_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    kinds = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [1, 0, 0, 2]])
    needs = kinds[rng.permutation(np.repeat([0, 1, 2], 8))]
    order = gather(needs, np.ones(4, dtype=np.int64), 4)
    assert _rows(needs, order, 4) == 2 * (4 + 1 + 3)


def test_filters_of_small_kernels_do_not_fill_up_groups_of_large_ones() -> None:
    rng = np.random.default_rng(0)
    # each of three has another of the 9 columns more; those of one column add nothing to them
    large = 1 + np.eye(9, dtype=np.int64)[rng.integers(9, size=12)]
    small = np.eye(9, dtype=np.int64)[np.full(12, 4)]
    needs = np.concatenate([large, small])[rng.permutation(24)]
    order = gather(needs, np.ones(9, dtype=np.int64), 4)
    assert _rows(needs, order, 4) <= 3 * (9 + 4) + 3


def test_exchanges_mend_what_the_greedy_choice_spoils() -> None:
    needs = np.array([[3, 0, 0, 0], [2, 1, 0, 0], [0, 0, 2, 0], [0, 1, 1, 0]])
    best = min(
        _rows(needs, np.array(order), 2) for order in ([0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2])
    )
    assert _rows(needs, gather(needs, np.ones(4, dtype=np.int64), 2), 2) == best


@given(st.integers(0, 1 << 32), st.sampled_from([(2, 4), (4, 2), (8, 8)]))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_networks_give_the_same_in_any_order(seed: int, tile: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    s = Sketch((3, 7, 6), seed=seed)
    x = s.requantise(s.conv("image", 24, reduced=0.6))
    y = s.requantise(s.conv(s.max_pool(x, 3, 1, 1), 24, pads=(1, 1, 1, 1), reduced=0.3))
    x = s.requantise(s.add(Add((0, 1)), y, x, shape=s.network.shape(x)))
    if rng.random() < 0.5:
        x = s.requantise(s.sum_pool(x, (2, 2)), lo=-512, hi=511)
        functions = int(rng.choice([1, 24]))
        op = PiecewiseLinear(
            np.sort(rng.integers(0, 400, (functions, 3)), axis=1),
            rng.integers(1, 3, (functions, 4)),
            rng.integers(-300, 300, (functions, 4)),
            *(1, 0, 255),
        )
        x = s.add(op, x, shape=s.network.shape(x))
    network = s.done(s.requantise(s.conv(x, 9, reduced=0.5)))
    config = NfuConfig(
        tn=tile[0], ti=tile[1], product_width=48, scale_exponents=32, maximum=True,
        function=Segments(4, 12),
    )  # fmt: skip
    layers, output = lower(network)
    orders = channel_orders(network, layers, config, output)
    assert len({tuple(order.tolist()) for order in orders.values()}) == 1  # of all that is added
    check_compiled(network, config)


def _reduced(sketch: Sketch, name: str, kept: np.ndarray) -> None:
    """Leave only the middle of the kernels of the filters that are not ``kept``."""
    network = sketch.network
    node = network.node(name)
    assert isinstance(node.op, Conv)
    weight = node.op.weight.copy()
    weight[weight == 0] = 1
    middle = np.zeros(weight.shape[2:], dtype=np.int64)
    middle[1, 1] = 1
    weight[~kept] *= middle
    op = replace(node.op, weight=weight)
    ranges = output_ranges(op, [network.ranges(node.inputs[0])], network.input_shape, node.shape)
    nodes = [replace(n, op=op, ranges=ranges) if n.name == name else n for n in network.nodes]
    sketch.network = replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize("residual", [False, True])
def test_scattered_reduced_kernels(residual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of 32 filters have one tap: 8 groups of 4 filters need 4 * 9 + 4 rows, not 8 * 9."""
    kept = np.arange(32) % 2 == 0
    config = NfuConfig(nfu3_lanes=4, product_width=48, scale_exponents=32, maximum=True)
    s = Sketch((4, 6, 6), seed=1)
    x = s.conv("image", 32, pads=(1, 1, 1, 1))
    _reduced(s, x, kept)
    x = s.requantise(x)
    if residual:
        y = s.conv(s.max_pool(x, 3, 1, 1), 32, (1, 1))
        x = s.requantise(s.add(Add((0, 1)), s.requantise(y), x, shape=s.network.shape(x)))
    network = s.done(s.conv(x, 8, (1, 1)))
    compiled = check_compiled(network, config)
    first = next(one for one in compiled.program if one.nfu_op)
    assert first.sb_rows == 4 * 9 + 4
    # nothing that is added or pooled channel by channel pays for it
    monkeypatch.setattr(compile_module, "channel_orders", lambda *_: {})
    busy = count_cycles(config, compiled.program).busy
    unordered = count_cycles(config, compile_network(network, config).program).busy
    assert unordered - busy == 6 * 6 * (8 * 9 - 4 * 9 - 4)


def test_powers_of_two_do_not_hinder_the_order() -> None:
    """Maps that are stored with shifts may level weights which the lane has not as they are."""
    s = Sketch((2, 1, 1))
    weight = np.array([[1, 64], [0, 5]]).reshape(2, 2, 1, 1)
    s.add(Conv(weight, np.zeros(2, np.int64)), "image", shape=(2, 1, 1), name="y")
    (layer,), _ = lower(s.done("y"))
    for ti, needs in ((1, [[1, 1], [0, 2]]), (2, [[1], [2]])):
        config = NfuConfig(ti=ti, lane=DyadicLane(1, 4))
        assert _needs(config, layer, {}).tolist() == needs
