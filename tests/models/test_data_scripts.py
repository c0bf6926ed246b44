"""The scripts that fetch and write data read what is published and refuse anything else."""

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import cifar_data
import fetch_package
import imagenet_pictures
import numpy as np
import pytest
import weights_file
from accuracy import outputs, right
from PIL import Image

from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx

MODELS = Path(__file__).resolve().parents[2] / "models"


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MODELS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as writer:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            writer.addfile(info, io.BytesIO(content))
    return path


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    return path


def test_published_archive_and_npz_give_the_same_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    x = generator.integers(0, 256, size=(50, 32, 32, 3), dtype=np.uint8)
    y = generator.integers(0, 10, size=50, dtype=np.uint8)
    # The format's definition: the class, then 1,024 red, 1,024 green and 1,024 blue pixels.
    records = [
        bytes([label]) + b"".join(image[:, :, plane].tobytes() for plane in range(3))
        for image, label in zip(x, y, strict=True)
    ]
    files = {
        f"data_batch_{n}.bin": b"".join(records[10 * n - 10 : 10 * n]) for n in (5, 4, 3, 2, 1)
    }
    files["test_batch.bin"] = b"".join(records[:7])
    tar = archive(tmp_path / "cifar-10-binary.tar.gz", files)
    np.savez(tmp_path / "raw.npz", x=x, y=y)
    from_npz = cifar_data.read(tmp_path / "raw.npz", "train")
    np.testing.assert_array_equal(from_npz[0], x.transpose(0, 3, 1, 2))
    for one, other in zip(cifar_data.read(tar, "train"), from_npz, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(cifar_data.read(tar, "test")[1], y[:7])
    out = tmp_path / "out.npz"
    done = script("cifar_data.py", tar, out, "--part", "train", "--count", 40, "--every", 4)
    assert done.returncode == 0, done.stderr
    with np.load(out) as written:
        np.testing.assert_array_equal(written["x"], from_npz[0][:40:4])
        np.testing.assert_array_equal(written["y"], y[:40:4])


def test_cifar_script_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"missing\.npz cannot be read as an NPZ archive"):
        cifar_data.read(tmp_path / "missing.npz", "test")
    with pytest.raises(SystemExit, match="cannot be read as CIFAR-10's archive"):
        cifar_data.read(tmp_path / "missing.tar.gz", "test")
    tar = archive(tmp_path / "python.tar.gz", {"data_batch_1": b"pickle"})
    with pytest.raises(SystemExit, match=r"must hold test_batch\.bin: take cifar-10-binary"):
        cifar_data.read(tar, "test")
    tar = archive(tmp_path / "short.tar.gz", {"test_batch.bin": b"\0" * 3074})
    with pytest.raises(SystemExit, match="must hold images of 3073 bytes, not 3074 bytes"):
        cifar_data.read(tar, "test")
    np.savez(tmp_path / "turned.npz", x=np.zeros((2, 3, 32, 32), np.uint8), y=np.zeros(2))
    with pytest.raises(SystemExit, match=r"must hold x, uint8 \(N, 32, 32, 3\), and y"):
        cifar_data.read(tmp_path / "turned.npz", "test")
    np.savez(tmp_path / "other.npz", weights=np.zeros(2))
    with pytest.raises(SystemExit, match="must hold x and y, not weights"):
        cifar_data.read(tmp_path / "other.npz", "test")


def test_pictures_are_blue_green_red_with_their_classes(tmp_path: Path) -> None:
    files = {"foolbox/utils.py": b""}
    for index, (label, colour) in enumerate([(243, (250, 0, 0)), (9, (0, 250, 0))]):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(buffer, "JPEG", quality=95)
        files[f"foolbox/data/imagenet_{index:02d}_{label}.jpg"] = buffer.getvalue()
    x, y = imagenet_pictures.load(24, wheel(tmp_path / "foolbox.whl", files))
    assert x.shape == (2, 3, 24, 24)
    assert x.dtype == np.uint8
    assert y.tolist() == [243, 9]
    np.testing.assert_allclose(x[0].mean(axis=(1, 2)), [0, 0, 250], atol=5)
    np.testing.assert_allclose(x[1].mean(axis=(1, 2)), [0, 250, 0], atol=5)


def test_wheel_without_the_files_is_refused(tmp_path: Path) -> None:
    empty = wheel(tmp_path / "other.whl", {"other/a.txt": b"a"})
    assert fetch_package.read_members("p==1", "other/*.txt", empty) == {"other/a.txt": b"a"}
    with pytest.raises(SystemExit, match=r"must hold foolbox/data/\*\.jpg as foolbox==3 does"):
        fetch_package.read_members("foolbox==3", "foolbox/data/*.jpg", empty)
    with pytest.raises(SystemExit, match="cannot be read as a wheel"):
        fetch_package.read_members("p==1", "*", tmp_path / "missing.whl")
    (tmp_path / "text.whl").write_text("no zip", encoding="utf-8")
    with pytest.raises(SystemExit, match="cannot be read as a wheel"):
        fetch_package.read_members("p==1", "*", tmp_path / "text.whl")


def test_package_that_pip_cannot_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(SystemExit, match=r"pip cannot fetch no-such==1: .*; use --wheel"):
        fetch_package.read_members("no-such==1", "*")


def test_keras_file_needs_h5py_and_hdf5(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "h5py", None)
        with pytest.raises(SystemExit, match="needs h5py: pip install h5py"):
            weights_file.read_hdf5(b"")
    pytest.importorskip("h5py")
    with pytest.raises(SystemExit, match="cannot be read as an HDF5 file"):
        weights_file.read_hdf5(b"no HDF5")


@pytest.mark.parametrize(
    "name", ["convert_resnet.py", "convert_convnetjs.py", "convert_squeezenet.py"]
)
def test_converters_name_what_the_weights_lack(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", other=np.zeros(1, np.float32))
    out = tmp_path / "out.onnx"
    done = script(name, tmp_path / "weights.npz", out)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "weights.npz must hold the tensors conv1.weight, " in done.stderr
    done = script(name, tmp_path / "missing.npz", out)
    assert done.returncode == 1
    assert "missing.npz cannot be read as an NPZ archive" in done.stderr
    assert not out.exists()


def test_sizes_that_make_no_sense(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = script("convert_vgg16.py", out, "--size", 50)
    assert done.returncode == 2
    assert "the size must be a positive multiple of 16, not 50" in done.stderr
    done = script("imagenet_pictures.py", out, "--size", 0)
    assert done.returncode == 2
    assert "the size must be positive, not 0" in done.stderr


@pytest.mark.slow
def test_squeezenet_on_the_pictures() -> None:
    x, y = imagenet_pictures.load(227)
    path = MODELS / "squeezenet" / "squeezenet.onnx"
    for values in (outputs(path, x), run(import_onnx(path), x).reshape(20, 1000)):
        assert right(values, y).sum() == 15
        assert right(values, y, top=5).sum() == 19
