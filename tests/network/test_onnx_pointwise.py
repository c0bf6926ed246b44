"""Activations, Softmax and ArgMax, each option against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx_build import N, build, compare, save

from hwgen.errors import ModelError
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Activation, ArgMax, Network, Softmax


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def only(network: Network) -> Activation:
    (op,) = (each.op for each in network.nodes)
    assert isinstance(op, Activation)
    return op


def wide(*shape: int) -> np.ndarray:
    x = np.random.default_rng(0).normal(scale=8, size=shape).astype(np.float32)
    x.flat[:6] = (0.0, -0.0, 90.0, -90.0, 1e-8, -1e-8)
    return x


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Relu", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.25}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 0.125, "beta": 0.25}),
        ("HardSwish", {}),
        ("Elu", {}),
        ("Elu", {"alpha": 0.5}),
        ("Selu", {}),
        ("Celu", {"alpha": 2.0}),
        ("Softplus", {}),
        ("Erf", {}),
        ("Mish", {}),
        ("Gelu", {}),
        ("Gelu", {"approximate": "tanh"}),
    ],
)
@pytest.mark.parametrize("shape", [(3, 4, 5), (60,)])
def test_activation(
    tmp_path: Path, kind: str, attributes: dict[str, float], shape: tuple[int, ...]
) -> None:
    opset = {"Gelu": 20, "Mish": 18}.get(kind, 17)
    model = build([node(kind, "x", **attributes)], (N, *shape), opset=opset)
    only(compare(model, tmp_path, x=wide(3, *shape)))


def test_exp(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(scale=3, size=(3, 3, 4, 5)).astype(np.float32)
    assert only(compare(build([node("Exp", "x")], (N, 3, 4, 5)), tmp_path, x=x)).kind == "exp"


HALF, ONE, THREE, SIX = (np.float32(v) for v in (0.5, 1, 3, 6))
SPELT_OUT = {
    "silu": ([node("Sigmoid", "x", out="s"), node("Mul", "x", "s")], {}, "silu", 1, 1),
    "silu, other order": (
        [node("Sigmoid", "x", out="s"), node("Mul", "s", "x")],
        {},
        "silu",
        1,
        1,
    ),
    "swish with a factor": (
        [
            node("Mul", "x", "b", out="t"),
            node("Sigmoid", "t", out="s"),
            node("Mul", "x", "s"),
        ],
        {"b": np.float32(1.702)},
        "silu",
        1.702,
        1 / 1.702,
    ),
    "gelu as torch has it": (
        [
            node("Div", "x", "r", out="d"),
            node("Erf", "d", out="e"),
            node("Add", "e", "one", out="a"),
            node("Mul", "x", "a", out="m"),
            node("Mul", "m", "half"),
        ],
        {"r": np.float32(2**0.5), "one": ONE, "half": HALF},
        "gelu",
        1,
        1,
    ),
    "gelu, half first": (
        [
            node("Mul", "x", "half", out="h"),
            node("Mul", "x", "r", out="d"),
            node("Erf", "d", out="e"),
            node("Add", "one", "e", out="a"),
            node("Mul", "a", "h"),
        ],
        {"r": np.float32(0.5**0.5), "one": ONE, "half": HALF},
        "gelu",
        1,
        1,
    ),
    "gelu by tanh": (
        [
            node("Pow", "x", "three", out="p"),
            node("Mul", "p", "c", out="q"),
            node("Add", "x", "q", out="u"),
            node("Mul", "u", "r", out="v"),
            node("Tanh", "v", out="w"),
            node("Add", "w", "one", out="a"),
            node("Mul", "x", "half", out="h"),
            node("Mul", "h", "a"),
        ],
        {
            "three": THREE,
            "c": np.float32(0.044715),
            "r": np.float32((2 / np.pi) ** 0.5),
            "one": ONE,
            "half": HALF,
        },
        "gelu_tanh",
        1,
        1,
    ),
    "hard swish": (
        [
            node("Add", "x", "three", out="a"),
            node("Clip", "a", "zero", "six", out="c"),
            node("Mul", "x", "c", out="m"),
            node("Div", "m", "six"),
        ],
        {"three": THREE, "zero": np.float32(0), "six": SIX},
        "hard_swish",
        1,
        1,
    ),
    "mish": (
        [node("Softplus", "x", out="s"), node("Tanh", "s", out="t"), node("Mul", "x", "t")],
        {},
        "mish",
        1,
        1,
    ),
}


@pytest.mark.parametrize("name", SPELT_OUT)
@pytest.mark.parametrize("opset", [13, 17])
def test_products_that_are_activations(tmp_path: Path, name: str, opset: int) -> None:
    nodes, constants, kind, pre, post = SPELT_OUT[name]
    model = build(nodes, (N, 3, 4, 5), constants, opset=opset)
    op = only(compare(model, tmp_path, x=wide(3, 3, 4, 5)))
    assert op.kind == kind
    assert (op.pre, op.post) == pytest.approx((pre, post), rel=1e-6)


def test_an_activation_whose_gate_is_read_elsewhere(tmp_path: Path) -> None:
    nodes = [
        node("Sigmoid", "x", out="s"),
        node("Mul", "x", "s", out="m"),
        node("Add", "m", "s"),
    ]
    network = compare(build(nodes, (N, 3, 4, 5)), tmp_path)
    kinds = [each.op.kind for each in network.nodes if isinstance(each.op, Activation)]
    assert sorted(kinds) == ["sigmoid", "silu"]


def test_an_activation_of_an_activation(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", out="r"),
        node("Sigmoid", "r", out="s"),
        node("Mul", "r", "s", out="m"),
        node("Sigmoid", "m", out="t"),
        node("Mul", "m", "t"),
    ]
    network = compare(build(nodes, (N, 3, 4, 5)), tmp_path)
    kinds = [each.op.kind for each in network.nodes if isinstance(each.op, Activation)]
    assert kinds == ["relu", "silu", "silu"]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((3, 1, 1), "prelu"),
        ((1, 3, 1, 1), "prelu"),
        ((1,), "leaky_relu"),
        ((1, 1, 1), "leaky_relu"),
    ],
)
def test_prelu(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    slope = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    network = compare(build([node("PRelu", "x", "s")], (N, 3, 4, 5), {"s": slope}), tmp_path)
    assert only(network).kind == kind


@pytest.mark.parametrize(
    ("lo", "hi", "kind"),
    [
        (-1.0, 2.0, "clip"),
        (0.0, 6.0, "clip"),
        (None, 2.0, "clip"),
        (-1.0, None, "clip"),
        (0.0, None, "relu"),
    ],
)
@pytest.mark.parametrize("opset", [7, 12])
def test_clip(tmp_path: Path, lo: float | None, hi: float | None, kind: str, opset: int) -> None:
    given = {name: value for name, value in (("min", lo), ("max", hi)) if value is not None}
    if opset < 11:
        model = build([node("Clip", "x", **given)], (N, 3, 4, 5), opset=opset)
    else:
        names = ["min" if lo is not None else "", "max" if hi is not None else ""]
        constants = {name: np.float32(value) for name, value in given.items()}
        model = build([node("Clip", "x", *names)], (N, 3, 4, 5), constants, opset=opset)
    assert only(compare(model, tmp_path)).kind == kind


def test_clip_without_bounds_is_nothing(tmp_path: Path) -> None:
    nodes = [node("Clip", "x", out="c"), node("Relu", "c")]
    assert only(compare(build(nodes, (N, 3, 4, 5)), tmp_path)).kind == "relu"


def test_max_and_min_with_a_number(tmp_path: Path) -> None:
    nodes = [node("Max", "zero", "x", out="m"), node("Min", "m", "six")]
    constants = {"zero": np.float32(0), "six": np.float32(1.5)}
    network = compare(build(nodes, (N, 3, 4, 5), constants), tmp_path)
    assert [each.op.kind for each in network.nodes if isinstance(each.op, Activation)] == [
        "relu",
        "clip",
    ]


def test_scaled_tanh_is_one_activation(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x", "w", out="c"),
        node("Mul", "c", "steep", out="t"),
        node("Tanh", "t", out="h"),
        node("Mul", "gain", "h"),
    ]
    constants = {
        "w": np.ones((1, 3, 2, 2), np.float32),
        "steep": np.float32(2 / 3),
        "gain": np.float32(1.7159),
    }
    network = compare(build(nodes, (N, 3, 4, 5), constants), tmp_path)
    tanh = network.nodes[1].op
    assert isinstance(tanh, Activation)
    assert (tanh.pre, tanh.post) == pytest.approx((2 / 3, 1.7159))


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    ("shape", "axis", "opset"),
    [
        ((6,), 1, 11),
        ((6,), None, 11),
        ((6,), -1, 13),
        ((6,), None, 13),
        ((6, 1, 1), 1, 13),
        ((6, 1, 1), 1, 11),
    ],
)
def test_softmax(
    tmp_path: Path, kind: str, shape: tuple[int, ...], axis: int | None, opset: int
) -> None:
    attributes = {} if axis is None else {"axis": axis}
    network = compare(build([node(kind, "x", **attributes)], (N, *shape), opset=opset), tmp_path)
    (op,) = (each.op for each in network.nodes)
    assert op == Softmax(log=kind == "LogSoftmax")


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(("shape", "axis"), [((6,), 1), ((6,), -1), ((6, 1, 1), 1)])
def test_arg_max(tmp_path: Path, shape: tuple[int, ...], axis: int, keep: int) -> None:
    nodes = [
        node("ArgMax", "x", axis=axis, keepdims=keep, out="a"),
        node("Cast", "a", to=TensorProto.FLOAT),
    ]
    x = np.random.default_rng(0).integers(0, 3, size=(20, *shape)).astype(np.float32)
    network = compare(build(nodes, (N, *shape)), tmp_path, x=x)
    assert isinstance(network.nodes[-1].op, ArgMax)
    assert network.shape(network.output) == (1, 1, 1)


def test_arg_max_of_softmax_as_integer(tmp_path: Path) -> None:
    nodes = [node("Softmax", "x", axis=1, out="s"), node("ArgMax", "s", axis=1)]
    model = build(nodes, (N, 6), output_type=TensorProto.INT64)
    network = compare(model, tmp_path)
    assert [type(each.op) for each in network.nodes] == [Softmax, ArgMax]


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Softmax", "x", axis=1)], {}, "vectors alone"),
        ([node("Softmax", "x", axis=0)], {}, "along the channels"),
        ([node("Softmax", "x", axis=9)], {}, "along the channels"),
        ([node("ArgMax", "x", axis=1)], {}, "vectors alone"),
        ([node("ArgMax", "x", axis=1, select_last_index=1)], {}, "first of equal"),
        ([node("Sin", "x")], {}, "does not implement this operator"),
        ([node("Celu", "x", alpha=-1.0)], {}, "alpha must be positive"),
        ([node("Tanh", "x", out="t"), node("Mul", "x", "t")], {}, "cannot multiply two tensors"),
        ([node("Sigmoid", "x", out="t"), node("Mul", "t", "t")], {}, "cannot multiply two tensors"),
        ([node("PRelu", "x", "c")], {"c": np.eye(4, 5, dtype=np.float32)}, "one number a channel"),
        (
            [node("Clip", "x", "c", "d")],
            {"c": np.float32(1), "d": np.float32(0)},
            "leave no values",
        ),
        ([node("Clip", "x", "c")], {"c": np.float32(np.nan)}, "leave no values"),
        ([node("Max", "x", "x")], {}, "must be constant"),
        ([node("LeakyRelu", "x", alpha=float("inf"))], {}, "must be finite"),
    ],
)
def test_refusals(
    tmp_path: Path, nodes: list[NodeProto], constants: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        import_onnx(save(build(nodes, (1, 3, 4, 5), constants), tmp_path))
    assert nodes[-1].name in str(caught.value)


def test_softmax_before_another_layer_is_refused(tmp_path: Path) -> None:
    nodes = [node("Softmax", "x", axis=1, out="s"), node("Relu", "s")]
    with pytest.raises(ModelError, match="must be the output"):
        import_onnx(save(build(nodes, (1, 6)), tmp_path))
