"""The shipped networks are what their READMEs say: shape, size, accuracy, data, licences."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from accuracy import accuracy, decide, outputs, right
from onnx import numpy_helper
from onnx_graph import nonzero_parameters, stored_parameters, trainable_parameters

from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx

MODELS = Path(__file__).resolve().parents[2] / "models"

FILES = {
    "face": "face.onnx",
    "digits": "digits.onnx",
    "digits-large": "digits-large.onnx",
    "fashion": "fashion.onnx",
    "binary-digits": "binary-digits.onnx",
    "mnist-qonnx": "model.onnx",
    "resnet20": "resnet20.onnx",
    "resnet56": "resnet56.onnx",
    "convnetjs": "convnetjs.onnx",
    "vgg-cifar10": "vgg-cifar10.onnx",
    "squeezenet": "squeezenet.onnx",
}
PARAMETERS = {
    "face": 951,
    "digits": 27_350,
    "digits-large": 181_292,
    "fashion": 129_388,
    "binary-digits": 16_634,
    "mnist-qonnx": 5_994,
    "resnet20": 269_722,
    "resnet56": 853_018,
    "convnetjs": 22_466,
    "vgg-cifar10": 968_394,
    "squeezenet": 1_248_424,
}
PRUNED = "squeezenet"
"""Pruned kernels are stored as zeros; its pictures are not shipped."""

EVERY_NETWORK = pytest.mark.parametrize("name", FILES)
WITH_DATA = pytest.mark.parametrize("name", [name for name in FILES if name != PRUNED])


def record(name: str) -> dict[str, float]:
    result: dict[str, float] = json.loads((MODELS / name / "accuracy.json").read_text())
    return result


def initializers(name: str) -> dict[str, np.ndarray]:
    graph = onnx.load_model(MODELS / name / FILES[name]).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def data(name: str, file: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(MODELS / name / file) as archive:
        return archive["x"], archive["y"]


def choosing(name: str) -> str:
    return "train.npz" if name == "face" else "data.npz"


def test_every_folder_with_a_network_is_tested() -> None:
    folders = {path.parent.name for path in MODELS.glob("*/*.onnx")}
    assert folders == set(FILES)


@EVERY_NETWORK
def test_parameters(name: str) -> None:
    count = stored_parameters if name == PRUNED else trainable_parameters
    assert count(MODELS / name / FILES[name]) == PARAMETERS[name]
    assert record(name)["parameters"] == PARAMETERS[name]


def test_large_networks_layer_by_layer() -> None:
    sizes = {key: value.size for key, value in initializers("vgg-cifar10").items()}
    assert sum(size for key, size in sizes.items() if not key.startswith("bn")) == 967_370
    assert record("vgg-cifar10")["convolutions_and_dense"] == 967_370
    assert nonzero_parameters(MODELS / PRUNED / FILES[PRUNED]) == record(PRUNED)["nonzero"]
    weights = {key: a for key, a in initializers(PRUNED).items() if key.endswith("weight")}
    assert len(weights) == 26
    assert all(len(np.unique(values)) <= 256 for values in weights.values())
    blocks = {key.split(".conv")[0] for key in initializers("resnet56") if ".conv" in key}
    assert len(blocks) == 27


def test_squeezenet_shapes_and_float_execution() -> None:
    path = MODELS / PRUNED / FILES[PRUNED]
    model = onnx.shape_inference.infer_shapes(onnx.load_model(path))
    shapes = {
        info.name: tuple(dimension.dim_value for dimension in info.type.tensor_type.shape.dim)[1:]
        for info in model.graph.value_info
    }
    assert shapes["conv1"] == (96, 111, 111)
    assert shapes["conv1.pool"] == (96, 55, 55)
    assert shapes["fire4.pool"] == (256, 27, 27)
    assert shapes["fire8.pool"] == (512, 13, 13)
    assert shapes["conv10.relu"] == (1000, 13, 13)
    x = np.random.default_rng(1).integers(0, 256, size=(1, 3, 227, 227), dtype=np.uint8)
    expected = outputs(path, x)
    assert expected.shape == (1, 1000)
    assert expected.min() >= 0
    result = run(import_onnx(path), x).reshape(1, 1000)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet56", "vgg-cifar10"])
def test_float_execution_equals_onnxruntime(name: str) -> None:
    x = data(name, "test.npz")[0][:8]
    result = run(import_onnx(MODELS / name / FILES[name]), x).reshape(len(x), -1)
    expected = outputs(MODELS / name / FILES[name], x)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_sizes_promised() -> None:
    assert PARAMETERS["digits"] <= 30_000
    assert PARAMETERS["digits-large"] >= 180_000
    values = initializers("digits")
    assert values["conv1.weight"].size + values["conv2.weight"].size == 1_014


def test_face_has_38_kernels_and_the_published_connections() -> None:
    values = initializers("face")
    assert values["c1.weight"].shape == (4, 1, 5, 5)
    assert values["n1.weight"].shape == (14, 1, 7, 6)
    connected = values["c2.weight"].any(axis=(2, 3))
    readers = [tuple(np.flatnonzero(row)) for row in connected]
    single = [(0,), (0,), (1,), (1,), (2,), (2,), (3,), (3,)]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert readers == single + pairs
    kernels = 4 + int(connected.sum()) + 14
    assert kernels == 38


def test_face_parameters_layer_by_layer() -> None:
    values = initializers("face")
    connected = values["c2.weight"].any(axis=(2, 3))
    assert np.count_nonzero(values["c2.weight"]) == connected.sum() * 9
    sizes = {key: value.size for key, value in values.items()}
    sizes["c2.weight"] = int(connected.sum()) * 9
    layers: dict[str, int] = {}
    for key, size in sizes.items():
        layer = key.split(".")[0]
        layers[layer] = layers.get(layer, 0) + size
    assert layers == {"c1": 104, "s1": 8, "c2": 194, "s2": 28, "n1": 602, "n2": 15}


def test_face_shapes_and_output_range() -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load_model(MODELS / "face" / "face.onnx"))
    shapes = {
        info.name: tuple(dimension.dim_value for dimension in info.type.tensor_type.shape.dim)[1:]
        for info in model.graph.value_info
    }
    assert shapes["c1"] == (4, 32, 28)
    assert shapes["s1"] == (4, 16, 14)
    assert shapes["c2"] == (14, 14, 12)
    assert shapes["s2"] == (14, 7, 6)
    assert shapes["n1"] == (14, 1, 1)
    values = outputs(MODELS / "face" / "face.onnx", data("face", "test.npz")[0])
    assert values.shape == (200, 1)
    assert np.abs(values).max() < 1.7159


@WITH_DATA
def test_accuracy_on_the_shipped_images(name: str) -> None:
    measured = accuracy(MODELS / name / FILES[name], MODELS / name / "test.npz")
    assert measured == pytest.approx(record(name)["test"], abs=1e-9)


def test_accuracies_promised() -> None:
    assert record("digits")["official_10000"] >= 0.985
    assert record("digits-large")["official_10000"] >= 0.992
    assert record("fashion")["official_10000"] >= 0.9
    assert record("face")["test"] >= 0.95


def test_squeezenet_record_agrees_with_the_readme() -> None:
    recorded = record(PRUNED)
    pictures = f"{recorded['top_1']} of {recorded['pictures']}"
    own = (MODELS / PRUNED / "README.md").read_text(encoding="utf-8")
    assert pictures in own
    assert f"{recorded['top_5']} of {recorded['pictures']}" in own
    assert f"{recorded['nonzero']:,}" in own
    assert pictures in (MODELS / "README.md").read_text(encoding="utf-8")


@WITH_DATA
def test_records_agree_with_the_readme(name: str) -> None:
    recorded = record(name)
    headline = recorded.get("official_10000", recorded.get("first_1000", recorded["test"]))
    percent = f"{100 * headline:.2f}".rstrip("0")
    percent += "0" if percent.endswith(".") else ""
    for readme in (MODELS / "README.md", MODELS / name / "README.md"):
        assert f"{percent} %" in readme.read_text(encoding="utf-8")


@WITH_DATA
def test_data_is_what_the_network_reads(name: str) -> None:
    model = onnx.load_model(MODELS / name / FILES[name])
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    shape = tuple(dimension.dim_value for dimension in dimensions)[1:]
    for file in (choosing(name), "test.npz"):
        x, y = data(name, file)
        assert x.shape[1:] == shape
        assert x.dtype == (np.int8 if name == "face" else np.uint8)
        assert y.shape == x.shape[:1]
        classes = 2 if name == "face" else 10
        assert set(np.unique(y)) == set(range(classes))


@WITH_DATA
def test_no_image_is_in_both_files(name: str) -> None:
    first = {image.tobytes() for image in data(name, choosing(name))[0]}
    second = {image.tobytes() for image in data(name, "test.npz")[0]}
    mirrored = {image[..., ::-1].tobytes() for image in data(name, "test.npz")[0]}
    assert not first & second
    assert not first & mirrored


def test_enough_official_digits() -> None:
    x, y = data("digits", "test.npz")
    assert len({image.tobytes() for image in x}) == 1_000
    assert np.bincount(y).min() > 80


@EVERY_NETWORK
def test_every_network_has_readme_origin_and_script(name: str) -> None:
    text = (MODELS / name / "README.md").read_text(encoding="utf-8")
    assert "licence" in text
    assert "Accuracy" in text
    trained_here = name in {"face", "digits", "digits-large", "fashion", "binary-digits"}
    assert (MODELS / name / "train.py").exists() == trained_here
    assert (MODELS / name / "LICENSE").exists() != trained_here


def test_block_data_fits_the_block() -> None:
    folder = MODELS / "resnet20"
    for file in ("block_data.npz", "block_test.npz"):
        with np.load(folder / file) as archive:
            x = archive["x"]
        values = outputs(folder / "block.onnx", x)
        assert values.shape == (16, 16 * 32 * 32)
        assert values.min() == 0


def test_decide() -> None:
    assert decide(np.array([[0.5], [-0.5], [0.0]], dtype=np.float32)).tolist() == [1, 0, 0]
    assert decide(np.array([[1, 3, 2], [5, 5, 0]], dtype=np.float32)).tolist() == [1, 0]


def test_right_among_the_best() -> None:
    values = np.array([[1, 3, 2, 0], [0, 0, 0, 5]], dtype=np.float32)
    y = np.array([2, 1])
    assert right(values, y).tolist() == [False, False]
    assert right(values, y, top=2).tolist() == [True, False]
    assert right(values, y, top=3).tolist() == [True, True]
