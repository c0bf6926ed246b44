"""``hwgen run``: pictures and images through a simulated board, pin by pin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_workspace import fill

from hwgen.errors import DataError
from hwgen.flow.built import built_network
from hwgen.flow.pictures import load_pictures, pixel_range
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.integer.types import IntegerNetwork
from hwgen.link.driver import Answer
from hwgen.link.payload import PixelFrames, design_info
from hwgen.link.protocol import Info
from hwgen.network.types import Conv, Network, Node
from hwgen.sim import golden
from hwgen.stream import store as stream_store
from hwgen.stream.design import StreamDesign
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit_both

Hwgen = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A network of one layer with its design."""
    rng = np.random.default_rng(7)
    classes = Conv(rng.normal(size=(3, 1, 6, 6)) / 6, rng.normal(size=3), pads=(0, 0, 0, 0))
    node = Node("classes", classes, ("image",), (3, 1, 1))
    network = Network("linear", "image", (1, 6, 6), (node,), "classes")
    found = fill(tmp_path_factory.mktemp("run"), ("import", "approximate"), network=network)
    plan = plan_pipeline(_integer(found))
    design, _ = emit_both(plan)
    found.write("plan.json", stream_store.plan_to_json(plan))
    found.write("design.json", stream_store.design_to_json(design))
    return found


def _integer(workspace: Workspace) -> IntegerNetwork:
    return integer_store.from_json(workspace.path("integer.json").read_text())


def _images(workspace: Workspace, count: int) -> Path:
    path = workspace.root.parent / f"images{count}.npz"
    rng = np.random.default_rng(4)
    np.savez(path, x=rng.normal(size=(count, 1, 6, 6)), y=np.arange(count) % 3)
    return path


def _expected(workspace: Workspace, path: Path) -> np.ndarray:
    integer = _integer(workspace)
    with np.load(path) as archive:
        words = golden.run(integer, integer.input_format.quantise(archive["x"]))
    return words[:, :, 0, 0] * np.array(integer.scale(integer.output))


def test_images_through_a_simulated_board(hwgen: Hwgen, workspace: Workspace) -> None:
    path = _images(workspace, 4)
    status, printed, _ = hwgen("run", workspace.root, "--simulate", path, "--json")
    assert status == 0
    found = json.loads(printed)
    expected = _expected(workspace, path)
    assert [image["outputs"] for image in found["images"]] == expected.tolist()
    assert [image["class"] for image in found["images"]] == expected.argmax(axis=1).tolist()
    assert found["accuracy"] == np.mean(expected.argmax(axis=1) == np.arange(4) % 3)
    assert (found["checked"], found["repeats"], found["clock_hz"]) == (True, 0, 12_000_000)

    # the same for people, with a picture; black and white say what its pixels are
    picture = workspace.root.parent / "grey.png"
    Image.fromarray(np.full((6, 6), 128, dtype=np.uint8)).save(picture)
    options = ("--simulate", "--range", "-1", "1")
    status, printed, _ = hwgen("run", workspace.root, picture, path, *options)
    assert status == 0
    assert "golden model: 5 of 5 results equal, bit for bit" in printed
    assert "grey.png" in printed
    assert "accuracy" not in printed  # a picture has no label


def test_a_difference_is_a_failure(
    hwgen: Hwgen, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _images(workspace, 4)
    right = golden.run
    wrong = (np.arange(4) == 2).reshape(-1, 1, 1, 1)
    monkeypatch.setattr(golden, "run", lambda integer, inputs: right(integer, inputs) + wrong)
    status, _, printed = hwgen("run", workspace.root, "--simulate", path)
    assert status == 1
    assert "1 of 4 results are not the golden model's, the first that of images4.npz[2]" in printed
    status, printed, _ = hwgen("run", workspace.root, "--simulate", path, "--no-check", "--json")
    assert (status, json.loads(printed)["checked"]) == (0, False)


@pytest.mark.parametrize(
    ("options", "shape"), [(("--size", "8x10"), (1, 8, 10)), (("--pixels", "2"), (1, 6, 6))]
)
def test_pictures_as_large_as_the_hardware_takes(
    hwgen: Hwgen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    shape: tuple[int, int, int],
) -> None:
    """What goes to the board is what its hardware computes, for scans and groups of pixels too."""
    layer = Conv(np.random.default_rng(7).normal(size=(3, 1, 6, 6)) / 6, np.zeros(3))
    network = Network("one", "image", (1, 6, 6), (Node("y", layer, ("image",), (3, 1, 1)),), "y")
    workspace = fill(tmp_path, ("import", "approximate"), network=network)
    assert hwgen("generate", workspace.root, "--effort", "0", *options)[0] == 0
    built = built_network(workspace)
    sent: list[np.ndarray] = []

    class Board:
        def check(self, design: StreamDesign, program: object) -> Info:
            return design_info(design, 12_000_000)

        def run_all(self, frames: PixelFrames, images: np.ndarray) -> Iterator[Answer]:
            for image in images:
                sent.append(image)
                assert len(frames.encode(image)) == frames.image_bytes
                (output,) = golden.run(built, image[np.newaxis])
                yield Answer(output, 1, 0.0, 1)

    @contextmanager
    def link(*_: object) -> Iterator[tuple[Board, str, int]]:
        yield Board(), "board", 1

    monkeypatch.setattr("hwgen.flow.on_board._link", link)
    path = tmp_path / "images.npz"
    x = np.random.default_rng(4).normal(size=(2, *shape))
    np.savez(path, x=x)
    status, printed, error = hwgen("run", workspace.root, "--simulate", path, "--json")
    assert status == 0, error
    found = json.loads(printed)
    assert found["checked"]
    assert sent[0].shape == built.input_shape
    decided = [image["class"] is not None for image in found["images"]]
    assert decided == [shape == (1, 6, 6)] * 2
    assert len(found["images"][0]["outputs"]) == 3 * (1 if shape == (1, 6, 6) else 15)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "give either --port DEVICE or --simulate"),
        (("--simulate", "--port", "/dev/ttyNone"), 2, "give either --port DEVICE or --simulate"),
        (("--simulate", "--baud", "9600"), 2, "--baud is the rate of a --port"),
        (("--port", "/dev/ttyNone"), 1, "There is no serial port '/dev/ttyNone'"),
    ],
)
def test_ports(
    hwgen: Hwgen, workspace: Workspace, arguments: tuple[str, ...], status: int, message: str
) -> None:
    found, _, printed = hwgen("run", workspace.root, _images(workspace, 1), *arguments)
    assert found == status
    assert message in printed


def test_pictures_that_do_not_fit(hwgen: Hwgen, workspace: Workspace, tmp_path: Path) -> None:
    def run(path: Path, *options: str) -> str:
        status, _, printed = hwgen("run", workspace.root, "--port", "/dev/ttyNone", path, *options)
        assert status == 1
        return printed

    wide = tmp_path / "wide.png"
    Image.new("RGB", (8, 6)).save(wide)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    black_white = ("--range", "0", "1")
    assert "does not exist" in run(tmp_path / "none.png", *black_white)
    assert "is neither a picture nor an NPZ file" in run(text, *black_white)
    assert "must have 6 x 6 pixels, not 8 x 6: --resize changes" in run(wide, *black_white)
    assert "There is no serial port" in run(wide, "--resize", *black_white)
    assert "say what black and white are with --range BLACK WHITE" in run(wide)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([0, 3, 255], (0, 255)),
        ([-128, 126], (-128, 127)),
        ([0, 0.5, 1], (0, 1)),
        ([0, 9], (0, 255)),
    ],
)
def test_black_and_white_are_those_of_the_test_images(
    known: list[float], expected: tuple[float, float]
) -> None:
    assert pixel_range(np.array(known)) == expected


@pytest.mark.parametrize("known", [[-0.5, 0.5], [0, 256], [0.5, 200]])
def test_other_values_are_no_pixels(known: list[float]) -> None:
    with pytest.raises(DataError, match="which are no pixels"):
        pixel_range(np.array(known))


def test_pictures_become_images(tmp_path: Path) -> None:
    colours = np.random.default_rng(2).integers(256, size=(5, 4, 3), dtype=np.uint8)
    path = tmp_path / "colours.png"
    Image.fromarray(colours).save(path)
    (image,) = load_pictures([path], (3, 5, 4), black=-128, white=127, resize=False)
    np.testing.assert_array_equal(image, colours.transpose(2, 0, 1) - 128.0)
    (grey,) = load_pictures([path], (1, 5, 4), black=0, white=255, resize=False)
    np.testing.assert_array_equal(grey[0], np.asarray(Image.open(path).convert("L")))
    with pytest.raises(DataError, match="1 or 3 channels, and this network wants 2"):
        load_pictures([path], (2, 5, 4), black=0, white=255, resize=False)
