"""Texts of one-bit expressions: constants folded, and tables of LUTs in few operators."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

__all__ = ["ONE", "ZERO", "both", "choice", "concat", "inverse", "table"]

ZERO, ONE = "1'd0", "1'd1"
"""The constants, as every expression here has them."""


def inverse(bit: str) -> str:
    """``~bit``."""
    return {ZERO: ONE, ONE: ZERO}.get(bit, f"~{bit}")


def both(*bits: str) -> str:
    """The conjunction of ``bits``."""
    if ZERO in bits:
        return ZERO
    rest = [bit for bit in dict.fromkeys(bits) if bit != ONE] or [ONE]
    return rest[0] if len(rest) == 1 else f"({' & '.join(rest)})"


def choice(low: str, high: str, select: str) -> str:
    """``high`` where ``select`` is 1, and else ``low``."""
    return table(0b11001010, [low, high, select])


def concat(bits: Sequence[str]) -> str:
    """A word of ``bits``, the lowest first; one bit repeated is written once."""
    if len(bits) > 1 and len(set(bits)) == 1:
        return f"{{{len(bits)}{{{bits[0]}}}}}"
    return f"{{{', '.join(reversed(bits))}}}"


def table(values: int, inputs: Sequence[str]) -> str:
    """Bit ``inputs`` of the word ``values``, the first input being the lowest of the index."""
    free = list(inputs)
    for position in reversed(range(len(inputs))):
        if inputs[position] in (ZERO, ONE):
            values = _halves(values, len(free), position)[inputs[position] == ONE]
            del free[position]
    return _template(values, len(free))[1].format(*free)


@cache
def _template(values: int, count: int) -> tuple[int, str]:
    """The number of operators, and the text with ``{i}`` for input ``i``, of a table."""
    ones = (1 << (1 << count)) - 1
    if values in (0, ones):
        return 0, ONE if values else ZERO
    found: list[tuple[int, str]] = []
    for index in range(count):
        low, high = _halves(values, count, index)
        name = f"{{{index}}}"
        others = [f"{{{i}}}" for i in range(count) if i != index]
        half = (1 << (1 << count - 1)) - 1
        costs = {word: _template(word, count - 1) for word in (low, high)}
        if low == high:  # does not matter
            cost, text = costs[low]
            return cost, text.format(*others)
        texts = {word: text.format(*others) for word, (_, text) in costs.items()}
        if low == 0:
            step = costs[high][0] + 1, name if high == half else f"({name} & {texts[high]})"
        elif high == 0:
            step = costs[low][0] + 2, f"~{name}" if low == half else f"(~{name} & {texts[low]})"
        elif high == half:
            step = costs[low][0] + 1, f"({name} | {texts[low]})"
        elif low == half:
            step = costs[high][0] + 2, f"(~{name} | {texts[high]})"
        elif low == high ^ half:
            step = costs[low][0] + 1, f"({name} ^ {texts[low]})"
        else:
            step = costs[low][0] + costs[high][0] + 2, f"({name} ? {texts[high]} : {texts[low]})"
        found.append(step)
    return min(found)


def _halves(values: int, count: int, index: int) -> tuple[int, int]:
    """The tables of ``count - 1`` inputs that are left where input ``index`` is 0, and 1."""
    low = high = 0
    for row in range(1 << count - 1):
        source = (row >> index) << index + 1 | row & (1 << index) - 1
        low |= (values >> source & 1) << row
        high |= (values >> (source | 1 << index) & 1) << row
    return low, high
