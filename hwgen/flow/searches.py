"""Searches in a workspace: the front of the last one, and what an unfinished one has measured."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from hwgen import __version__
from hwgen.approx.front import Check, Front, from_json
from hwgen.errors import DataError
from hwgen.flow.source import reads_now
from hwgen.flow.workspace import Workspace, file_digest

__all__ = ["FRONT", "CheckMemory", "load_front"]

FRONT = "front.json"
"""File of the front that the last search found."""

_FILE = "unfinished_search.json"


def load_front(workspace: Workspace) -> Front:
    """The front of the network in the workspace.

    Raises
    ------
    DataError
        If there is none, or what it belongs to has changed.
    """
    record = workspace.record("search")
    outputs = record.get("outputs", {})
    current = (
        record.get("version") == __version__
        and reads_now(workspace, record)
        and all(
            workspace.path(name).is_file() and file_digest(workspace.path(name)) == digest
            for name, digest in outputs.items()
        )
    )
    if not current:
        raise DataError(
            f"{str(workspace.root)!r} has no front of its network; run 'hwgen approximate' with "
            "--data and without --mix first"
        )
    return from_json(workspace.path(FRONT).read_text())


@dataclass(frozen=True)
class CheckMemory:
    """Checks by mix of the unfinished search that ``key`` identifies."""

    workspace: Workspace
    key: str
    checks: dict[str, Check] = field(default_factory=dict)

    @classmethod
    def open(cls, workspace: Workspace, key: str) -> CheckMemory:
        """The memory of the search ``key``: empty if the last unfinished search was another one."""
        try:
            held = json.loads(workspace.path(_FILE).read_text())
            checks = [Check(**entry) for entry in held["checks"]] if held["key"] == key else []
        except (OSError, ValueError, KeyError, TypeError):
            checks = []
        return cls(workspace, key, {check.mix: check for check in checks})

    def keep(self, check: Check) -> None:
        """Remember one more check."""
        self.checks[check.mix] = check
        held = {"key": self.key, "checks": [asdict(check) for check in self.checks.values()]}
        self.workspace.write(_FILE, json.dumps(held))

    def forget(self) -> None:
        """Remove everything, because the search has ended."""
        self.workspace.path(_FILE).unlink(missing_ok=True)
