"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called with what is being done and the share of it that is done, 0 to 1."""

    def __call__(self, task: str, fraction: float) -> None: ...


def silent(task: str, fraction: float) -> None:
    """Report nothing."""
