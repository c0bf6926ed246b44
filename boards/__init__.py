"""The boards that hwgen builds for, found by name."""

from collections.abc import Mapping
from types import MappingProxyType

from hwgen.boards.colorlight import COLORLIGHT_I5, COLORLIGHT_I9
from hwgen.boards.hx8k_evn import HX8K_EVN
from hwgen.boards.icebreaker import ICEBREAKER
from hwgen.boards.tang_nano import TANG_NANO_9K, TANG_NANO_20K
from hwgen.boards.types import LINKS, Board, Capacity, Pin, SpiPins, UartPins, Wires
from hwgen.boards.ulx3s import ULX3S_25F, ULX3S_45F, ULX3S_85F
from hwgen.errors import ResourceError

__all__ = [
    "BOARDS",
    "LINKS",
    "Board",
    "Capacity",
    "Pin",
    "SpiPins",
    "UartPins",
    "Wires",
    "find_board",
]

BOARDS: Mapping[str, Board] = MappingProxyType(
    {
        board.name: board
        for board in (
            ULX3S_25F,
            ULX3S_45F,
            ULX3S_85F,
            COLORLIGHT_I5,
            COLORLIGHT_I9,
            TANG_NANO_9K,
            TANG_NANO_20K,
            HX8K_EVN,
            ICEBREAKER,
        )
    }
)


def find_board(name: str) -> Board:
    """The board called ``name``, in upper or lower case.

    Raises
    ------
    ResourceError
        If there is none; the text lists the names.
    """
    board = BOARDS.get(name.lower())
    if board is None:
        raise ResourceError(f"There is no board {name!r}: choose one of {', '.join(BOARDS)}")
    return board
