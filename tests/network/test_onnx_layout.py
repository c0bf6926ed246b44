"""Operators that move elements, and constant subgraphs, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_build import N, build, compare, save

from hwgen.errors import ModelError
from hwgen.network.frontend.layout import selection
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv, Network


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def kinds(network: Network) -> list[str]:
    return [type(each.op).__name__ for each in network.nodes]


def convs(network: Network) -> list[Conv]:
    return [op for _, op in network.convs()]


SHAPE = (N, 3, 4, 5)

INTO_DENSE = {
    "flatten": ([node("Flatten", "x", out="f")], {}),
    "flatten_negative_axis": ([node("Flatten", "x", out="f", axis=-3)], {}),
    "reshape": ([node("Reshape", "x", "s", out="f")], {"s": integers(-1, 60)}),
    "reshape_copy": ([node("Reshape", "x", "s", out="f")], {"s": integers(0, -1)}),
    "transpose": (
        [node("Transpose", "x", out="t", perm=[0, 2, 3, 1]), node("Flatten", "t", out="f")],
        {},
    ),
    "two_transposes": (
        [
            node("Transpose", "x", out="t", perm=[0, 1, 3, 2]),
            node("Relu", "t", out="r"),
            node("Transpose", "r", out="u", perm=[0, 3, 1, 2]),
            node("Flatten", "u", out="f"),
        ],
        {},
    ),
    "computed_shape": (
        [
            node("Shape", "x", out="sh"),
            node("Gather", "sh", "zero", out="n", axis=0),
            node("Unsqueeze", "n", "axis", out="n1"),
            node("Concat", "n1", "rest", out="s", axis=0),
            node("Reshape", "x", "s", out="f"),
        ],
        {"zero": np.array(0, dtype=np.int64), "axis": integers(0), "rest": integers(-1)},
    ),
    "slice": (
        [
            node("Slice", "x", "b", "e", "a", "s", out="t"),
            node("Flatten", "t", out="u"),
            node("Gemm", "u", "v", out="f"),
        ],
        {
            "b": integers(3, 1),
            "e": integers(-(1 << 63), (1 << 63) - 1),
            "a": integers(2, 3),
            "s": integers(-1, 2),
            "v": normal(24, 60),
        },
    ),
    "gather": (
        [
            node("Gather", "x", "g", out="t", axis=1),
            node("Flatten", "t", out="u"),
            node("Gemm", "u", "v", out="f"),
        ],
        {"g": integers(2, 0, 2, -1), "v": normal(80, 60)},
    ),
}


@pytest.mark.parametrize("case", INTO_DENSE)
def test_arrangements_join_the_next_dense_layer(tmp_path: Path, case: str) -> None:
    nodes, constants = INTO_DENSE[case]
    dense = node("Gemm", "f", "w")
    network = compare(build([*nodes, dense], SHAPE, {**constants, "w": normal(60, 4)}), tmp_path)
    assert convs(network)[0].kernel == (4, 5)
    assert convs(network)[0].groups == 1


def test_flatten_then_activation_then_dense(tmp_path: Path) -> None:
    nodes = [
        node("Flatten", "x", out="f"),
        node("Relu", "f", out="r"),
        node("Mul", "r", "c", out="m"),
        node("Gemm", "m", "w"),
    ]
    network = compare(build(nodes, SHAPE, {"c": np.float32(3), "w": normal(60, 4)}), tmp_path)
    assert kinds(network) == ["Activation", "Conv"]


def test_channels_last_model(tmp_path: Path) -> None:
    nodes = [
        node("Div", "x", "range", out="d"),
        node("Transpose", "d", perm=[0, 3, 1, 2], out="t"),
        node("Conv", "t", "w", out="c"),
        node("Transpose", "c", perm=[0, 2, 3, 1], out="u"),
        node("Add", "u", "b"),
    ]
    constants = {"range": np.float32(255), "w": normal(4, 3, 3, 3), "b": normal(4)}
    network = compare(build(nodes, (N, 5, 6, 3), constants), tmp_path, images_first=False)
    assert network.input_shape == (3, 5, 6)
    assert kinds(network) == ["Conv"]


@pytest.mark.parametrize("written", ["initialiser", "Constant"])
def test_vector_that_becomes_an_image(tmp_path: Path, written: str) -> None:
    shape = integers(-1, 1, 5, 6)
    nodes = [node("Reshape", "x", "s", out="i"), node("Conv", "i", "w")]
    constants = {"w": normal(4, 1, 3, 3)}
    if written == "initialiser":
        constants["s"] = shape
    else:
        nodes.insert(0, node("Constant", out="s", value=numpy_helper.from_array(shape)))
    network = compare(build(nodes, (N, 30), constants), tmp_path)
    assert network.input_shape == (1, 5, 6)
    assert kinds(network) == ["Conv"]


def test_image_without_channels(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", "x", "one", out="u"), node("Conv", "u", "w")]
    model = build(nodes, (N, 5, 6), {"w": normal(4, 1, 3, 3), "one": integers(1)})
    network = import_onnx(save(model, tmp_path))
    assert network.input_shape == (1, 5, 6)


@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze_and_unsqueeze(tmp_path: Path, opset: int) -> None:
    constants = {"w": normal(3, 2), "v": normal(2, 2, 1, 1)}
    if opset < 13:
        squeeze = node("Squeeze", "g", out="q", axes=[2, 3])
        unsqueeze = node("Unsqueeze", "d", out="u", axes=[2, 3])
    else:
        squeeze = node("Squeeze", "g", "axes", out="q")
        unsqueeze = node("Unsqueeze", "d", "axes", out="u")
        constants["axes"] = integers(2, 3)
    nodes = [
        node("GlobalAveragePool", "x", out="g"),
        squeeze,
        node("Gemm", "q", "w", out="d"),
        unsqueeze,
        node("Conv", "u", "v"),
    ]
    compare(build(nodes, SHAPE, constants, opset=opset), tmp_path)


def test_squeezed_batch_of_one(tmp_path: Path) -> None:
    nodes = [
        node("GlobalAveragePool", "x", out="g"),
        node("Squeeze", "g", out="q"),
        node("MatMul", "q", "w", out="m"),
        node("Unsqueeze", "m", "zero"),
    ]
    constants = {"w": normal(3, 2), "zero": integers(0)}
    compare(build(nodes, (1, 3, 4, 5), constants), tmp_path)


def test_fixed_batch_of_several(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "s", out="f"), node("Gemm", "f", "w")]
    compare(build(nodes, (4, 3, 4, 5), {"s": integers(4, -1), "w": normal(60, 2)}), tmp_path)


def test_channel_shuffle_joins_the_next_conv(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x", "five", out="a"),
        node("Transpose", "a", perm=[0, 2, 1, 3, 4], out="b"),
        node("Reshape", "b", "four", out="c"),
        node("Conv", "c", "w"),
    ]
    constants = {
        "five": integers(0, 2, 3, 4, 5),
        "four": integers(0, 6, 4, 5),
        "w": normal(2, 6, 3, 3),
    }
    network = compare(build(nodes, (N, 6, 4, 5), constants), tmp_path)
    assert kinds(network) == ["Conv"]


def test_channel_shuffle_reorders_the_filters_before_it(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x", "w", "b", out="c"),
        node("Gather", "c", "order", axis=1),
    ]
    constants = {"w": normal(4, 3, 3, 3), "b": normal(4), "order": integers(2, 0, 3, 1)}
    network = compare(build(nodes, SHAPE, constants), tmp_path)
    assert kinds(network) == ["Conv"]


def split(*outputs: str, inputs: tuple[str, ...] = ("x",), **attributes: object) -> NodeProto:
    return helper.make_node("Split", list(inputs), list(outputs), "split", **attributes)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split_and_join(tmp_path: Path, opset: int) -> None:
    constants = {"w": normal(1, 1, 1, 1)}
    if opset == 11:
        first = split("a", "b", axis=1, split=[1, 2])
    else:
        first = split("a", "b", inputs=("x", "sizes"), axis=1)
        constants["sizes"] = integers(1, 2)
    nodes = [
        first,
        node("Conv", "a", "w", out="c"),
        node("Relu", "b", out="r"),
        node("Concat", "r", "c", axis=1),
    ]
    compare(build(nodes, SHAPE, constants, opset=opset), tmp_path)


def test_split_in_equal_parts(tmp_path: Path) -> None:
    nodes = [split("a", "b", axis=3), node("Sub", "a", "b")]
    compare(build(nodes, (N, 3, 4, 6)), tmp_path)


def test_strided_shortcut_with_zero_channels(tmp_path: Path) -> None:
    nodes = [
        node("Slice", "x", "b", "e", "a", "s", out="t"),
        node("Pad", "t", "pads", out="p"),
        node("Conv", "x", "w", strides=[2, 2], pads=[1, 1, 1, 1], out="c"),
        node("Add", "p", "c"),
    ]
    constants = {
        "b": integers(0, 0),
        "e": integers(99, 99),
        "a": integers(2, 3),
        "s": integers(2, 2),
        "pads": integers(0, 1, 0, 0, 0, 2, 0, 0),
        "w": normal(6, 3, 3, 3),
    }
    network = compare(build(nodes, (N, 3, 6, 7), constants), tmp_path)
    shortcut = next(op for op in convs(network) if op.kernel == (1, 1))
    assert (shortcut.strides, len(shortcut.weight)) == ((2, 2), 6)


@pytest.mark.parametrize("kernel", [1, 3])
def test_strided_slice_before_conv(tmp_path: Path, kernel: int) -> None:
    nodes = [
        node("Slice", "x", "b", "e", "a", "s", out="t"),
        node("Conv", "t", "w", strides=[1, 2]),
    ]
    constants = {
        "b": integers(0, 0),
        "e": integers(99, 99),
        "a": integers(2, 3),
        "s": integers(2, 3),
        "w": normal(2, 3, kernel, kernel),
    }
    network = compare(build(nodes, (N, 3, 8, 13), constants), tmp_path)
    strides = [op.strides for op in convs(network)]
    assert strides == ([(2, 6)] if kernel == 1 else [(2, 3), (1, 2)])


CROPS = {
    "begin": ((1, 2), (99, 99), (1, 1)),
    "end": ((0, 0), (-1, -2), (1, 1)),
    "middle": ((1, 2), (5, 6), (1, 1)),
    "strided": ((1, 0), (99, 99), (2, 3)),
    "strided_middle": ((1, 2), (5, 7), (2, 2)),
    "one_pixel": ((2, 3), (3, 4), (1, 1)),
}


@pytest.mark.parametrize("case", CROPS)
def test_crop(tmp_path: Path, case: str) -> None:
    begins, ends, steps = CROPS[case]
    constants = {
        "b": integers(*begins),
        "e": integers(*ends),
        "a": integers(2, 3),
        "s": integers(*steps),
    }
    crop = node("Slice", "x", "b", "e", "a", "s")
    network = compare(build([crop], (N, 3, 7, 8), constants), tmp_path)
    assert all(op.groups == 3 for op in convs(network))


def test_old_slice(tmp_path: Path) -> None:
    crop = node("Slice", "x", starts=[1, 0], ends=[3, 4], axes=[2, 3])
    compare(build([crop], SHAPE, opset=9), tmp_path)


def test_selection_matches_its_arrangement_or_is_refused() -> None:
    rng = np.random.default_rng(0)
    shape = (2, 5, 4)
    flat = np.arange(40).reshape(shape)
    made = 0
    for _ in range(300):
        padded = np.pad(
            flat, ((0, 0), *rng.integers(0, 3, size=(2, 2)).tolist()), constant_values=-1
        )
        index = padded[
            rng.integers(0, 2, size=int(rng.integers(1, 4))),
            int(rng.integers(0, 3)) :: int(rng.integers(1, 3)),
        ][:, :, int(rng.integers(0, 3)) :: int(rng.integers(1, 3))]
        after = [(0, 0), (int(rng.integers(0, 2)), int(rng.integers(0, 2))), (0, 0)]
        index = np.pad(index, after, constant_values=-1)
        conv = selection(index, shape)
        if conv is None:
            continue
        made += 1
        values = rng.normal(size=shape)
        expected = np.where(index < 0, 0, values.ravel()[index])
        np.testing.assert_array_equal(apply_directly(conv, values), expected)
    assert made > 150


def test_pad_of_a_crop(tmp_path: Path) -> None:
    nodes = [node("Slice", "x", "b", "e", "a", out="t"), node("Pad", "t", "pads")]
    constants = {
        "b": integers(1, 1),
        "e": integers(3, 4),
        "a": integers(2, 3),
        "pads": integers(0, 0, 1, 2, 0, 0, 2, 1),
    }
    network = compare(build(nodes, SHAPE, constants), tmp_path)
    assert kinds(network) == ["Conv", "Conv"]


def test_irregular_rows_are_refused(tmp_path: Path) -> None:
    model = build([node("Gather", "x", "g", axis=2)], SHAPE, {"g": integers(0, 1, 3)})
    with pytest.raises(ModelError, match="cannot rearrange"):
        import_onnx(save(model, tmp_path))


def test_one_pixel_amid_padding(tmp_path: Path) -> None:
    nodes = [node("Slice", "x", "b", "e", "a", out="t"), node("Pad", "t", "pads")]
    constants = {
        "b": integers(2, 1),
        "e": integers(3, 2),
        "a": integers(2, 3),
        "pads": integers(0, 0, 1, 2, 0, 0, 2, 1),
    }
    network = compare(build(nodes, SHAPE, constants), tmp_path)
    assert network.shape(network.output) == (3, 4, 4)


def apply_directly(op: Conv, x: np.ndarray) -> np.ndarray:
    top, left, bottom, right = op.pads
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    oh = (x.shape[1] - op.kernel[0]) // op.strides[0] + 1
    ow = (x.shape[2] - op.kernel[1]) // op.strides[1] + 1
    out = np.zeros((len(op.weight), oh, ow))
    for o, i, j in np.ndindex(out.shape):
        r, s = i * op.strides[0], j * op.strides[1]
        part = x[:, r : r + op.kernel[0], s : s + op.kernel[1]]
        part = part if op.groups == 1 else part[o : o + 1]
        out[o, i, j] = (op.weight[o] * part).sum()
    return out


def test_dropout_identity_and_cast_vanish(tmp_path: Path) -> None:
    nodes = [
        node("Identity", "x", out="a"),
        node("Cast", "a", to=TensorProto.FLOAT, out="b"),
        node("Dropout", "b", out="c"),
        node("Expand", "c", "s", out="d"),
        node("Relu", "d"),
    ]
    network = compare(build(nodes, SHAPE, {"s": integers(1, 1, 4, 1)}), tmp_path)
    assert kinds(network) == ["Activation"]


def test_old_dropout(tmp_path: Path) -> None:
    nodes = [node("Dropout", "x", ratio=0.3, out="d"), node("Relu", "d")]
    assert kinds(compare(build(nodes, SHAPE, opset=7), tmp_path)) == ["Activation"]


def test_integer_input(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", to=TensorProto.FLOAT, out="f"), node("Conv", "f", "w")]
    model = build(nodes, SHAPE, {"w": normal(2, 3, 2, 2)}, input_type=TensorProto.UINT8)
    x = np.random.default_rng(0).integers(0, 256, size=(3, 3, 4, 5)).astype(np.uint8)
    compare(model, tmp_path, x=x)


def test_half_precision_weights(tmp_path: Path) -> None:
    nodes = [node("Cast", "h", to=TensorProto.FLOAT, out="w"), node("Conv", "x", "w")]
    compare(build(nodes, SHAPE, {"h": normal(2, 3, 2, 2).astype(np.float16)}), tmp_path)


def test_constant_subgraph_of_weights(tmp_path: Path) -> None:
    nodes = [
        node("ConstantOfShape", "four", out="ones", value=helper.make_tensor("v", 1, [1], [0.5])),
        node("Mul", "w0", "ones", out="w1"),
        node("Transpose", "w1", perm=[1, 0, 2, 3], out="w2"),
        node("Sqrt", "b0", out="b1"),
        node("Range", "zero", "two", "one", out="r"),
        node("Cast", "r", to=TensorProto.FLOAT, out="rf"),
        node("Add", "b1", "rf", out="b"),
        node("Conv", "x", "w2", "b"),
    ]
    constants = {
        "four": integers(3, 2, 2, 2),
        "w0": normal(3, 2, 2, 2),
        "b0": np.float32([4, 9]),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "two": np.array(2, np.int64),
    }
    assert kinds(compare(build(nodes, SHAPE, constants), tmp_path)) == ["Conv"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"value_float": 2.5},
        {"value_floats": [2.5, -1.0, 0.5, 3.0, 4.0]},
        {"value": numpy_helper.from_array(np.float32([[2.0]]))},
    ],
)
def test_forms_of_constant(tmp_path: Path, attributes: dict[str, object]) -> None:
    nodes = [
        node("Constant", out="c", **attributes),
        node("Reshape", "x", "s", out="r"),
        node("Mul", "r", "c"),
    ]
    compare(build(nodes, (N, 5, 1, 1), {"s": integers(0, 5)}), tmp_path)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        (
            [node("Reshape", "x", "s")],
            {"s": integers(-1, 2)},
            "mix the images of a batch \\(2, 3, 4, 5\\)",
        ),
        ([node("Reshape", "x", "s")], {"s": integers(7, 7)}, "of another size"),
        ([node("Reshape", "x", "s")], {"s": integers(-1, 7)}, "cannot take the shape"),
        ([node("Reshape", "x", "s")], {"s": integers(-1, -1, 5)}, "of another size"),
        ([node("Reshape", "x", "s")], {"s": integers(0, 3, 4, 5, 0)}, "copies a dimension"),
        ([node("Transpose", "x", perm=[0, 1])], {}, "no order"),
        (
            [node("Transpose", "x", perm=[1, 0, 2, 3], out="t"), node("Conv", "t", "w")],
            {"w": normal(1, 2, 1, 1)},
            "needs images",
        ),
        ([node("Gather", "x", "s", axis=0)], {"s": integers(0)}, "some images"),
        ([node("Gather", "x", "s", axis=1)], {"s": integers(3)}, "range of 3"),
        ([node("Slice", "x", "s", "s", "s")], {"s": integers(1)}, "empty"),
        ([node("Expand", "x", "s")], {"s": integers(1, 3, 4, 50)}, "repeat"),
        ([node("Squeeze", "x", "s")], {"s": integers(1)}, "not all of size 1"),
        ([node("Flatten", "x", axis=7)], {}, "does not exist"),
        ([node("Cast", "x", to=TensorProto.INT64)], {}, "floating point alone"),
        ([node("Tile", "x", "s")], {"s": integers(1, 1, 2, 2)}, "does not implement"),
        (
            [
                node("Transpose", "x", perm=[0, 1, 3, 2], out="t"),
                node("Relu", "t", out="r"),
                node("GlobalAveragePool", "r", out="g"),
                node("Conv", "t", "w"),
            ],
            {"w": normal(1, 3, 1, 1)},
            "cannot rearrange",
        ),
        (
            [node("ConstantOfShape", "s", out="c"), node("Add", "x", "c")],
            {"s": integers(1 << 30, 1 << 30)},
            "would hold",
        ),
        (
            [node("Add", "c", "d", out="s"), node("Add", "x", "s")],
            {"c": normal(30000, 1), "d": normal(1, 30000)},
            "would hold",
        ),
        (
            [node("Add", "c", "d", out="s"), node("Add", "x", "s")],
            {"c": normal(3), "d": normal(2)},
            "fit together",
        ),
        (
            [node("Reshape", "c", "s", out="r"), node("Add", "x", "r")],
            {"c": normal(3), "s": integers(2)},
            "fails on its constant",
        ),
        (
            [node("NonZero", "c", out="r"), node("Add", "x", "r")],
            {"c": normal(3)},
            "on constants",
        ),
    ],
)
def test_refusals(
    tmp_path: Path, nodes: list[NodeProto], constants: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        import_onnx(save(build(nodes, (2, 3, 4, 5), constants), tmp_path))
    assert "node '" in str(caught.value)
