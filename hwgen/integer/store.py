"""JSON form of the integer network, exact both ways."""

from __future__ import annotations

from hwgen import serial
from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    IntegerNetwork,
    IntNode,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.integer.verify import verify
from hwgen.numeric import FixedFormat, Range

__all__ = ["from_json", "to_json"]

_CLASSES = (
    Add,
    ArgMax,
    Concat,
    Conv,
    FixedFormat,
    IntNode,
    IntegerNetwork,
    MaxPool,
    PiecewiseLinear,
    Range,
    Requantise,
    SumPool,
)


def to_json(network: IntegerNetwork) -> str:
    """JSON text of ``network``, the same for equal networks."""
    return serial.dumps(network)


def from_json(text: str) -> IntegerNetwork:
    """The network that :func:`to_json` wrote, verified.

    Raises
    ------
    DataError
        If the text is not such a network.
    VerifyError
        If the network is not consistent.
    """
    return verify(serial.loads(text, _CLASSES, IntegerNetwork))
