"""A cell of a netlist, as models of cells see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hwgen.errors import UnsupportedError
from hwgen.toolchain.gates.logic import ZERO
from hwgen.toolchain.gates.statements import Assign, Statement

__all__ = ["Cell", "Model"]


@dataclass(frozen=True)
class Cell:
    """One cell: its ``kind``, its ``parameters`` as Yosys writes them, and its ``pins``.

    A pin has an expression for each bit, the lowest first; a bit of an output that nothing reads is
    empty. Names of wires inside the cell may
    begin with its ``name``.
    """

    name: str
    kind: str
    parameters: Mapping[str, str]
    pins: Mapping[str, tuple[str, ...]]

    def pin(self, name: str) -> str:
        """Expression of a pin of one bit; what is left open is 0."""
        bits = self.pins.get(name, ())
        return bits[0] if bits else ZERO

    def out(self, name: str, *, width: int = 1) -> tuple[str, ...]:
        """Targets of an output, empty where it drives nothing."""
        bits = self.pins.get(name, ())
        return (*bits, *[""] * (width - len(bits)))

    def drive(self, name: str, value: str) -> list[Statement]:
        """The statement that an output of one bit has ``value``, if it drives anything."""
        return [Assign(target, value) for target in self.out(name) if target]

    def word(self, name: str, width: int) -> int:
        """The lowest ``width`` bits of a parameter that is a number; unknown bits are 0."""
        digits = self.parameters.get(name, "0").replace("x", "0").replace("z", "0")
        return int(digits, 2) & ((1 << width) - 1)

    def text(self, name: str, default: str) -> str:
        """A parameter that is a text; Yosys ends those that look like numbers with a space."""
        return self.parameters.get(name, default).rstrip(" ")

    def need(self, name: str, *allowed: str) -> str:
        """A parameter that is a text, of those values that are modelled; the first by default.

        Raises
        ------
        UnsupportedError
            If it is another.
        """
        value = self.text(name, allowed[0])
        if value not in allowed:
            raise UnsupportedError(
                f"There is no model of the cell {self.kind} with {name} {value!r} to simulate"
            )
        return value


Model = Callable[[Cell], Sequence[Statement]]
"""What a cell of a kind does."""
