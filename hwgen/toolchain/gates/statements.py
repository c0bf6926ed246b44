"""What a cell does, as statements, and the Verilog of one module that holds many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from hwgen.errors import UnsupportedError
from hwgen.toolchain.gates.logic import ONE, ZERO, inverse

__all__ = ["Assign", "Memory", "Read", "Register", "Statement", "Write", "body"]


@dataclass(frozen=True)
class Assign:
    """``target = value`` at all times."""

    target: str
    value: str


@dataclass(frozen=True)
class Register:
    """A flip-flop: ``target`` takes ``value`` at an edge of ``clock`` if ``enable`` is 1.

    With ``reset`` it takes ``preset`` instead, ``gated`` if the enable rules over the reset as
    well. It starts with ``initial``. If ``target`` is empty, nothing reads it.
    """

    target: str
    value: str
    clock: str
    enable: str = ONE
    reset: str = ZERO
    preset: int = 0
    gated: bool = False
    initial: int = 0


@dataclass(frozen=True)
class Write:
    """A port that writes the bits of ``mask`` (empty: all) of the word at ``address``."""

    clock: str
    enable: str
    address: str
    data: str
    mask: str = ""


@dataclass(frozen=True)
class Read:
    """A port that reads the word at ``address``, shifted down by ``shift`` bits (empty: none).

    Bit i goes to ``targets[i]`` (empty: nowhere). The word changes at an edge of ``clock`` if
    ``enable`` is 1, and at all times without a clock; ``reset`` makes it 0, enabled or not. With
    ``through`` what that port writes is seen, which has the same address; without, what was there
    before.
    """

    targets: tuple[str, ...]
    address: str
    clock: str = ""
    enable: str = ONE
    reset: str = ZERO
    shift: str = ""
    through: Write | None = None


@dataclass(frozen=True)
class Memory:
    """``words`` of ``width`` bits at the start, and ports; all write at most one word each."""

    words: tuple[int, ...]
    width: int
    writes: tuple[Write, ...]
    reads: tuple[Read, ...]


Statement = Assign | Register | Memory


def body(statements: Iterable[Statement]) -> list[str]:
    """Lines of Verilog, declarations included, for statements of one clock.

    Raises
    ------
    UnsupportedError
        If there are several clocks.
    """
    assigns: list[Assign] = []
    registers: defaultdict[tuple[str, str, str, bool], list[Register]] = defaultdict(list)
    memories: list[Memory] = []
    clocks = set()
    for statement in statements:
        match statement:
            case Assign():
                assigns.append(statement)
            case Register(target=""):
                pass
            case Register(clock=clock, enable=enable, reset=reset, gated=gated):
                clocks.add(clock)
                registers[clock, enable, reset, gated].append(statement)
            case Memory(writes=writes, reads=reads):
                # a memory that is never written may have no clock to write with
                active = tuple(port for port in writes if port.enable != ZERO)
                clocks |= {write.clock for write in active} | {read.clock for read in reads}
                memories.append(replace(statement, writes=active))
    clocks.discard("")
    if len(clocks) > 1:
        raise UnsupportedError("A netlist of several clocks cannot be simulated")
    lines = [f"wire {one.target};" for one in assigns]
    lines += [f"reg {one.target} = 1'd{one.initial};" for one in chain(*registers.values())]
    lines += [
        f"wire {bit};" for one in memories for read in one.reads for bit in read.targets if bit
    ]
    lines += [f"assign {one.target} = {one.value};" for one in assigns]
    for (clock, enable, reset, gated), group in registers.items():
        lines += _registers(group, clock=clock, enable=enable, reset=reset, gated=gated)
    for number, memory in enumerate(memories):
        lines += _memory(memory, f"m{number}")
    return lines


def _registers(
    group: Sequence[Register], *, clock: str, enable: str, reset: str, gated: bool
) -> list[str]:
    """One block for all flip-flops of the same controls, so that it is skipped as one."""
    take = [f"{one.target} <= {one.value};" for one in group]
    clear = [f"{one.target} <= 1'd{one.preset};" for one in group]
    if reset == ZERO:
        inner = _when(enable, take)
    elif gated:
        inner = _when(enable, [*_when(reset, clear), *_when(inverse(reset), take)])
    else:
        inner = [*_when(reset, clear), "else", "begin", *_when(enable, take), "end"]
    return [
        f"always @(posedge {clock}) begin",
        *(f"  {line}" for line in inner),
        "end",
    ]


def _when(condition: str, lines: Sequence[str]) -> list[str]:
    """Lines that hold under ``condition``."""
    if condition == ONE:
        return list(lines)
    return [f"if ({condition}) begin", *(f"  {line}" for line in lines), "end"]


def _memory(memory: Memory, name: str) -> list[str]:
    depth, width = len(memory.words), memory.width
    size = depth * width
    contents = sum(word << i * width for i, word in enumerate(memory.words))
    lines = [
        f"reg [{width - 1}:0] {name} [0:{depth - 1}];",
        *([f"localparam [{size - 1}:0] {name}i = {size}'h{contents:x};"] if contents else []),
        f"integer {name}k;",
        f"initial for ({name}k = 0; {name}k < {depth}; {name}k = {name}k + 1)",
        f"  {name}[{name}k] = " + (f"{name}i[{name}k*{width} +: {width}];" if contents else "0;"),
    ]
    written = {}
    for number, port in enumerate(memory.writes):
        new = f"{name}w{number}"
        old = f"{name}[{port.address}]"
        data = f"({old} & ~{new}m) | ({port.data} & {new}m)" if port.mask else port.data
        if port.mask:
            lines.append(f"wire [{width - 1}:0] {new}m = {port.mask};")
        lines += [
            f"wire [{width - 1}:0] {new} = {data};",
            f"always @(posedge {port.clock}) if ({port.enable}) {old} <= {new};",
        ]
        written[port] = new
    for number, read in enumerate(memory.reads):
        word = f"{name}r{number}"
        value = f"{name}[{read.address}]"
        if read.through is not None:
            value = f"({read.through.enable} ? {written[read.through]} : {value})"
        value += f" >> {read.shift}" if read.shift else ""
        if not read.clock:
            lines.append(f"wire [{width - 1}:0] {word} = {value};")
        else:
            update = _when(read.enable, [f"{word} <= {value};"])
            if read.reset != ZERO:
                update = [f"if ({read.reset}) {word} <= 0;", "else begin", *update, "end"]
            lines += [
                f"reg [{width - 1}:0] {word} = 0;",
                f"always @(posedge {read.clock}) begin",
                *(f"  {line}" for line in update),
                "end",
            ]
        lines += [f"assign {bit} = {word}[{i}];" for i, bit in enumerate(read.targets) if bit]
    return lines
