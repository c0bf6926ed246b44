"""The SPI peripheral at its pins, with a controller of mode 0 whose clock is not its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hwgen.link.device import Device, DeviceParameters
from hwgen.link.protocol import Command, Decoder, Frame, Info
from hwgen.link.spi import SpiPeripheral

_PERIOD = 1e-6


async def _transfer(ctx: Any, spi: SpiPeripheral, data: Sequence[int], half: float) -> list[int]:
    """Exchange bytes while chip select is low, half a clock each ``half`` seconds."""
    heard = []
    ctx.set(spi.cs, 0)
    await ctx.delay(2 * half)
    for byte in data:
        value = 0
        for bit in range(7, -1, -1):
            ctx.set(spi.copi, byte >> bit & 1)
            await ctx.delay(half)
            value = value << 1 | ctx.get(spi.cipo)
            ctx.set(spi.clk, 1)
            await ctx.delay(half)
            ctx.set(spi.clk, 0)
        heard.append(value)
    await ctx.delay(half)
    ctx.set(spi.cs, 1)
    await ctx.delay(2 * half)
    return heard


@pytest.mark.parametrize("ratio", [8, 9.7, 21])
def test_bytes_pass_both_ways(ratio: float) -> None:
    """The peripheral has a byte now and then; the controller selects it for some at a time."""
    spi = SpiPeripheral()
    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.spi = spi
    rng = np.random.default_rng(3)
    out = rng.integers(1, 256, size=12).tolist()
    groups = [rng.integers(256, size=size).tolist() for size in (1, 3, 5, 1, 9)]
    heard: list[int] = []
    said: list[int] = []

    async def controller(ctx: Any) -> None:
        await ctx.delay(10.3 * _PERIOD)
        for group in groups:
            said.extend(await _transfer(ctx, spi, group, ratio / 2 * _PERIOD))

    async def listen(ctx: Any) -> None:
        while True:
            await ctx.tick()
            if ctx.get(spi.o.valid):
                heard.append(ctx.get(spi.o.payload))

    async def offer(ctx: Any) -> None:
        for byte in out:
            for _ in range(int(rng.integers(1, 200))):
                await ctx.tick()
            ctx.set(spi.i.payload, byte)
            ctx.set(spi.i.valid, 1)
            while not ctx.get(spi.i.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(spi.i.valid, 0)

    simulator = Simulator(m)
    simulator.add_clock(_PERIOD)
    simulator.add_testbench(controller)
    simulator.add_testbench(listen, background=True)
    simulator.add_testbench(offer, background=True)
    simulator.run()
    assert heard == [byte for group in groups for byte in group]
    words = [byte for byte in said if byte]
    assert len(words) >= 4
    assert words == out[: len(words)]


def test_the_link_runs_over_it() -> None:
    info = Info(0xFEDCBA9876543210, 12_000_000, 4, 1)
    spi = SpiPeripheral()
    device = Device(DeviceParameters(info, 8, 8, 1 << 14))
    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.spi = spi
    m.submodules.device = device
    wiring.connect(m, spi.o, device.rx)
    wiring.connect(m, device.tx, spi.i)
    answer: list[int] = []

    async def controller(ctx: Any) -> None:
        half = 4 * _PERIOD
        request = Frame(Command.PING, 77).encode()
        answer.extend(await _transfer(ctx, spi, request, half))
        answer.extend(await _transfer(ctx, spi, bytes(10), half))
        answer.extend(await _transfer(ctx, spi, bytes(32), half))

    simulator = Simulator(m)
    simulator.add_clock(_PERIOD)
    simulator.add_testbench(controller)
    simulator.run()
    assert Decoder().feed(bytes(answer)) == [Frame(Command.INFO, 77, info.encode())]
