"""Pooling and padding, each option against onnxruntime."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper
from onnx_build import N, build, compare, save

from hwgen.errors import ModelError, UnsupportedError
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import AveragePool, Conv, MaxPool, Network


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def kinds(network: Network) -> list[str]:
    return [type(each.op).__name__ for each in network.nodes]


OPTIONS = {
    "plain": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "no_strides": {"kernel_shape": [2, 3]},
    "oblong": {"kernel_shape": [1, 4], "strides": [3, 2]},
    "gaps": {"kernel_shape": [1, 2], "strides": [3, 4]},
    "whole_image": {"kernel_shape": [8, 9]},
    "whole_height": {"kernel_shape": [8, 2], "strides": [1, 2]},
    "pads": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 2]},
    "ceil": {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1},
    "ceil_with_pads": {
        "kernel_shape": [3, 3],
        "strides": [3, 2],
        "pads": [1, 1, 0, 0],
        "ceil_mode": 1,
    },
    "same_upper": {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "same_lower": {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    "valid": {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "VALID"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_max_pool(tmp_path: Path, case: str) -> None:
    network = compare(build([node("MaxPool", "x", **OPTIONS[case])], (N, 3, 8, 9)), tmp_path)
    assert kinds(network) == ["MaxPool"]


@pytest.mark.parametrize("included", [0, 1])
@pytest.mark.parametrize("case", OPTIONS)
def test_average_pool(tmp_path: Path, case: str, included: int) -> None:
    pool = node("AveragePool", "x", **OPTIONS[case], count_include_pad=included)
    network = compare(build([pool], (N, 3, 8, 9)), tmp_path)
    assert kinds(network) == ["AveragePool"]


def test_pools_of_opset_7(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", "x", kernel_shape=[2, 2], out="m"),
        node("AveragePool", "m", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    ]
    compare(build(nodes, (N, 3, 8, 9), opset=7), tmp_path)


def test_max_pool_with_dilations(tmp_path: Path) -> None:
    pool = node("MaxPool", "x", kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 1, 0])
    compare(build([pool], (N, 3, 8, 9)), tmp_path)


def test_average_pool_with_dilations_is_a_conv(tmp_path: Path) -> None:
    pool = node("AveragePool", "x", kernel_shape=[3, 2], dilations=[2, 3])
    assert kinds(compare(build([pool], (N, 3, 8, 9), opset=19), tmp_path)) == ["Conv"]


SHAPES = [
    (size, kernel, stride, begin, end)
    for size, kernel, stride in product((4, 5, 6, 7), (1, 2, 3), (1, 2, 3))
    for begin, end in product(range(kernel), range(kernel))
]


@pytest.mark.parametrize("included", [0, 1])
def test_ceil_mode_on_every_small_shape(tmp_path: Path, included: int) -> None:
    for size, kernel, stride, begin, end in SHAPES:
        options = {
            "kernel_shape": [kernel, 1],
            "strides": [stride, 1],
            "pads": [begin, 0, end, 0],
            "ceil_mode": 1,
        }
        kind = "AveragePool" if included else "MaxPool"
        extra = {"count_include_pad": included} if included else {}
        compare(build([node(kind, "x", **options, **extra)], (2, 1, size, 1)), tmp_path)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(tmp_path: Path, kind: str) -> None:
    network = compare(build([node(kind, "x")], (N, 3, 5, 4)), tmp_path)
    assert network.shape(network.output) == (3, 1, 1)


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("opset", [13, 18])
def test_reductions(tmp_path: Path, kind: str, axes: list[int], keep: int, opset: int) -> None:
    if opset < 18:
        reduce = node(kind, "x", axes=axes, keepdims=keep, out="r")
        constants = {}
    else:
        reduce = node(kind, "x", "axes", keepdims=keep, out="r")
        constants = {"axes": integers(*axes)}
    nodes = [reduce, node("Flatten", "r", out="f"), node("Gemm", "f", "w")]
    constants["w"] = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    compare(build(nodes, (N, 3, 5, 4), constants, opset=opset), tmp_path)


def test_reduction_in_channels_last_order(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", perm=[0, 2, 3, 1], out="t"),
        node("ReduceMean", "t", axes=[1, 2], keepdims=0),
    ]
    network = compare(build(nodes, (N, 3, 5, 4)), tmp_path)
    assert kinds(network) == ["AveragePool"]


def pad(out: str = "p", **attributes: object) -> NodeProto:
    return node("Pad", "x", "pads", out=out, **attributes)


PADS = {"pads": integers(0, 0, 1, 2, 0, 0, 2, 0)}
WEIGHT = np.random.default_rng(3).normal(size=(2, 3, 3, 3)).astype(np.float32)


def test_pad_joins_conv(tmp_path: Path) -> None:
    nodes = [pad(), node("Conv", "p", "w", pads=[1, 0, 0, 1])]
    network = compare(build(nodes, (N, 3, 5, 6), {**PADS, "w": WEIGHT}), tmp_path)
    ((_, conv),) = network.convs()
    assert conv.pads == (2, 2, 2, 1)


def test_pad_alone_is_a_depthwise_conv(tmp_path: Path) -> None:
    network = compare(build([pad(out="y")], (N, 3, 5, 6), PADS), tmp_path)
    ((_, conv),) = network.convs()
    assert (conv.groups, conv.kernel, conv.pads) == (3, (1, 1), (1, 2, 2, 0))


def test_pad_of_two_readers(tmp_path: Path) -> None:
    nodes = [pad(), node("Conv", "p", "w", out="c"), node("Conv", "p", "w", out="d")]
    nodes.append(node("Add", "c", "d"))
    network = compare(build(nodes, (N, 3, 5, 6), {**PADS, "w": WEIGHT}), tmp_path)
    assert kinds(network) == ["Conv", "Conv", "Add"]


@pytest.mark.parametrize("included", [0, 1])
def test_pad_joins_average_pool(tmp_path: Path, included: int) -> None:
    pool = node("AveragePool", "p", kernel_shape=[3, 3], strides=[2, 2], count_include_pad=included)
    network = compare(build([pad(), pool], (N, 3, 5, 6), PADS), tmp_path)
    (op,) = (each.op for each in network.nodes)
    assert isinstance(op, AveragePool)
    assert (op.pads, op.count_include_pad) == ((1, 2, 2, 0), True)


def test_pad_stays_before_average_pool_that_ignores_padding(tmp_path: Path) -> None:
    pool = node("AveragePool", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    network = compare(build([pad(), pool], (N, 3, 5, 6), PADS), tmp_path)
    assert kinds(network) == ["Conv", "AveragePool"]


@pytest.mark.parametrize("relu", [False, True])
def test_pad_joins_max_pool_where_nothing_is_negative(tmp_path: Path, relu: bool) -> None:
    nodes = [node("Relu", "x", out="r")] if relu else []
    nodes.append(node("Pad", "r" if relu else "x", "pads", out="p"))
    nodes.append(node("MaxPool", "p", kernel_shape=[3, 3], strides=[2, 2]))
    network = compare(build(nodes, (N, 3, 5, 6), PADS), tmp_path)
    last = network.nodes[-1].op
    assert isinstance(last, MaxPool)
    assert last.pads == ((1, 2, 2, 0) if relu else (0, 0, 0, 0))
    assert isinstance(network.nodes[0].op, Conv) != relu


def test_pad_with_axes_crop_and_old_attribute(tmp_path: Path) -> None:
    axes = {"pads": integers(1, -1, 0, 2), "axes": integers(3, 2)}
    model = build([node("Pad", "x", "pads", "", "axes")], (N, 3, 5, 6), axes, opset=18)
    assert kinds(compare(model, tmp_path)) == ["Conv"]
    old = build([node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 2, 0])], (N, 3, 5, 6), opset=10)
    assert kinds(compare(old, tmp_path)) == ["Conv"]


def test_pad_of_channels(tmp_path: Path) -> None:
    pads = {"pads": integers(0, 1, 0, 0, 0, 2, 0, 0)}
    network = compare(build([pad(out="y")], (N, 3, 5, 6), pads), tmp_path)
    assert network.shape(network.output) == (6, 5, 6)


@pytest.mark.parametrize("kind", ["Sigmoid", "Add", "Mul", "Concat", "Sum"])
def test_pad_comes_before_what_changes_zeros(tmp_path: Path, kind: str) -> None:
    last = {
        "Sigmoid": node("Sigmoid", "p"),
        "Add": node("Add", "p", "c"),
        "Mul": node("Mul", "p", "c"),
        "Concat": node("Concat", "p", "p", axis=1),
        "Sum": node("Sum", "p", "p"),
    }[kind]
    constants = {**PADS, "c": np.float32([1, 2, 3]).reshape(3, 1, 1)}
    compare(build([pad(), last], (N, 3, 5, 6), constants), tmp_path)


def test_wide_pad_stays_before_max_pool(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", out="r"),
        node("Pad", "r", "pads", out="p"),
        node("MaxPool", "p", kernel_shape=[2, 2]),
    ]
    pads = {"pads": integers(0, 0, 2, 0, 0, 0, 0, 3)}
    network = compare(build(nodes, (N, 3, 5, 6), pads), tmp_path)
    assert kinds(network) == ["Activation", "Conv", "MaxPool"]


@pytest.mark.parametrize("ceil", [0, 1])
def test_average_that_ignores_padding_keeps_its_divisors(tmp_path: Path, ceil: int) -> None:
    pads = [0, 0, 0, 0] if ceil else [1, 1, 1, 1]
    nodes = [
        node(
            "AveragePool",
            "x",
            kernel_shape=[2, 2],
            strides=[2, 2],
            pads=pads,
            ceil_mode=ceil,
            out="p",
        ),
        node("Mul", "p", "c"),
    ]
    scale = {"c": np.float32([1, 2, 3]).reshape(3, 1, 1)}
    network = compare(build(nodes, (N, 3, 5, 7), scale), tmp_path)
    assert kinds(network) == ["AveragePool", "Conv"]


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([pad(mode="reflect")], PADS, "pads with zeros"),
        ([node("Pad", "x", "pads", "v")], {**PADS, "v": np.float32(1)}, "not with 1.0"),
        ([pad()], {"pads": integers(1, 0, 0, 0, 0, 0, 0, 0)}, "images to a batch"),
        ([pad()], {"pads": integers(1, 0, 0)}, "do not fit"),
        ([pad()], {"pads": integers(0, 0, -3, 0, 0, 0, -2, 0)}, "empty"),
        ([pad()], {"pads": integers(0, 0, 1 << 40, 0, 0, 0, 0, 0)}, "more than"),
        ([node("MaxPool", "x", kernel_shape=[7, 1])], {}, "does not fit"),
        ([node("MaxPool", "x", kernel_shape=[2])], {}, "kernel_shape"),
        ([node("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 1])], {}, "strides"),
        (
            [node("MaxPool", "x", kernel_shape=[1, 1], pads=[1, 0, 0, 0])],
            {},
            "wholly in the padding",
        ),
        ([node("MaxPool", "x", kernel_shape=[1 << 40, 1])], {}, "does not fit"),
        ([node("ReduceMean", "x", axes=[1])], {}, "height and width alone"),
        ([node("ReduceMean", "x")], {}, "height and width alone"),
        ([node("LpPool", "x", kernel_shape=[2, 2])], {}, "does not implement this operator"),
    ],
)
def test_refusals(
    tmp_path: Path, nodes: list[NodeProto], constants: dict[str, np.ndarray], message: str
) -> None:
    model = build(nodes, (1, 3, 4, 5), constants, output=nodes[-1].output[0])
    with pytest.raises(ModelError, match=message) as caught:
        import_onnx(save(model, tmp_path))
    assert nodes[-1].name in str(caught.value)


def test_indices_of_maxima_are_refused(tmp_path: Path) -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y", "i"], "pool", kernel_shape=[2, 2])
    with pytest.raises(UnsupportedError, match="indices of maxima"):
        import_onnx(save(build([pool], (1, 3, 4, 5)), tmp_path))
