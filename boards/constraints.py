"""Pin constraint files of the serial top."""

from __future__ import annotations

from hwgen.boards.types import Board, Pin

__all__ = ["constraints"]


def constraints(board: Board) -> str:
    """Text of the constraint file that places every port of the serial top on ``board``."""
    line = _lpf if board.device.constraint_suffix == "lpf" else _pcf
    return "".join(line(port, pin) for port, pin in board.ports)


def _lpf(port: str, pin: Pin) -> str:
    settings = "".join(f" {key}={value}" for key, value in pin.attributes)
    return f'LOCATE COMP "{port}" SITE "{pin.site}";\nIOBUF PORT "{port}"{settings};\n'


def _pcf(port: str, pin: Pin) -> str:
    pullup = " -pullup yes" if ("PULLUP", "1") in pin.attributes else ""
    return f"set_io{pullup} {port} {pin.site}\n"
