# amaranth: UnusedElaboratable=no
"""A network on an NFU as a streaming design: its Verilog, its program, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Shape
from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.golden import execute
from hwgen.nfu.image import MemoryMap, memory_map
from hwgen.nfu.loadable import Room
from hwgen.nfu.spram import SPRAM_VERILOG, SpramMemory
from hwgen.nfu.system import NfuSystem, frame_cycles
from hwgen.nfu.verilog import component_verilog
from hwgen.stream.design import PixelLayout, StreamDesign

__all__ = ["NfuBuild", "NfuPlan", "PlannedSystem", "build_system", "header", "plan_system"]


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
    VerifyError
        If the program breaks a rule of the golden executor.
    """
    tn, ti = tile
    config = fit_config(network, tn=tn, ti=ti, depth=depth)
    compiled = compile_network(network, config)
    # the cycle model takes programs that the executor accepts
    execute(config, compiled.program, compiled.memory)
    kind = SpramMemory if single_port else BlockMemory
    memory = kind(config, compiled.program, compiled.memory)
    count = count_cycles(config, compiled.program, memory.timing)
    system = NfuSystem(config, compiled, memory)
    interval = frame_cycles(config, compiled, count.total)
    plan = NfuPlan(
        network=network.name,
        config=config,
        instructions=len(compiled.program),
        program_cycles=count.total,
        busy=count.busy,
        stalls=tuple(count.stalls.items()),
        interval=interval,
        latency=interval + system.latency,
        memories=tuple(system.bits.items()),
        single_port=memory.single_port_bits,
        map=memory_map(config, compiled.program, compiled.memory),
    )
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
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    """
    planned = plan_system(network, tile=tile, depth=depth, single_port=single_port)
    plan, compiled, system = planned.plan, planned.compiled, planned.system
    design = StreamDesign(
        name=name,
        verilog=header(plan, compiled, name) + planned.verilog(name=name),
        input_shape=network.input_shape,
        input_layout=PixelLayout.from_ranges(system.input_ranges),
        output_shape=network.shape(network.output),
        output_layout=PixelLayout.from_ranges(system.result_ranges),
    )
    return NfuBuild(plan, compiled, design)


def header(plan: NfuPlan, compiled: CompiledNetwork, name: str) -> str:
    """Comment at the top of the Verilog of module ``name``."""
    return "".join(f"// {line}".rstrip() + "\n" for line in _lines(plan, compiled, name))


def _lines(plan: NfuPlan, compiled: CompiledNetwork, name: str) -> Iterator[str]:
    config = plan.config
    yield f"{name}: the network {plan.network!r} on an NFU of {config.tn} x {config.ti}, without a"
    yield f"multiplier. Its program has {plan.instructions:,} instructions."
    yield ""
    yield "Streams: a transfer happens at a rising edge of clk with valid and ready both high. A"
    yield "transfer carries one pixel of all channels, channel 0 in the least significant bits;"
    yield "pixels follow in raster order, images without a gap or a mark between them. valid never"
    yield "waits for ready, and a payload stays until it is taken. rst is synchronous; pixels of an"
    yield "unfinished image are forgotten. cycles holds the cycles of the program that ran last."
    yield ""
    yield f"  i  {_size(compiled.input.shape)}"
    yield f"  o  {_size(compiled.output.shape)}"
    yield ""
    yield f"The program takes {plan.program_cycles:,} cycles, an image {plan.interval:,}."
    yield ""


def _size(shape: Shape) -> str:
    channels, height, width = shape
    return f"{channels} channels, {height} rows, {width} columns"
