"""What a stage is made of: bits of each kind of part, counted without synthesis.

The parts of a stage are read off its block (:mod:`hwgen.estimate.netlist`), whatever its form, so
that a new form needs nothing here. Only a form whose parts can be counted from its plan, quicker or
better, has a function of its own in :data:`COUNTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from amaranth.lib import wiring

from hwgen.estimate.elaborated import block_rtlil, stage_rtlil, uncollected
from hwgen.estimate.memories import GEOMETRIES, Memory, mapped
from hwgen.estimate.netlist import count_words
from hwgen.shiftadd.build import with_bias
from hwgen.shiftadd.luts import PROFILES
from hwgen.shiftadd.polarity import polarities
from hwgen.shiftadd.schedule import schedule
from hwgen.stream.blocks import Stage

__all__ = ["COUNTERS", "Structure", "of_component", "structure"]

_APART = frozenset({"window"})
"""Forms whose memories are written where they were read before."""


@dataclass(frozen=True)
class Structure:
    """Bits of each kind of part, and the memories of a stage.

    ``words`` are as in :class:`hwgen.estimate.netlist.Words`.
    ``meets`` if Yosys cannot prove that no word is read while it is written: a memory block then
    has registers and multiplexers beside it that give the old word.
    """

    words: Mapping[str, int]
    memories: tuple[Memory, ...] = ()
    meets: bool = True

    def parts(self, family: str) -> dict[str, int]:
        """Bits of each kind of part once memories have become what ``family`` has for them."""
        found = self._chained(family)
        for memory in self.memories:
            taken = mapped(memory, GEOMETRIES[family], meets=self.meets)
            for name in ("blocks", "lutrams", "rom_bits", "ram_bits", "mux"):
                if bits := getattr(taken, name):
                    found[name] = found.get(name, 0) + bits
            kind, held = ("block_bits", memory.bits) if taken.blocks else ("read", memory.width)
            found[kind] = found.get(kind, 0) + held
            if taken.blocks and not memory.constant and self.meets:
                found["bypass"] = found.get("bypass", 0) + memory.width
        return found

    def _chained(self, family: str) -> dict[str, int]:
        """Words of a family: where carry chains are made of pairs of bits, short ones are logic."""
        found: dict[str, int] = {}
        paired = PROFILES[family].step > 1
        for name, bits in self.words.items():
            kind = name.removeprefix("short_")
            if kind != name:
                kind = "short" if paired else kind
            if paired or kind != "odd":
                found[kind] = found.get(kind, 0) + bits
        return found


def structure(stage: Stage, family: str) -> Structure:
    """Parts of a stage on an FPGA family."""
    counter = COUNTERS.get(stage.form)
    if counter is not None:
        return counter(stage, family)
    return replace(_counted(stage_rtlil(stage)), meets=stage.form not in _APART)


def of_component(block: wiring.Component) -> Structure:
    """Parts of a block of any kind, as its words."""
    return _counted(block_rtlil(block))


def _counted(rtlil: str) -> Structure:
    with uncollected():
        words = count_words(rtlil)
    return Structure({**words.bits, "stage": 1}, words.memories)


def _of_graph(stage: Stage, family: str) -> Structure:
    """Parts of a pipelined adder graph, as :mod:`hwgen.shiftadd.luts` counts them."""
    assert stage.graph is not None
    network = with_bias(stage.graph, stage.bias or [0] * len(stage.graph.outputs))
    plan = schedule(network, adders_per_stage=stage.depth)
    profile = PROFILES[family]
    step = profile.step
    words = {
        "graph_adder": sum(step * -(-bits // step) for bits in network.node_bits),
        "register": plan.registers(network) + plan.stages,
        "stage": 1,
    }
    if stage.complement:
        words["inverter"] = polarities(network, plan).inverters
    return Structure(words)


COUNTERS: Mapping[str, Callable[[Stage, str], Structure]] = MappingProxyType({"adders": _of_graph})
"""Forms that are counted from their plan."""
