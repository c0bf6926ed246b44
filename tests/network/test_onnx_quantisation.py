"""QDQ and QONNX models: weights fold, activations become quantisers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx_build import N, build, compare, save

from hwgen.errors import ModelError
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv, Network, PiecewiseLinear, Quantise

QONNX = "qonnx.custom_op.general"


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def kinds(network: Network) -> list[str]:
    return [type(each.op).__name__ for each in network.nodes]


def ties() -> np.ndarray:
    return (np.arange(-600, 600, dtype=np.float32) / 4).reshape(1, 3, 20, 20)


@pytest.mark.parametrize(
    ("dtype", "zero", "lo", "hi"),
    [
        (np.uint8, 0, 0, 255),
        (np.uint8, 3, -3, 252),
        (np.int8, 0, -128, 127),
        (np.int8, -7, -121, 134),
    ],
)
def test_qdq_of_activations(
    tmp_path: Path, dtype: type[np.generic], zero: int, lo: int, hi: int
) -> None:
    nodes = [
        node("QuantizeLinear", "x", "s", "z", out="q"),
        node("DequantizeLinear", "q", "s", "z"),
    ]
    model = build(nodes, (1, 3, 20, 20), {"s": np.float32(0.5), "z": np.array(zero, dtype)})
    network = compare(model, tmp_path, x=ties())
    (op,) = (each.op for each in network.nodes)
    assert op == Quantise(0.5, 0.0, lo, hi)


def test_qdq_model(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "x", "s", "z", out="q"),
        node("DequantizeLinear", "q", "s", "z", out="d"),
        node("DequantizeLinear", "wq", "ws", "wz", axis=0, out="w"),
        node("DequantizeLinear", "bq", "bs", out="b"),
        node("Conv", "d", "w", "b", pads=[1, 1, 1, 1], out="c"),
        node("Relu", "c", out="r"),
        node("QuantizeLinear", "r", "s", "z", out="rq"),
        node("MaxPool", "rq", kernel_shape=[2, 2], strides=[2, 2], out="p0"),
        node("DequantizeLinear", "p0", "s", "z", out="p"),
        node("Flatten", "p", out="f"),
        node("Gemm", "f", "g"),
    ]
    rng = np.random.default_rng(1)
    constants = {
        "s": np.float32(0.05),
        "z": np.array(0, np.uint8),
        "wq": rng.integers(-127, 128, size=(4, 3, 3, 3)).astype(np.int8),
        "ws": np.float32([0.01, 0.02, 0.005, 0.03]),
        "wz": np.zeros(4, np.int8),
        "bq": rng.integers(-999, 999, size=4).astype(np.int32),
        "bs": np.float32(0.0005),
        "g": normal(36, 5),
    }
    with pytest.raises(ModelError, match="quantised integers"):
        import_onnx(save(build(nodes, (N, 3, 6, 6), constants), tmp_path))
    nodes[7:9] = [
        node("DequantizeLinear", "rq", "s", "z", out="p0"),
        node("MaxPool", "p0", kernel_shape=[2, 2], strides=[2, 2], out="p"),
    ]
    network = compare(build(nodes, (N, 3, 6, 6), constants), tmp_path)
    assert kinds(network) == ["Quantise", "Conv", "Activation", "Quantise", "MaxPool", "Conv"]


def test_qdq_nodes_of_onnxruntime(tmp_path: Path) -> None:
    domain = "com.microsoft"
    nodes = [
        node("QuantizeLinear", "x", "s", "z", out="q", domain=domain),
        node("DequantizeLinear", "q", "s", "z", out="d", domain=domain),
        node("DequantizeLinear", "wq", "s", "wz", out="w", domain=domain),
        node("Conv", "d", "w"),
    ]
    constants = {
        "s": np.float32(0.05),
        "z": np.array(900, np.uint16),
        "wq": np.arange(-4, 4, dtype=np.int16).reshape(2, 1, 2, 2),
        "wz": np.array(1, np.int16),
    }
    network = compare(build(nodes, (N, 1, 4, 4), constants, domains=[domain]), tmp_path)
    assert kinds(network) == ["Quantise", "Conv"]


def test_reshape_between_quantise_and_dequantise(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "x", "s", "z", out="q"),
        node("Flatten", "q", out="f"),
        node("DequantizeLinear", "f", "s", "z", out="d"),
        node("Gemm", "d", "w"),
    ]
    constants = {"s": np.float32(0.05), "z": np.array(9, np.uint8), "w": normal(12, 5)}
    assert kinds(compare(build(nodes, (N, 3, 2, 2), constants), tmp_path)) == ["Quantise", "Conv"]


def test_dequantise_with_other_parameters(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "x", "s", "z", out="q"),
        node("DequantizeLinear", "q", "t", "u"),
    ]
    constants = {
        "s": np.float32(0.5),
        "z": np.array(3, np.uint8),
        "t": np.float32(0.25),
        "u": np.array(5, np.uint8),
    }
    compare(build(nodes, (1, 3, 20, 20), constants), tmp_path, x=ties())


def test_quantised_input(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", "x", "s", "z", out="d"), node("Conv", "d", "w")]
    constants = {"s": np.float32(0.1), "z": np.array(3, np.uint8), "w": normal(2, 3, 2, 2)}
    model = build(nodes, (N, 3, 4, 4), constants, input_type=TensorProto.UINT8)
    x = np.random.default_rng(0).integers(0, 256, size=(3, 3, 4, 4)).astype(np.uint8)
    compare(model, tmp_path, x=x)


def quant(source: str, out: str, *, bits: str = "bits", **attributes: object) -> NodeProto:
    name = f"quant_{out}"
    inputs = [source, "s", "z", bits]
    return helper.make_node("Quant", inputs, [out], name, domain=QONNX, **attributes)


@pytest.mark.parametrize("domain", [QONNX, "onnx.brevitas"])
@pytest.mark.parametrize(
    ("signed", "narrow", "lo", "hi"), [(1, 0, -8, 7), (1, 1, -7, 7), (0, 0, 0, 15), (0, 1, 0, 14)]
)
def test_qonnx_activations(
    tmp_path: Path, domain: str, signed: int, narrow: int, lo: int, hi: int
) -> None:
    each = quant("x", "y", signed=signed, narrow=narrow, rounding_mode="ROUND")
    each.domain = domain
    constants = {"s": np.float32(0.5), "z": np.float32(0), "bits": np.float32(4)}
    model = build([each], (1, 3, 20, 20), constants, domains=[domain])
    network = import_onnx(save(model, tmp_path))
    assert network.nodes[0].op == Quantise(0.5, 0.0, lo, hi)
    expected = np.clip(np.rint(ties() / 0.5), lo, hi) * 0.5
    np.testing.assert_array_equal(run(network, ties()), expected)


ROUNDED = {
    "ROUND": [-2, -2, -1, -0.0, 0, 1, 2, 2, 2],
    "CEIL": [-2, -1, -1, -0.0, 1, 1, 2, 2, 3],
    "FLOOR": [-3, -2, -2, -1, 0, 0, 1, 1, 2],
    "ROUND_TO_ZERO": [-2, -1, -1, -0.0, 0, 0, 1, 1, 2],
    "UP": [-3, -2, -2, -1, 1, 1, 2, 2, 3],
    "HALF_UP": [-3, -2, -1, -1, 1, 1, 2, 2, 3],
    "HALF_DOWN": [-2, -1, -1, -0.0, 0, 1, 1, 2, 2],
}


@pytest.mark.parametrize("mode", ROUNDED)
def test_qonnx_weights_fold(tmp_path: Path, mode: str) -> None:
    weights = np.float32([-2.5, -1.5, -1.25, -0.5, 0.5, 0.75, 1.5, 1.75, 2.5])
    nodes = [
        quant("w0", "w", signed=1, narrow=0, rounding_mode=mode),
        node("Conv", "x", "w"),
    ]
    constants = {
        "w0": weights.reshape(1, 1, 3, 3) * 0.25,
        "s": np.float32(0.25),
        "z": np.float32(0),
        "bits": np.float32(4),
    }
    network = import_onnx(save(build(nodes, (N, 1, 4, 4), constants, domains=[QONNX]), tmp_path))
    ((_, conv),) = network.convs()
    np.testing.assert_array_equal(conv.weight.ravel(), np.array(ROUNDED[mode]) * 0.25)


def test_qonnx_weights_with_a_scale_per_channel_saturate(tmp_path: Path) -> None:
    nodes = [quant("w0", "w", signed=1, narrow=1), node("Conv", "x", "w")]
    constants = {
        "w0": np.float32([9, -9, 3]).reshape(3, 1, 1, 1),
        "s": np.float32([0.5, 1, 2]).reshape(3, 1, 1, 1),
        "z": np.float32(0),
        "bits": np.float32(3),
    }
    network = import_onnx(save(build(nodes, (N, 1, 4, 4), constants, domains=[QONNX]), tmp_path))
    ((_, conv),) = network.convs()
    np.testing.assert_array_equal(conv.weight.ravel(), [1.5, -3, 4])


def test_bipolar_quant(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("BipolarQuant", ["w0", "s"], ["w"], "bw", domain=QONNX),
        node("Conv", "x", "w", out="c"),
        helper.make_node("BipolarQuant", ["c", "s"], ["y"], "ba", domain=QONNX),
    ]
    constants = {"w0": normal(2, 1, 1, 1) * 0, "s": np.float32(0.5)}
    network = import_onnx(save(build(nodes, (N, 1, 1, 3), constants, domains=[QONNX]), tmp_path))
    conv, step = (each.op for each in network.nodes)
    assert isinstance(conv, Conv)
    assert isinstance(step, PiecewiseLinear)
    x = np.float32([-1, 0, 2]).reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(run(network, x)[0, 0, 0], [-0.5, 0.5, 0.5])


CONSTANTS = {
    "s": np.float32(0.5),
    "z": np.float32(0),
    "bits": np.float32(4),
    "two": np.float32([1, 2]),
    "negative": np.float32(-1),
    "u": np.array(0, np.uint8),
    "half": np.float32(2.5),
}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("QuantizeLinear", "x", "two", "u", out="q")], "one scale a tensor"),
        ([node("QuantizeLinear", "x", "negative", "u", out="q")], "must be positive"),
        ([node("QuantizeLinear", "x", "s", "u")], "end the model with DequantizeLinear"),
        (
            [node("QuantizeLinear", "x", "s", "u", out="q"), node("Relu", "q")],
            "quantised integers",
        ),
        ([quant("x", "y", rounding_mode="FLOOR")], "nearest integer"),
        ([quant("x", "y", rounding_mode="SOMEHOW")], "no rounding mode"),
        ([quant("x", "y", bits="half")], "bit width"),
        ([quant("x", "y", bits="negative")], "bit width"),
        (
            [helper.make_node("Trunc", ["x", "s"], ["y"], "t", domain=QONNX)],
            "does not implement this operator",
        ),
    ],
)
def test_refusals(tmp_path: Path, nodes: list[NodeProto], message: str) -> None:
    if nodes[0].output[0] == "q" and len(nodes) == 1:
        nodes = [*nodes, node("DequantizeLinear", "q", nodes[0].input[1], "u")]
    model = build(nodes, (1, 3, 4, 5), CONSTANTS, domains=[QONNX])
    with pytest.raises(ModelError, match=message):
        import_onnx(save(model, tmp_path))
