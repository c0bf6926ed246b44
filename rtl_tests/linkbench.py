"""A host link byte by byte: what is sent to a device with a design, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module, ResetInserter
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hwgen.link.device import Device
from hwgen.link.protocol import Decoder, Frame

__all__ = ["GAP", "TIMEOUT", "Pause", "converse", "request"]

TIMEOUT = 256
"""Cycles without a byte after which a device forgets a frame."""

GAP = 8
"""Cycles from one byte to the next; a UART takes 40 or more."""

Pause = int
"""Cycles in which nothing is sent."""


def request(command: int, sequence: int, payload: bytes = b"") -> bytes:
    """Bytes of a request."""
    return Frame(command, sequence, payload).encode()


def converse(
    device: Device,
    core: wiring.Component,
    script: Iterable[bytes | Pause],
    *,
    gap: int = GAP,
    seed: int | None = None,
) -> tuple[list[Frame], int]:
    """Send bytes, wait where the script pauses, and return the answers and the lamps at the end.

    ``core`` is the design, and the device gives nothing but frames. Between bytes are ``gap``
    cycles; with ``seed`` random ones, and the host takes bytes now and then.
    """
    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.device = device
    m.submodules.core = ResetInserter(device.reset)(core)
    wiring.connect(m, device.o, core.i)
    wiring.connect(m, core.o, device.i)
    if device.parameters.loading is not None:
        wiring.connect(m, device.load, core.load)
        m.d.comb += device.busy.eq(core.busy)
    rng = np.random.default_rng(seed)
    heard = bytearray()
    lights: list[int] = []

    async def talk(ctx: Any) -> None:
        for item in script:
            if isinstance(item, int):
                await ctx.tick().repeat(item)
                continue
            for byte in item:
                ctx.set(device.rx.payload, byte)
                ctx.set(device.rx.valid, 1)
                await ctx.tick()
                ctx.set(device.rx.valid, 0)
                ctx.set(device.rx.payload, 0)
                await ctx.tick().repeat(gap if seed is None else int(rng.integers(4, 30)))
        lights.append(ctx.get(device.led))

    async def listen(ctx: Any) -> None:
        while True:
            ready = seed is None or bool(rng.random() < 0.4)
            ctx.set(device.tx.ready, ready)
            if ready and ctx.get(device.tx.valid):
                heard.append(ctx.get(device.tx.payload))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(talk)
    simulator.add_testbench(listen, background=True)
    simulator.run()
    frames = Decoder().feed(bytes(heard))
    assert sum(len(frame.encode()) for frame in frames) == len(heard)
    return frames, lights[0]
