"""Parts of a long computation on disk: written whole or not at all, read back if they are whole."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import ResourceError
from hwgen.npz import DAMAGED

__all__ = ["ChunkFiles"]

_Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ChunkFiles:
    """The NPZ files of one computation, ``folder/000000.npz`` and on."""

    folder: Path

    def read(self, index: int, like: _Arrays) -> _Arrays | None:
        """The arrays of part ``index``; None if it is missing, torn, or unlike ``like``."""
        try:
            with (
                self._path(index).open("rb") as file,
                np.load(file, allow_pickle=False) as archive,
            ):
                arrays = {name: archive[name] for name in like}
        except (OSError, KeyError, *DAMAGED):
            return None
        fits = all(
            arrays[name].shape == array.shape and arrays[name].dtype == array.dtype
            for name, array in like.items()
        )
        return arrays if fits else None

    def write(self, index: int, arrays: _Arrays) -> None:
        """Write part ``index``.

        Raises
        ------
        ResourceError
            If the disk is full or the folder cannot be written.
        """
        path = self._path(index)
        temporary = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                temporary = Path(file.name)
                np.savez(file, allow_pickle=False, **arrays)
            temporary.replace(path)
        except OSError as error:
            raise ResourceError(f"Cannot write {str(path)!r}: {error.strerror}") from None
        finally:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06}.npz"
