"""Whole models and whole files: what is read, and what is said about files that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_build import N, build, compare, save
from random_networks import random_images, random_onnx

from hwgen.errors import ModelError, UnsupportedError
from hwgen.network.onnx_import import OPERATORS, import_onnx
from hwgen.network.storage import from_json, to_json

MODELS = Path(__file__).parents[2] / "models"


def node(kind: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [out], f"{kind.lower()}_{out}", **attributes)


def relu(shape: tuple[int | str, ...] = (N, 3, 4, 5)) -> onnx.ModelProto:
    return build([node("Relu", "x")], shape)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    model = random_onnx(seed)
    images = random_images(seed, model, 4)
    network = compare(model, tmp_path_factory.mktemp("random"), x=images)
    assert 6 <= max(network.input_shape[1:]) <= 14
    text = to_json(network)
    assert to_json(from_json(text)) == text


def test_random_networks_are_reproducible_and_varied() -> None:
    models = [random_onnx(seed) for seed in range(60)]
    assert [m.SerializeToString() for m in models] == [
        random_onnx(seed).SerializeToString() for seed in range(60)
    ]
    used = {node.op_type for model in models for node in model.graph.node}
    assert used >= {"Conv", "Add", "Concat", "MaxPool", "AveragePool", "Gemm", "MatMul", "Tanh"}


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/*.onnx")), ids=lambda path: path.stem)
def test_shipped_models(path: Path, tmp_path: Path) -> None:
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    (source,) = [value for value in model.graph.input if value.name not in constants]
    for each in model.graph.node:
        each.input[:] = ["x" if name == source.name else name for name in each.input]
    source.name = "x"
    del model.graph.input[:]
    model.graph.input.append(source)
    model.ir_version = max(model.ir_version, 4)
    dims = [d.dim_value for d in source.type.tensor_type.shape.dim]
    x = np.random.default_rng(0).uniform(0, 1, size=(dims[0] or 4, *dims[1:])).astype(np.float32)
    compare(model, tmp_path, x=x)
    assert to_json(import_onnx(path)) == to_json(import_onnx(path))


def test_constants_listed_as_inputs(tmp_path: Path) -> None:
    model = build([node("Mul", "x", "c")], (1, 3, 4, 5), {"c": np.float32(2)}, opset=8)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, []))
    compare(model, tmp_path)


def test_names_become_identifiers_and_stay_unique(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"], "/layer/0/act.1"),
        helper.make_node("Tanh", ["a"], ["b"], "layer_0_act_1"),
        helper.make_node("Sigmoid", ["b"], ["c"], "3rd"),
        helper.make_node("Tanh", ["c"], ["y"], "é"),
    ]
    network = import_onnx(save(build(nodes, (N, 3, 4, 5)), tmp_path, "my model.onnx"))
    assert network.name == "my_model"
    assert [each.name for each in network.nodes] == [
        "layer_0_act_1",
        "layer_0_act_1_2",
        "n3rd",
        "n",
    ]


def test_unused_branches_vanish(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", "x", out="unused"), node("Relu", "x")]
    assert len(import_onnx(save(build(nodes, (N, 3, 4, 5)), tmp_path)).nodes) == 1


def test_operators_are_listed_in_the_refusal(tmp_path: Path) -> None:
    model = build([node("Hardmax", "x")], (N, 6))
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(save(model, tmp_path))
    assert "Hardmax node 'hardmax_y'" in str(caught.value)
    assert all(operator in str(caught.value) for operator in OPERATORS)


def external(folder: Path, location: str = "weights.bin") -> Path:
    model = build([node("Add", "x", "c")], (1, 3, 4, 5), {"c": np.ones((3, 1, 1))})
    (folder / "weights.bin").write_bytes(np.arange(3, dtype="<f4").tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return save(model, folder)


def test_external_data_is_read(tmp_path: Path) -> None:
    ((_, conv),) = import_onnx(external(tmp_path)).convs()
    np.testing.assert_array_equal(conv.bias, [0, 1, 2])


@pytest.mark.parametrize("location", ["missing.bin", "../weights.bin", "/etc/hostname", ""])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        import_onnx(external(folder, location))


def test_short_external_data_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 5)
    with pytest.raises(ModelError):
        import_onnx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"not a model", "not a valid ONNX model"),
        (b"\0" * 100, "not a valid ONNX model"),
        (onnx.ModelProto().SerializeToString() + b"\x08\x08", "not a valid ONNX model"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        import_onnx(path)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        import_onnx(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((N, 3, "H", 5), "image size open"),
        ((N, 3, 0, 5), "at least 1"),
        ((N, 3, -4, 5), "at least 1"),
        ((0, 3, 4, 5), "at least 1"),
        ((N, 3, 1 << 20, 1 << 20), "at most"),
        ((N,), "1 dimensions"),
        ((N, 3, 4, 5, 6), "5 dimensions"),
        ((), "0 dimensions"),
    ],
)
def test_inputs_of_other_shapes(tmp_path: Path, shape: tuple[int | str, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_onnx(save(relu(shape), tmp_path))


def test_input_without_a_shape(tmp_path: Path) -> None:
    model = relu()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError):
        import_onnx(save(model, tmp_path))


@pytest.mark.parametrize("opset", [1, 6, 99, 0, -1])
def test_operator_sets_out_of_range(tmp_path: Path, opset: int) -> None:
    model = relu()
    model.opset_import[0].version = opset
    with pytest.raises(ModelError):
        import_onnx(save(model, tmp_path))


def test_two_inputs_or_outputs(tmp_path: Path) -> None:
    model = build([node("Add", "x", "z")], (1, 3, 4, 5))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 4, 5]))
    with pytest.raises(UnsupportedError, match="not 2 and 1"):
        import_onnx(save(model, tmp_path))
    model = build([node("Relu", "x"), node("Tanh", "x", out="z")], (1, 3, 4, 5))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    with pytest.raises(UnsupportedError, match="not 1 and 2"):
        import_onnx(save(model, tmp_path))


def test_output_that_does_not_depend_on_the_input(tmp_path: Path) -> None:
    model = build([node("Relu", "c")], (1, 3, 4, 5), {"c": np.ones((1, 3))})
    with pytest.raises(ModelError, match="does not depend on the input"):
        import_onnx(save(model, tmp_path))


def test_model_without_layers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no layers"):
        import_onnx(save(build([node("Identity", "x")], (1, 3, 4, 5)), tmp_path))


def test_bfloat16_weights(tmp_path: Path) -> None:
    model = build([node("Mul", "x", "c")], (1, 3, 4, 5))
    tensor = helper.make_tensor("c", TensorProto.BFLOAT16, [3, 1, 1], [1.0, -2.0, 0.5])
    model.graph.initializer.append(tensor)
    ((_, conv),) = import_onnx(save(model, tmp_path)).convs()
    np.testing.assert_array_equal(conv.weight.ravel(), [1, -2, 0.5])


def test_tensors_that_lie_about_their_size(tmp_path: Path) -> None:
    for dims in ([1 << 40, 1 << 40], [100], [-1], [0]):
        model = build([node("Add", "x", "c")], (1, 3, 4, 5), {"c": np.ones((3, 1, 1))})
        model.graph.initializer[0].dims[:] = dims
        with pytest.raises(ModelError):
            import_onnx(save(model, tmp_path))


def test_text_tensor(tmp_path: Path) -> None:
    model = build([node("Add", "x", "c")], (1, 3, 4, 5), {"c": np.ones((3, 1, 1))})
    text = numpy_helper.from_array(np.array(["a"], dtype=object), "c")
    model.graph.initializer[0].CopyFrom(text)
    with pytest.raises(ModelError):
        import_onnx(save(model, tmp_path))


def test_sparse_weights(tmp_path: Path) -> None:
    model = build([node("Add", "x", "c")], (1, 3, 4, 5))
    values = numpy_helper.from_array(np.ones(1, np.float32), "c")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    with pytest.raises(UnsupportedError, match="sparse"):
        import_onnx(save(model, tmp_path))
