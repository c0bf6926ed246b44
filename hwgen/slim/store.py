"""JSON form of a slimmed network, exact both ways."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen import serial
from hwgen.network.storage import CLASSES
from hwgen.network.types import Network
from hwgen.network.verify import verify

__all__ = ["Slimmed", "from_json", "to_json"]


@dataclass(frozen=True)
class Slimmed:
    """What slimming made of a network.

    Parameters
    ----------
    network : Network
        The slimmed network, in which nothing is left of what was removed; a node has the name of
        the one in the original that it was made of.
    masked : Network
        The same function with the nodes and shapes of the original and zeros for what was removed,
        so that every channel is the one that it was.
    mix : str or None
        Recipes of the layers of ``network``, as :func:`hwgen.approx.recipes.parse_mix` reads them,
        if the search chose them together with everything else.
    """

    network: Network
    masked: Network
    mix: str | None = None


def to_json(slimmed: Slimmed) -> str:
    """JSON text of ``slimmed``, the same for equal networks."""
    return serial.dumps(slimmed)


def from_json(text: str) -> Slimmed:
    """What :func:`to_json` wrote, verified.

    Raises
    ------
    DataError
        If the text is not such a value.
    VerifyError
        If one of its networks is inconsistent.
    """
    slimmed = serial.loads(text, (*CLASSES, Slimmed), Slimmed)
    verify(slimmed.network)
    verify(slimmed.masked)
    return slimmed
