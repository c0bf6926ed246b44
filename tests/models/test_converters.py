"""The converting scripts reproduce the shipped files and mean what the originals mean."""

import gzip
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import convert_convnetjs
import convert_resnet
import convert_squeezenet
import convert_vgg
import convert_vgg16
import fashion_mnist
import fetch_mnist
import idx_images
import numpy as np
import onnx
import onnxruntime
import pytest
from accuracy import outputs
from onnx import numpy_helper
from weights_file import Weights

from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx

MODELS = Path(__file__).resolve().parents[2] / "models"


def weights(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load_model(path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_resnet_is_reproduced(tmp_path: Path) -> None:
    shipped = MODELS / "resnet20" / "resnet20.onnx"
    convert_resnet.convert(weights(shipped), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == shipped.read_bytes()
    shipped_block = MODELS / "resnet20" / "block.onnx"
    convert_resnet.convert_block(weights(shipped), "layer1.0", tmp_path / "block.onnx")
    assert (tmp_path / "block.onnx").read_bytes() == shipped_block.read_bytes()


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("resnet56", convert_resnet.convert),
        ("convnetjs", convert_convnetjs.convert),
        ("squeezenet", convert_squeezenet.convert),
        ("vgg-cifar10", convert_vgg.convert),
    ],
)
def test_network_is_reproduced(
    name: str, convert: Callable[[Weights, Path], None], tmp_path: Path
) -> None:
    shipped = MODELS / name / f"{name}.onnx"
    convert(weights(shipped), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == shipped.read_bytes()


def test_blocks_are_in_the_order_of_their_numbers() -> None:
    names = [f"layer{layer}.{block}" for layer in (1, 2, 3) for block in range(18)]
    values = {f"{name}.conv1.weight": np.zeros(1, np.float32) for name in reversed(names)}
    assert convert_resnet.block_names(values) == names


def test_vgg_from_keras_has_the_axes_of_onnx() -> None:
    shipped = weights(MODELS / "vgg-cifar10" / "vgg-cifar10.onnx")
    keras = {}
    for name, path in convert_vgg.keras_names().items():
        values = shipped[name]
        if values.ndim == 4:
            values = np.moveaxis(np.moveaxis(values, 1, -1), 0, -1)
        keras[path] = values.T if values.ndim == 2 else values
    assert keras["model_weights/conv2d_1/conv2d_1/kernel:0"].shape == (3, 3, 64, 64)
    assert keras["model_weights/dense/dense/kernel:0"].shape == (64, 1024)
    again = convert_vgg.from_keras(keras)
    assert again.keys() == shipped.keys()
    for name, values in shipped.items():
        np.testing.assert_array_equal(again[name], values)
    del keras["model_weights/dense/dense/bias:0"]
    with pytest.raises(SystemExit, match=r"must hold the tensors model_weights/dense/dense/bias:0"):
        convert_vgg.from_keras(keras)


def test_vgg16_has_thirteen_convolutions(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    keras, channels = {}, 3
    for name, path in convert_vgg16.keras_names().items():
        width = 2 ** int(name[4])  # the real ones are 64 to 512 wide
        if name.endswith("weight"):
            spread = (2 / (9 * channels)) ** 0.5
            keras[path] = generator.normal(0, spread, (3, 3, channels, width)).astype(np.float32)
            channels = width
        else:
            keras[path] = generator.normal(0, 0.3, width).astype(np.float32)
    assert sum(values.ndim == 4 for values in keras.values()) == 13
    values = convert_vgg16.from_keras(keras)
    assert values["conv3_1.weight"].shape == (8, 4, 3, 3)
    np.testing.assert_array_equal(
        values["conv1_1.weight"][1, 2], keras["block1/layers/conv2d/vars/0"][:, :, 2, 1]
    )
    convert_vgg16.convert(values, tmp_path / "small.onnx", size=48)
    x = generator.integers(0, 256, size=(2, 3, 48, 48), dtype=np.uint8)
    expected = outputs(tmp_path / "small.onnx", x)
    assert expected.shape == (2, 32 * 3 * 3)
    result = run(import_onnx(tmp_path / "small.onnx"), x).reshape(2, -1)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["layer1.0", "layer2.0", "layer3.2"])
def test_blocks_equal_their_part_of_the_whole(name: str, tmp_path: Path) -> None:
    shipped = MODELS / "resnet20" / "resnet20.onnx"
    convert_resnet.convert_block(weights(shipped), name, tmp_path / "block.onnx")
    model = onnx.load_model(shipped)
    order = convert_resnet.block_names(weights(shipped))
    before = order.index(name) - 1
    source = "relu1" if before < 0 else f"{order[before]}.relu2"
    for tensor in (source, f"{name}.relu2"):
        model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    with np.load(MODELS / "resnet20" / "test.npz") as archive:
        x = archive["x"][:2].astype(np.float32)
    _, entered, left = session.run(None, {"x": x})
    alone = outputs(tmp_path / "block.onnx", entered)
    np.testing.assert_allclose(alone.reshape(left.shape), left, rtol=1e-5, atol=1e-5)


def test_option_a_shortcut_keeps_every_second_pixel_and_pads_channels(tmp_path: Path) -> None:
    values = weights(MODELS / "resnet20" / "resnet20.onnx")
    for part in ("weight", "bias"):
        values[f"layer2.0.bn2.{part}"] = np.zeros_like(values[f"layer2.0.bn2.{part}"])
    convert_resnet.convert_block(values, "layer2.0", tmp_path / "block.onnx")
    x = np.random.default_rng(1).uniform(0, 4, size=(2, 16, 32, 32)).astype(np.float32)
    result = outputs(tmp_path / "block.onnx", x).reshape(2, 32, 16, 16)
    expected = np.pad(x[:, :, ::2, ::2], ((0, 0), (8, 8), (0, 0), (0, 0)))
    np.testing.assert_array_equal(result, expected)


def test_normalisations_are_the_published_ones() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, size=(1, 3, 32, 32)).astype(np.float32)
    mean = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    expected = {
        "resnet20": (pixels / 255 - mean) / std,
        "resnet56": (pixels / 255 - mean) / std,
        "convnetjs": pixels / 255 - 0.5,
    }
    for name, values in expected.items():
        model = onnx.load_model(MODELS / name / f"{name}.onnx")
        model.graph.output.append(onnx.ValueInfoProto(name="normalise"))
        session = onnxruntime.InferenceSession(model.SerializeToString())
        _, normalised = session.run(None, {"x": pixels})
        np.testing.assert_allclose(normalised, values, rtol=1e-5, atol=1e-5)


def test_resnet_script_names_the_blocks_there_are(tmp_path: Path) -> None:
    archive = tmp_path / "weights.npz"
    np.savez(archive, **weights(MODELS / "resnet20" / "resnet20.onnx"))
    script = MODELS / "convert_resnet.py"
    command = [sys.executable, str(script), str(archive), str(tmp_path / "b.onnx"), "--block", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no block 'x'; there are layer1.0, layer1.1" in done.stderr
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize("data_set", [fetch_mnist, fashion_mnist], ids=["mnist", "fashion"])
def test_images_must_be_the_original(data_set: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"No IDX file train-images\*"):
        data_set.load(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0" * 800))
    with pytest.raises(SystemExit, match="is not the original file: MD5"):
        data_set.load(tmp_path)


def test_fashion_mnist_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", Path("/no/such/folder"))
    with pytest.raises(SystemExit, match="apt install dataset-fashion-mnist, or use --idx"):
        fashion_mnist.load(None)


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_become_images(zipped: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    contents, sums = {}, {}
    for part, count in (("train", 5), ("t10k", 3)):
        x = rng.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        y = rng.integers(0, 10, size=count, dtype=np.uint8)
        # The format's definition: a header of 16 or 8 bytes, then row after row.
        contents[f"{part}-images"], contents[f"{part}-labels"] = x, y
        for stem, header in ((f"{part}-images", 16), (f"{part}-labels", 8)):
            raw = b"\0" * header + contents[stem].tobytes()
            sums[stem] = hashlib.md5(raw, usedforsecurity=False).hexdigest()
            name = f"{stem}-idx{contents[stem].ndim}-ubyte"
            path = tmp_path / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(raw) if zipped else raw)
    images = idx_images.read_folder(tmp_path, sums)
    np.testing.assert_array_equal(images.train_x[:, 0], contents["train-images"])
    np.testing.assert_array_equal(images.test_x[:, 0], contents["t10k-images"])
    np.testing.assert_array_equal(images.train_y, contents["train-labels"])
    np.testing.assert_array_equal(images.test_y, contents["t10k-labels"])
