"""Timing of what is around an NFU: when each of its ports works, as patterns that repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgen.numeric import IntArray

__all__ = ["GATES", "LOADS", "Timing", "rate"]

LOADS = ("sb", "nbin", "table")
"""Names of the load ports."""

GATES = (
    "instructions",
    *(f"{port}_request" for port in LOADS),
    *(f"{port}_words" for port in LOADS),
    "store",
)
"""The ports: each moves an item in a cycle in which it is open and an item is there."""

_ALWAYS = np.ones(1, dtype=np.bool_)


def rate(words: int, cycles: int) -> npt.NDArray[np.bool_]:
    """Pattern of a port that is open in ``words`` of ``cycles`` cycles, spread evenly."""
    if not 1 <= words <= cycles:
        raise ValueError(f"Rate must be from 1 to {cycles} words in {cycles} cycles, not {words}")
    counts = np.arange(cycles + 1) * words // cycles
    return np.asarray(np.diff(counts) > 0)


@dataclass(frozen=True, eq=False)
class Timing:
    """Timing of memory and of the source of instructions.

    Cycles count from the end of the reset. A port without a pattern is always open; one that has
    offered an instruction or a word offers it until it is taken.

    Parameters
    ----------
    latency : int
        Cycles from a request that is taken to its first word, at least 1.
    patterns : mapping from names of :data:`GATES` to bool arrays
        ``patterns[name][cycle % length]`` is whether the port is open in a cycle.

    Raises
    ------
    ValueError
        If the latency is less than 1, or a pattern has no such port or no open cycle.
    """

    latency: int = 1
    patterns: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.latency < 1:
            raise ValueError(f"Latency must be at least 1, not {self.latency!r}")
        for name, pattern in self.patterns.items():
            if name not in GATES:
                raise ValueError(f"Port must be one of {', '.join(GATES)}, not {name!r}")
            if not np.any(pattern):
                raise ValueError(f"Pattern of port {name} must have an open cycle")

    def is_open(self, name: str, cycle: int) -> bool:
        """Whether a port of :data:`GATES` is open in a cycle."""
        pattern = self.patterns.get(name, _ALWAYS)
        return bool(pattern[cycle % len(pattern)])

    @cached_property
    def tables(self) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...]]:
        """For each gate: the number of open cycles before each of a period, and the open cycles."""
        patterns = [np.asarray(self.patterns.get(name, _ALWAYS), dtype=np.bool_) for name in GATES]
        before = tuple(np.cumsum(p, dtype=np.int64) - p for p in patterns)
        return before, tuple(np.flatnonzero(p).astype(np.int64) for p in patterns)
