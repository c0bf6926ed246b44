"""The command ``hwgen``: one thin module a command; the work is in :mod:`hwgen.flow`."""

from hwgen.cli.main import main

__all__ = ["main"]
