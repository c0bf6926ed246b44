"""JSON form of the approximated network, exact both ways."""

from __future__ import annotations

from hwgen import serial
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.approx.verify import verify
from hwgen.network.storage import CLASSES
from hwgen.numeric import Dyadic

__all__ = ["from_json", "to_json"]


def to_json(approx: ApproxNetwork) -> str:
    """JSON text of ``approx``, the same for equal networks."""
    return serial.dumps(approx)


def from_json(text: str) -> ApproxNetwork:
    """The network that :func:`to_json` wrote, verified.

    Raises
    ------
    DataError
        If the text is not such a network.
    VerifyError
        If the network is not consistent.
    """
    classes = (*CLASSES, ApproxNetwork, Dyadic, DyadicFilters)
    return verify(serial.loads(text, classes, ApproxNetwork))
