"""The float network that the later stages work on: as it was imported, or slimmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen import __version__
from hwgen.errors import DataError
from hwgen.flow.workspace import Workspace, file_digest
from hwgen.network import storage as network_store
from hwgen.network.types import Network
from hwgen.slim import store as slim_store
from hwgen.slim.store import Slimmed

__all__ = [
    "NETWORK",
    "SLIM",
    "SLIM_FILES",
    "Source",
    "check_same_images",
    "given_files",
    "load_network",
    "load_source",
    "reads_now",
    "undo_slim",
]

NETWORK = "network.json"
"""File of the network as it was imported."""

SLIM = "slim.json"
"""File of the slimmed network; if it is there, later stages work on that."""

SLIM_FILES = (
    "slim.csv",
    "results/slim_search.json",
    "results/slim.json",
    "unfinished_slimming.json",
)
"""What else the stage ``slim`` leaves: the trajectory, its results, and what it goes on from."""


@dataclass(frozen=True)
class Source:
    """The networks of a workspace: the ``original`` one and, if there is one, the slimmed one.

    ``paths`` are the files that they come from.
    """

    original: Network
    slimmed: Slimmed | None
    paths: tuple[Path, ...]

    @property
    def network(self) -> Network:
        """What is approximated and built."""
        return self.original if self.slimmed is None else self.slimmed.network

    @property
    def reference(self) -> Network | None:
        """What every loss is measured against if it is not :attr:`network` itself."""
        return None if self.slimmed is None else self.original


def load_network(workspace: Workspace) -> Network:
    """The network as it was imported; :class:`DataError` if none was."""
    return network_store.from_json(workspace.read(NETWORK, made_by="import"))


def load_source(workspace: Workspace) -> Source:
    """The networks in a workspace.

    Raises
    ------
    DataError
        If none was imported, or the slimmed one is not of the one that was.
    """
    original = load_network(workspace)
    path = workspace.path(SLIM)
    if not path.is_file():
        return Source(original, None, (workspace.path(NETWORK),))
    record = workspace.record("slim")
    known = {**_own_reads(record), **record.get("outputs", {})}
    if record.get("version") != __version__ or any(
        not workspace.path(name).is_file() or file_digest(workspace.path(name)) != digest
        for name, digest in known.items()
    ):
        raise DataError(
            f"The slimmed network in {str(workspace.root)!r} is not of the network that was "
            "imported there, or of another version of hwgen; run 'hwgen slim' again, or with --undo"
        )
    slimmed = slim_store.from_json(path.read_text())
    return Source(original, slimmed, (workspace.path(NETWORK), path))


def undo_slim(workspace: Workspace) -> None:
    """Remove the slimmed network, so that later stages work on the imported one again."""
    for stage in ("slim", "slim_test"):
        workspace.forget(stage)
    for name in (SLIM, *SLIM_FILES):
        workspace.path(name).unlink(missing_ok=True)


def check_same_images(
    workspace: Workspace, source: Source, data: Path, *, seed: int, held_out: bool
) -> None:
    """Refuse images ``held_out`` of ``data`` for testing that had a part in slimming.

    Raises
    ------
    DataError
        If they are not those that slimming left alone.
    """
    if source.slimmed is None or not held_out:
        return
    record = workspace.record("slim")
    known = record["options"]
    same = data.is_file() and file_digest(data) in [digest for _, digest in record["reads"]]
    if not (same and known["held_out"] and known["seed"] == seed):
        raise DataError(
            "Images that are held out for testing must not have chosen the slimmed network: give "
            "--test images, or the --data and --seed of a 'hwgen slim' that had no --test"
        )


def reads_now(workspace: Workspace, record: Mapping[str, Any]) -> bool:
    """Whether a stage with this ``record`` read the networks that are in the workspace now."""
    present = {name for name in (NETWORK, SLIM) if workspace.path(name).is_file()}
    read = _own_reads(record)
    return read.keys() == present and all(
        file_digest(workspace.path(name)) == digest for name, digest in read.items()
    )


def given_files(record: Mapping[str, Any]) -> list[str]:
    """Files from outside the workspace that a stage read, as they were given."""
    return [name for name, _ in record.get("reads", []) if name not in (NETWORK, SLIM)]


def _own_reads(record: Mapping[str, Any]) -> dict[str, str]:
    return {name: digest for name, digest in record.get("reads", []) if name in (NETWORK, SLIM)}
