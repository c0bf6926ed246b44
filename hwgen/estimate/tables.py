"""Tables of constants as logic: about how many LUTs of four inputs choose an entry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "Function", "Table", "function_luts", "read_table"]

_CONSTANT = r"assign (\S+(?: \[\S+\])?) \d+'([01]+)\n"
_TABLE = re.compile(
    rf"((?:    {_CONSTANT})+)    switch (.+)\n"
    rf"((?:      case.*\n(?:        {_CONSTANT})*)+)    end\n"
)
_ASSIGN = re.compile(_CONSTANT)
_CASE = re.compile(rf"      case ?(.*)\n((?:        {_CONSTANT})*)")
_LARGEST = 14  # bits of an index that is looked at

BoolArray = npt.NDArray[np.bool_]

_INPUTS = 4
_GATE = 1 / 3
"""A bit that forces or inverts the rest: a LUT has room for three beside what it is for."""


@dataclass(frozen=True, eq=False)
class Table:
    """What signals are for each value of an index, the signal ``select``.

    ``bits`` of each target (2 ** index, width) begin with the lowest.
    """

    select: str
    bits: Mapping[str, BoolArray]


def read_table(process: str) -> Table | None:
    """The table that a process of RTLIL is; None if it is anything else, or very large."""
    found = _TABLE.fullmatch(process)
    if found is None:
        return None
    defaults, select, cases = found[1], found[4], found[5]
    patterns = _CASE.findall(cases)
    width = max(len(pattern.partition("'")[2].partition(",")[0]) for pattern, *_ in patterns)
    if width > _LARGEST:
        return None
    bits = {
        target: np.tile(_bits(value), (1 << width, 1))
        for target, value in _ASSIGN.findall(defaults)
    }
    undecided = np.ones(1 << width, dtype=bool)
    index = np.arange(1 << width)
    for pattern, body, *_ in patterns:
        taken = np.zeros_like(undecided)
        for digits in re.findall(r"'([01-]*)", pattern):
            mask = int("0" + digits.replace("0", "1").replace("-", "0"), 2)
            taken |= index & mask == int("0" + digits.replace("-", "0"), 2)
        taken = undecided & taken if pattern else undecided.copy()
        undecided &= ~taken
        for target, value in _ASSIGN.findall(body):
            bits[target][taken] = _bits(value)
    return Table(select, bits)


def _bits(value: str) -> BoolArray:
    return np.array([digit == "1" for digit in reversed(value)])


@dataclass(frozen=True, eq=False)
class Function:
    """A function of bits that are known by their names, the lowest first.

    ``values`` (2 ** bits,) are those at each value of the bits.
    """

    bits: tuple[str, ...]
    values: BoolArray

    def essential(self) -> Function:
        """The same of only those bits that it depends on, and 0 where all of them are."""
        bits, values = list(self.bits), self.values
        for bit in self.bits:
            low, high = _halves(values, bits.index(bit))
            if np.array_equal(low, high):
                values = low
                bits.remove(bit)
        return Function(tuple(bits), ~values if values[0] else values)

    def splits(self) -> list[tuple[Function, Function]]:
        """For each bit, the function where it is 0 and where it is 1."""
        found = []
        for k in range(len(self.bits)):
            others = self.bits[:k] + self.bits[k + 1 :]
            low, high = _halves(self.values, k)
            found.append((Function(others, low).essential(), Function(others, high).essential()))
        return found

    @property
    def key(self) -> tuple[tuple[str, ...], bytes]:
        """Equal for equal functions."""
        return self.bits, self.values.tobytes()


def function_luts(function: Function, built: set[object]) -> float:
    """LUTs of a function, which may be inverted: what reads it does that for nothing.

    It is split by the bit that leaves fewest others (Shannon's expansion) until what is left fits a
    LUT. What is in ``built`` is there already; what is new is added.
    """
    function = function.essential()
    if len(function.bits) <= 1 or function.key in built:
        return 0.0
    built.add(function.key)
    if len(function.bits) <= _INPUTS:
        return 1.0
    low, high = min(function.splits(), key=lambda both: sum(len(half.bits) for half in both))
    joined = 1.0 if low.bits and high.bits and low.key != high.key else _GATE
    return joined + function_luts(low, built) + function_luts(high, built)


def _halves(values: BoolArray, bit: int) -> tuple[BoolArray, BoolArray]:
    by_bit = values.reshape(-1, 2, 1 << bit)
    return by_bit[:, 0].ravel(), by_bit[:, 1].ravel()
