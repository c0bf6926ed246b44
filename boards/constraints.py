"""Pin constraint files of a board's top."""

from __future__ import annotations

from hwgen.boards.types import Board, Pin, Wires

__all__ = ["constraints"]


def constraints(board: Board, link: Wires = "uart") -> str:
    """Text of the constraint file that places every port of the top on ``board``."""
    line = {"lpf": _lpf, "pcf": _pcf, "cst": _cst}[board.device.constraint_suffix]
    return "".join(line(port, pin) for port, pin in board.ports(link))


def _lpf(port: str, pin: Pin) -> str:
    settings = "".join(f" {key}={value}" for key, value in pin.attributes)
    return f'LOCATE COMP "{port}" SITE "{pin.site}";\nIOBUF PORT "{port}"{settings};\n'


def _pcf(port: str, pin: Pin) -> str:
    pullup = " -pullup yes" if ("PULLUP", "1") in pin.attributes else ""
    return f"set_io{pullup} {port} {pin.site}\n"


def _cst(port: str, pin: Pin) -> str:
    """A location and its buffer, each on a line of its own: nextpnr drops a second clause."""
    settings = "".join(f" {key}={value}" for key, value in pin.attributes)
    return f'IO_LOC "{port}" {pin.site};\nIO_PORT "{port}"{settings};\n'
