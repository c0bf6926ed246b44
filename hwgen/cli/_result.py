"""What every command prints when it is done: what is known, what was made, and what comes next."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from hwgen.cli._console import print_json
from hwgen.errors import ResourceError
from hwgen.flow.summary import summarise
from hwgen.flow.workspace import Workspace
from hwgen.report.facts import facts, next_command, verdict

__all__ = ["finish", "write_file"]

_COLOURS = {"good": "bold green", "bad": "bold red", "open": "bold"}


def finish(workspace: Workspace, *, as_json: bool) -> None:
    """Print the summary of a workspace on standard output, as text or as JSON."""
    summary = summarise(workspace)
    if as_json:
        print_json(summary)
        return
    sentence, how = verdict(summary)
    rows = facts(summary)
    rows += [(kind, str(workspace.path(name))) for kind, name in summary["files"].items()]
    command = next_command(summary, str(workspace.root))
    rows += [("next", command)] if command else []
    width = max((len(subject) for subject, _ in rows), default=0)
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(sentence, style=_COLOURS[how]))
    for subject, line in rows:
        console.print(Text.assemble((f"  {subject:<{width}}  ", "dim"), line))


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user named, which may be a device; :class:`ResourceError` if not."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ResourceError(f"Cannot write {str(path)!r}: {error.strerror}") from None
