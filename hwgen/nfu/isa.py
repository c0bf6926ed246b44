"""The instruction set as data: the fields of an instruction are those of a frozen dataclass.

Encoding, the text form and the table in the documentation are all derived from the same list.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

from hwgen.errors import DataError

__all__ = [
    "FIELDS",
    "SLOTS",
    "WORD_WIDTH",
    "FieldSpec",
    "Instruction",
    "Nfu1",
    "Nfu2",
    "Nfu2In",
    "Nfu2Out",
    "decode",
    "encode",
    "field_table",
]


class Nfu1(IntEnum):
    """What the lanes do."""

    NOP = 0
    MULT = 1


class Nfu2(IntEnum):
    """How a group's rows are combined: their sum, or the greatest of what each routes."""

    ADD = 0
    MAX = 1


class Nfu2In(IntEnum):
    """Where a partial sum begins: at zero, or at the word of NBout that it replaces."""

    RESET = 0
    NBOUT = 1


class Nfu2Out(IntEnum):
    """Where a sum goes: to NBout as it is, or through NFU-3."""

    NBOUT = 0
    NFU3 = 1


def _field(
    width: int, doc: str, *, signed: bool = False, values: type[IntEnum] | None = None
) -> Any:
    default: int = 0 if values is None else values(0)
    metadata = {"width": width, "doc": doc, "signed": signed, "values": values}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction: loads into three buffers, one run of the NFU, and a store.

    In program order: the loads, then the run, then the store. The run is, for each of
    ``nbin_positions`` windows, ``sb_rows`` rows from ``sb_address`` on: a row adds its weights
    times the NBin word at ``nbin_address + position * nbin_stride + offset`` to ``tn`` sums. After
    a row with the last flag the sums go to the next word of NBout, from ``nbout_address`` on. With
    :attr:`Nfu2.MAX` a row routes to each neuron one input or none, by a weight of 1, and a group
    gives the greatest that a neuron got, or 0 if it got none. With :attr:`Nfu1.NOP` there is
    neither run nor store. Buffer addresses wrap.

    Raises
    ------
    DataError
        If a value does not fit its field.
    """

    cp_end: int = _field(1, "last instruction of the program")
    cp_fence: int = _field(1, "wait until every store of earlier instructions is done")
    sb_source: int = _field(24, "row in memory where the load begins")
    sb_target: int = _field(12, "SB row where the load begins")
    sb_size: int = _field(13, "rows to load; 0 for no load")
    sb_address: int = _field(12, "first SB row of the run")
    sb_rows: int = _field(13, "rows of one window")
    nbin_source: int = _field(24, "word of Ti activations in memory where the load begins")
    nbin_target: int = _field(12, "NBin word where the load begins")
    nbin_size: int = _field(13, "words to load; 0 for no load")
    nbin_address: int = _field(12, "origin of the first window")
    nbin_stride: int = _field(12, "words from one window to the next")
    nbin_positions: int = _field(13, "windows of the run")
    nbin_signed: int = _field(1, "activations are signed")
    table_source: int = _field(24, "word of scales in memory where the load begins")
    table_target: int = _field(8, "word of the table where the load begins")
    table_size: int = _field(9, "words to load; 0 for no load")
    table_address: int = _field(8, "first word of scales of a window")
    table_shared: int = _field(1, "all neurons use the scales at address")
    nbout_address: int = _field(12, "NBout word of the first sums")
    nbout_groups: int = _field(9, "output groups (words of NBout) a window")
    nbout_store: int = _field(1, "store what the run wrote")
    nbout_target: int = _field(24, "word of Tn activations in memory where the store begins")
    nbout_stride: int = _field(15, "words in memory from one window's outputs to the next")
    nfu_op: int = _field(1, "NFU-1", values=Nfu1)
    nfu_combine: int = _field(1, "NFU-2, how rows are combined", values=Nfu2)
    nfu_in: int = _field(1, "NFU-2, where partial sums begin", values=Nfu2In)
    nfu_out: int = _field(1, "NFU-2, where sums go", values=Nfu2Out)
    nfu_function: int = _field(1, "NFU-3, a neuron's segment chooses its scale")
    nfu_shift: int = _field(6, "NFU-3, right shift")
    nfu_saturate: int = _field(1, "NFU-3, saturate to the bounds")
    nfu_low: int = _field(17, "NFU-3, lower bound; 0 is ReLU", signed=True)
    nfu_high: int = _field(17, "NFU-3, upper bound", signed=True)

    def __post_init__(self) -> None:
        for spec in FIELDS:
            value = getattr(self, spec.attribute)
            if not isinstance(value, int) or not spec.lo <= value <= spec.hi:
                raise DataError(
                    f"Field {spec.slot} {spec.name} must be an integer from {spec.lo} to "
                    f"{spec.hi}, not {value!r}"
                )
            if spec.values is not None:
                object.__setattr__(self, spec.attribute, spec.values(value))


@dataclass(frozen=True)
class FieldSpec:
    """One field of the word: bits ``offset`` to ``offset + width - 1``."""

    slot: str
    name: str
    offset: int
    width: int
    signed: bool
    values: type[IntEnum] | None
    doc: str

    @property
    def attribute(self) -> str:
        """Name of the attribute of :class:`Instruction`."""
        return f"{self.slot.lower()}_{self.name}"

    @property
    def lo(self) -> int:
        """Least value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Greatest value."""
        return (1 << (self.width - self.signed)) - 1


def _specs() -> tuple[FieldSpec, ...]:
    specs, offset = [], 0
    for entry in fields(Instruction):
        slot, name = entry.name.split("_", 1)
        specs.append(FieldSpec(slot.upper(), name, offset, **entry.metadata))
        offset += entry.metadata["width"]
    return tuple(specs)


FIELDS = _specs()
"""Every field, least significant first."""

SLOTS = tuple(dict.fromkeys(spec.slot for spec in FIELDS))
"""Names of the slots, in order."""

WORD_WIDTH = sum(spec.width for spec in FIELDS)
"""Bits of an instruction."""


def encode(instruction: Instruction) -> int:
    """Word of an instruction."""
    word = 0
    for spec in FIELDS:
        value = int(getattr(instruction, spec.attribute))
        word |= (value & ((1 << spec.width) - 1)) << spec.offset
    return word


def decode(word: int) -> Instruction:
    """Instruction of a word; :class:`DataError` if it is wider than one."""
    if not 0 <= word < 1 << WORD_WIDTH:
        raise DataError(f"Instruction must be a word of {WORD_WIDTH} bits, not {word:#x}")
    values = {}
    for spec in FIELDS:
        bits = (word >> spec.offset) & ((1 << spec.width) - 1)
        values[spec.attribute] = bits - (1 << spec.width) if bits > spec.hi else bits
    return Instruction(**values)


def field_table() -> str:
    """The fields as a Markdown table."""
    lines = ["| slot | field | bits | values | meaning |", "|---|---|---|---|---|"]
    for spec in FIELDS:
        top = spec.offset + spec.width - 1
        bits = f"{top}:{spec.offset}" if spec.width > 1 else f"{top}"
        values = f"{spec.lo} to {spec.hi}"
        if spec.values is not None:
            values = ", ".join(value.name for value in spec.values)
        lines.append(f"| {spec.slot} | {spec.name} | {bits} | {values} | {spec.doc} |")
    return "\n".join(lines) + "\n"
