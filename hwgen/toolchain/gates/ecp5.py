"""What the cells of ECP5 do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hwgen.errors import UnsupportedError
from hwgen.toolchain.gates.cell import Cell, Model
from hwgen.toolchain.gates.logic import ONE, ZERO, both, choice, concat, inverse, table
from hwgen.toolchain.gates.statements import Assign, Memory, Read, Register, Statement, Write

__all__ = ["CELLS"]


def _lut(cell: Cell) -> Sequence[Statement]:
    inputs = [cell.pin(name) for name in "ABCD"]
    return cell.drive("Z", table(cell.word("INIT", 16), inputs))


def _inverter(cell: Cell) -> Sequence[Statement]:
    return cell.drive("Z", inverse(cell.pin("A")))


def _mux(cell: Cell) -> Sequence[Statement]:
    pins = ("BLUT", "ALUT", "C0") if cell.kind == "PFUMX" else ("D0", "D1", "SD")
    return cell.drive("Z", choice(*(cell.pin(name) for name in pins)))


def _carry(cell: Cell) -> Sequence[Statement]:
    """Two bits of a carry chain: a LUT of four inputs each, half of which generates the carry."""
    carry = cell.pin("CIN")
    statements: list[Statement] = []
    for half in range(2):
        inputs = [cell.pin(f"{name}{half}") for name in "ABCD"]
        values = cell.word(f"INIT{half}", 16)
        isolated = cell.need(f"INJECT1_{half}", "YES", "NO") == "YES"
        propagate = f"{cell.name}p{half}"
        generate = ZERO if isolated else table(values & 0xF, inputs[:2])
        total = propagate if isolated else table(0b0110, [propagate, carry])
        statements.append(Assign(propagate, table(values, inputs)))
        statements += cell.drive(f"S{half}", total)
        carry = choice(generate, carry, propagate)
    return [*statements, *cell.drive("COUT", carry)]


def _flip_flop(cell: Cell) -> Sequence[Statement]:
    cell.need("CLKMUX", "CLK")
    cell.need("SRMODE", "LSR_OVER_CE")
    cell.need("LSRMODE", "LSR")
    enables = {"1": ONE, "0": ZERO, "CE": cell.pin("CE"), "INV": inverse(cell.pin("CE"))}
    reset = cell.pin("LSR")
    preset = int(cell.need("REGSET", "RESET", "SET") == "SET")
    register = Register(
        cell.pin("Q"),
        cell.pin("DI"),
        cell.pin("CLK"),
        enable=enables[cell.need("CEMUX", "1", "0", "CE", "INV")],
        reset=inverse(reset) if cell.need("LSRMUX", "LSR", "INV") == "INV" else reset,
        preset=preset,
        initial=preset,
    )
    return [register]


def _lut_ram(cell: Cell) -> Sequence[Statement]:
    """16 words of 4 bits, read at all times."""
    cell.need("WCKMUX", "WCK")
    pin = cell.pin("WRE")
    enables = {"WRE": pin, "1": ONE, "0": ZERO, "INV": inverse(pin)}
    contents = cell.word("INITVAL", 64)
    write = Write(
        cell.pin("WCK"),
        enables[cell.need("WREMUX", "WRE", "1", "0", "INV")],
        concat(cell.pins["WAD"]),
        concat(cell.pins["DI"]),
    )
    read = Read(cell.out("DO", width=4), concat(cell.pins["RAD"]))
    return [Memory(tuple(contents >> 4 * i & 15 for i in range(16)), 4, (write,), (read,))]


def _block_ram(cell: Cell) -> Sequence[Statement]:
    """1024 words of 18 bits, ports of 1, 2, 4, 9 or 18, or one to write and one to read of 36.

    Yosys ships only the ports of this cell. The model is of what Lattice describes, as far as
    Yosys uses it: no output register, no address decoder, one clock.
    """
    bits = sum(cell.word(f"INITVAL_{i:02X}", 320) << 320 * i for i in range(64))
    words = tuple(bits >> 20 * i & 0x3FFFF for i in range(1024))
    for port in "AB":
        cell.need(f"REGMODE_{port}", "NOREG")
        cell.need(f"CSDECODE_{port}", "0b000")
        cell.need(f"CLK{port}MUX", f"CLK{port}")
        if cell.pin(f"RST{port}") != ZERO:
            cell.need("RESETMODE", "SYNC")
    data = {port: _pins(cell, f"DI{port}", 18) for port in "AB"}
    taken = {port: _pins(cell, f"DO{port}", 18) for port in "AB"}
    writes: list[Write] = []
    reads: list[Read] = []
    for port in "AB":
        address, width = _pins(cell, f"AD{port}", 14), cell.word(f"DATA_WIDTH_{port}", 6)
        clock, enable = cell.pin(f"CLK{port}"), cell.pin(f"CE{port}")
        writing, reset = cell.pin(f"WE{port}"), cell.pin(f"RST{port}")
        write = both(enable, writing, inverse(reset))
        if width == 36:
            if port == "A":
                halves = [(ZERO, address[0:2], data["A"]), (ONE, address[2:4], data["B"])]
                writes += [
                    Write(clock, write, concat((half, *address[5:])), concat(word), _halves(lanes))
                    for half, lanes, word in halves
                    if write != ZERO
                ]
            else:
                reads += [
                    Read(taken[other], concat((half, *address[5:])), clock, enable, reset)
                    for half, other in ((ZERO, "A"), (ONE, "B"))
                ]
            continue
        shift = _lane(address, width)
        mask = _halves(address[:2]) if width == 18 else f"18'd{(1 << width) - 1} << {shift}"
        word = concat(data[port]) if width == 18 else f"{concat(data[port])} << {shift}"
        own = Write(clock, write, concat(address[4:]), word, mask)
        if write != ZERO:
            writes.append(own)
        mode = cell.need(f"WRITEMODE_{port}", "NORMAL", "WRITETHROUGH", "READBEFOREWRITE")
        wide = 36 in (cell.word("DATA_WIDTH_A", 6), cell.word("DATA_WIDTH_B", 6))
        if not (port == "A" and wide):
            read = Read(
                taken[port],
                concat(address[4:]),
                clock,
                both(enable, inverse(writing)) if mode == "NORMAL" else enable,
                reset,
                shift,
                own if mode == "WRITETHROUGH" and write != ZERO else None,
            )
            reads.append(read)
    if len({write.address for write in writes}) > 1 and cell.word("DATA_WIDTH_A", 6) != 36:
        raise UnsupportedError("There is no model of a DP16KD with two ports that write")
    used = [read for read in reads if any(read.targets)]
    return [Memory(words, 18, tuple(writes), tuple(used))]


def _pins(cell: Cell, name: str, width: int) -> tuple[str, ...]:
    """The bits of a word whose pins have numbers."""
    return tuple(cell.pin(f"{name}{i}") for i in range(width))


def _halves(lanes: Sequence[str]) -> str:
    """Mask of a word of which the two ``lanes`` choose the halves."""
    return f"{{{{9{{{lanes[1]}}}}}, {{9{{{lanes[0]}}}}}}}"


def _lane(address: Sequence[str], width: int) -> str:
    """Where the bits of a port narrower than 18 lie in a word."""
    low = (address[:3], address[1:3], address[2:3])[(1, 2, 4).index(width)] if width < 9 else ()
    if width == 18:
        return ""
    inner = f" + {concat([*[ZERO] * (width // 2 if width < 9 else 0), *low])}" if low else ""
    return f"(({address[3]} ? 5'd9 : 5'd0){inner})"


CELLS: Mapping[str, Model] = MappingProxyType(
    {
        "LUT4": _lut,
        "INV": _inverter,
        "PFUMX": _mux,
        "L6MUX21": _mux,
        "CCU2C": _carry,
        "TRELLIS_FF": _flip_flop,
        "TRELLIS_DPR16X4": _lut_ram,
        "DP16KD": _block_ram,
    }
)
"""Models of the cells that Yosys makes of designs of one clock, by name."""
