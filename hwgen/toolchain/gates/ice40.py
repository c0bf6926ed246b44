"""What the cells of iCE40 do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from hwgen.errors import UnsupportedError
from hwgen.toolchain.gates.cell import Cell, Model
from hwgen.toolchain.gates.logic import ONE, ZERO, both, concat, inverse, table
from hwgen.toolchain.gates.statements import Assign, Memory, Read, Register, Statement, Write

__all__ = ["CELLS"]


def _lut(cell: Cell) -> Sequence[Statement]:
    inputs = [cell.pin(f"I{i}") for i in range(4)]
    return cell.drive("O", table(cell.word("LUT_INIT", 16), inputs))


def _carry(cell: Cell) -> Sequence[Statement]:
    majority = table(0b11101000, [cell.pin(name) for name in ("I0", "I1", "CI")])
    return cell.drive("CO", majority)


def _flip_flop(cell: Cell, *, enabled: bool, reset: str) -> Sequence[Statement]:
    register = Register(
        cell.pin("Q"),
        cell.pin("D"),
        cell.pin("C"),
        enable=cell.pin("E") if enabled else ONE,
        reset=cell.pin(reset),
        preset=int(reset == "S"),
        gated=True,
    )
    return [register]


def _block_ram(cell: Cell) -> Sequence[Statement]:
    """256 words of 16 bits; a narrower port takes one bit of each group of neighbours.

    Of a group of 2, 4 or 8 bits the address's highest bits choose the one, and the pin for the
    group is its number 0, 1 or 3.
    """
    bits = sum(cell.word(f"INIT_{i:X}", 256) << 256 * i for i in range(16))
    words = tuple(bits >> 16 * i & 0xFFFF for i in range(256))
    data, mask, writing, reading = (cell.pins[pin] for pin in ("WDATA", "MASK", "WADDR", "RADDR"))
    mode = cell.word("WRITE_MODE", 2)
    enable, group = both(cell.pin("WE"), cell.pin("WCLKE")), 1 << mode
    if mode:
        data = tuple(data[i // group * group + _PLACES[mode]] for i in range(16))
        lanes = sum(1 << i for i in range(0, 16, group))
        selected = f"16'h{lanes:x} << {concat(writing[8 : 8 + mode])}"
    elif len(set(mask)) == 1:
        enable, selected = both(enable, inverse(mask[0])), ""
    else:
        selected = concat([inverse(bit) for bit in mask])
    write = Write(cell.pin("WCLK"), enable, concat(writing[:8]), concat(data), selected)
    mode = cell.word("READ_MODE", 2)
    taken, targets = cell.out("RDATA", width=16), [""] * 16
    for i in range(0, 16, 1 << mode):
        targets[i] = taken[i + _PLACES[mode]]
    idle = [Assign(name, ZERO) for name in taken if name and name not in targets]
    read = Read(
        tuple(targets),
        concat(reading[:8]),
        cell.pin("RCLK"),
        enable=both(cell.pin("RE"), cell.pin("RCLKE")),
        shift=concat(reading[8 : 8 + mode]) if mode else "",
    )
    return [Memory(words, 16, (write,), (read,)), *idle]


def _single_port_ram(cell: Cell) -> Sequence[Statement]:
    """16384 words of 16 bits, one access a cycle; what is read in a cycle of writing is 0.

    The vendor leaves that open.
    """
    modes = [cell.pin(name) for name in ("STANDBY", "SLEEP", "POWEROFF")]
    if modes != [ZERO, ZERO, ONE]:
        raise UnsupportedError("There is no model of a SB_SPRAM256KA that sleeps")
    clock, chosen, address = cell.pin("CLOCK"), cell.pin("CHIPSELECT"), concat(cell.pins["ADDRESS"])
    writing = both(chosen, cell.pin("WREN"))
    mask = concat([bit for bit in cell.pins["MASKWREN"] for _ in range(4)])
    write = Write(clock, writing, address, concat(cell.pins["DATAIN"]), mask)
    read = Read(cell.out("DATAOUT", width=16), address, clock, enable=chosen, reset=writing)
    return [Memory((0,) * 16384, 16, (write,), (read,))]


_PLACES = (0, 0, 1, 3)
"""For each mode, which pin of a group carries the data."""

_FLIP_FLOPS = {
    f"SB_DFF{'E' * enabled}{'S' * bool(reset)}{reset}": partial(
        _flip_flop, enabled=enabled, reset=reset
    )
    for enabled in (False, True)
    for reset in ("", "R", "S")
}

CELLS: Mapping[str, Model] = MappingProxyType(
    {
        "SB_LUT4": _lut,
        "SB_CARRY": _carry,
        "SB_RAM40_4K": _block_ram,
        "SB_SPRAM256KA": _single_port_ram,
        **_FLIP_FLOPS,
    }
)
"""Models of the cells that Yosys makes of designs of one clock, by name."""
