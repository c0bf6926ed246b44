"""What the cells of Gowin do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from hwgen.errors import UnsupportedError
from hwgen.toolchain.gates.cell import Cell, Model
from hwgen.toolchain.gates.logic import ONE, ZERO, both, choice, concat, inverse, table
from hwgen.toolchain.gates.statements import Assign, Memory, Read, Register, Statement, Write

__all__ = ["CELLS"]


def _lut(cell: Cell, *, inputs: int) -> Sequence[Statement]:
    pins = [cell.pin(f"I{i}") for i in range(inputs)]
    return cell.drive("F", table(cell.word("INIT", 1 << inputs), pins))


def _mux(cell: Cell) -> Sequence[Statement]:
    return cell.drive("O", choice(*(cell.pin(name) for name in ("I0", "I1", "S0"))))


def _buffer(cell: Cell) -> Sequence[Statement]:
    return cell.drive("O", cell.pin("I"))


def _alu(cell: Cell) -> Sequence[Statement]:
    """A bit of a carry chain: what propagates the carry, and what it is else, by the mode."""
    mode = cell.word("ALU_MODE", 16)
    if mode not in _ALU:
        raise UnsupportedError(f"There is no model of the cell ALU in mode {mode} to simulate")
    pins = [cell.pin(name) for name in ("I0", "I1", "I3")]
    carry, propagate = cell.pin("CIN"), f"{cell.name}p"
    values, otherwise = _ALU[mode]
    return [
        Assign(propagate, table(values, pins)),
        *cell.drive("SUM", table(0b0110, [propagate, carry])),
        *cell.drive("COUT", choice(table(otherwise, pins), carry, propagate)),
    ]


def _flip_flop(cell: Cell, *, enabled: bool, reset: str) -> Sequence[Statement]:
    register = Register(
        cell.pin("Q"),
        cell.pin("D"),
        cell.pin("CLK"),
        enable=cell.pin("CE") if enabled else ONE,
        reset=cell.pin(reset),
        preset=int(reset == "SET"),
        initial=cell.word("INIT", 1) if "INIT" in cell.parameters else int(reset == "SET"),
    )
    return [register]


def _lut_ram(cell: Cell, *, width: int) -> Sequence[Statement]:
    """16 words, read at all times."""
    planes = [cell.word(f"INIT_{i}", 16) for i in range(width)]
    words = tuple(
        sum((plane >> i & 1) << bit for bit, plane in enumerate(planes)) for i in range(16)
    )
    write = Write(
        cell.pin("CLK"), cell.pin("WRE"), concat(cell.pins["WAD"]), concat(cell.pins["DI"])
    )
    read = Read(cell.out("DO", width=width), concat(cell.pins["RAD"]))
    return [Memory(words, width, (write,), (read,))]


@dataclass(frozen=True)
class _Port:
    """Names of pins and parameters of a port; one without ``data`` only reads.

    One without ``out`` only writes, and one without ``write`` whenever it is enabled.
    """

    address: str
    clock: str
    enable: str
    reset: str
    width: str
    data: str = ""
    out: str = ""
    write: str = ""
    mode: str = ""


def _block_ram(cell: Cell, *, byte: int, ports: Sequence[_Port]) -> Sequence[Statement]:
    """512 words of four bytes of 8 or 9 bits.

    A port takes a part of the word, down to a bit (of nine-bit bytes: a byte); the lowest bits of
    the address of a wide port enable its bytes. Yosys ships only the pins of these cells; the model
    is of what Gowin describes, as far as Yosys uses it: no output register, no block select, one
    clock, one port that writes.
    """
    selects = ("BLK_SEL", "BLK_SEL_0", "BLK_SEL_1", "READ_MODE", "READ_MODE0", "READ_MODE1")
    for name in selects:
        if cell.word(name, 3):
            raise UnsupportedError(f"There is no model of the cell {cell.kind} with {name} set")
    if any(cell.pin(port.reset) != ZERO for port in ports):
        cell.need("RESET_MODE", "SYNC")
    bits = sum(cell.word(f"INIT_RAM_{i:02X}", 32 * byte) << 32 * byte * i for i in range(64))
    words = tuple(bits >> 4 * byte * i & (1 << 4 * byte) - 1 for i in range(512))
    writes, reads = [], []
    for port in ports:
        address, width = cell.pins[port.address], cell.word(port.width, 8)
        place, shift = concat(address[5:]), _lane(address, width, byte)
        clock, enable = cell.pin(port.clock), cell.pin(port.enable)
        writing = cell.pin(port.write) if port.write else ONE if port.data else ZERO
        own = None
        if both(enable, writing) != ZERO:
            lanes = address[: width // byte] if width > byte else (ONE,)
            masks = [bit for bit in lanes for _ in range(min(width, byte))]
            mask, data = (
                f"({4 * byte}'d0 | {concat(word)}) << {shift}" if shift else concat(word)
                for word in (masks, cell.pins[port.data][:width])
            )
            own = Write(clock, both(enable, writing), place, data, mask)
            writes.append(own)
        if port.out:
            mode = cell.word(port.mode, 2) if port.mode else 2
            reads.append(
                Read(
                    cell.out(port.out, width=width)[:width],
                    place,
                    clock,
                    both(enable, inverse(writing)) if mode == 0 else enable,
                    cell.pin(port.reset),
                    shift,
                    own if mode == 1 else None,
                )
            )
    if len(writes) > 1:
        raise UnsupportedError(f"There is no model of a {cell.kind} with two ports that write")
    used = tuple(read for read in reads if any(read.targets))
    return [Memory(words, 4 * byte, tuple(writes), used)]


def _lane(address: Sequence[str], width: int, byte: int) -> str:
    """Where the bits of a port lie in a word of four bytes; empty if it takes all of them."""
    if width == 4 * byte:
        return ""
    low = width.bit_length() - 1 if width < 9 else {1: 3, 2: 4}[width // byte]
    terms = [f"({bit} ? 6'd{_weight(i, byte)} : 6'd0)" for i, bit in enumerate(address[:5])]
    return f"({' + '.join(terms[low:])})"


def _weight(index: int, byte: int) -> int:
    """Bits of a word that bit ``index`` of an address passes by."""
    return 1 << index if index < 3 else byte << index - 3


# ADD, SUB, ADDSUB, NE, GE, LE, CUP, CDN, CUPCDN, MULT; tables of (I0, I1, I3)
_ALU = {
    0: (0b01100110, 0b10101010),
    1: (0b10011001, 0b10101010),
    2: (0b01101001, 0b10101010),
    3: (0b10011001, 0b11111111),
    4: (0b10011001, 0b10101010),
    5: (0b10011001, 0b11001100),
    6: (0b10101010, 0b00000000),
    7: (0b01010101, 0b11111111),
    8: (0b10100101, 0b10101010),
    9: (0b01111000, 0b10001000),
}

_SINGLE = (_Port("AD", "CLK", "CE", "RESET", "BIT_WIDTH", "DI", "DO", "WRE", "WRITE_MODE"),)
_DUAL = tuple(
    _Port(
        f"AD{letter}",
        f"CLK{letter}",
        f"CE{letter}",
        f"RESET{letter}",
        f"BIT_WIDTH_{number}",
        f"DI{letter}",
        f"DO{letter}",
        f"WRE{letter}",
        f"WRITE_MODE{number}",
    )
    for number, letter in enumerate("AB")
)
_SEMI = (
    _Port("ADA", "CLKA", "CEA", "RESETA", "BIT_WIDTH_0", data="DI"),
    _Port("ADB", "CLKB", "CEB", "RESETB", "BIT_WIDTH_1", out="DO"),
)

CELLS: Mapping[str, Model] = MappingProxyType(
    {
        **{f"LUT{i}": partial(_lut, inputs=i) for i in (1, 2, 3, 4)},
        **{f"MUX2{size}": _mux for size in ("", "_LUT5", "_LUT6", "_LUT7", "_LUT8")},
        **{
            f"DFF{short}{'E' * enabled}": partial(_flip_flop, enabled=enabled, reset=pin)
            for short, pin in (("", ""), ("R", "RESET"), ("S", "SET"))
            for enabled in (False, True)
        },
        **{f"RAM16SDP{width}": partial(_lut_ram, width=width) for width in (1, 2, 4)},
        "ALU": _alu,
        **{
            kind: partial(_block_ram, byte=byte, ports=ports)
            for ports, kinds in (
                (_SINGLE, ("SP", "SPX9")),
                (_DUAL, ("DPB", "DPX9B")),
                (_SEMI, ("SDPB", "SDPX9B")),
            )
            for byte, kind in zip((8, 9), kinds, strict=True)
        },
        "IBUF": _buffer,
        "OBUF": _buffer,
    }
)
"""Models of the cells that Yosys makes of designs of one clock, by name."""
