"""Programs and memory images as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen.errors import DataError
from hwgen.nfu.assembler import assemble
from hwgen.nfu.config import CONFIG_CLASSES, NfuConfig
from hwgen.nfu.isa import WORD_WIDTH, Instruction, decode, encode
from hwgen.nfu.memory import MemoryImage
from hwgen.npz import DAMAGED
from hwgen.serial import dumps, loads

__all__ = [
    "from_bytes",
    "image_bytes",
    "load_image",
    "read_program",
    "save_image",
    "to_bytes",
    "to_hex",
]

_BYTES = WORD_WIDTH // 8
_DIGITS = WORD_WIDTH // 4
_ARRAYS = ("config", "rows", "tables", "activations")


def to_bytes(program: Sequence[Instruction]) -> bytes:
    """Instruction words one after another, each with its least significant byte first."""
    return b"".join(encode(one).to_bytes(_BYTES, "little") for one in program)


def to_hex(program: Sequence[Instruction]) -> str:
    """A line of hexadecimal digits an instruction word, as Verilog's ``$readmemh`` reads them."""
    return "".join(f"{encode(one):0{_DIGITS}x}\n" for one in program)


def from_bytes(content: bytes) -> tuple[Instruction, ...]:
    """Instructions of :func:`to_bytes`; :class:`DataError` if a word is not whole."""
    if len(content) % _BYTES:
        raise DataError(
            f"Program must be a number of words of {_BYTES} bytes, not {len(content)} bytes"
        )
    return tuple(
        decode(int.from_bytes(content[k : k + _BYTES], "little"))
        for k in range(0, len(content), _BYTES)
    )


def _from_hex(text: str) -> tuple[Instruction, ...]:
    program = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if len(word) != _DIGITS or set(word) - set("0123456789abcdefABCDEF"):
            raise DataError(f"Line {number}: word must be {_DIGITS} hexadecimal digits")
        program.append(decode(int(word, 16)))
    return tuple(program)


def read_program(path: Path) -> tuple[Instruction, ...]:
    """Program of a file: ``.bin`` as bytes, ``.hex`` as hexadecimal words, all else as text.

    Raises
    ------
    DataError
        If the file is missing or is no program.
    """
    try:
        if path.suffix == ".bin":
            return from_bytes(path.read_bytes())
        text = path.read_text(encoding="utf-8")
        return _from_hex(text) if path.suffix == ".hex" else assemble(text)
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{str(path)!r} is not text; is it a .bin file?") from None
    except DataError as error:
        raise DataError(f"{str(path)!r}: {error}") from None


def _from_words(words: Sequence[int], width: int) -> npt.NDArray[np.uint8]:
    size = -(-width // 8)
    content = b"".join(word.to_bytes(size, "little") for word in words)
    return np.frombuffer(content, dtype=np.uint8).reshape(len(words), size)


def _to_words(array: npt.NDArray[np.generic], width: int, name: str) -> tuple[int, ...]:
    size = -(-width // 8)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != size:
        raise DataError(f"Array {name!r} must hold words of {size} bytes, uint8 (words, {size})")
    words = tuple(int.from_bytes(row.tobytes(), "little") for row in array)
    if any(word >> width for word in words):
        raise DataError(f"Words of array {name!r} must have {width} bits")
    return words


def image_bytes(config: NfuConfig, image: MemoryImage) -> bytes:
    """What :func:`save_image` writes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        config=np.array(dumps(config)),
        rows=_from_words(image.rows, config.row_width),
        tables=_from_words(image.tables, config.table_width),
        activations=image.activations,
    )
    return buffer.getvalue()


def save_image(path: Path, config: NfuConfig, image: MemoryImage) -> None:
    """Write a memory image and the parameters of the NFU that it is for.

    An NPZ file of four arrays: ``config``, text; ``rows`` (SB rows) and ``tables`` (words of
    NFU-3's table), uint8 (words, bytes), least significant byte first; ``activations``, int64.
    """
    path.write_bytes(image_bytes(config, image))


def load_image(path: Path) -> tuple[NfuConfig, MemoryImage]:
    """Parameters and memory of a file that :func:`save_image` wrote.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in _ARRAYS if name not in arrays]
            if missing:
                raise DataError(f"{str(path)!r} has no array {missing[0]!r}")
            config_text, rows, tables, activations = (arrays[name] for name in _ARRAYS)
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or 'damaged'}") from None
    except DAMAGED:
        raise DataError(f"{str(path)!r} must be an NPZ file of a memory image") from None
    try:
        config = loads(str(config_text), CONFIG_CLASSES, NfuConfig)
        block = max(config.tn, config.ti)
        if activations.dtype.kind not in "iu" or activations.ndim != 1 or activations.size % block:
            raise DataError(f"Array 'activations' must be integers, a multiple of {block} of them")
        image = MemoryImage(
            _to_words(rows, config.row_width, "rows"),
            _to_words(tables, config.table_width, "tables"),
            activations.astype(np.int64),
        )
    except DataError as error:
        raise DataError(f"{str(path)!r}: {error}") from None
    return config, image
