"""What a well-formed network is, its JSON form, and the rewrites that keep it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.errors import DataError, VerifyError
from hwgen.network.execute import run
from hwgen.network.shapes import average_divisors, output_shape, window_counts
from hwgen.network.simplify import simplify
from hwgen.network.storage import from_json, to_json
from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Node,
    Op,
    PiecewiseLinear,
    Quantise,
    Shape,
    Softmax,
)
from hwgen.network.verify import verify


def network(*nodes: Node, output: str | None = None, shape: Shape = (2, 4, 4)) -> Network:
    return Network("net", "x", shape, nodes, output or nodes[-1].name)


def relu(name: str, source: str, shape: Shape = (2, 4, 4)) -> Node:
    return Node(name, Activation("relu"), (source,), shape)


def conv(**changes: object) -> Conv:
    return replace(Conv(np.ones((3, 2, 3, 3)), np.zeros(3)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (network(relu("a", "x"), relu("a", "x")), "'a' is written twice"),
        (network(relu("x", "x")), "'x' is written twice"),
        (network(relu("a", "b"), relu("b", "x")), "reads 'b' before it is written"),
        (network(relu("a", "x"), output="z"), "Output 'z'"),
        (network(relu("a", "x", (2, 4, 5))), "makes"),
        (network(relu("a", "x"), shape=(2, 0, 4)), "at least 1 each"),
        (network(Node("a", Softmax(), ("x",), (2, 4, 4))), "needs a vector"),
        (
            network(
                Node("s", Softmax(), ("x",), (2, 1, 1)), relu("a", "s", (2, 1, 1)), shape=(2, 1, 1)
            ),
            "reads 's', which must be the output",
        ),
    ],
)
def test_networks_that_are_not_well_formed(bad: Network, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(bad)


def test_arg_max_may_follow_softmax() -> None:
    nodes = (
        Node("s", Softmax(), ("x",), (2, 1, 1)),
        Node("a", ArgMax(), ("s",), (1, 1, 1)),
    )
    verify(network(*nodes, shape=(2, 1, 1)))


def piecewise(breakpoints: object, slopes: object, offsets: object) -> PiecewiseLinear:
    return PiecewiseLinear(np.array(breakpoints), np.array(slopes), np.array(offsets))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (conv(bias=np.zeros(2)), "Bias must have shape"),
        (conv(weight=np.ones((3, 2, 3))), "Weights must have shape"),
        (conv(weight=np.ones((3, 2, 0, 3))), "Weights must have shape"),
        (conv(weight=np.full((3, 2, 3, 3), np.nan)), "finite"),
        (conv(bias=np.full(3, np.inf)), "finite"),
        (conv(strides=(0, 1)), "at least 1"),
        (conv(dilations=(1, 0)), "at least 1"),
        (conv(pads=(0, -1, 0, 0)), "negative"),
        (conv(groups=2), "2 groups"),
        (conv(groups=0), "0 groups"),
        (conv(dilations=(2, 2)), "does not fit"),
        (MaxPool((0, 1), (1, 1)), "Kernel must be"),
        (MaxPool((5, 1), (1, 1)), "does not fit"),
        (MaxPool((1, 1), (1, 1), (1, 0, 0, 0)), "wholly in the padding"),
        (AveragePool((2, 2), (1, 1), (2, 0, 0, 0)), "wholly in the padding"),
        (AveragePool((2, 2), (1, 1), ceil_pads=(-1, 0)), "ceil_pads"),
        (AveragePool((2, 2), (2, 2), (1, 1, 1, 1), True, (2, 0)), "wholly in the padding"),
        (AveragePool((2, 2), (2, 2), gain=float("nan")), "finite"),
        (Activation("swish"), "must be one of"),
        (Activation("relu", (np.ones(1),)), "needs 0 parameters"),
        (Activation("prelu", (np.ones(3),)), "must have shape"),
        (Activation("leaky_relu", (np.array([np.inf]),)), "finite"),
        (Activation("tanh", pre=float("inf")), "finite"),
        (Activation("clip", (np.array([1.0]), np.array([0.0]))), "lo <= hi"),
        (Activation("clip", (np.array([np.nan]), np.array([0.0]))), "lo <= hi"),
        (piecewise([[1.0, 0.0]], [[0, 1, 2]], [[0, 1, 2]]), "ascend"),
        (piecewise([[1.0]], [[0, 1, 2]], [[0, 1, 2]]), "cannot have"),
        (piecewise([[1.0]] * 3, [[0, 1]] * 3, [[0, 1]] * 3), "cannot have"),
        (piecewise([[np.nan]], [[0, 1]], [[0, 1]]), "finite"),
        (Quantise(0.0, 0, 0, 255), "positive scale"),
        (Quantise(1.0, 0, 5, 4), "lo <= hi"),
        (Quantise(1.0, float("nan"), 0, 4), "finite"),
        (ArgMax(), "needs a vector"),
        (Add(), "two inputs or more"),
    ],
)
def test_operators_that_are_not_well_formed(op: Op, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        output_shape(op, [(2, 4, 4)])


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (Add(), [(2, 4, 4), (2, 4, 5)], "one shape"),
        (Concat(), [(2, 4, 4), (2, 4, 5)], "one height and width"),
        (Activation("relu"), [(2, 4, 4), (2, 4, 4)], "one input"),
        (Activation("relu"), [], "one input"),
    ],
)
def test_operators_with_other_inputs(op: Op, shapes: list[Shape], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        output_shape(op, shapes)


def test_window_counts_by_enumeration() -> None:
    for size, kernel, stride, begin, dilation in np.ndindex(5, 4, 3, 4, 3):
        size, kernel, stride, dilation = size + 1, kernel + 1, stride + 1, dilation + 1
        found = window_counts(size, kernel, stride, begin, 6, dilation)
        expected = [
            sum(0 <= o * stride - begin + k * dilation < size for k in range(kernel))
            for o in range(6)
        ]
        assert found.tolist() == expected


def test_average_divisors() -> None:
    pool = AveragePool((2, 2), (2, 2), (1, 1, 1, 1))
    np.testing.assert_array_equal(
        average_divisors(pool, (1, 4, 4)), [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    )
    included = replace(pool, count_include_pad=True)
    np.testing.assert_array_equal(average_divisors(included, (1, 4, 4)), np.full((3, 3), 4))


def everything() -> Network:
    """A network with every operator and every kind of field."""
    vector = (5, 1, 1)
    nodes = (
        Node("a", conv(pads=(1, 1, 1, 1)), ("x",), (3, 4, 4)),
        Node(
            "b", Activation("prelu", (np.array([0.1, -0.0, 1e-300]),), 1 / 3, -2), ("a",), (3, 4, 4)
        ),
        Node("c", piecewise([[0.5]], [[0.0, 1.0]], [[0.0, -0.5]]), ("b",), (3, 4, 4)),
        Node("d", Add(), ("a", "c"), (3, 4, 4)),
        Node("e", Concat(), ("d", "x"), (5, 4, 4)),
        Node("f", Quantise(0.1, 0.5, -128, 127), ("e",), (5, 4, 4)),
        Node("g", MaxPool((2, 2), (2, 2)), ("f",), (5, 2, 2)),
        Node("h", AveragePool((2, 2), (2, 2), gain=0.3), ("g",), vector),
        Node("i", Activation("clip", (np.array([0.0]), np.array([np.inf]))), ("h",), vector),
        Node("j", Softmax(log=True), ("i",), vector),
        Node("k", ArgMax(), ("j",), (1, 1, 1)),
    )
    return network(*nodes)


def test_json_round_trip_is_exact() -> None:
    verify(everything())
    text = to_json(everything())
    copy = from_json(text)
    assert to_json(copy) == text
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    np.testing.assert_array_equal(run(copy, x), run(everything(), x))
    weight = next(op for _, op in copy.convs()).weight
    assert weight.dtype == np.float64
    assert not weight.flags.writeable


def test_json_of_an_inconsistent_network_is_refused() -> None:
    with pytest.raises(VerifyError, match="makes"):
        from_json(to_json(everything()).replace('"shape":[5,2,2]', '"shape":[5,2,3]'))
    with pytest.raises(DataError, match="must be a Network"):
        from_json("[1,2]")


def test_simplify_keeps_random_chains() -> None:
    """Chains of scalings, rearrangements, pools and activations, rewritten, compute the same."""
    rng = np.random.default_rng(11)
    shrunk = 0
    for _ in range(200):
        shape: Shape = (int(rng.integers(1, 4)), 6, 6)
        source, nodes, start = "x", [], shape
        for index in range(int(rng.integers(2, 7))):
            op = random_op(rng, shape)
            shape = output_shape(op, [shape])
            nodes.append(Node(f"n{index}", op, (source,), shape))
            source = f"n{index}"
        if rng.random() < 0.3 and len(nodes) > 2 and nodes[-1].shape == nodes[-2].shape:
            nodes.append(Node("sum", Add(), (nodes[-1].name, nodes[-2].name), shape))
        before = Network("chain", "x", start, tuple(nodes), nodes[-1].name)
        after = simplify(before)
        verify(after)
        x = rng.normal(size=(2, *start))
        expected = run(before, x, dtype=np.float64)
        np.testing.assert_allclose(run(after, x, dtype=np.float64), expected, rtol=1e-9, atol=1e-9)
        assert len(after.nodes) <= len(before.nodes)
        shrunk += len(after.nodes) < len(before.nodes)
    assert shrunk > 100


def random_op(rng: np.random.Generator, shape: Shape) -> Op:
    channels = shape[0]
    pads = tuple(int(p) for p in rng.integers(0, 2, size=4))
    kernel = (
        int(rng.integers(1, min(3, shape[1] + 1))),
        int(rng.integers(1, min(3, shape[2] + 1))),
    )
    match int(rng.integers(0, 8)):
        case 0 | 1:
            gains = rng.normal(size=channels) if rng.random() < 0.5 else np.full(channels, 1.5)
            offsets = rng.normal(size=channels) * rng.integers(0, 2)
            return Conv(gains.reshape(-1, 1, 1, 1), offsets, groups=channels)
        case 2:
            weight = np.ones((channels, 1, 1, 1))
            return Conv(weight, np.zeros(channels), pads=pads, groups=channels)
        case 3:
            picks = rng.integers(0, channels, size=int(rng.integers(1, 4)))
            weight = np.eye(channels)[picks].reshape(len(picks), channels, 1, 1)
            weight = weight * (rng.random(size=(len(picks), 1, 1, 1)) < 0.9)
            strides = tuple(int(s) for s in rng.integers(1, 3, size=2))
            return Conv(weight, np.zeros(len(picks)), strides)
        case 4:
            groups = channels if rng.random() < 0.3 else 1
            filters = channels if groups > 1 else int(rng.integers(1, 4))
            weight = rng.normal(size=(filters, channels // groups, *kernel))
            return Conv(weight, rng.normal(size=filters), pads=pads, groups=groups)
        case 5:
            kinds = ["relu", "tanh", "sigmoid"]
            return Activation(str(rng.choice(kinds)), pre=0.5, post=float(rng.normal()))
        case 6:
            included = bool(rng.integers(0, 2))
            if kernel[0] == 1 or kernel[1] == 1:
                pads = (0, 0, 0, 0)
            return AveragePool(kernel, (1, 1), pads, included and any(pads))
        case _:
            return MaxPool(kernel, (1, 1))
