"""The netlist of a synthesis, read and written as one module of Verilog."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwgen.errors import UnsupportedError
from hwgen.toolchain.gates import ecp5, gowin, ice40
from hwgen.toolchain.gates.cell import Cell
from hwgen.toolchain.gates.logic import ONE, ZERO
from hwgen.toolchain.gates.statements import Statement, body

__all__ = ["netlist_to_verilog"]

_CELLS = {"ecp5": ecp5.CELLS, "gowin": gowin.CELLS, "ice40": ice40.CELLS}
_CONSTANTS = {"GND": ZERO, "VCC": ONE, "VLO": ZERO, "VHI": ONE}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


def netlist_to_verilog(netlist: Path, *, top: str, family: str) -> str:
    """Verilog that behaves as a synthesised netlist, for simulation.

    Every cell of ``netlist`` (the JSON file of a synthesis for ``family``) is replaced by what it
    does, what it leaves open is 0, and all becomes one module ``top`` with the ports of the design.

    Raises
    ------
    UnsupportedError
        If the netlist has cells, modes of cells or clocks of which there is no model.
    """
    module = json.loads(netlist.read_text(encoding="utf-8"))["modules"][top]
    names: dict[int | str, str] = {"0": ZERO, "1": ONE, "x": ZERO, "z": ZERO}
    cells = module["cells"].values()
    read = {bit for port in module["ports"].values() for bit in port["bits"]}
    read |= {bit for cell in cells for bit in _bits(cell, "input")}
    for cell in cells:
        for bit in _bits(cell, "output"):
            if isinstance(bit, str):  # what drives nothing may be written as x
                continue
            names[bit] = _CONSTANTS.get(cell["type"], f"n{bit}" if bit in read else "")
    heads, ends = [], []
    for port, facts in module["ports"].items():
        bits, name = facts["bits"], port if _PLAIN.fullmatch(port) else f"\\{port} "
        width = f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""
        heads.append(f"{facts['direction']} {width}{name}")
        match facts["direction"]:
            case "input":
                names |= {
                    bit: f"{name}[{i}]" if len(bits) > 1 else name for i, bit in enumerate(bits)
                }
            case "output":
                ends.append((name, bits))
            case direction:
                raise UnsupportedError(f"Port {port!r} is {direction}, which is not simulated")
    lines = body(
        statement
        for number, cell in enumerate(cells)
        if cell["type"] not in _CONSTANTS
        for statement in _statements(f"c{number}", cell, names, family)
    )
    lines += [f"assign {name} = {{{', '.join(_names(bits[::-1], names))}}};" for name, bits in ends]
    return "\n".join(
        [f"module {top}({', '.join(heads)});", *(f"  {line}" for line in lines), "endmodule", ""]
    )


def _statements(
    name: str, cell: Mapping[str, Any], names: Mapping[int | str, str], family: str
) -> Sequence[Statement]:
    model = _CELLS[family].get(cell["type"])
    if model is None:
        raise UnsupportedError(f"There is no model of the {family} cell {cell['type']} to simulate")
    pins = {
        pin: _names(bits, names)
        for pin, bits in cell["connections"].items()
        if cell["port_directions"][pin] == "input" or any(isinstance(bit, int) for bit in bits)
    }
    return model(Cell(name, cell["type"], cell["parameters"], pins))


def _bits(cell: Mapping[str, Any], direction: str) -> Iterator[int | str]:
    """What a cell reads, or drives."""
    for pin, bits in cell["connections"].items():
        if cell["port_directions"][pin] == direction:
            yield from bits


def _names(bits: Sequence[int | str], names: Mapping[int | str, str]) -> tuple[str, ...]:
    return tuple(names.get(bit, ZERO) for bit in bits)
