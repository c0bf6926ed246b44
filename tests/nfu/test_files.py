"""Files of programs and memory images: round trips, and what is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nfu_networks import random_layers, suitable_config

from hwgen.errors import DataError
from hwgen.nfu.assembler import disassemble
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.files import load_image, read_program, save_image, to_bytes, to_hex


@pytest.fixture(scope="module")
def compiled() -> tuple[NfuConfig, CompiledNetwork]:
    rng = np.random.default_rng(5)
    config = suitable_config(rng)
    return config, compile_network(random_layers(rng, layers=2, size=5), config)


def test_program_files(compiled: tuple[NfuConfig, CompiledNetwork], tmp_path: Path) -> None:
    program = compiled[1].program
    (tmp_path / "p.bin").write_bytes(to_bytes(program))
    (tmp_path / "p.hex").write_text(to_hex(program))
    (tmp_path / "p.nfu").write_text(disassemble(program))
    for name in ("p.bin", "p.hex", "p.nfu"):
        assert read_program(tmp_path / name) == program


def test_image_files(compiled: tuple[NfuConfig, CompiledNetwork], tmp_path: Path) -> None:
    config, network = compiled
    save_image(tmp_path / "i.npz", config, network.memory)
    got, memory = load_image(tmp_path / "i.npz")
    assert got == config
    assert (memory.rows, memory.tables) == (network.memory.rows, network.memory.tables)
    np.testing.assert_array_equal(memory.activations, network.memory.activations)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.bin", b"1" * 41, "number of words of 40 bytes, not 41 bytes"),
        ("p.hex", b"12\n", "Line 1: word must be 80 hexadecimal digits"),
        ("p.hex", b"+" * 80, "Line 1: word must be 80 hexadecimal digits"),
        ("p.nfu", b"\xff", "is not text"),
        ("p.nfu", b"CP stop=1", "Line 1: Field of CP must be one of"),
    ],
)
def test_damaged_programs(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_program(tmp_path / name)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*: No such file"):
        read_program(tmp_path / "no.nfu")
    with pytest.raises(DataError, match=r"Cannot read .*: No such file"):
        load_image(tmp_path / "no.npz")


def test_a_damaged_byte_of_an_image(
    compiled: tuple[NfuConfig, CompiledNetwork], tmp_path: Path
) -> None:
    """Refused wherever it is in the archive, or of no importance."""
    path = tmp_path / "i.npz"
    save_image(path, compiled[0], compiled[1].memory)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            load_image(path)
        except DataError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": None}, "has no array 'rows'"),
        ({"config": np.array("{}")}, "Stored value is damaged"),
        ({"rows": np.zeros((1, 999), np.uint8)}, "Array 'rows' must hold words of"),
        ({"tables": np.zeros((1, 1))}, "Array 'tables' must hold words of"),
        ({"activations": np.zeros(64)}, "Array 'activations' must be integers"),
    ],
)
def test_damaged_images(
    compiled: tuple[NfuConfig, CompiledNetwork],
    change: dict[str, np.ndarray | None],
    message: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "i.npz"
    save_image(path, compiled[0], compiled[1].memory)
    with np.load(path) as arrays:
        changed = dict(arrays) | change
    np.savez(path, **{name: array for name, array in changed.items() if array is not None})
    with pytest.raises(DataError, match=message):
        load_image(path)


def test_words_that_are_too_wide(
    compiled: tuple[NfuConfig, CompiledNetwork], tmp_path: Path
) -> None:
    config, network = compiled
    assert config.row_width % 8
    path = tmp_path / "i.npz"
    save_image(path, config, network.memory)
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["rows"] = np.full_like(changed["rows"], 255)
    np.savez(path, **changed)
    with pytest.raises(DataError, match=f"Words of array 'rows' must have {config.row_width} bits"):
        load_image(path)


def test_no_image_at_all(tmp_path: Path) -> None:
    path = tmp_path / "i.npz"
    for content in (b"", b"garbage", b"PK\x03\x04 and so on"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"i\.npz' must be an NPZ file|i\.npz': damaged"):
            load_image(path)
