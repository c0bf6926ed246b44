"""Where shifted words of digits get the zeros that they begin with.

A word that is shifted to the left begins with digits of zero, where its registers still hold the
last digits of the word before. Masks would take LUTs, and carry logic does not absorb them; but if
nobody needs those digits, the registers can be cleared as the next word comes, which is part of a
flip-flop. Digits that pass a chain of registers one behind the other are cleared all at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwgen.shiftadd.digit_serial import Alignment, Field
from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["Zeros", "zeros_of"]


@dataclass(frozen=True)
class Zeros:
    """How the zeros of all shifted operands are made.

    Parameters
    ----------
    clears : dict of (value, bit, register) to time
        Bits of registers, counted from that of the sum (0), that are zero after the cycle in which
        the first digits of time ``time`` are there, whatever they would take.
    masks : frozenset of (node, operand, bit)
        Bits of operands that need a mask, since others read what would be cleared.
    """

    clears: dict[tuple[int, int, int], int]
    masks: frozenset[tuple[int, Operand, int]]


@dataclass(frozen=True)
class _Read:
    """A bit of the digits of a value as a node or a field reads it, behind ``register`` registers.

    ``zeros`` digits of zero come before ``needed`` digits of the word; the node begins at ``start``
    """

    register: int
    zeros: int
    needed: int
    start: int = 0
    what: tuple[int, Operand, int] | None = None


def zeros_of(graph: AdderGraph, plan: Alignment, fields: Sequence[Field]) -> Zeros:
    """Clear the registers from which shifted operands come, where nobody reads what is cleared."""
    clears: dict[tuple[int, int, int], int] = {}
    masks = set()
    count, last = len(graph.inputs), plan.digits
    for (value, bit), reads in _reads(graph, plan, fields).items():
        span, begin = graph.ranges[value], plan.begin[value]
        # Digits at the end of a word that are zero anyway.
        empty = last + (bit - span.width) // plan.digit if span.lo >= 0 else 0
        shifted = sorted((r for r in reads if r.zeros), key=lambda r: (r.zeros, r.start))
        while shifted:
            time = min(read.start for read in shifted) - 1
            cleared = {time + 1 + k - begin: k for k in range(1, shifted[-1].zeros + 1)}
            if min(cleared) >= (value < count) and all(
                k <= max(empty, _unread(reads, register, last)) for register, k in cleared.items()
            ):
                clears |= {(value, bit, register): time for register in cleared}
                break
            masks.add(shifted.pop().what)
    return Zeros(clears, frozenset(mask for mask in masks if mask is not None))


def _unread(reads: Iterable[_Read], register: int, digits: int) -> int:
    """Digits at the end of a word that nobody needs from a register or those behind it."""
    return digits - max((r.needed for r in reads if r.register >= register), default=0)


def _reads(
    graph: AdderGraph, plan: Alignment, fields: Sequence[Field]
) -> dict[tuple[int, int], list[_Read]]:
    """What is read of each bit of the digits of each value that is not constant."""
    count = len(graph.inputs)
    reads: dict[tuple[int, int], list[_Read]] = defaultdict(list)
    needed = [0] * len(graph.ranges)
    for field in fields:
        needed[field.source] = max(needed[field.source], -(-field.stop // plan.digit))
        for place, (bit, register) in zip(
            range(field.low, field.stop), plan.places(field), strict=True
        ):
            read = _Read(register, 0, place // plan.digit + 1)
            reads[field.source, bit].append(read)
    for index in reversed(range(len(graph.nodes))):
        value = count + index
        for operand in graph.nodes[index].operands:
            source = operand.source
            if graph.ranges[source].lo == graph.ranges[source].hi:
                continue
            needed[source] = max(needed[source], needed[value] - operand.shift // plan.digit)
            for bit, (place, register, zeros) in enumerate(plan.bits(graph, index, operand)):
                if zeros < plan.digits:
                    reads[source, place].append(
                        _Read(
                            register,
                            zeros,
                            needed[value] - zeros,
                            plan.begin[value] - 1,
                            (index, operand, bit),
                        )
                    )
    return reads
