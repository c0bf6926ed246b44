"""Words of a block before synthesis: its adders, multiplexers, registers and memories, counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType

import numpy as np

from hwgen.estimate.memories import Memory
from hwgen.estimate.tables import Function, Table, function_luts, read_table

__all__ = ["OPERATORS", "Words", "count_words"]

OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "$add": "add",
        "$sub": "add",
        "$neg": "add",
        "$lt": "compare",
        "$le": "compare",
        "$gt": "compare",
        "$ge": "compare",
        "$eq": "equal",
        "$ne": "equal",
        "$mux": "mux",
        "$and": "logic",
        "$or": "logic",
        "$xor": "logic",
        "$reduce_or": "logic",
        "$reduce_and": "logic",
        "$reduce_bool": "logic",
        "$reduce_xor": "logic",
    }
)
"""Kind of each word-level cell; an inverter is none, it becomes part of what reads it."""

_MODULE = re.compile(r"^module .*?^end$", re.MULTILINE | re.DOTALL)
_WIRE = re.compile(r"^  wire width (\d+) .*?(\S+)$", re.MULTILINE)
_CELL = re.compile(r"^  cell (\S+) .*?\n(.*?)^  end$", re.MULTILINE | re.DOTALL)
_PROCESS = re.compile(r"^  process .*?\n(.*?)^  end$", re.MULTILINE | re.DOTALL)
_ASSIGN = re.compile(r"^( +)assign (\S+(?: \[\S+\])?) (.+)$", re.MULTILINE)
_CONNECT = re.compile(r"^    connect \\(\w+) (.+)$", re.MULTILINE)
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) \\(\S+)$", re.MULTILINE)
_WRITTEN = re.compile(r"cell \$memwr_v2 .*?\n    parameter \\MEMID \"\\\\(\S+)\"")
_PIECE = re.compile(r"\d+'([01x-]*)|([^\s{}]+)(?: \[(\d+)(?::(\d+))?\])?")
_ALIAS = re.compile(r"^connect (\S+(?: \[\S+\])?) (.+)$", re.MULTILINE)
_OUTPUT = re.compile(r"^  wire width \d+ output \d+ +(\S+)$", re.MULTILINE)
_SWITCH = re.compile(r"^ +switch (.+)$", re.MULTILINE)
_DRIVEN = frozenset({"Y", "Q", "DATA"})
_CONSTANTS = frozenset("01x-")
_SHORT = 4
_SUMS = frozenset({"add", "increment"})
_BY_CONSTANT = {"add": "increment", "compare": "threshold"}
_RESET = "    switch \\rst [0]\n"


@dataclass(frozen=True)
class Words:
    """Bits of each kind of word, by :data:`OPERATORS` and some more, and the memories.

    ``register`` counts bits of registers, ``control`` those of them that a reset clears;
    ``increment`` adders and ``threshold`` comparisons with a constant, ``gate`` multiplexers
    one of whose inputs is constant, ``cleared`` those of them that a register holds, ``table``
    constants among what is chosen, ``lookup`` LUTs of tables of nothing but constants
    (:mod:`hwgen.estimate.tables`), ``equal`` inputs that are compared. Adders and other comparisons
    of at most four bits are apart (``short_add`` and so on), and ``odd`` is how many of the wider
    ones have an odd width.
    """

    bits: Mapping[str, int]
    memories: tuple[Memory, ...]


def count_words(rtlil: str) -> Words:
    """Words of a design in RTLIL, as :func:`amaranth.back.rtlil.convert` writes it.

    Bits that are computed twice from the same inputs count once.
    """
    bits: Counter[str] = Counter()
    memories: list[Memory] = []
    for text in _MODULE.findall(rtlil):
        module = _Module(text)
        memories += module.memories()
        cells = [(kind, dict(_CONNECT.findall(body))) for kind, body in _CELL.findall(text)]
        for kind, ports in cells:
            if kind == "$dff":
                bits["register"] += module.register(ports["D"], ports["Q"])
        for process in _PROCESS.findall(text):
            bits.update(module.process(process))
        for kind, ports in cells:
            if kind == "$not":
                module.inverted(ports["A"], ports["Y"])
            if kind in OPERATORS:
                bits.update(module.operator(kind, ports))
        bits.update(module.chains())
    return Words({k: n for k, n in sorted(bits.items()) if n}, tuple(memories))


class _Module:
    """A module of RTLIL, and what of it was counted already."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._widths = {name: int(width) for width, name in _WIRE.findall(text)}
        self._seen: dict[tuple[str, ...], list[str]] = {}
        self._chains: dict[tuple[str, ...], tuple[str, int]] = {}
        self._same: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        self._stored: set[str] = set()
        self._tables: set[str] = set()
        self._functions: dict[object, str] = {}
        self._built: set[object] = set()
        self._read = self._reads()

    def _reads(self) -> set[str]:
        """Bits that something reads, other than as a name of another bit."""
        signals = [value for _, _, value in _ASSIGN.findall(self._text)]
        signals += [*_OUTPUT.findall(self._text), *_SWITCH.findall(self._text)]
        for kind, body in _CELL.findall(self._text):
            connected = _CONNECT.findall(body)
            signals += [v for port, v in connected if port not in _DRIVEN or kind[0] != "$"]
        behind: dict[str, str] = {}
        for target, value in _ALIAS.findall(self._text):
            behind.update(zip(self._expand(target), self._expand(value), strict=True))
        found: set[str] = set()
        for bit in (bit for signal in signals for bit in self._expand(signal)):
            name: str | None = bit
            while name is not None and name not in found:
                found.add(name)
                name = behind.get(name)
        return found

    def memories(self) -> Iterator[Memory]:
        written = set(_WRITTEN.findall(self._text))
        for width, words, name in _MEMORY.findall(self._text):
            yield Memory(int(words), int(width), name not in written)

    def register(self, d: str, q: str) -> int:
        """Bits of a register."""
        self._kept[_bare(d)] = _bare(q)
        bits = self._expand(d)
        self._stored.update(bits)
        return len(bits)

    def inverted(self, a: str, y: str) -> None:
        """Let ``y`` be a name of the inverse of ``a``, which takes no logic."""
        for bit, result in zip(self._expand(a), self._expand(y), strict=True):
            self._same[result] = f"~{bit}"

    def operator(self, kind: str, ports: Mapping[str, str]) -> Counter[str]:
        name = OPERATORS[kind]
        a, b = (self._expand(ports.get(port, "")) for port in ("A", "B"))
        y = self._expand(ports["Y"])
        if name == "mux":
            return self._chosen(self._expand(ports["S"])[0], a, b, y)
        constant = bool(b) and (_CONSTANTS.issuperset(a) or _CONSTANTS.issuperset(b))
        if name == "logic" and b:
            pairs = zip_longest(a, b, y, fillvalue="0")
            return Counter(logic=sum(self._new([out], kind, *sorted(pair)) for *pair, out in pairs))
        key = (kind, *a, "|", *b)
        new = self._new(y, *key)
        if name in ("logic", "equal"):
            inputs = 2 if name == "equal" and not constant else 1
            return Counter({name: inputs * max(len(a), len(b)) * new})
        if constant:
            name = _BY_CONSTANT[name]
        last = max((k for k, bit in enumerate(y) if bit in self._read), default=-1)
        width = _summed(a, b, last) if name in _SUMS else max(len(a), len(b))
        # the same sum may be there twice, and other bits of each be read
        self._chains[key] = (name, max(width, self._chains.get(key, ("", 0))[1]))
        return Counter()

    def chains(self) -> Counter[str]:
        """Bits of adders and comparisons."""
        found: Counter[str] = Counter()
        for name, width in self._chains.values():
            found[name if width > _SHORT else f"short_{name}"] += width
            found["odd"] += width > _SHORT and width % 2
        return found

    def _chosen(self, select: str, a: list[str], b: list[str], y: list[str]) -> Counter[str]:
        """Bits of a multiplexer; one whose inputs are the same, or those of another, is a wire."""
        found: Counter[str] = Counter()
        for zero, one, result in zip(a, b, y, strict=True):
            constants = (zero in _CONSTANTS) + (one in _CONSTANTS)
            same = zero if zero == one else f"{zero}?{one}?{select}"
            self._same[result] = same
            table = all(bit in _CONSTANTS or bit in self._tables for bit in (zero, one))
            if table and same not in _CONSTANTS:
                self._tables.add(same)
            if zero != one and constants < 2 and self._new([], "mux", same):
                name = "cleared" if result in self._stored else "table" if table else "gate"
                found[name if constants else "mux"] += 1
        return found

    def process(self, body: str) -> Counter[str]:
        """Multiplexers of a process: one for each value that replaces the one before it.

        The first that replaces what a register holds is its clock enable, and takes no logic;
        neither does a reset, the last.
        """
        table = read_table(body)
        if table is not None:
            return Counter(lookup=self._looked_up(table))
        found: Counter[str] = Counter()
        body, reset, cleared = body.partition(_RESET)
        if reset:
            found["control"] = sum(len(self._expand(t)) for _, t, _ in _ASSIGN.findall(cleared))
        enabled: dict[str, bool] = {}
        for indent, target, value in _ASSIGN.findall(body):
            name = _bare(target)
            if len(indent) == 4:
                enabled[name] = name in self._kept and self._kept[name] == _bare(value)
            elif enabled.get(name):
                enabled[name] = False
                self._stored.update(self._expand(value))
            else:
                for bit in self._expand(value):
                    found["table" if bit in _CONSTANTS else "mux"] += 1
        return found

    def _looked_up(self, table: Table) -> int:
        """LUTs of what is constant for each value of an index; constants are wires."""
        index = self._expand(table.select)
        rows, free = np.zeros(1, dtype=np.int64), []
        for k, bit in enumerate(index):
            if bit in _CONSTANTS:
                rows += int(bit == "1") << k
            else:
                rows = np.concatenate([rows, rows + (1 << k)])
                free.append(bit)
        luts = 0.0
        for target, bits in table.bits.items():
            for bit, values in zip(self._expand(target), bits[rows].T, strict=True):
                function = Function(tuple(free), values)
                if values.all() or not values.any():
                    self._same[bit] = str(int(values[0]))
                else:
                    self._same[bit] = self._functions.setdefault(function.key, bit)
                    luts += function_luts(function, self._built)
        return round(luts)

    def _expand(self, signal: str) -> list[str]:
        """Names of the bits of a signal, the lowest first."""
        bits: list[str] = []
        for digits, name, high, low in reversed(_PIECE.findall(signal)):
            if not name:
                bits += reversed(digits)
                continue
            last = int(high) if high else self._widths.get(name, 1) - 1
            first = (int(low) if low else last) if high else 0
            names = (f"{name}:{k}" for k in range(first, last + 1))
            bits += [self._same.get(bit, bit) for bit in names]
        return bits

    def _new(self, result: list[str], *key: str) -> bool:
        """Whether nothing was computed in this way before; else ``result`` is the same."""
        if key in self._seen:
            self._same.update(zip(result, self._seen[key], strict=False))
            return False
        self._seen[key] = result
        return True


def _summed(a: list[str], b: list[str], last: int) -> int:
    """Bits of a carry chain whose bit ``last`` is the highest that is read, -1 if none is."""
    # copies of the sign are the chain's last bit again
    widths = [len(x) - _repeated(x) for x in (a, b) if x]
    low = next((k for k, bit in enumerate(b) if bit != "0"), 0)
    return max(min(max(widths), last) + 1 - low, 0)


def _repeated(bits: list[str]) -> int:
    """Copies of the highest bit beside itself."""
    count = 0
    while count + 1 < len(bits) and bits[-count - 2] == bits[-1]:
        count += 1
    return count


def _bare(signal: str) -> str:
    return signal.partition(" [")[0]
