"""``hwgen doctor``: which tools are found, and what to do about the others."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.text import Text

from hwgen.cli._console import print_json
from hwgen.cli._options import JSON
from hwgen.cli._table import print_table
from hwgen.toolchain.doctor import ToolStatus, diagnose

__all__ = ["doctor"]


@click.command(short_help="Which tools are found, which are missing.")
@JSON
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """List the tools with their versions, and say how to install those that are missing.

    Exit status 1 if one is missing that 'hwgen build' needs.

    \b
        hwgen doctor
    """
    tools = diagnose()
    missing = [tool for tool in tools if tool.required and not tool.found]
    if as_json:
        rows = {tool.name: asdict(tool) | {"found": tool.found} for tool in tools}
        print_json({"ready": not missing, "tools": rows})
    else:
        _print(tools, missing)
    context.exit(1 if missing else 0)


def _print(tools: tuple[ToolStatus, ...], missing: list[ToolStatus]) -> None:
    rows = []
    for tool in tools:
        style = "green" if tool.found else "bold red" if tool.required else "yellow"
        remedy = tool.remedy if tool.required or tool.found else f"{tool.remedy} (optional)"
        rows.append((tool.name, Text(tool.version or "missing", style), tool.purpose, remedy))
    print_table(("tool", "version", "what it does", "what to do"), rows)
    if missing:
        names = ", ".join(tool.name for tool in missing)
        click.echo(f"'hwgen build' cannot run without {names}.")
    else:
        click.echo("'hwgen build' has all that it needs.")
