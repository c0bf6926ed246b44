"""Text form of programs: one instruction a line, its slots divided by ``|``.

A slot is its name and ``field=value`` for each field that is not 0; slots and fields that are 0 can
be left out. ``#`` begins a comment, and a line ending in ``\\`` goes on in the next::

    SB size=18 rows=18 | NBIN size=48 positions=4 stride=2 | NBOUT groups=2 store=1 \\
      | NFU op=MULT out=NFU3 shift=5 saturate=1 high=255
    CP end=1                                              # nothing but the end
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwgen.errors import DataError
from hwgen.nfu.isa import FIELDS, SLOTS, FieldSpec, Instruction

__all__ = ["assemble", "disassemble"]

_BY_SLOT = {slot: {s.name: s for s in FIELDS if s.slot == slot} for slot in SLOTS}


def assemble(text: str) -> tuple[Instruction, ...]:
    """Instructions of a program text.

    Raises
    ------
    DataError
        If a line cannot be read; the message begins with its number.
    """
    program = []
    for number, line in _lines(text):
        try:
            program.append(_instruction(line))
        except DataError as error:
            raise DataError(f"Line {number}: {error}") from None
    return tuple(program)


def disassemble(program: Sequence[Instruction]) -> str:
    """Text of a program, which :func:`assemble` reads back."""
    return "".join(f"{_text(instruction)}\n" for instruction in program)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each instruction, comments and continuations resolved."""
    held, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        first = first if held else number
        held += line.removesuffix("\\")
        if held.strip() and not line.endswith("\\"):
            yield first, held
            held = ""
    if held.strip():
        yield first, held


def _instruction(line: str) -> Instruction:
    values: dict[str, int] = {}
    for part in line.split("|"):
        slot, *settings = part.split() or [""]
        if slot not in _BY_SLOT:
            raise DataError(f"Slot must be one of {', '.join(SLOTS)}, not {slot!r}")
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in _BY_SLOT[slot]:
                names = ", ".join(_BY_SLOT[slot])
                raise DataError(f"Field of {slot} must be one of {names}, not {name!r}")
            spec = _BY_SLOT[slot][name]
            if spec.attribute in values:
                raise DataError(f"Field {slot} {name} is there twice")
            values[spec.attribute] = _value(spec, value)
    return Instruction(**values)


def _value(spec: FieldSpec, text: str) -> int:
    if spec.values is not None:
        if text not in spec.values.__members__:
            names = ", ".join(spec.values.__members__)
            raise DataError(f"Field {spec.slot} {spec.name} must be one of {names}, not {text!r}")
        return spec.values[text]
    try:
        return int(text, 0)
    except ValueError:
        raise DataError(f"Field {spec.slot} {spec.name} must be an integer, not {text!r}") from None


def _text(instruction: Instruction) -> str:
    parts = []
    for slot, specs in _BY_SLOT.items():
        settings = []
        for spec in specs.values():
            value = getattr(instruction, spec.attribute)
            if value:
                shown = value if spec.values is None else spec.values(value).name
                settings.append(f"{spec.name}={shown}")
        if settings:
            parts.append(" ".join([slot, *settings]))
    return " | ".join(parts) or "CP"
