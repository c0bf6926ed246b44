"""What compaction removes changes nothing, and what could go is gone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_networks import network_of, noise, sparse, sparse_network, with_convs

from hwgen.network.execute import run, run_all
from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Op,
    Pads,
    PiecewiseLinear,
    Quantise,
    Softmax,
)
from hwgen.network.verify import verify
from hwgen.slim.compact import Compaction, compact, compaction
from hwgen.slim.constants import constant_obstacles
from hwgen.slim.liveness import read_channels

RNG = np.random.default_rng(41)
RELU = Activation("relu")
SIGMOID = Activation("sigmoid")
ONE: Pads = (1, 1, 1, 1)
SEEDS = st.integers(0, 100_000)


def conv(*shape: int, zero: tuple[int, ...] = (), **options: object) -> Conv:
    """Random weights of ``shape``, with the filters ``zero`` of zeros, but for their biases."""
    weight = RNG.standard_normal(shape)
    weight[list(zero)] = 0
    return Conv(weight, RNG.standard_normal(shape[0]), **options)  # type: ignore[arg-type]


def checked(network: Network) -> Compaction:
    """The compaction of ``network``, which computes the same and is compact."""
    done = compaction(network)
    verify(done.network)
    images = noise(network)
    before = run(network, images, dtype=np.float64)
    after = run(done.network, images, dtype=np.float64)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)
    assert described(compact(done.network)) == described(done.network)
    return done


def described(network: Network) -> list[object]:
    return [(node.name, node.inputs, node.shape, contents(node.op)) for node in network.nodes] + [
        network.output
    ]


def contents(op: Op) -> object:
    if isinstance(op, Conv):
        others = (op.strides, op.pads, op.dilations, op.groups)
        return op.weight.shape, op.weight.tobytes(), op.bias.tobytes(), others
    return type(op)


def operator(network: Network, name: str) -> Conv:
    op = network.node(name).op
    assert isinstance(op, Conv)
    return op


def size(network: Network) -> int:
    return sum(op.weight.size + op.bias.size for _, op in network.convs())


@given(SEEDS)
@settings(derandomize=True, max_examples=150, deadline=None)
def test_random_networks_compute_the_same_from_less(seed: int) -> None:
    network = sparse_network(seed)
    done = checked(network)
    kept = {node.name for node in done.network.nodes}
    assert {*done.removed} == {node.name for node in network.nodes} - kept
    for name in done.filters:
        before, after = operator(network, name), operator(done.network, name)
        assert done.narrowed(name, before.bias).shape == after.bias.shape
        assert done.narrowed(name, before.weight).shape == after.weight.shape
        assert not after.weight[done.narrowed(name, before.weight) == 0].any()
    if any(isinstance(network.node(name).op, Add) for name in done.removed):
        return  # layers beside a sum have taken over its constants
    assert size(done.network) <= size(network)
    tensors, originals = (
        run_all(n, noise(network), dtype=np.float64) for n in (done.network, network)
    )
    read = read_channels(done.network)
    for name, channels in done.channels.items():
        same = originals[name][:, channels][:, read[name]]
        np.testing.assert_allclose(tensors[name][:, read[name]], same, rtol=0, atol=1e-9)


def chain(seed: int) -> Network:
    """Three convolutions, some padded, with two activations and a pool, and a dense end."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Conv:
        top, left, bottom, right = rng.integers(0, 2, 4).tolist()
        pads = (top, left, bottom, right)
        return Conv(rng.standard_normal(shape), rng.standard_normal(shape[0]), pads=pads)

    layers: list[tuple[str, Op]] = [
        ("a", drawn(5, 2, 3, 3)),
        ("s", SIGMOID),
        ("p", MaxPool((2, 2), (2, 2))),
        ("b", drawn(5, 5, 3, 3)),
        ("r", Activation("leaky_relu", (np.array([0.3]),))),
        ("c", drawn(4, 5, 2, 2)),
    ]
    shape = network_of((2, 9, 9), layers).node("c").shape
    return sparse(network_of((2, 9, 9), [*layers, ("f", conv(3, *shape))]), seed)


@given(SEEDS)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_every_filter_of_a_chain_that_is_left_matters(seed: int) -> None:
    compacted = checked(chain(seed)).network
    images = noise(compacted)
    output = run(compacted, images, dtype=np.float64)
    for (node, op), (_, reader) in pairwise(compacted.convs()):
        if len(op.weight) == 1:
            continue  # the tensor must have a channel
        for o, filter_ in enumerate(op.weight):
            assert filter_.any() or any(reader.pads)
            bias = op.bias.copy()
            bias[o] += 3
            other = with_convs(compacted, {node.name: replace(op, bias=bias)})
            assert np.abs(run(other, images, dtype=np.float64) - output).max() > 1e-9


def pair(reader: Conv, *between: tuple[str, Op], constant: float = 0.5) -> Network:
    """Layers a (3 filters, number 1 constant), ``between`` and b, which reads them."""
    a = conv(3, 2, 3, 3, zero=(1,))
    bias = a.bias.copy()
    bias[1] = constant
    return network_of((2, 8, 8), [("a", replace(a, bias=bias)), *between, ("b", reader)])


@pytest.mark.parametrize(
    "between",
    [
        (("s", SIGMOID),),
        (("s", SIGMOID), ("m", MaxPool((3, 3), (2, 2), ONE))),
        (("e", Activation("elu", (np.array([0.7]),), pre=2.0, post=-1.5)),),
        (("p", Activation("prelu", (np.array([0.1, 0.2, 0.3]),))),),
        (("q", AveragePool((3, 3), (2, 2), ONE, gain=0.25)),),
        (("l", PiecewiseLinear(*(RNG.standard_normal((3, n)) for n in (0, 1, 1)))),),
        (("l", PiecewiseLinear(*(np.sort(RNG.standard_normal((3, n))) for n in (2, 3, 3)))),),
    ],
    ids=lambda between: "-".join(name for name, _ in between),
)
def test_constants_join_the_biases_behind_them(between: tuple[tuple[str, Op], ...]) -> None:
    done = checked(pair(conv(4, 3, 3, 3), *between))
    assert done.filters["a"].tolist() == done.inputs["b"].tolist() == [0, 2]
    assert done.obstacles == ()


def test_a_constant_stays_where_padding_is_read_beside_it() -> None:
    network = pair(conv(4, 3, 3, 3, pads=ONE), ("s", SIGMOID))
    done = checked(network)
    assert done.filters["a"].tolist() == [0, 1, 2]
    sentence = "Layer 'b' reads zeros of its padding beside the constant 0.5 of 'a'"
    sentence = sentence.replace("0.5 of 'a'", "0.622459 of 's'")
    assert constant_obstacles(network) == {"a": {1: sentence}, "b": {}}
    assert done.obstacles == (f"'a' keeps 1 filter of zeros: {sentence}",)


def test_the_constant_zero_disturbs_no_padding() -> None:
    done = checked(pair(conv(4, 3, 3, 3, pads=ONE), ("r", RELU), constant=-0.5))
    assert done.filters["a"].tolist() == [0, 2]


def test_a_constant_may_go_if_only_the_taps_that_read_no_padding_read_it() -> None:
    reader = conv(4, 3, 3, 3, pads=ONE)
    weight = reader.weight.copy()
    weight[:, 1] = 0
    weight[:, 1, 1, 1] = 2
    done = checked(pair(replace(reader, weight=weight)))
    assert done.filters["a"].tolist() == [0, 2]


@pytest.mark.parametrize(("constant", "kept"), [(0.5, [0, 1, 2]), (0.0, [0, 2])])
def test_an_average_that_counts_padding_changes_all_constants_but_zero(
    constant: float, kept: list[int]
) -> None:
    pool = AveragePool((3, 3), (1, 1), ONE, count_include_pad=True)
    network = pair(conv(4, 3, 3, 3), ("q", pool), constant=constant)
    assert checked(network).filters["a"].tolist() == kept
    sentence = "'q' counts zeros of its padding beside the constant 0.5 of 'a'"
    assert constant_obstacles(network)["a"] == {1: sentence if constant else None}


def test_one_window_counts_the_same_padding_everywhere() -> None:
    pool = AveragePool((8, 8), (8, 8), ONE, count_include_pad=True)
    assert checked(pair(conv(4, 3, 1, 1), ("q", pool))).filters["a"].tolist() == [0, 2]


@pytest.mark.parametrize("end", [Softmax(), Softmax(log=True), ArgMax()], ids=str)
def test_what_decides_needs_all_channels(end: Op) -> None:
    network = pair(conv(4, 3, 6, 6, zero=(2,)), ("q", Quantise(0.25, 0.0, -7, 7)))
    nodes = [(node.name, node.op) for node in network.nodes]
    done = checked(network_of(network.input_shape, [*nodes, ("y", end)]))
    assert done.filters["a"].tolist() == [0, 2]
    assert done.filters["b"].tolist() == [0, 1, 2, 3]
    assert done.obstacles == ("'b' keeps 1 filter of zeros: 'y' needs every channel of 'b'",)


def test_constants_cascade() -> None:
    """A filter that reads constants alone is one; what only it read goes as well."""
    b = conv(3, 3, 3, 3)
    weight = b.weight.copy()
    weight[2, [0, 2]] = 0
    weight[:2, 0] = 0
    network = pair(replace(b, weight=weight), ("s", SIGMOID))
    nodes = [(node.name, node.op) for node in network.nodes]
    done = checked(
        network_of(network.input_shape, [*nodes, ("t", SIGMOID), ("c", conv(2, 3, 2, 2))])
    )
    assert done.filters["a"].tolist() == [2]
    assert done.filters["b"].tolist() == [0, 1]


def test_a_dense_layer_loses_all_weights_of_a_map() -> None:
    done = checked(
        network_of(
            (1, 10, 10),
            [
                ("a", conv(6, 1, 3, 3, zero=(0, 4))),
                ("s", SIGMOID),
                ("m", MaxPool((2, 2), (2, 2))),
                ("f", conv(5, 6, 4, 4)),
            ],
        )
    )
    assert operator(done.network, "f").weight.shape == (5, 4, 4, 4)


def grouped(unread: list[int], **options: object) -> Network:
    """Layer a (8 filters), b in 4 groups that does not read ``unread``, and c."""
    b = conv(4, 2, 3, 3, groups=4, pads=ONE)
    weight = b.weight.copy()
    for channel in unread:
        weight[channel // 2, channel % 2] = 0
    return network_of(
        (1, 8, 8),
        [
            ("a", conv(8, 1, 3, 3)),
            ("r", RELU),
            ("b", replace(b, weight=weight)),
            ("t", RELU),
            ("c", conv(3, 4, 3, 3)),
        ],
    )


def test_groups_stay_equal() -> None:
    assert checked(grouped([1, 4])).filters["a"].tolist() == list(range(8))
    assert checked(grouped([1, 2, 4, 7])).filters["a"].tolist() == [0, 3, 5, 6]
    done = checked(grouped([0, 1, 2, 4, 7]))
    assert done.filters["b"].tolist() == [1, 2, 3]
    assert operator(done.network, "b").groups == 3


def test_groups_are_filled_up_with_channels_that_nobody_reads() -> None:
    done = checked(grouped([1, 4, 7]))
    assert done.filters["a"].tolist() == list(range(8))
    assert not operator(done.network, "a").weight[[1, 4, 7]].any()


def test_depthwise_layers_hand_on_what_goes() -> None:
    done = checked(
        network_of(
            (2, 8, 8),
            [
                ("a", conv(5, 2, 1, 1)),
                ("d", conv(5, 1, 3, 3, groups=5, pads=ONE, zero=(1,))),
                ("s", SIGMOID),
                ("c", conv(3, 5, 1, 1)),
            ],
        )
    )
    assert done.filters["a"].tolist() == done.filters["d"].tolist() == [0, 2, 3, 4]


def residual(first: tuple[int, ...], second: tuple[int, ...], bias: float = 0.0) -> Network:
    """Layer a and, on it, a block b, whose sum c reads; the filters of zeros are given."""
    a, b = conv(4, 2, 1, 1, zero=first), conv(4, 4, 3, 3, pads=ONE, zero=second)
    shift = np.where(np.isin(np.arange(4), second), bias, b.bias)
    return network_of(
        (2, 6, 6),
        [
            ("a", replace(a, bias=np.where(np.isin(np.arange(4), first), 0.0, a.bias))),
            ("r", RELU),
            ("b", replace(b, bias=shift)),
            ("y", Add(), ("b", "r")),
            ("s", RELU),
            ("c", conv(3, 4, 1, 1)),
        ],
    )


def test_a_channel_of_a_sum_goes_only_from_all_addends() -> None:
    assert checked(residual((1,), (2,))).filters["a"].tolist() == [0, 1, 2, 3]
    done = checked(residual((1, 2), (2, 3), bias=0.7))
    assert done.filters["a"].tolist() == done.filters["b"].tolist() == [0, 1, 3]
    assert done.obstacles == (
        "'a' keeps 1 filter of zeros: 'y' adds 'r' to what is not constant",
        "'b' keeps 1 filter of zeros: 'y' adds 'b' to what is not constant",
    )


def test_a_block_of_zeros_vanishes() -> None:
    done = checked(residual((), (0, 1, 2, 3)))
    assert done.removed == ("b", "y")
    assert [node.name for node in done.network.nodes] == ["a", "r", "s", "c"]


def test_the_constants_of_a_block_become_a_layer_that_others_take_over() -> None:
    done = checked(residual((), (0, 1, 2, 3), bias=0.7))
    assert done.removed == ("b",)  # what is beside the sum are activations
    assert operator(done.network, "y").groups == 4
    network = residual((), (0, 1, 2, 3), bias=0.7)
    straight = tuple(
        replace(node, inputs=("y",)) if node.name == "c" else node
        for node in network.nodes
        if node.name != "s"
    )
    done = checked(replace(network, nodes=straight))
    assert done.removed == ("b", "y")


def test_a_constant_branch_stays_that_somebody_else_needs() -> None:
    """Taking its constant out of the sum would not spare it, and cost a layer."""
    b = conv(3, 2, 3, 3, pads=ONE, zero=(0, 1, 2))
    network = network_of(
        (2, 6, 6),
        [
            ("a", conv(3, 2, 1, 1), ("x",)),
            ("r", RELU, ("a",)),
            ("b", b, ("x",)),
            ("y", Add(), ("r", "b")),
            ("z", conv(3, 3, 3, 3, pads=ONE), ("b",)),
            ("c", Concat(), ("y", "z")),
        ],
    )
    assert isinstance(checked(network).network.node("y").op, Add)
    zero = with_convs(network, {"b": replace(b, bias=np.zeros(3))})
    assert checked(zero).removed == ("y",)


def test_branches_of_a_concatenation_go() -> None:
    def forked(reader: Conv) -> Network:
        return network_of(
            (2, 6, 6),
            [
                ("a", conv(2, 2, 1, 1), ("x",)),
                ("b", conv(3, 2, 3, 3, pads=ONE), ("x",)),
                ("c", conv(2, 2, 1, 1), ("x",)),
                ("y", Concat(), ("a", "b", "c")),
                ("d", reader),
            ],
        )

    reader = conv(3, 7, 3, 3)

    def reading(*channels: int) -> Conv:
        weight = np.zeros_like(reader.weight)
        weight[:, channels] = reader.weight[:, channels]
        return replace(reader, weight=weight)

    done = checked(forked(reading(1, 2, 4)))
    assert done.network.node("y").inputs == ("a", "b")
    filters = {name: kept.tolist() for name, kept in done.filters.items()}
    assert filters == {"a": [1], "b": [0, 2], "d": [0, 1, 2]}
    assert done.inputs["d"].tolist() == [1, 2, 4]
    done = checked(forked(reading(3)))
    assert done.removed == ("a", "c", "y")
    assert done.network.node("d").inputs == ("b",)


def rim(op: Conv, *taps: tuple[int, int]) -> Conv:
    """``op`` with nothing but ``taps``."""
    weight = np.zeros_like(op.weight)
    for row, column in taps:
        weight[:, :, row, column] = op.weight[:, :, row, column]
    return replace(op, weight=weight)


@pytest.mark.parametrize(
    ("op", "kernel", "pads"),
    [
        (rim(conv(3, 2, 5, 5, pads=(2,) * 4), (1, 1), (3, 3)), (3, 3), ONE),
        (rim(conv(3, 2, 5, 5, pads=(2,) * 4), (2, 2)), (1, 1), (0,) * 4),
        (rim(conv(3, 2, 5, 5, pads=(2,) * 4), (0, 1), (2, 1)), (3, 2), (2, 1, 0, 0)),
        (rim(conv(3, 2, 5, 5), (1, 1), (2, 2)), (5, 5), (0,) * 4),
        (rim(conv(3, 2, 3, 3, pads=(0, 1, 0, 0)), (1, 1)), (3, 2), (0,) * 4),
        (rim(conv(3, 2, 3, 3, pads=(2,) * 4, dilations=(2, 2)), (1, 1)), (1, 1), (0,) * 4),
        (rim(conv(3, 2, 3, 3, pads=ONE, dilations=(2, 2)), (1, 1)), (3, 3), ONE),
        (rim(conv(3, 2, 3, 3, strides=(2, 2)), (0, 0)), (2, 3), (0,) * 4),
        (rim(conv(3, 2, 3, 3, pads=ONE)), (1, 1), (0,) * 4),
        (rim(conv(3, 2, 9, 10), (4, 4)), (9, 10), (0,) * 4),
    ],
)
def test_rims_go_as_far_as_padding_does(op: Conv, kernel: tuple[int, int], pads: Pads) -> None:
    network = network_of((2, 9, 10), [("a", op), ("b", conv(2, 3, 1, 1, pads=ONE))])
    after = operator(checked(network).network, "a")
    assert (after.kernel, after.pads) == (kernel, pads)


def test_a_single_tap_has_no_dilation() -> None:
    op = rim(conv(3, 2, 3, 5, pads=(2, 1, 2, 1), dilations=(2, 1)), (1, 1), (1, 3))
    after = operator(checked(network_of((2, 9, 10), [("a", op)])).network, "a")
    assert (after.kernel, after.dilations) == ((1, 3), (1, 1))


def test_taps_that_meet_padding_alone_go() -> None:
    network = network_of((2, 1, 1), [("a", conv(3, 2, 3, 3, pads=ONE))])
    assert operator(checked(network).network, "a").kernel == (1, 1)


def test_layers_that_hand_on_what_they_read_go() -> None:
    picked = np.zeros((2, 4, 1, 1))
    picked[[0, 1], [1, 3]] = 1
    done = checked(
        network_of(
            (2, 6, 6),
            [("a", conv(4, 2, 3, 3)), ("i", Conv(picked, np.zeros(2))), ("c", conv(3, 2, 3, 3))],
        )
    )
    assert done.removed == ("i",)
    assert done.filters["a"].tolist() == [1, 3]
    alone = network_of((2, 6, 6), [("i", Conv(np.eye(2)[:, :, None, None], np.zeros(2)))])
    assert [node.name for node in checked(alone).network.nodes] == ["i"]


@pytest.mark.parametrize(("pads", "filters"), [(ONE, [1, 4, 3]), ((0,) * 4, [1, 1, 3])])
def test_a_tensor_keeps_its_first_channel(pads: Pads, filters: list[int]) -> None:
    network = network_of(
        (2, 8, 8),
        [
            ("a", conv(4, 2, 3, 3)),
            ("r", RELU),
            ("b", conv(4, 4, 3, 3, zero=(0, 1, 2, 3))),
            ("s", SIGMOID),
            ("c", conv(3, 4, 4, 4, pads=pads)),
        ],
    )
    done = checked(network)
    assert [len(op.weight) for _, op in done.network.convs()] == filters
    assert done.filters["a"].tolist() == [0]
