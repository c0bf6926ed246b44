"""Execution of networks: batches, data types, partial runs, and bad images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.errors import DataError
from hwgen.network.execute import affected, apply, run, run_all, run_suffix
from hwgen.network.shapes import output_shape
from hwgen.network.types import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Node,
    Op,
    PiecewiseLinear,
    Quantise,
)

RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(7, 2, 6, 5))


def small() -> Network:
    """Two branches that join: conv a, b and c read in turn, sum of a and c, concat with a."""
    shape = (2, 6, 5)

    def conv() -> Conv:
        return Conv(RNG.normal(size=(2, 2, 3, 3)), RNG.normal(size=2), pads=(1, 1, 1, 1))

    nodes = (
        Node("a", conv(), ("x",), shape),
        Node("b", Activation("relu"), ("a",), shape),
        Node("c", conv(), ("b",), shape),
        Node("d", Add(), ("a", "c"), shape),
        Node("e", Concat(), ("d", "a"), (4, 6, 5)),
    )
    return Network("small", "x", shape, nodes, "e")


NETWORK = small()


@pytest.mark.parametrize("batch", [1, 3, 7, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_change_nothing(batch: int, dtype: type[np.floating]) -> None:
    expected = run(NETWORK, IMAGES, dtype=np.float64)
    found = run(NETWORK, IMAGES, batch=batch, dtype=dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_images() -> None:
    assert run(NETWORK, IMAGES[:0]).shape == (0, 4, 6, 5)
    assert run_all(NETWORK, IMAGES[:0])["a"].shape == (0, 2, 6, 5)


def test_every_tensor() -> None:
    tensors = run_all(NETWORK, IMAGES, batch=3, dtype=np.float64)
    assert list(tensors) == ["x", "a", "b", "c", "d", "e"]
    for node in NETWORK.nodes:
        assert tensors[node.name].shape == (7, *node.shape)
        expected = apply(node.op, [tensors[name] for name in node.inputs])
        np.testing.assert_allclose(tensors[node.name], expected, rtol=1e-12)
    np.testing.assert_array_equal(tensors["x"], IMAGES)


def test_images_are_left_alone() -> None:
    before = IMAGES.copy()
    run_all(NETWORK, IMAGES, dtype=np.float64)
    np.testing.assert_array_equal(IMAGES, before)


def test_affected_nodes() -> None:
    assert affected(NETWORK, "c") == affected(NETWORK, ["c"]) == ("c", "d", "e")
    assert affected(NETWORK, ["x"]) == ("a", "b", "c", "d", "e")
    assert affected(NETWORK, []) == ()


@pytest.mark.parametrize("changed", [["a"], ["c"], ["b", "c"], ["e"], []])
def test_run_suffix_equals_a_whole_run(changed: list[str]) -> None:
    cached = run_all(NETWORK, IMAGES, dtype=np.float64)
    nodes = tuple(
        replace(node, op=replace(node.op, weight=-node.op.weight))
        if node.name in changed and isinstance(node.op, Conv)
        else node
        for node in NETWORK.nodes
    )
    other = replace(NETWORK, nodes=nodes)
    found = run_suffix(other, cached, changed, batch=3)
    np.testing.assert_allclose(found, run(other, IMAGES, dtype=np.float64), rtol=1e-12)


def test_run_suffix_needs_only_what_enters_the_suffix() -> None:
    tensors = run_all(NETWORK, IMAGES, dtype=np.float64)
    cached = {name: tensors[name] for name in ("a", "b")}
    np.testing.assert_allclose(run_suffix(NETWORK, cached, ["c"]), tensors["e"], rtol=1e-12)
    with pytest.raises(ValueError, match="Cache must hold b"):
        run_suffix(NETWORK, {"a": tensors["a"]}, ["c"])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], "must have shape"),
        (IMAGES[:, :1], r"must have shape \(N, 2, 6, 5\)"),
        (IMAGES.transpose(0, 2, 3, 1), "transpose them from"),
        (np.where(IMAGES == IMAGES[1, 1, 1, 1], np.nan, IMAGES), "finite"),
        (IMAGES.astype(complex), "real"),
        (IMAGES.astype(str), "real"),
    ],
)
def test_images_that_do_not_fit(images: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(NETWORK, images)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, bool])
def test_images_of_any_real_type(dtype: type[np.generic]) -> None:
    images = np.abs(IMAGES * 3).astype(dtype)
    assert run(NETWORK, images).dtype == np.float32


def direct_windows(op: Op, x: np.ndarray) -> np.ndarray:
    """Convolution and pooling by their definitions, one output at a time."""
    assert isinstance(op, Conv | MaxPool | AveragePool)
    images, channels, oh, ow = len(x), *output_shape(op, [x.shape[1:]])
    result = np.zeros((images, channels, oh, ow))
    dilations = (1, 1) if isinstance(op, AveragePool) else op.dilations
    top, left, bottom, right = op.pads
    for n, o, i, j in np.ndindex(result.shape):
        taps = []
        for r, s in np.ndindex(op.kernel):
            row = i * op.strides[0] - top + r * dilations[0]
            column = j * op.strides[1] - left + s * dilations[1]
            real = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
            padded = row < x.shape[2] + bottom and column < x.shape[3] + right
            taps.append((r, s, row, column, real, padded))
        match op:
            case MaxPool():
                result[n, o, i, j] = max(x[n, o, h, w] for _, _, h, w, real, _ in taps if real)
            case AveragePool():
                counted = [t for t in taps if t[4] or (op.count_include_pad and t[5])]
                total = sum(x[n, o, h, w] for _, _, h, w, real, _ in taps if real)
                result[n, o, i, j] = op.gain * total / len(counted)
            case Conv():
                depth, each = op.weight.shape[1], len(op.weight) // op.groups
                result[n, o, i, j] = op.bias[o] + sum(
                    op.weight[o, k, r, s] * x[n, o // each * depth + k, h, w]
                    for k in range(depth)
                    for r, s, h, w, real, _ in taps
                    if real
                )
    return result


WINDOWS: list[Op] = [
    Conv(RNG.normal(size=(4, 2, 3, 2)), RNG.normal(size=4), (2, 1), (1, 0, 2, 1), (1, 2), 2),
    Conv(RNG.normal(size=(8, 1, 2, 3)), RNG.normal(size=8), (1, 2), (0, 1, 1, 0), (2, 1), 4),
    Conv(RNG.normal(size=(4, 1, 2, 3)), RNG.normal(size=4), groups=4),
    Conv(RNG.normal(size=(5, 4, 1, 1)), RNG.normal(size=5), (2, 3)),
    Conv(RNG.normal(size=(5, 4, 7, 6)), RNG.normal(size=5)),
    MaxPool((3, 2), (2, 1), (1, 0, 2, 1), (1, 2)),
    MaxPool((7, 6), (1, 1)),
    AveragePool((3, 2), (2, 1), (1, 0, 1, 1)),
    AveragePool((3, 2), (2, 1), (1, 0, 1, 1), count_include_pad=True, gain=-2.5),
    AveragePool((3, 3), (3, 2), (1, 1, 0, 0), count_include_pad=True, ceil_pads=(1, 1)),
    AveragePool((3, 3), (3, 2), (1, 1, 0, 0), ceil_pads=(1, 1)),
    AveragePool((7, 2), (1, 2)),
]


@pytest.mark.parametrize("op", WINDOWS, ids=lambda op: type(op).__name__)
def test_windows_by_definition(op: Op) -> None:
    x = RNG.normal(size=(2, 4, 7, 6))
    found = apply(op, [x])
    assert found.shape == (2, *output_shape(op, [(4, 7, 6)]))
    np.testing.assert_allclose(found, direct_windows(op, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        ("relu", (), lambda x: max(x, 0)),
        ("leaky_relu", (0.25,), lambda x: x if x >= 0 else 0.25 * x),
        ("clip", (-1, np.inf), lambda x: max(x, -1)),
        ("sigmoid", (), lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", (), np.tanh),
        ("hard_sigmoid", (0.25, 0.5), lambda x: min(max(0.25 * x + 0.5, 0), 1)),
    ],
)
def test_activations_scale_before_and_after(kind, parameters, expected) -> None:  # type: ignore[no-untyped-def]
    op = Activation(kind, tuple(np.array([float(p)]) for p in parameters), pre=1.5, post=-0.5)
    x = np.linspace(-5, 5, 21).reshape(1, 3, 7, 1)
    found = apply(op, [x])
    np.testing.assert_allclose(found.ravel(), [-0.5 * expected(1.5 * v) for v in x.ravel()])


def test_piecewise_linear_counts_breakpoints_at_or_below() -> None:
    op = PiecewiseLinear([[-1, 2]], [[0, 1, 0]], [[-1, 0, 5]])
    x = np.array([-3, -1, 0, 1.5, 2, 9]).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(apply(op, [x]).ravel(), [-1, -1, 0, 1.5, 5, 5])
    each = PiecewiseLinear([[0], [1]], [[1, 2], [3, 4]], [[0, 0], [0, 1]])
    expected = [-3, -1, 0, 7, 9, 37]
    np.testing.assert_array_equal(apply(each, [x]).ravel(), expected)


def test_quantise_rounds_ties_to_even() -> None:
    x = np.array([-9, -1.25, -0.75, 0.25, 0.75, 1.2, 9]).reshape(1, 7, 1, 1)
    found = apply(Quantise(0.5, 0.0, -4, 3), [x])
    np.testing.assert_array_equal(found.ravel(), [-2, -1, -1, 0, 1, 1, 1.5])


def test_extreme_values_do_not_warn() -> None:
    x = np.array([-1e30, -100, 0, 100, 1e30], dtype=np.float32).reshape(1, 5, 1, 1)
    for kind in ("sigmoid", "tanh", "relu"):
        assert np.isfinite(apply(Activation(kind), [x])).all()
