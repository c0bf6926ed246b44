"""Data files: what is refused, and that no image serves two purposes."""

from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import DataError
from hwgen.flow.data import Images, load_images, split

SHAPE = (1, 4, 3)


def _save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_reads_images_of_any_real_type(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    images = load_images(_save(tmp_path / "a.npz", x=x, y=np.array([[1], [0]])), SHAPE)
    assert images.x.shape == (2, *SHAPE)
    assert images.x.dtype == np.float64
    assert images.x[1, 0, 0, 0] == 12
    assert images.y is not None
    assert images.y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, "has no array 'x'"),
        ({"x": np.zeros((2, 1, 4, 4))}, r"has shape \(2, 1, 4, 4\), but the model wants"),
        ({"x": np.zeros((0, 1, 4, 3))}, "holds no image"),
        ({"x": np.full((2, 1, 4, 3), np.nan)}, "not finite"),
        ({"x": np.full((2, 1, 4, 3), "a")}, "must hold real numbers"),
        ({"x": np.zeros((2, 1, 4, 3)), "y": np.zeros(3, int)}, "one integer class an image"),
        ({"x": np.zeros((2, 1, 4, 3)), "y": np.zeros(2)}, "one integer class an image"),
    ],
)
def test_bad_arrays_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_images(_save(tmp_path / "a.npz", **arrays), SHAPE)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_images(tmp_path / "no.npz", SHAPE)
    with pytest.raises(DataError, match="is a directory"):
        load_images(tmp_path, SHAPE)
    for content in (b"", b"garbage", b"PK\x03\x04 broken"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError, match="is not an NPZ file"):
            load_images(tmp_path / "bad.npz", SHAPE)
    np.savez_compressed(tmp_path / "torn.npz", x=np.arange(600.0))
    content = bytearray((tmp_path / "torn.npz").read_bytes())
    content[60] ^= 255
    (tmp_path / "torn.npz").write_bytes(content)
    with pytest.raises(DataError, match="is not an NPZ file"):
        load_images(tmp_path / "torn.npz", SHAPE)
    np.savez(tmp_path / "pickle.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="is not an NPZ file of plain arrays"):
        load_images(tmp_path / "pickle.npz", SHAPE)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match="is not an NPZ file"):
        load_images(tmp_path / "single.npy", SHAPE)


def _numbered(count: int) -> Images:
    return Images(np.arange(count, dtype=np.float64).reshape(-1, 1, 1, 1), np.arange(count))


def test_no_image_serves_two_purposes() -> None:
    parts = split(_numbered(1000), None, seed=3)
    sets = [set(p.x.ravel().tolist()) for p in (parts.calibration, parts.choosing, parts.test)]
    assert [len(s) for s in sets] == [210, 490, 300]
    assert len(set.union(*sets)) == 1000
    again = split(_numbered(1000), None, seed=3)
    assert np.array_equal(again.choosing.x, parts.choosing.x)
    assert parts.choosing.y is not None
    assert np.array_equal(parts.choosing.y, parts.choosing.x.ravel())


def test_given_test_images_are_left_alone() -> None:
    test = _numbered(5)
    parts = split(_numbered(2000), test, seed=0)
    assert parts.test is test
    assert len(parts.calibration) == 256
    assert len(parts.choosing) == 1744
    with pytest.raises(DataError, match="at least 10 images"):
        split(_numbered(2), None, seed=0)
