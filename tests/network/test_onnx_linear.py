"""Convolutions, matrix products and arithmetic with constants, each option against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper
from onnx_build import N, build, compare, save

from hwgen.errors import ModelError, UnsupportedError
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Activation, AveragePool, Conv, MaxPool, Network


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def kinds(network: Network) -> list[str]:
    return [type(each.op).__name__ for each in network.nodes]


CONVS = {
    "plain": ((4, 3, 3, 3), {}),
    "one_by_one": ((4, 3, 1, 1), {}),
    "oblong": ((4, 3, 1, 5), {"pads": [0, 2, 0, 2]}),
    "kernel_of_image": ((5, 3, 8, 9), {}),
    "strides": ((4, 3, 3, 3), {"strides": [2, 3]}),
    "dilations": ((4, 3, 3, 2), {"dilations": [2, 3]}),
    "pads": ((4, 3, 3, 3), {"pads": [1, 2, 0, 1]}),
    "groups": ((6, 1, 3, 3), {"group": 3}),
    "depthwise": ((3, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "kernel_shape": ((4, 3, 3, 3), {"kernel_shape": [3, 3]}),
    "everything": (
        (6, 1, 3, 3),
        {"group": 3, "pads": [2, 1, 1, 2], "strides": [2, 1], "dilations": [1, 2]},
    ),
    "same_upper": ((4, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same_lower": ((4, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "same_upper_even": ((4, 3, 2, 4), {"auto_pad": "SAME_UPPER"}),
    "same_lower_even": ((4, 3, 2, 4), {"auto_pad": "SAME_LOWER"}),
    "same_wide_strides": ((4, 3, 2, 2), {"auto_pad": "SAME_UPPER", "strides": [3, 4]}),
    "valid": ((4, 3, 4, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
    "notset": ((4, 3, 3, 3), {"auto_pad": "NOTSET", "pads": [1, 1, 1, 1]}),
}


@pytest.mark.parametrize("opset", [7, 17])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("case", CONVS)
def test_conv(tmp_path: Path, case: str, bias: bool, opset: int) -> None:
    shape, options = CONVS[case]
    constants = {"w": normal(*shape), "b": normal(shape[0], seed=2)}
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    if not bias:
        del constants["b"]
    model = build([node("Conv", *inputs, **options)], (N, 3, 8, 9), constants, opset=opset)
    assert kinds(compare(model, tmp_path)) == ["Conv"]


def test_conv_same_counts_the_dilation(tmp_path: Path) -> None:
    conv = node("Conv", "x", "w", auto_pad="SAME_LOWER", dilations=[2, 3], strides=[2, 2])
    model = build([conv], (N, 3, 8, 9), {"w": normal(4, 3, 3, 2)})
    ((each, op),) = import_onnx(save(model, tmp_path)).convs()
    assert op.pads == (2, 2, 1, 1)
    assert each.shape == (4, 4, 5)


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize(
    ("bias", "alpha", "beta"),
    [(None, 1, 1), ((4,), 0.5, 2), ((1, 4), 1, 1), ((1, 1), 1, 1), ((1,), 1, 1), ((), 2, 0.5)],
)
def test_gemm(
    tmp_path: Path, bias: tuple[int, ...] | None, alpha: float, beta: float, trans_b: int
) -> None:
    constants = {"w": normal(4, 6) if trans_b else normal(6, 4)}
    inputs = ["x", "w"]
    if bias is not None:
        constants["b"] = normal(*bias, seed=2)
        inputs.append("b")
    gemm = node("Gemm", *inputs, transB=trans_b, alpha=float(alpha), beta=float(beta))
    assert kinds(compare(build([gemm], (N, 6), constants), tmp_path)) == ["Conv"]


def test_gemm_with_transposed_input(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", perm=[1, 0], out="t"),
        node("Gemm", "t", "w", "b", transA=1),
    ]
    model = build(nodes, (3, 6), {"w": normal(6, 4), "b": normal(4)})
    assert kinds(compare(model, tmp_path)) == ["Conv"]


def test_gemm_opset_7_broadcast(tmp_path: Path) -> None:
    model = build(
        [node("Gemm", "x", "w", "b")], (2, 6), {"w": normal(6, 4), "b": normal(4)}, opset=7
    )
    assert kinds(compare(model, tmp_path)) == ["Conv"]


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1,), ()])
@pytest.mark.parametrize("first", [False, True])
def test_matmul_and_add(tmp_path: Path, shape: tuple[int, ...], first: bool) -> None:
    bias = ["b", "m"] if first else ["m", "b"]
    nodes = [node("MatMul", "x", "w", out="m"), node("Add", *bias)]
    model = build(nodes, (N, 6), {"w": normal(6, 4), "b": normal(*shape, seed=2)})
    assert kinds(compare(model, tmp_path)) == ["Conv"]


def test_matmul_over_pixels(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", perm=[0, 2, 3, 1], out="t"),
        node("MatMul", "t", "w", out="m"),
        node("Add", "m", "b", out="a"),
        node("Transpose", "a", perm=[0, 3, 1, 2]),
    ]
    model = build(nodes, (N, 3, 4, 5), {"w": normal(3, 6), "b": normal(6)})
    network = compare(model, tmp_path)
    assert [op.kernel for _, op in network.convs()] == [(1, 1)]


def test_matmul_over_rows_of_pixels(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x", "rows", out="f"),
        node("Transpose", "f", perm=[0, 2, 1], out="t"),
        node("MatMul", "t", "w", out="m"),
        node("Transpose", "m", perm=[0, 2, 1], out="u"),
        node("Reshape", "u", "image"),
    ]
    constants = {
        "w": normal(3, 6),
        "rows": np.array([0, 3, -1], dtype=np.int64),
        "image": np.array([0, 6, 4, 5], dtype=np.int64),
    }
    network = compare(build(nodes, (N, 3, 4, 5), constants), tmp_path)
    assert [op.kernel for _, op in network.convs()] == [(1, 1)]


def test_matmul_against_reshaped_weights(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "w", "ws", out="wr"),
        node("Reshape", "x", "xs", out="xr"),
        node("MatMul", "xr", "wr", out="m"),
        node("Add", "m", "b"),
    ]
    constants = {
        "w": normal(3, 4, 5, 7),
        "ws": np.array([60, 7], dtype=np.int64),
        "xs": np.array([1, 60], dtype=np.int64),
        "b": normal(1, 7),
    }
    model = build(nodes, (1, 3, 4, 5), constants, opset=8)
    network = compare(model, tmp_path)
    assert [op.kernel for _, op in network.convs()] == [(4, 5)]


def test_matmul_of_a_vector_with_leading_ones(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", "x", "one", out="u"), node("MatMul", "u", "w")]
    model = build(nodes, (N, 6), {"w": normal(1, 6, 4), "one": np.array([1], dtype=np.int64)})
    assert kinds(compare(model, tmp_path)) == ["Conv"]


BATCH_NORM = {
    "scale": normal(4),
    "shift": normal(4, seed=2),
    "mean": normal(4, seed=3),
    "var": np.abs(normal(4, seed=4)) + 0.1,
}


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_norm_folds_into_conv_before(tmp_path: Path, opset: int) -> None:
    nodes = [
        node("Conv", "x", "w", pads=[1, 1, 1, 1], out="c"),
        node("BatchNormalization", "c", *BATCH_NORM, epsilon=1e-3),
    ]
    model = build(nodes, (N, 3, 6, 6), {"w": normal(4, 3, 3, 3), **BATCH_NORM}, opset=opset)
    assert kinds(compare(model, tmp_path)) == ["Conv"]


def test_batch_norm_alone_is_a_depthwise_conv(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", out="r"), node("BatchNormalization", "r", *BATCH_NORM)]
    network = compare(build(nodes, (N, 4, 3, 5), BATCH_NORM), tmp_path)
    ((_, conv),) = network.convs()
    assert (conv.groups, conv.kernel) == (4, (1, 1))


def test_batch_norm_of_a_flattened_image(tmp_path: Path) -> None:
    statistics = {name: np.tile(each, 6)[:24] for name, each in BATCH_NORM.items()}
    statistics["shift"] = normal(24, seed=9)
    nodes = [
        node("Flatten", "x", out="f"),
        node("BatchNormalization", "f", *statistics, out="n"),
        node("Gemm", "n", "w"),
    ]
    network = compare(build(nodes, (N, 2, 3, 4), {"w": normal(24, 5), **statistics}), tmp_path)
    assert [op.kernel for _, op in network.convs()] == [(3, 4)]


CONSTANTS = {
    "scalar": (),
    "one": (1,),
    "channel": (4, 1, 1),
    "channel_with_batch": (1, 4, 1, 1),
    "uniform": (1, 1, 1, 1),
}


@pytest.mark.parametrize("shape", CONSTANTS)
@pytest.mark.parametrize(
    "inputs", [("x", "c"), ("c", "x")], ids=["constant_last", "constant_first"]
)
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_with_constants(
    tmp_path: Path, kind: str, inputs: tuple[str, str], shape: str
) -> None:
    model = build([node(kind, *inputs)], (N, 4, 3, 5), {"c": normal(*CONSTANTS[shape]) + 0.1})
    if kind == "Div" and inputs[0] == "c":
        with pytest.raises(UnsupportedError, match="divide by a tensor"):
            import_onnx(save(model, tmp_path))
        return
    network = compare(model, tmp_path)
    assert all(op.kernel == (1, 1) and op.groups == 4 for _, op in network.convs())


def test_sum_of_several_and_negation(tmp_path: Path) -> None:
    nodes = [node("Neg", "x", out="n"), node("Relu", "x", out="r"), node("Sum", "n", "c", "r", "x")]
    network = compare(build(nodes, (N, 4, 3, 5), {"c": normal(4, 1, 1)}), tmp_path)
    assert kinds(network).count("Add") == 1


def test_add_of_a_tensor_and_itself(tmp_path: Path) -> None:
    network = compare(build([node("Add", "x", "x")], (N, 4, 3, 5)), tmp_path)
    assert kinds(network) == ["Conv"]


def test_add_and_concat_of_a_tensor_and_its_copy(tmp_path: Path) -> None:
    nodes = [
        node("Mul", "x", "one", out="m"),
        node("Add", "m", "x", out="a"),
        node("Mul", "a", "one", out="n"),
        node("Concat", "a", "n", "a", axis=1),
    ]
    network = compare(build(nodes, (N, 2, 3, 5), {"one": np.float32(1)}), tmp_path)
    assert set(kinds(network)) == {"Conv"}


def test_difference_of_tensors(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", out="r"), node("Sub", "x", "r")]
    compare(build(nodes, (N, 4, 3, 5)), tmp_path)


def test_residual_block_and_concat(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x", "w", pads=[1, 1, 1, 1], out="c"),
        node("Add", "c", "x", out="a"),
        node("Relu", "a", out="r"),
        node("Concat", "r", "x", "c", axis=1),
    ]
    network = compare(build(nodes, (N, 4, 5, 6), {"w": normal(4, 4, 3, 3)}), tmp_path)
    assert kinds(network) == ["Conv", "Add", "Activation", "Concat"]
    assert network.shape(network.output) == (12, 5, 6)


def test_concat_of_flattened_branches(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], out="p"),
        node("Flatten", "p", out="pf"),
        node("Flatten", "x", out="xf"),
        node("Concat", "pf", "xf", axis=-1, out="c"),
        node("Gemm", "c", "w"),
    ]
    compare(build(nodes, (N, 2, 4, 6), {"w": normal(60, 3)}), tmp_path)


def test_concat_with_itself_and_with_zeros(tmp_path: Path) -> None:
    nodes = [
        node("Concat", "x", "x", "z", axis=1, out="c"),
        node("Conv", "c", "w"),
    ]
    constants = {"z": np.zeros((1, 1, 4, 4), np.float32), "w": normal(3, 5, 2, 2)}
    assert kinds(compare(build(nodes, (1, 2, 4, 4), constants), tmp_path)) == ["Conv"]


def test_trainable_pooling_is_one_depthwise_conv_and_one_tanh(tmp_path: Path) -> None:
    nodes = [
        node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], out="p"),
        node("Mul", "p", "a", out="m"),
        node("Add", "m", "b", out="s"),
        node("Mul", "s", "steep", out="t"),
        node("Tanh", "t", out="h"),
        node("Mul", "h", "gain"),
    ]
    constants = {
        "a": normal(4, 1, 1),
        "b": normal(4, 1, 1, seed=2),
        "steep": np.float32(2 / 3),
        "gain": np.float32(1.7159),
    }
    network = compare(build(nodes, (N, 4, 6, 8), constants), tmp_path)
    pool, tanh = (each.op for each in network.nodes)
    assert isinstance(pool, Conv)
    assert (pool.groups, pool.kernel, pool.strides) == (4, (2, 2), (2, 2))
    np.testing.assert_allclose(pool.weight[:, 0, 0, 0], constants["a"].ravel() / 4, rtol=1e-6)
    assert isinstance(tanh, Activation)
    assert tanh.kind == "tanh"
    assert (tanh.pre, tanh.post) == pytest.approx((2 / 3, 1.7159))


def test_uniform_scale_joins_the_average_pool(tmp_path: Path) -> None:
    nodes = [
        node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 0, 0], out="p"),
        node("Mul", "p", "a"),
    ]
    network = compare(build(nodes, (N, 4, 6, 8), {"a": np.float32(3)}), tmp_path)
    (pool,) = (each.op for each in network.nodes)
    assert isinstance(pool, AveragePool)
    assert pool.gain == 3


def test_input_normalisation_before_padding_stays(tmp_path: Path) -> None:
    nodes = [
        node("Sub", "x", "mean", out="s"),
        node("Div", "s", "std", out="d"),
        node("Conv", "d", "w", pads=[1, 1, 1, 1]),
    ]
    constants = {
        "mean": normal(3, 1, 1),
        "std": np.abs(normal(3, 1, 1, seed=3)) + 0.5,
        "w": normal(4, 3, 3, 3),
    }
    assert kinds(compare(build(nodes, (N, 3, 5, 5), constants), tmp_path)) == ["Conv", "Conv"]


def test_input_normalisation_without_padding_folds(tmp_path: Path) -> None:
    nodes = [
        node("Sub", "x", "mean", out="s"),
        node("Mul", "s", "gain", out="d"),
        node("Conv", "d", "w", group=2),
    ]
    constants = {"mean": normal(4, 1, 1), "gain": normal(4, 1, 1), "w": normal(6, 2, 3, 3)}
    assert kinds(compare(build(nodes, (N, 4, 5, 5), constants), tmp_path)) == ["Conv"]


def test_scale_after_relu_joins_the_next_conv(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", out="r"),
        node("Mul", "r", "a", out="m"),
        node("Conv", "m", "w", pads=[1, 1, 1, 1]),
    ]
    constants = {"a": np.float32(-0.3), "w": normal(4, 3, 3, 3)}
    network = compare(build(nodes, (N, 3, 5, 5), constants), tmp_path)
    assert kinds(network) == ["Activation", "Conv"]


def test_scale_between_relu_and_pool_joins_the_relu(tmp_path: Path) -> None:
    nodes = [
        node("Mul", "x", "b", out="n"),
        node("Relu", "n", out="r"),
        node("Mul", "r", "a", out="m"),
        node("MaxPool", "m", kernel_shape=[2, 2]),
    ]
    constants = {"a": np.float32(-0.3), "b": np.float32(-2)}
    network = compare(build(nodes, (N, 3, 5, 5), constants), tmp_path)
    relu, pool = (each.op for each in network.nodes)
    assert isinstance(relu, Activation)
    assert (relu.pre, relu.post) == pytest.approx((-2, -0.3))
    assert isinstance(pool, MaxPool)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("pads", [0, 1])
def test_batch_norm_before_a_max_pool_joins_the_conv_behind_if_all_gains_are_positive(
    tmp_path: Path, sign: int, pads: int
) -> None:
    # opposite gains would turn the maximum into a minimum; an offset would miss the padding
    gains = BATCH_NORM | {"scale": np.abs(BATCH_NORM["scale"]) * np.array([1, sign, 1, 1], "f4")}
    nodes = [
        node("Relu", "x", out="r"),
        node("BatchNormalization", "r", *gains, out="n"),
        node("MaxPool", "n", out="m", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 1, 0, 1]),
        node("Conv", "m", "w", pads=[pads] * 4),
    ]
    network = compare(build(nodes, (N, 4, 6, 7), {"w": normal(5, 4, 2, 2), **gains}), tmp_path)
    convs = 1 if sign > 0 and not pads else 2
    assert len([op for _, op in network.convs()]) == convs


def test_scale_of_a_shared_conv_is_not_folded(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x", "w", out="c"),
        node("Mul", "c", "a", out="m"),
        node("Concat", "c", "m", axis=1),
    ]
    constants = {"a": normal(4, 1, 1), "w": normal(4, 3, 3, 3)}
    compare(build(nodes, (N, 3, 5, 5), constants), tmp_path)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Mul", "x", "x")], {}, "multiply two tensors"),
        ([node("Mul", "x", "c")], {"c": normal(4, 5)}, "one number a channel"),
        ([node("Add", "x", "c")], {"c": normal(1, 1, 4, 5)}, "one number a channel"),
        ([node("Div", "x", "c")], {"c": np.float32(0)}, "divides by zero"),
        ([node("Mul", "x", "c")], {"c": np.float32(np.nan)}, "NaN or infinity"),
        ([node("MatMul", "c", "x")], {"c": normal(4, 4)}, "second factor"),
        (
            [node("GlobalAveragePool", "x", out="g"), node("Add", "x", "g")],
            {},
            "without broadcasting",
        ),
        ([node("Concat", "x", "x", axis=0)], {}, "along the batch"),
        ([node("Concat", "x", "c", axis=1)], {"c": normal(1, 1, 4, 5)}, "append zeros"),
        ([node("Conv", "x", "c")], {"c": normal(2, 2, 3, 3)}, "input of 3 channels"),
        ([node("Conv", "x", "c")], {"c": normal(2, 3, 7, 3)}, "does not fit an input"),
        ([node("Conv", "x", "c")], {"c": normal(2, 3, 3)}, "weights must be"),
        ([node("Conv", "x", "c")], {"c": normal(2, 3, 3, 3) + np.inf}, "NaN or infinity"),
        ([node("Conv", "x", "c")], {"c": normal(0, 3, 3, 3)}, "weights must be"),
        ([node("Conv", "x", "x")], {}, "input 1 must be constant"),
        ([node("Conv", "x", "c", strides=[0, 1])], {"c": normal(2, 3, 3, 3)}, "strides"),
        ([node("Conv", "x", "c", pads=[-1, 0, 0, 0])], {"c": normal(2, 3, 3, 3)}, "pads"),
        ([node("Conv", "x", "c", auto_pad="SAME")], {"c": normal(2, 3, 3, 3)}, "auto_pad"),
        ([node("Conv", "x", "c", group=2)], {"c": normal(2, 3, 3, 3)}, "groups"),
        ([node("Conv", "x", "c", group=0)], {"c": normal(2, 3, 3, 3)}, "groups"),
        ([node("Gemm", "x", "c")], {"c": normal(3, 4)}, "two dimensions"),
    ],
)
def test_refusals(
    tmp_path: Path, nodes: list[NodeProto], constants: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        import_onnx(save(build(nodes, (1, 3, 4, 5), constants), tmp_path))
    assert nodes[-1].name in str(caught.value)
    assert "\n" not in str(caught.value)
