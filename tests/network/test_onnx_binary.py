"""Binary networks: signs in their several forms, and scales that only a sign uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from binary_networks import binary_images, binary_network
from onnx import NodeProto, TensorProto, helper
from onnx_build import N, build, compare, save

from hwgen.errors import UnsupportedError
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.simplify import simplify
from hwgen.network.steps import step
from hwgen.network.types import Conv, MaxPool, Network, Node, PiecewiseLinear

QONNX = "qonnx.custom_op.general"
AROUND = np.float32([-2, -1, -1e-30, 0, 1e-30, 1, 2, 3]).reshape(1, 1, 2, 4)


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def levels(network: Network) -> list[float]:
    (op,) = (each.op for each in network.nodes)
    assert isinstance(op, PiecewiseLinear)
    assert not op.slopes.any()
    return op.offsets[0].tolist()


def test_sign(tmp_path: Path) -> None:
    network = compare(build([node("Sign", "x")], (1, 1, 2, 4)), tmp_path, x=AROUND)
    assert levels(network) == [-1, 0, 1]


@pytest.mark.parametrize("kind", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("bound", [0.0, 1.0])
@pytest.mark.parametrize("swapped", [False, True])
def test_choice_by_a_comparison(tmp_path: Path, kind: str, bound: float, swapped: bool) -> None:
    operands = ("c", "x") if swapped else ("x", "c")
    nodes = [node(kind, *operands, out="b"), node("Where", "b", "one", "minus")]
    constants = {"c": bound, "one": 1.0, "minus": -1.0}
    network = compare(build(nodes, (1, 1, 2, 4), constants), tmp_path, x=AROUND)
    found = run(network, AROUND)
    assert set(found.ravel().tolist()) == {-1, 1}
    if not bound:
        assert sorted(levels(network)) == [-1, 1]


def test_comparison_as_numbers(tmp_path: Path) -> None:
    nodes = [
        node("Greater", "x", "zero", out="b"),
        node("Cast", "b", out="f", to=TensorProto.FLOAT),
        node("Mul", "f", "two", out="m"),
        node("Sub", "m", "one"),
    ]
    constants = {"zero": 0.0, "one": 1.0, "two": 2.0}
    network = compare(build(nodes, (1, 1, 2, 4), constants), tmp_path, x=AROUND)
    assert levels(network) == [-1, 1]


def test_choice_among_tensors_is_refused(tmp_path: Path) -> None:
    nodes = [node("Greater", "x", "zero", out="b"), node("Where", "b", "x", "zero")]
    model = build(nodes, (1, 1, 2, 4), {"zero": 0.0})
    with pytest.raises(UnsupportedError, match="its input 1 must be constant"):
        import_onnx(save(model, tmp_path))


def binary_layers(
    scale: np.ndarray,
    *,
    pool_first: bool = False,
    kind: str = "GreaterOrEqual",
    epsilon: float = 1e-5,
) -> tuple[list[NodeProto], dict[str, object]]:
    rng = np.random.default_rng(3)
    pooled, normal = ("n", "p") if pool_first else ("p", "n")
    source = {"n": "p" if pool_first else "c", "p": "c" if pool_first else "n"}
    middle = {
        "n": node("BatchNormalization", source["n"], "g", "o", "m", "v", out="n", epsilon=epsilon),
        "p": node("MaxPool", source["p"], kernel_shape=[2, 2], strides=[2, 2], out="p"),
    }
    nodes = [
        node("Conv", "x", "w", pads=[1, 1, 1, 1], out="c"),
        middle[normal],
        middle[pooled],
        node(kind, pooled, "zero", out="b"),
        node("Where", "b", "high", "low", out="s"),
        node("Conv", "s", "u"),
    ]
    constants: dict[str, object] = {
        "w": np.where(rng.normal(size=(4, 2, 3, 3)) < 0, -1, 1) * np.float32(0.3),
        "g": np.float32([1, -2, 0.5, 3]),
        "o": np.float32([0.1, 0.2, -0.3, 0]),
        "m": np.float32([1, -1, 0.5, 0]),
        "v": np.float32([1, 2, 3, 4]),
        "zero": 0.0,
        "high": scale,
        "low": -scale,
        "u": np.where(rng.normal(size=(3, 4, 1, 1)) < 0, -1, 1) * np.float32(0.7),
    }
    return nodes, constants


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("pool_first", [False, True])
def test_binary_layers(tmp_path: Path, scale: float, pool_first: bool) -> None:
    """Scales before a sign vanish, one behind it goes to the next layer, and pools follow signs.

    A normalisation with negative factors may come before or behind the pool.
    """
    nodes, constants = binary_layers(np.float32(scale), pool_first=pool_first)
    network = compare(build(nodes, (N, 2, 6, 6), constants), tmp_path)
    first, sign, pool, second = (each.op for each in network.nodes)
    assert isinstance(first, Conv)
    assert isinstance(second, Conv)
    assert isinstance(sign, PiecewiseLinear)
    assert isinstance(pool, MaxPool)
    np.testing.assert_array_equal(np.abs(first.weight), 1)
    assert (sign.offsets == [-1, 1]).all()
    np.testing.assert_allclose(np.abs(second.weight), 0.7 * scale, rtol=1e-6)


@pytest.mark.parametrize("kind", ["GreaterOrEqual", "Greater"])
def test_ties_behind_a_pool_stay_on_their_side(tmp_path: Path, kind: str) -> None:
    """Images of integers, on which normalised sums are often 0, under factors of both signs."""
    nodes, constants = binary_layers(np.float32(1), pool_first=True, kind=kind, epsilon=0.0)
    constants |= {"m": np.zeros(4, np.float32), "o": np.float32([0, 0, 1, -1])}
    constants |= {"w": np.sign(constants["w"]), "v": np.ones(4, np.float32)}
    constants["g"] = np.float32([1, -1, -1, 1])
    x = np.random.default_rng(2).integers(-2, 3, (40, 2, 6, 6)).astype(np.float32)
    compare(build(nodes, (N, 2, 6, 6), constants), tmp_path, x=x)


def test_bipolar_quant_of_any_scale(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("BipolarQuant", ["x", "s"], ["b"], "b", domain=QONNX),
        node("Conv", "b", "w", pads=[1, 1, 1, 1]),
    ]
    constants = {"s": 0.3, "w": np.ones((1, 1, 3, 3), np.float32)}
    network = import_onnx(save(build(nodes, (N, 1, 4, 4), constants, domains=[QONNX]), tmp_path))
    sign, conv = (each.op for each in network.nodes)
    assert isinstance(sign, PiecewiseLinear)
    assert sign.offsets.tolist() == [[-1, 1]]
    assert isinstance(conv, Conv)
    np.testing.assert_allclose(conv.weight, 0.3, rtol=1e-6)


def test_scales_of_filters_that_something_else_reads_stay() -> None:
    """A second reader of the sums needs them as they are."""
    weight = np.full((1, 2, 1, 1), 0.5)
    nodes = (
        Node("conv", Conv(weight, np.zeros(1)), ("x",), (1, 2, 2)),
        Node("sign", step([0], [-1, 1]), ("conv",), (1, 2, 2)),
        Node("out", Conv(np.ones((1, 1, 2, 2)), np.zeros(1)), ("sign",), (1, 1, 1)),
    )
    alone = simplify(Network("net", "x", (2, 2, 2), nodes, "out"))
    assert (next(alone.convs())[1].weight == 1).all()
    falling = step([0], [1, -1])
    pooled = (
        nodes[0],
        Node("pool", MaxPool((2, 2), (1, 1)), ("conv",), (1, 1, 1)),
        Node("sign", falling, ("pool",), (1, 1, 1)),
    )
    kept = simplify(Network("net", "x", (2, 2, 2), pooled, "sign"))
    assert [type(each.op) for each in kept.nodes] == [Conv, MaxPool, PiecewiseLinear]
    returned = simplify(Network("net", "x", (2, 2, 2), nodes[:1], "conv"))
    assert (next(returned.convs())[1].weight == 0.5).all()


def test_simplified_network_is_the_same_function() -> None:
    """Signs of sums in single precision: exact, since the sums are small integers."""
    network = binary_network(4)
    assert all(np.isin(op.weight, (-1, 1)).all() for _, op in list(network.convs())[:-1])
    images = binary_images(network, 5)
    np.testing.assert_array_equal(
        run(network, images).argmax(axis=1), run(network, images, dtype=np.float64).argmax(axis=1)
    )
