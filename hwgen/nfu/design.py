# amaranth: UnusedElaboratable=no
"""A network on an NFU as a streaming design: its Verilog, its program, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.golden import execute
from hwgen.nfu.image import MemoryMap, memory_map
from hwgen.nfu.loadable import Room
from hwgen.nfu.ports import NetworkPorts
from hwgen.nfu.spram import SPRAM_VERILOG, SpramMemory
from hwgen.nfu.system import NfuSystem, frame_cycles
from hwgen.nfu.verilog import component_verilog
from hwgen.stream.comment import PORTS, as_comment, size_text
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.programs import Loading

__all__ = [
    "NfuBuild",
    "NfuPlan",
    "PlannedSystem",
    "build_system",
    "header",
    "plan_system",
    "stream_design",
]


@dataclass(frozen=True)
class NfuPlan:
    """What an NFU system is and what an image takes.

    ``program_cycles`` counts from the first cycle of the program until it is done, of which
    ``busy`` have a row and ``stalls`` (cause, cycles) have none; ``interval`` from one image to
    the next if neither side waits, ``latency`` from the first pixel of an image to the last of its
    result. ``memories`` are the bits of each memory in block RAM beside the core's
    buffers, by what it holds, ``single_port`` those in single-port RAM. ``room`` is that for
    programs that are loaded, None if the program is fixed.
    """

    network: str
    config: NfuConfig
    instructions: int
    program_cycles: int
    busy: int
    stalls: tuple[tuple[str, int], ...]
    interval: int
    latency: int
    memories: tuple[tuple[str, int], ...]
    single_port: int
    map: MemoryMap
    room: Room | None = None

    @classmethod
    def of(
        cls,
        network: str,
        ports: NetworkPorts,
        memory: BlockMemory,
        *,
        frame: Callable[[NfuConfig, CompiledNetwork, int], int],
        bits: Mapping[str, int],
        room: Room | None = None,
    ) -> NfuPlan:
        """The plan of a system with these ``ports`` and its program in ``memory``.

        ``frame`` gives the cycles of an image from those of its program, ``bits`` are those of the
        memories, and ``network`` is the name.
        """
        config, compiled = memory.config, ports.compiled
        count = count_cycles(config, compiled.program, memory.timing)
        interval = frame(config, compiled, count.total)
        return cls(
            network=network,
            config=config,
            instructions=len(compiled.program),
            program_cycles=count.total,
            busy=count.busy,
            stalls=tuple(count.stalls.items()),
            interval=interval,
            latency=interval + ports.latency,
            memories=tuple(bits.items()),
            single_port=memory.single_port_bits,
            map=memory_map(config, compiled.program, compiled.memory),
            room=room,
        )


@dataclass(frozen=True, eq=False)
class NfuBuild:
    """A network compiled, and the hardware that runs it."""

    plan: NfuPlan
    compiled: CompiledNetwork
    design: StreamDesign


@dataclass(frozen=True, eq=False)
class PlannedSystem:
    """A network compiled, and the component that runs it, before there is Verilog."""

    plan: NfuPlan
    compiled: CompiledNetwork
    system: NfuSystem

    def check(self) -> None:
        """Run the program on the golden executor.

        Raises
        ------
        VerifyError
            If it breaks a rule: what the cycle model and the hardware rely on.
        """
        execute(self.plan.config, self.compiled.program, self.compiled.memory)

    def verilog(self, *, name: str) -> str:
        """Verilog of the system as module ``name``, and of the modules that it needs."""
        extra = SPRAM_VERILOG if self.plan.single_port else ""
        return component_verilog(self.system, name=name) + extra


def plan_system(
    network: IntegerNetwork, *, tile: tuple[int, int], depth: int = 512, single_port: bool = False
) -> PlannedSystem:
    """Compile ``network`` for an NFU with a tile (Tn, Ti).

    Buffers have ``depth`` words, or more if the network needs them. With ``single_port``,
    activations are in the single-port RAM of iCE40 UltraPlus.

    Raises
    ------
    UnsupportedError, ResourceError
        If the NFU cannot run the network.
    """
    tn, ti = tile
    config = fit_config(network, tn=tn, ti=ti, depth=depth)
    compiled = compile_network(network, config)
    kind = SpramMemory if single_port else BlockMemory
    memory = kind(config, compiled.program, compiled.memory)
    system = NfuSystem(config, compiled, memory)
    plan = NfuPlan.of(network.name, system, memory, frame=frame_cycles, bits=system.bits)
    return PlannedSystem(plan, compiled, system)


def build_system(
    network: IntegerNetwork,
    *,
    tile: tuple[int, int],
    depth: int = 512,
    single_port: bool = False,
    name: str = "hwgen_nfu",
) -> NfuBuild:
    """Compile ``network`` as :func:`plan_system` does, which raises the same, and write hardware.

    Raises
    ------
    VerifyError
        If the program breaks a rule of the golden executor.
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    """
    planned = plan_system(network, tile=tile, depth=depth, single_port=single_port)
    planned.check()
    plan, compiled = planned.plan, planned.compiled
    verilog = header(plan, compiled, name) + planned.verilog(name=name)
    return NfuBuild(plan, compiled, stream_design(network, planned.system, verilog, name=name))


def stream_design(
    network: IntegerNetwork,
    ports: NetworkPorts,
    verilog: str,
    *,
    name: str,
    loading: Loading | None = None,
) -> StreamDesign:
    """The design of ``network`` with these ``ports``, as module ``name``."""
    return StreamDesign(
        name=name,
        verilog=verilog,
        input_shape=network.input_shape,
        input_layout=PixelLayout.from_ranges(ports.input_ranges),
        output_shape=network.shape(network.output),
        output_layout=PixelLayout.from_ranges(ports.result_ranges),
        loading=loading,
    )


def header(plan: NfuPlan, compiled: CompiledNetwork, name: str) -> str:
    """Comment at the top of the Verilog of module ``name``."""
    return as_comment(_lines(plan, compiled, name))


def _lines(plan: NfuPlan, compiled: CompiledNetwork, name: str) -> Iterator[str]:
    config = plan.config
    yield f"{name}: the network {plan.network!r} on an NFU of {config.tn} x {config.ti}, without a"
    yield f"multiplier. Its program has {plan.instructions:,} instructions."
    yield ""
    yield from PORTS
    if plan.room is None:
        yield "cycles holds the cycles of the program that ran last."
    yield ""
    yield f"  i  {size_text(compiled.input.shape)}"
    yield f"  o  {size_text(compiled.output.shape)}"
    yield ""
    yield f"The program takes {plan.program_cycles:,} cycles, an image {plan.interval:,}."
    yield ""
