"""An NFU that a host loads with programs, as a streaming design."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from amaranth.back import rtlil

from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import DyadicLane, NfuConfig, Segments
from hwgen.nfu.design import NfuBuild, NfuPlan, header, stream_design
from hwgen.nfu.fit import fit_config, fit_lane
from hwgen.nfu.golden import execute
from hwgen.nfu.loadable import (
    LoadableMemory,
    LoadableSpram,
    Room,
    program_of,
    room_for,
    writable_memories,
)
from hwgen.nfu.loadable_system import LoadableSystem, PixelSystem, loadable_frame_cycles
from hwgen.nfu.memory import MemoryImage
from hwgen.nfu.spram import SPRAM_VERILOG
from hwgen.nfu.verilog import component_verilog
from hwgen.stream.programs import Loading

__all__ = ["build_loadable", "common_config"]


def build_loadable(
    network: IntegerNetwork,
    others: Sequence[IntegerNetwork] = (),
    *,
    tile: tuple[int, int],
    depth: int = 512,
    single_port: bool = False,
    name: str = "hwgen_nfu",
) -> NfuBuild:
    """Hardware that runs ``network``, and any of ``others`` once it has been loaded.

    As :func:`~hwgen.nfu.design.build_system`, but every memory can be written, and has room for
    each of the networks and for what is left of its last block. Any other network that was compiled
    for the same parameters and has room runs too.

    Raises
    ------
    UnsupportedError, ResourceError
        If the NFU cannot run one of the networks.
    VerifyError
        If a program breaks a rule of the golden executor.
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    """
    config = common_config((network, *others), tile=tile, depth=depth)
    compiled = [compile_network(one, config) for one in (network, *others)]
    room = room_for(config, compiled)
    config = replace(config, address_width=_address_width(config, room))
    for one in compiled:
        execute(config, one.program, one.memory)
    first = compiled[0]
    kind = LoadableSpram if single_port else LoadableMemory
    memory = kind(config, first.program, first.memory, room=room)
    program = program_of(config, room, first)
    system = LoadableSystem(config, memory, maps=program.contents[-1][0])
    loading = Loading(
        f"{name}_core",
        _hardware(config, room, kind),
        writable_memories(config, room),
        config.activation_width,
        room.result_width,
        program,
    )
    pixels = PixelSystem(first, loading)
    plan = NfuPlan.of(
        network.name, pixels, memory, frame=loadable_frame_cycles, bits=system.bits, room=room
    )
    verilog = (
        header(plan, first, name)
        + component_verilog(pixels, name=name)
        + component_verilog(system, name=loading.core)
        + (SPRAM_VERILOG if single_port else "")
    )
    return NfuBuild(
        plan, first, stream_design(network, pixels, verilog, name=name, loading=loading)
    )


def common_config(
    networks: Sequence[IntegerNetwork], *, tile: tuple[int, int], depth: int
) -> NfuConfig:
    """The least parameters with which the compiler takes each of ``networks``.

    Raises
    ------
    UnsupportedError, ResourceError
        If there are none.
    """
    tn, ti = tile
    found = [fit_config(one, tn=tn, ti=ti, depth=depth) for one in networks]
    if len({type(config.lane) for config in found}) > 1:
        lane = DyadicLane(1, 16)
        found = [fit_lane(one, lane, tn=tn, ti=ti, depth=depth) for one in networks]
    config = found[0]
    for other in found[1:]:
        config = _both(config, other)
    return config


_GREATER = (
    *("activation_width", "accumulator_width", "sb_depth", "nbin_depth", "nbout_depth"),
    *("table_depth", "nfu3_lanes", "scale_terms", "scale_exponents", "product_width"),
    *("address_width", "maximum"),
)


def _both(one: NfuConfig, other: NfuConfig) -> NfuConfig:
    """Parameters that are each the greater of two."""
    lane = max(one.lane, other.lane, key=lambda lane: sum(lane.widths(one.tn, one.ti)))
    functions = [config.function for config in (one, other) if config.function is not None]
    function = None
    if functions:
        function = Segments(
            max(each.count for each in functions), max(each.width for each in functions)
        )
    values = {name: max(getattr(one, name), getattr(other, name)) for name in _GREATER}
    return replace(one, lane=lane, function=function, **values)


def _address_width(config: NfuConfig, room: Room) -> int:
    both, least = max(config.tn, config.ti), min(config.tn, config.ti)
    words = max(room.weights, room.scales, room.activations * (both // least))
    return max(config.address_width, (words - 1).bit_length())


def _hardware(config: NfuConfig, room: Room, kind: type[LoadableMemory]) -> int:
    """64 bits of the SHA-256 of the hardware with empty memories."""
    nothing = MemoryImage((), (), np.zeros(0, dtype=np.int64))
    system = LoadableSystem(config, kind(config, (), nothing, room=room), maps=0)
    text = rtlil.convert(system, name="hardware", emit_src=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
