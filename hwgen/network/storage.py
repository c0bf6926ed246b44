"""The JSON form of a float network."""

from __future__ import annotations

from hwgen.network.types import (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Node,
    PiecewiseLinear,
    Quantise,
    Softmax,
)
from hwgen.network.verify import verify
from hwgen.serial import dumps, loads

__all__ = ["CLASSES", "from_json", "to_json"]

CLASSES: tuple[type, ...] = (
    Activation,
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Node,
    PiecewiseLinear,
    Quantise,
    Softmax,
)
"""Every class that a stored float network may hold, for :func:`hwgen.serial.loads`."""


def to_json(network: Network) -> str:
    """JSON text of ``network``, exact and deterministic."""
    return dumps(network)


def from_json(text: str) -> Network:
    """The network that :func:`to_json` wrote.

    Raises
    ------
    DataError
        If the text is damaged.
    VerifyError
        If it holds an inconsistent network.
    """
    network = loads(text, CLASSES, Network)
    verify(network)
    return network
