"""The UART at its pins: clocks that differ, gaps, glitches and bytes without a stop bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from hwgen.link.uart import (
    BAUDS,
    MIN_DIVISOR,
    UartReceiver,
    UartTransmitter,
    choose_baud,
    divisor_of,
)

_PERIOD = 1e-6  # of the clock


def _receive(divisor: int, line: list[tuple[int, float]]) -> list[int]:
    """Bytes that a receiver finds on a line of (level, seconds)."""
    receiver = UartReceiver(divisor)
    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.receiver = receiver
    heard: list[int] = []
    total = sum(seconds for _, seconds in line)

    async def drive(ctx: Any) -> None:
        for level, seconds in line:
            ctx.set(receiver.rx, level)
            await ctx.delay(seconds)

    async def listen(ctx: Any) -> None:
        for _ in range(int(total / _PERIOD) + 3 * divisor):
            await ctx.tick()
            if ctx.get(receiver.o.valid):
                heard.append(ctx.get(receiver.o.payload))

    simulator = Simulator(m)
    simulator.add_clock(_PERIOD)
    simulator.add_testbench(drive, background=True)
    simulator.add_testbench(listen)
    simulator.run()
    return heard


def _bits(byte: int, seconds: float) -> list[tuple[int, float]]:
    return [(level, seconds) for level in (0, *(byte >> k & 1 for k in range(8)), 1)]


@pytest.mark.parametrize("mismatch", [-0.02, 0.0, 0.02])
@pytest.mark.parametrize("divisor", [4, 5, 12])
def test_bytes_arrive_though_the_clocks_differ(divisor: int, mismatch: float) -> None:
    rng = np.random.default_rng(5)
    data = [0x00, 0xFF, 0x55, 0xAA, 0x80, 0x01, *rng.integers(256, size=6).tolist()]
    bit = divisor * _PERIOD * (1 + mismatch)
    line = [(1, rng.uniform(2, 3) * bit)]
    for number, byte in enumerate(data):
        line += _bits(byte, bit)
        if number % 3 == 2:  # the others follow without a gap
            line.append((1, rng.uniform(0, 4) * bit))
    assert _receive(divisor, line) == data


def test_glitches_and_breaks_give_no_byte() -> None:
    bit = 8 * _PERIOD
    line = [(1, bit), (0, 2 * _PERIOD), (1, 3 * bit)]  # shorter than half a bit
    line += _bits(0x12, bit)
    line += [(0, 25 * bit), (1, 2 * bit)]  # a break, in which no other byte may start
    line += _bits(0x34, bit)
    line += [*_bits(0x56, bit)[:-1], (0, bit), (1, 12 * bit)]  # no stop bit
    line += _bits(0x78, bit)
    assert _receive(8, line) == [0x12, 0x34, 0x78]


@pytest.mark.parametrize("divisor", [4, 7])
def test_what_is_sent_is_a_byte_a_frame_of_ten_bits(divisor: int) -> None:
    transmitter = UartTransmitter(divisor)
    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.transmitter = transmitter
    data = [0x00, 0xFF, 0xA5, 0x31]
    gaps = [0, 0, 0, 25]
    levels: list[int] = []

    async def offer(ctx: Any) -> None:
        for byte, gap in zip(data, gaps, strict=True):
            for _ in range(gap):
                await ctx.tick()
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
            ctx.set(transmitter.i.valid, 0)

    async def watch(ctx: Any) -> None:
        for _ in range(divisor * 50 + 30):
            levels.append(ctx.get(transmitter.tx))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(_PERIOD)
    simulator.add_testbench(offer, background=True)
    simulator.add_testbench(watch)
    simulator.run()
    position = levels.index(0)
    starts = []
    for byte in data:
        start = position
        starts.append(start)
        expected = [level for level, _ in _bits(byte, 0) for _ in range(divisor)]
        assert levels[start : start + 10 * divisor] == expected
        position = start + 10 * divisor
        position += levels[position:].index(0) if 0 in levels[position:] else 0
    # without a gap where the next byte was there in time
    assert starts[1] - starts[0] == starts[2] - starts[1] == 10 * divisor
    assert set(levels[starts[-1] + 10 * divisor :]) == {1}


def test_rates_are_those_that_the_clock_gives() -> None:
    assert choose_baud(12_000_000) == choose_baud(25_000_000) == 1_000_000
    assert choose_baud(12_000_000, 600_000) == 500_000
    assert choose_baud(10_500_000) == 500_000
    assert divisor_of(12_000_000, 1_000_000) == 12
    assert divisor_of(12_000_000, 3_000_000) == MIN_DIVISOR
    assert divisor_of(12_000_000, 4_000_000) is None
    assert all(divisor_of(12_000_000, baud) for baud in BAUDS if baud != 921_600)
    with pytest.raises(ValueError, match="must give a usual baud rate up to 100, not 12 MHz"):
        choose_baud(12_000_000, 100)


@pytest.mark.parametrize("kind", [UartReceiver, UartTransmitter])
def test_bits_have_at_least_four_cycles(kind: type[UartReceiver | UartTransmitter]) -> None:
    with pytest.raises(ValueError, match="at least 4 cycles, not 3"):
        kind(3)
