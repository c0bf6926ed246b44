"""Words of a netlist, read as exact integers.

A module is what Yosys read from Verilog, in Yosys's own cells of whole words. Every word has a
linear form of the module's inputs such that the bits of the word are the lowest bits of that
integer, in two's complement. An operand of a cell is a concatenation of pieces of words, and its
value follows from the ranges of the forms: where a piece lacks the upper bits that the form would
need, the value is that of the bits that are there, and never that of the form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hwgen.errors import VerifyError
from hwgen.formal.linear import Input, Linear, low
from hwgen.numeric import Range

__all__ = ["Words"]

Bit = int | str
"""A net by its number, or a constant ``0``, ``1``, ``x``."""

_REGISTERS = ("$dff", "$dffe")
_CONTROL = ("$sdff", "$sdffe", *_REGISTERS)


@dataclass(frozen=True)
class _Piece:
    """Bits ``start`` to ``stop - 1`` of a form, at ``offset`` of a concatenation."""

    form: Linear
    start: int
    stop: int
    offset: int


class Words:
    """Forms of the words of a module with a pipeline whose registers share one clock enable.

    Parameters
    ----------
    module : mapping
        The module as ``write_json`` of Yosys gives it.
    payload : str
        The input port whose fields the forms are of.
    inputs : sequence of Range
        Ranges of the fields, the first in the least significant bits, each exactly as wide.

    Raises
    ------
    VerifyError
        If the port is not as wide as the fields.
    """

    def __init__(self, module: Mapping[str, Any], payload: str, inputs: Sequence[Range]) -> None:
        self._ports: Mapping[str, Any] = module["ports"]
        self._cells: Mapping[str, Any] = module["cells"]
        self._inputs = tuple(inputs)
        self._forms: dict[str, Linear] = {}
        self._open: set[str] = set()
        self._enables: set[Bit] = set()
        # where each net comes from: a word, and which bit of it
        self._sources: dict[Bit, tuple[str | int, int]] = {}
        bits = self.port(payload)
        if len(bits) != sum(span.width for span in inputs):
            raise VerifyError(f"{payload} has {len(bits)} bits, not those of its fields")
        place = 0
        for index, span in enumerate(inputs):
            for k in range(span.width):
                self._sources[bits[place + k]] = (index, k)
            place += span.width
        for name, cell in self._cells.items():
            for port, nets in cell["connections"].items():
                if cell["port_directions"][port] == "output":
                    for k, net in enumerate(nets):
                        self._sources[net] = (name, k)
        self._used = self._read_bits()

    def port(self, name: str) -> list[Bit]:
        """Nets of a port."""
        if name not in self._ports:
            raise VerifyError(f"There is no port {name}")
        bits: list[Bit] = self._ports[name]["bits"]
        return bits

    def value(self, bits: Sequence[Bit], *, signed: bool) -> Linear:
        """The number that ``bits``, least significant first, stand for.

        Raises
        ------
        VerifyError
            If they come from anything but sums, differences, complements and registers.
        """
        kept = list(bits)
        if signed:
            while len(kept) > 1 and self._same(kept[-1], kept[-2]):
                kept.pop()
            signed = kept[-1] != "0"
        while not signed and kept and kept[-1] == "0":
            kept.pop()
        if not kept:
            return Linear()
        if signed and kept[-1] == "1":
            # the top bit of a negative constant weighs negatively
            rest = self.value(kept[:-1], signed=False) if len(kept) > 1 else Linear()
            return rest - Linear(constant=1).shifted(len(kept) - 1)
        *pieces, top = self._pieces(kept)
        total = self._top(top, signed=signed)
        for piece in pieces:
            total += self._upper(piece, low(piece.form, piece.stop, self._span))
        return total

    def congruent(self, bits: Sequence[Bit]) -> Linear:
        """A number whose lowest bits are ``bits``, as simple as possible."""
        if not bits:
            return Linear()
        if len(bits) > 1 and self._same(bits[-1], bits[-2]):
            return self.value(bits, signed=True)
        if isinstance(bits[-1], str):
            return self.value(bits, signed=False)
        *pieces, top = self._pieces(bits)
        total = self._upper(top, top.form)
        for piece in pieces:
            total += self._upper(piece, low(piece.form, piece.stop, self._span))
        return total

    def control_delay(self, port: str, source: str) -> int:
        """Registers from the one-bit port ``source`` to the one-bit port ``port``, nothing else.

        Raises
        ------
        VerifyError
            If there is anything else between them.
        """
        (net,), (begin,) = self.port(port), self.port(source)
        count = 0
        while net != begin:
            name = self._sources.get(net, ("", 0))[0]
            cell = self._cells[name] if isinstance(name, str) and name else None
            if cell is None or cell["type"] not in _CONTROL or count > len(self._cells):
                raise VerifyError(f"{port} is not {source} behind registers")
            self._enabled(cell)
            (net,) = cell["connections"]["D"]
            count += 1
        return count

    def _read_bits(self) -> dict[str | int, int]:
        """How many of the lowest bits of each word anything reads."""
        used: dict[str | int, int] = {}
        reads = [port["bits"] for port in self._ports.values() if port["direction"] == "output"]
        for cell in self._cells.values():
            directions = cell["port_directions"]
            reads += [n for port, n in cell["connections"].items() if directions[port] == "input"]
        for nets in reads:
            for net in nets:
                if net in self._sources:
                    word, index = self._sources[net]
                    used[word] = max(used.get(word, 0), index + 1)
        return used

    # -- pieces ----------------------------------------------------------------------------------

    def _span(self, index: int) -> Range:
        return self._inputs[index]

    def _place(self, bit: Bit) -> tuple[Linear, int]:
        """A form and the index of the bit in it; a constant is bit 0 of itself."""
        if isinstance(bit, str):
            if bit not in "01":
                raise VerifyError("A bit is undefined")
            return Linear(constant=int(bit)), 0
        if bit not in self._sources:
            raise VerifyError("A bit comes from nowhere")
        word, index = self._sources[bit]
        form = Linear.of(Input(word)) if isinstance(word, int) else self._form(word)
        return form, index

    def _same(self, a: Bit, b: Bit) -> bool:
        """Whether two nets always carry the same, as copies of a sign do."""
        return a == b or (isinstance(a, int) and isinstance(b, int) and self._equal(a, b))

    def _equal(self, a: int, b: int) -> bool:
        (form, index), (other, place) = self._place(a), self._place(b)
        return index == place and form == other

    def _pieces(self, bits: Sequence[Bit]) -> list[_Piece]:
        """Maximal runs of bits of one form, least significant first."""
        pieces: list[_Piece] = []
        for offset, bit in enumerate(bits):
            form, index = self._place(bit)
            last = pieces[-1] if pieces and not isinstance(bit, str) else None
            if last is not None and last.stop == index and last.form == form:
                pieces[-1] = replace(last, stop=index + 1)
            else:
                pieces.append(_Piece(form, index, index + 1, offset))
        return pieces

    def _upper(self, piece: _Piece, form: Linear) -> Linear:
        """What ``form``, less its bits below the piece, adds to the whole."""
        cut = low(piece.form, piece.start, self._span)
        return (form - cut).shifted(piece.offset - piece.start)

    def _top(self, piece: _Piece, *, signed: bool) -> Linear:
        """What the uppermost piece adds: all of the form above if its sign is in its place."""
        if not signed:
            return self._upper(piece, low(piece.form, piece.stop, self._span))
        half = 1 << (piece.stop - 1)
        limits = piece.form.bounds(self._span)
        if -half <= limits.lo and limits.hi < half:
            return self._upper(piece, piece.form)
        # what the bits hold if they are too few: the same number from -half on
        moved = low(piece.form + Linear(constant=half), piece.stop, self._span)
        return self._upper(piece, moved - Linear(constant=half))

    # -- cells -----------------------------------------------------------------------------------

    def _form(self, name: str) -> Linear:
        """The integer of which the output of a cell holds the lowest bits."""
        if name not in self._forms:
            if name in self._open:
                raise VerifyError("A sum depends on itself")
            self._open.add(name)
            # the bits that nothing reads are not computed: a carry out may be among them
            self._forms[name] = self._computed(self._cells[name], self._used[name])
        return self._forms[name]

    def _computed(self, cell: Mapping[str, Any], width: int) -> Linear:
        kind, nets = cell["type"], cell["connections"]
        if kind in _REGISTERS:
            self._enabled(cell)
            return self.congruent(nets["D"][:width]).delayed()
        if kind not in ("$add", "$sub", "$neg", "$not", "$pos"):
            raise VerifyError(f"A cell {kind} takes part in the sums")
        first = self._operand(cell, "A", width)
        if kind in ("$add", "$sub"):
            second = self._operand(cell, "B", width)
            return first + second if kind == "$add" else first - second
        if kind == "$pos":
            return first
        return -first if kind == "$neg" else -first - Linear(constant=1)

    def _operand(self, cell: Mapping[str, Any], port: str, width: int) -> Linear:
        """An operand as it counts for the lowest ``width`` bits of the result."""
        bits = cell["connections"][port]
        if len(bits) >= width:
            return self.congruent(bits[:width])
        parameters = cell["parameters"]
        # Verilog extends by the sign only if both operands are signed
        signed = all(
            int(parameters[key], 2) for key in ("A_SIGNED", "B_SIGNED") if key in parameters
        )
        return self.value(bits, signed=signed)

    def _enabled(self, cell: Mapping[str, Any]) -> None:
        """Note the clock enable of a register, and refuse what else it depends on."""
        parameters, nets = cell["parameters"], cell["connections"]
        if nets["CLK"] != self.port("clk") or not int(parameters["CLK_POLARITY"], 2):
            raise VerifyError("A register has another clock")
        if not int(parameters.get("EN_POLARITY", "1"), 2):
            raise VerifyError("A register has an inverted enable")
        if "SRST" in nets and nets["SRST"] != self.port("rst"):
            raise VerifyError("A register has another reset")
        self._enables.add(nets["EN"][0] if "EN" in nets else "1")
        if len(self._enables) > 1:
            raise VerifyError("Registers have different enables")
