"""Longest paths of a block, estimated from its words: from registers and ports to the same.

Delays are nanoseconds at typical routing (:data:`TIMINGS`); what calibration adds to them, and by
what it multiplies them on a device, is in :class:`hwgen.estimate.model.Model`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from types import MappingProxyType

from hwgen.estimate.memories import GEOMETRIES, Memory, mapped

__all__ = ["TIMINGS", "Ends", "Timing", "longest_paths"]

Bit = str
Ends = tuple[str, str]
"""Where a path begins and ends: ``register``, or a port's name up to the first underscores."""

_MODULE = re.compile(r"^module (\S+)$(.*?)^end$", re.MULTILINE | re.DOTALL)
_WIRE = re.compile(r"^  wire width (\d+) (.*?)(\S+)$", re.MULTILINE)
_CELL = re.compile(r"^  cell (\S+) (\S+)\n(.*?)^  end$", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"^    parameter \\(\w+) (.+)$", re.MULTILINE)
_CONNECT = re.compile(r"^    connect \\(\S+) (.+)$", re.MULTILINE)
_ALIAS = re.compile(r"^connect (\S+(?: \[\S+\])?) (.+)$", re.MULTILINE)
_PROCESS = re.compile(r"^  process .*?\n(.*?)^  end$", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) (\S+)$", re.MULTILINE)
_PIECE = re.compile(r"\d+'([01x-]*)|([^\s{}]+)(?: \[(\d+)(?::(\d+))?\])?")
_RESET = r"\rst [0]"
_CARRIED = frozenset({"$add", "$sub", "$neg", "$lt", "$le", "$gt", "$ge"})
_GATES: Mapping[str, float] = MappingProxyType(
    {"$and": 0.5, "$or": 0.5, "$xor": 0.5, "$mux": 0.5, "$not": 0.0, "$pos": 0.0}
)
_BRANCH = 0.5  # levels of a choice that a process makes
_FEW = 8


@dataclass(frozen=True)
class Timing:
    """Delays of a family: a level of LUTs, into and out of a carry chain, a bit of it, a memory.

    ``level`` holds short wires to a LUT, ``fan`` is what twice as many readers add to a wire that
    has many; ``memory`` is from the clock to the word of a block, beyond what a flip-flop takes.
    """

    level: float
    into: float
    carry: float
    out: float
    memory: float
    fan: float

    def wire(self, readers: int) -> float:
        """What a wire with so many readers takes more than a short one."""
        return self.fan * math.log2(1 + readers / _FEW)


TIMINGS: Mapping[str, Timing] = MappingProxyType(
    {
        "ice40": Timing(level=1.0, into=0.9, carry=0.13, out=0.6, memory=1.6, fan=0.2),
        "ecp5": Timing(level=0.56, into=0.7, carry=0.03, out=0.35, memory=5.1, fan=0.35),
        "gowin": Timing(level=1.4, into=1.2, carry=0.06, out=0.6, memory=2.5, fan=0.3),
    }
)
"""Delays by family, as nextpnr reports them for iCE40-HX, ECP5 of speed 6 and GW2A."""


@dataclass
class _Net:
    """Bits of a flattened design: what each depends on and how long that takes."""

    timing: Timing
    family: str
    modules: Mapping[str, str]
    behind: dict[Bit, list[tuple[Bit, float]]] = field(default_factory=dict)
    same: dict[Bit, Bit] = field(default_factory=dict)
    carries: set[Bit] = field(default_factory=set)
    starts: dict[Bit, float] = field(default_factory=dict)
    ends: list[Bit] = field(default_factory=list)

    def depends(self, bit: Bit, on: Bit, delay: float) -> None:
        """Let ``bit`` settle ``delay`` after ``on``, unless that is constant."""
        if on:
            self.behind.setdefault(bit, []).append((on, delay))

    def joins(self, bit: Bit, on: Bit) -> None:
        """Let ``bit`` be a name of ``on``."""
        if on and on != bit:
            self.same[bit] = on

    def root(self, bit: Bit) -> Bit:
        """What a bit is a name of."""
        while bit in self.same:
            bit = self.same[bit]
        return bit

    def joined(self) -> dict[Bit, list[tuple[Bit, float]]]:
        """What each bit depends on, each under one name; with what readers add to the delays."""
        found: dict[Bit, dict[Bit, float]] = {}
        for bit, before in self.behind.items():
            delays = found.setdefault(self.root(bit), {})
            for on, delay in before:
                one = self.root(on)
                delays[one] = max(delay, delays.get(one, 0.0))
        readers = Counter(on for before in found.values() for on in before)
        wires = {
            bit: 0.0 if bit in self.carries else self.timing.wire(count)
            for bit, count in readers.items()
        }
        return {
            bit: [(on, delay + wires[on]) for on, delay in before.items()]
            for bit, before in found.items()
        }

    def add(self, name: str, prefix: str) -> None:
        """Add the module ``name`` as an instance whose bits have ``prefix``."""
        module = _Module(self, prefix, self.modules[name])
        module.read()
        for kind, instance, ports in module.instances():
            inner = f"{prefix}{instance}/"
            self.add(kind, inner)
            inputs = _inputs(self.modules[kind])
            for port, value in ports.items():
                for k, bit in enumerate(module.expand(value)):
                    own = f"{inner}\\{port}:{k}"
                    if f"\\{port}" in inputs:
                        self.joins(own, bit)
                    else:
                        self.joins(bit, own)


def longest_paths(rtlil: str, family: str) -> dict[Ends, float]:
    """Nanoseconds of the longest path from each kind of end to each other, where there is one.

    Ends are ``register`` and ports: of a stream ``o``, ``o__ready`` is an end and its payload and
    valid together are ``o``. Paths begin at the output of a flip-flop and end at the input of one;
    what these take is not in the figures.

    Parameters
    ----------
    rtlil
        A design as :func:`amaranth.back.rtlil.convert` writes it, the top module first.
    family
        FPGA family, one of :data:`TIMINGS`.
    """
    modules = dict(_MODULE.findall(rtlil))
    top = next(iter(modules))
    net = _Net(TIMINGS[family], family, modules)
    net.add(top, "")
    sources: dict[str, dict[Bit, float]] = {"register": net.starts}
    targets: dict[str, list[Bit]] = {"register": net.ends}
    for width, kind, name in _WIRE.findall(modules[top]):
        end = _end_of(name)
        bits = [f"{name}:{k}" for k in range(int(width))]
        if "input" in kind and name not in (r"\clk", r"\rst"):
            sources.setdefault(end, {}).update(dict.fromkeys(bits, 0.0))
        elif "output" in kind:
            targets.setdefault(end, []).extend(bits)
    behind = net.joined()
    graph = {bit: [on for on, _ in before] for bit, before in behind.items()}
    order = tuple(TopologicalSorter(graph).static_order())
    found: dict[Ends, float] = {}
    for source, starts in sources.items():
        arrivals = _arrivals(behind, order, {net.root(bit): t for bit, t in starts.items()})
        for target, bits in targets.items():
            times = [arrivals[root] for bit in bits if (root := net.root(bit)) in arrivals]
            if times:
                found[source, target] = max(times)
    return found


def _end_of(port: str) -> str:
    name = port.removeprefix("\\")
    return name if name.endswith("__ready") else name.partition("__")[0]


def _arrivals(
    behind: Mapping[Bit, Sequence[tuple[Bit, float]]],
    order: Sequence[Bit],
    starts: Mapping[Bit, float],
) -> dict[Bit, float]:
    """When each bit that depends on the starts settles after them; ``order`` is topological."""
    known = dict(starts)
    for bit in order:
        times = [known[b] + delay for b, delay in behind.get(bit, ()) if b in known]
        if times and bit not in known:
            known[bit] = max(times)
    return known


class _Module:
    """Text of a module, whose cells and processes become dependences."""

    def __init__(self, net: _Net, prefix: str, text: str) -> None:
        self.net, self.prefix, self.text = net, prefix, text
        self.widths = {name: int(width) for width, _, name in _WIRE.findall(text)}
        self.cells = [
            (kind, name, dict(_PARAMETER.findall(body)), dict(_CONNECT.findall(body)))
            for kind, name, body in _CELL.findall(text)
        ]

    def instances(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Module, name and ports of each instance."""
        for kind, name, _, ports in self.cells:
            if not kind.startswith("$"):
                yield kind, name, ports

    def expand(self, signal: str) -> list[Bit]:
        """Names of the bits of a signal, the lowest first; constants are empty."""
        bits: list[Bit] = []
        for digits, name, high, low in reversed(_PIECE.findall(signal)):
            if not name:
                bits += [""] * len(digits)
                continue
            last = int(high) if high else self.widths.get(name, 1) - 1
            first = (int(low) if low else last) if high else 0
            bits += [f"{self.prefix}{name}:{k}" for k in range(first, last + 1)]
        return bits

    def read(self) -> None:
        net = self.net
        for target, value in _ALIAS.findall(self.text):
            for bit, on in zip(self.expand(target), self.expand(value), strict=False):
                net.joins(bit, on)
        for kind, _, parameters, ports in self.cells:
            if kind.startswith("$"):
                self._cell(kind, parameters, {p: self.expand(v) for p, v in ports.items()})
        for body in _PROCESS.findall(self.text):
            self._process(body)

    def _cell(
        self, kind: str, parameters: Mapping[str, str], ports: Mapping[str, list[Bit]]
    ) -> None:
        net, timing = self.net, self.net.timing
        if kind == "$dff":
            net.starts.update(dict.fromkeys(ports["Q"], 0.0))
            net.ends += [bit for bit in ports["D"] if bit]
        elif kind == "$memrd_v2":
            net.starts.update(dict.fromkeys(ports["DATA"], self._memory(parameters["MEMID"])))
            net.ends += [bit for bit in (*ports["ADDR"], *ports["EN"]) if bit]
        elif kind == "$memwr_v2":
            net.ends += [b for port in ("ADDR", "DATA", "EN") for b in ports[port] if b]
        elif kind in _CARRIED:
            self._carried(kind, ports)
        elif kind in _GATES:
            self._gates(kind, ports)
        elif "Y" in ports:  # a comparison with a word, or a reduction
            inputs = [b for port in ("A", "B") for b in ports.get(port, ()) if b]
            levels = max(0.5, math.log(max(len(inputs), 1), 4))
            for bit in inputs:
                net.depends(ports["Y"][0], bit, levels * timing.level)

    def _memory(self, name: str) -> float:
        """What the word of a memory takes beyond a flip-flop, and if it lies in several blocks."""
        written = {p["MEMID"] for kind, _, p, _ in self.cells if kind == "$memwr_v2"}
        found = next(
            Memory(int(words), int(width), name not in written)
            for width, words, each in _MEMORY.findall(self.text)
            if name.strip('"').replace("\\\\", "\\") == each
        )
        geometry = GEOMETRIES[self.net.family]
        taken = mapped(found, geometry)
        levels = _BRANCH * math.ceil(math.log2(taken.mux // found.width + 1))
        return self.net.timing.memory + levels * self.net.timing.level if taken.blocks else 0.0

    def _carried(self, kind: str, ports: Mapping[str, list[Bit]]) -> None:
        net, timing, y = self.net, self.net.timing, ports["Y"]
        a, b = (ports.get(port, []) for port in ("A", "B"))
        compares = len(y) == 1 and kind[1] in "lg"
        for k in range(max(len(a), len(b)) if compares else len(y)):
            carry = f"{y[0]}c{k}"
            net.carries.add(carry)
            if k:
                net.depends(carry, f"{y[0]}c{k - 1}", timing.carry)
            for word in (a, b):
                if k < len(word):
                    net.depends(carry, word[k], timing.into)
                    if not compares:
                        net.depends(y[k], word[k], timing.level)
            if not compares and k:
                net.depends(y[k], f"{y[0]}c{k - 1}", timing.out)
            last = carry
        if compares:
            net.depends(y[0], last, timing.out)

    def _gates(self, kind: str, ports: Mapping[str, list[Bit]]) -> None:
        net, delay = self.net, _GATES[kind] * self.net.timing.level
        for k, bit in enumerate(ports["Y"]):
            for port in ("A", "B"):
                word = ports.get(port, [])
                if k < len(word):
                    net.depends(bit, word[k], delay)
            if "S" in ports:
                net.depends(bit, ports["S"][0], delay)

    def _process(self, body: str) -> None:
        """Choices: what a target depends on is the values, and what chooses among them."""
        selects: list[list[Bit]] = []
        skipped = 0
        choices: dict[Bit, int] = {}
        read: dict[Bit, list[Bit]] = {}
        for line in body.splitlines():
            word, _, rest = line.strip().partition(" ")
            if word == "switch":
                if skipped or rest == _RESET:
                    skipped += 1
                else:
                    selects.append([bit for bit in self.expand(rest) if bit])
            elif word == "end":
                if skipped:
                    skipped -= 1
                else:
                    selects.pop()
            elif word == "assign" and not skipped:
                target, value = _split(rest)
                for bit, on in zip(self.expand(target), self.expand(value), strict=False):
                    choices[bit] = choices.get(bit, 0) + bool(selects)
                    read.setdefault(bit, []).extend([on, *(b for some in selects for b in some)])
        for bit, inputs in read.items():
            levels = _BRANCH * math.ceil(math.log2(choices[bit] + 1))
            for on in dict.fromkeys(inputs):
                self.net.depends(bit, on, levels * self.net.timing.level)


def _split(rest: str) -> tuple[str, str]:
    """Target and value of an assignment."""
    target, _, value = rest.partition(" ")
    if value.startswith("["):
        index, _, value = value.partition(" ")
        target = f"{target} {index}"
    return target, value


def _inputs(text: str) -> frozenset[str]:
    return frozenset(name for _, kind, name in _WIRE.findall(text) if "input" in kind)
