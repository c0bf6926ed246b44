"""What an adder graph costs in LUTs of an FPGA family, or in gates, with its pipeline registers.

The figures of each profile are fitted to what Yosys 0.70 makes of the Verilog of
:class:`hwgen.stream.datapath.ShiftAdd`; ``benchmarks/bench_shiftadd_luts.py`` reports the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwgen.shiftadd.build import with_bias
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.polarity import polarities
from hwgen.shiftadd.schedule import schedule

__all__ = ["PROFILES", "Estimate", "Profile", "estimate", "luts"]


@dataclass(frozen=True)
class Profile:
    """What the parts of a pipelined adder graph cost in one technology.

    Parameters
    ----------
    name : str
        Name of the technology.
    cell : float
        LUTs, or gates, of a bit of an adder.
    step : int
        Bits that adders are made in multiples of.
    inverters : bool
        Whether a carry chain takes its operands as they are, so that some bits need an inverter
        (:mod:`hwgen.shiftadd.polarity`).
    delay : float
        LUTs that become useless for a bit of a register which no LUT feeds, or what it is worth.
    register : float
        Gates of a bit of any register.
    """

    name: str
    cell: float = 1.0
    step: int = 1
    inverters: bool = False
    delay: float = 0.0
    register: float = 0.0


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            # A flip-flop's input comes from the LUT beside it.
            Profile("ice40", inverters=True, delay=1.0),
            # CCU2C holds two bits. A flip-flop has an input of its own and spoils no LUT, but there
            # are no more of them than LUTs: the weight is a choice, so that a graph is not much
            # deeper for a few LUTs less. Xilinx 7 has two flip-flops a LUT.
            Profile("ecp5", step=2, delay=0.1),
            Profile("gowin", delay=1.0),
            Profile("xilinx", cell=0.975, delay=0.05),
            Profile("asic", cell=4.45, register=1.0),
        )
    }
)
"""Profiles by name: iCE40, ECP5, Gowin LittleBee and Arora, Xilinx 7, and two-input gates."""


@dataclass(frozen=True)
class Estimate:
    """Resources of a pipelined adder graph.

    ``luts`` are LUTs (gates without registers, for a profile of gates) in the netlist, ``ffs`` bits
    of registers, ``delays`` those of them that no LUT feeds; ``total`` adds to the LUTs what
    registers cost or make useless.
    """

    luts: float
    ffs: int
    delays: int
    total: float


def estimate(graph: AdderGraph, profile: Profile, *, adders_per_stage: int = 1) -> Estimate:
    """Resources of ``graph`` with a register after every ``adders_per_stage`` adders.

    A negated output counts as the subtraction from zero that it is built as.
    """
    network = with_bias(graph, [0] * len(graph.outputs))
    plan = schedule(network, adders_per_stage=adders_per_stage)
    cells = sum(profile.step * -(-bits // profile.step) for bits in network.node_bits)
    inverters = polarities(network, plan).inverters if profile.inverters else 0
    ffs = plan.registers(network)
    count = len(network.inputs)
    fed = sum(
        bits
        for value, bits in enumerate(network.node_bits, start=count)
        if plan.read[value] > plan.made[value]
    )
    logic = profile.cell * cells + inverters
    delays = ffs - fed
    return Estimate(logic, ffs, delays, logic + profile.delay * delays + profile.register * ffs)


def luts(graph: AdderGraph, profile: str | Profile, *, adders_per_stage: int = 1) -> float:
    """LUTs of a pipelined graph, and those that its registers make useless; gates for ``asic``.

    Raises
    ------
    ValueError
        If there is no profile of this name.
    """
    if isinstance(profile, str):
        if profile not in PROFILES:
            raise ValueError(f"Profile must be one of {', '.join(PROFILES)}, not {profile!r}")
        profile = PROFILES[profile]
    return estimate(graph, profile, adders_per_stage=adders_per_stage).total
