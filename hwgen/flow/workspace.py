"""The output directory: atomic files, and stages that run only if something they read changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen import __version__
from hwgen.errors import DataError, ResourceError

__all__ = ["Workspace", "file_digest"]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Workspace:
    """The directory of one build.

    ``root`` is absolute, because tools run in directories of their own. Every file is written whole
    or not at all. Beside its outputs each stage leaves a record in
    ``stages/``: the digest of all that it read, and of all that it wrote.
    """

    root: Path

    @classmethod
    def create(cls, root: Path) -> Workspace:
        """The workspace at ``root``, made if it does not exist.

        Raises
        ------
        ResourceError
            If the directory cannot be made or written.
        """
        try:
            (root / "stages").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"Cannot write to the output directory {str(root)!r}: {error.strerror}"
            ) from None
        return cls(root.absolute())

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """The existing workspace at ``root``; :class:`DataError` if no stage ever ran there."""
        if not (root / "stages").is_dir():
            raise DataError(
                f"{str(root)!r} is not a directory of hwgen; start with 'hwgen import MODEL "
                f"--out {root}' or 'hwgen build'"
            )
        return cls(root.absolute())

    def path(self, name: str) -> Path:
        """Path of the file ``name`` in the workspace."""
        return self.root / name

    def read(self, name: str, *, made_by: str) -> str:
        """Text of the file ``name``; :class:`DataError` naming the stage that makes it."""
        try:
            return self.path(name).read_text()
        except FileNotFoundError:
            raise DataError(
                f"{str(self.path(name))!r} does not exist; run 'hwgen {made_by}' first"
            ) from None

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file atomically: after any failure the old content is still there.

        Raises
        ------
        ResourceError
            If the disk is full or the directory is not writable.
        """
        self.write_together({name: content})

    def write_together(self, files: Mapping[str, str | bytes]) -> None:
        """Write files that belong together, by name: no old one goes before all new ones are there.

        Raises
        ------
        ResourceError
            If the disk is full or the directory is not writable.
        """
        temporaries: dict[Path, Path] = {}
        path = self.root
        try:
            for name, content in files.items():
                path = self.path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                    temporaries[path] = Path(file.name)
                    file.write(content.encode() if isinstance(content, str) else content)
            for path, temporary in temporaries.items():
                temporary.chmod(0o644)
                temporary.replace(path)
        except OSError as error:
            raise ResourceError(f"Cannot write {str(path)!r}: {error.strerror}") from None
        finally:
            for temporary in temporaries.values():
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def run(
        self,
        stage: str,
        work: Callable[[], None],
        *,
        reads: Sequence[Path],
        writes: Sequence[str],
        options: Mapping[str, object],
    ) -> bool:
        """Run ``work`` unless the stage already ran on the same inputs and options.

        If ``work`` fails before it replaces a file, the result of the run before stays valid.

        Parameters
        ----------
        stage
            Name of the stage, which names its record.
        work
            Reads ``reads``, writes ``writes``.
        reads
            Files whose content decides the result.
        writes
            Names of the files that the stage leaves in the workspace.
        options
            Everything else that decides the result; must be representable in JSON.

        Returns
        -------
        bool
            Whether the stage ran.
        """
        inputs = [[self._name_of(path), _digest_of_input(path)] for path in reads]
        key = self.key(stage, reads, options)
        record = self.record(stage)
        if record.get("key") == key and record.get("outputs") == self._outputs(writes):
            return False
        start = time.monotonic()
        try:
            work()
        except BaseException:
            # what the last good run left may still be there, whole; its record holds only then
            left = record.get("outputs", {})
            if self._outputs(left) != left:
                self.forget(stage)
            raise
        done = {
            "key": key,
            "version": __version__,
            "options": dict(options),
            "reads": inputs,
            "outputs": self._outputs(writes),
            "seconds": round(time.monotonic() - start, 2),
        }
        self.write(f"stages/{stage}.json", json.dumps(done, indent=1, sort_keys=True))
        return True

    def seconds(self, stage: str) -> float | None:
        """Wall-clock seconds that the stage took when it last ran, or None if it never did."""
        seconds = self.record(stage).get("seconds")
        return seconds if isinstance(seconds, float) else None

    def record(self, stage: str) -> dict[str, Any]:
        """What the stage left when it last ended well, or nothing.

        ``version`` of hwgen, ``options``, ``seconds``, ``reads`` (pairs of a name or path and the
        file's digest, in the order in which the stage gave them) and ``outputs`` (digest by name).
        """
        try:
            record = json.loads(self._record_path(stage).read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def forget(self, stage: str) -> None:
        """Remove the record of a stage, because what it left is no longer valid."""
        self._record_path(stage).unlink(missing_ok=True)

    def _name_of(self, path: Path) -> str:
        """The name of a file of the workspace; the path of any other as it was given."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def key(self, stage: str, reads: Sequence[Path], options: Mapping[str, object]) -> str:
        """What tells a run of the stage from runs on other inputs or options; see :meth:`run`."""
        parts = {
            "stage": stage,
            "version": __version__,
            "options": dict(options),
            "reads": [_digest_of_input(path) for path in reads],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _outputs(self, names: Iterable[str]) -> dict[str, str | None]:
        return {
            name: file_digest(self.path(name)) if self.path(name).is_file() else None
            for name in names
        }

    def _record_path(self, stage: str) -> Path:
        return self.path(f"stages/{stage}.json")


def _digest_of_input(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror}") from None
