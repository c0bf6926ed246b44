"""A bench for the NFU, and random programs for it.

The bench and the cycle model take the same timing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from hwgen.errors import VerifyError
from hwgen.nfu.config import BinaryLane, DyadicLane, IntLane, NfuConfig, Segments
from hwgen.nfu.core import Nfu
from hwgen.nfu.golden import Store, execute
from hwgen.nfu.isa import Instruction, encode
from hwgen.nfu.memory import MemoryImage, pack_rows, pack_scales
from hwgen.nfu.timing import LOADS, Timing

__all__ = ["NfuRun", "random_config", "random_program", "random_timing", "run_nfu"]


_ROUTES = 16
"""Rows at the beginning of memory whose sums are activations, for maxima and functions."""


def random_timing(
    seed: int,
    *,
    fetch: float = 0.8,
    request: float = 0.6,
    data: float = 0.7,
    store: float = 0.6,
    latency: int = 2,
) -> Timing:
    """Memory with random pauses: each port is open with its own probability in every cycle."""
    rng = np.random.default_rng(seed)
    odds = {"instructions": fetch, "store": store}
    for port in LOADS:
        odds |= {f"{port}_request": request, f"{port}_words": data}
    patterns = {name: np.append(rng.random(996) < p, True) for name, p in odds.items()}
    return Timing(latency, patterns)


@dataclass(frozen=True)
class NfuRun:
    """What a run saw: the stores in order, the cycle of each start, and that of ``done``."""

    stores: tuple[Store, ...]
    starts: tuple[int, ...]
    total: int


class _Memory:
    """Memory behind the ports; activations change as words are stored."""

    def __init__(self, config: NfuConfig, image: MemoryImage) -> None:
        self.config = config
        self.image = image
        self.activations = image.activations.copy()

    def word(self, port: str, address: int) -> int:
        if port == "sb":
            return self.image.rows[address]
        if port == "table":
            return self.image.tables[address]
        word, width = 0, self.config.activation_width
        values = self.activations[address * self.config.ti : (address + 1) * self.config.ti]
        for i, value in enumerate(values.tolist()):
            word |= (value & ((1 << width) - 1)) << (i * width)
        return word

    def store(self, one: Store) -> None:
        tn = self.config.tn
        self.activations[one.address * tn : (one.address + 1) * tn] = one.values


def run_nfu(
    config: NfuConfig,
    program: tuple[Instruction, ...],
    image: MemoryImage,
    timing: Timing,
    *,
    deadline: int,
    resets: Sequence[int] = (),
) -> NfuRun:
    """Simulate the NFU until ``done``; :class:`AssertionError` if it does not come in time.

    Before that the program begins and is cut off by a reset after each of ``resets`` cycles; memory
    forgets its requests, and what was stored.

    Also checks that neither a word of the store that waits nor a request changes, and that nothing
    more comes after ``done``.
    """
    dut = Nfu(config)
    top = Module()
    domain = ClockDomain("sync")
    top.domains += domain
    top.submodules.dut = dut
    stores: list[Store] = []
    starts: list[int] = []
    total: list[int] = []
    words = [encode(one) for one in program]
    mask = (1 << config.accumulator_width) - 1
    sign = (mask + 1) >> 1
    address = (1 << config.address_width) - 1

    def take_store(payload: int) -> Store:
        bits = payload >> config.address_width
        values = []
        for _ in range(config.tn):
            values.append(((bits & mask) ^ sign) - sign)
            bits >>= config.accumulator_width
        return Store(payload & address, tuple(values))

    async def bench(ctx: Any) -> None:
        for cycles in resets:
            await session(ctx, cycles)
            assert not total, f"The program was done within {cycles} cycles"
            ctx.set(domain.rst, 1)
            await ctx.tick()
            ctx.set(domain.rst, 0)
        await session(ctx, deadline)
        assert total, f"Not done after {deadline} cycles; {len(starts)} runs began"

    async def session(ctx: Any, cycles: int) -> None:
        stores.clear()
        starts.clear()
        memory = _Memory(config, image)
        position, offered = 0, False
        requests: dict[str, list[int]] = {port: [] for port in LOADS}  # address, left, waited
        held: dict[str, int] = {}
        for cycle in range(cycles):
            offered = offered or (position < len(words) and timing.is_open("instructions", cycle))
            ctx.set(dut.instructions.valid, offered)
            ctx.set(dut.instructions.payload, words[position] if offered else 0)
            for port in LOADS:
                request, data = getattr(dut, f"{port}_request"), getattr(dut, f"{port}_words")
                ready = not requests[port] and timing.is_open(f"{port}_request", cycle)
                ctx.set(request.ready, ready)
                valid = False
                if requests[port]:
                    requests[port][2] += 1
                    late = requests[port][2] >= timing.latency
                    valid = late and timing.is_open(f"{port}_words", cycle)
                ctx.set(data.valid, valid)
                if valid:
                    ctx.set(data.payload, memory.word(port, requests[port][0]))
            ctx.set(dut.store.ready, timing.is_open("store", cycle))

            if ctx.get(dut.done):
                total.append(cycle)
                for _ in range(4):
                    assert not ctx.get(dut.store.valid), "A word is stored after the end"
                    await ctx.tick()
                assert position == len(words), f"{position} instructions were taken"
                return
            if ctx.get(dut.begun):
                starts.append(cycle)
            for port in LOADS:
                request, data = getattr(dut, f"{port}_request"), getattr(dut, f"{port}_words")
                if ctx.get(data.valid):
                    assert ctx.get(data.ready), f"Word of {port} was not taken (cycle {cycle})"
                    requests[port][0] += 1
                    requests[port][1] -= 1
                    if requests[port][1] == 0:
                        requests[port] = []
                if ctx.get(request.valid):
                    payload = ctx.get(request.payload.as_value())
                    assert held.get(port, payload) == payload, f"Request of {port} changed"
                    held[port] = payload
                    if ctx.get(request.ready):
                        requests[port] = [payload & address, payload >> config.address_width, 0]
                        del held[port]
            if ctx.get(dut.store.valid):
                payload = ctx.get(dut.store.payload.as_value())
                assert held.get("store", payload) == payload, f"A word changed (cycle {cycle})"
                held["store"] = payload
                if ctx.get(dut.store.ready):
                    stores.append(take_store(payload))
                    memory.store(stores[-1])
                    del held["store"]
            if offered and ctx.get(dut.instructions.ready):
                position, offered = position + 1, False
            await ctx.tick()

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return NfuRun(tuple(stores), tuple(starts), total[0])


def random_config(rng: np.random.Generator) -> NfuConfig:
    """Small parameters of every kind."""
    width = int(rng.integers(4, 17))
    accumulator = int(rng.integers(width + 2, 49))
    tn = int(rng.choice([1, 2, 4]))
    function = None
    if rng.random() < 0.5:
        wide = min(17, accumulator, width + int(rng.integers(1, 5)))
        function = Segments(int(rng.choice([2, 4, 8, 16])), wide)
    return NfuConfig(
        tn=tn,
        nfu3_lanes=int(rng.choice([n for n in (1, 2, 4) if n <= tn])),
        ti=int(rng.choice([1, 2, 4])),
        activation_width=width,
        accumulator_width=accumulator,
        lane=_random_lane(rng),
        sb_depth=32,
        nbin_depth=16,
        nbout_depth=16,
        table_depth=32,
        scale_terms=int(rng.integers(1, 4)),
        scale_exponents=int(rng.choice([2, 8, 32])),
        product_width=int(rng.integers(accumulator, 64)),
        address_width=int(rng.integers(8, 25)),
        function=function,
        maximum=bool(rng.integers(0, 2)),
    )


def _random_lane(rng: np.random.Generator) -> DyadicLane | IntLane | BinaryLane:
    kind = rng.random()
    if kind < 0.5:
        return DyadicLane(int(rng.integers(1, 4)), int(rng.choice([2, 4, 8, 16])))
    return IntLane(int(rng.integers(2, 17))) if kind < 0.75 else BinaryLane()


def _random_rows(
    rng: np.random.Generator, config: NfuConfig, offsets: np.ndarray, last: np.ndarray
) -> tuple[int, ...]:
    """Rows of any codes, those included that :func:`pack_rows` does not give."""
    size = -(-config.codes_width // 8)
    nothing = np.zeros((len(last), config.tn, config.ti, config.lane.operands), dtype=np.int64)
    return tuple(
        word
        | (int.from_bytes(rng.bytes(size), "little") << config.index_width)
        & ((1 << config.row_width) - 1)
        for word in pack_rows(config, nothing, offsets, last)
    )


def _random_terms(rng: np.random.Generator, shape: tuple[int, ...], exponents: int) -> np.ndarray:
    powers = np.left_shift(1, rng.integers(0, exponents, shape))
    return rng.integers(-1, 2, shape) * powers


def _routes(rng: np.random.Generator, config: NfuConfig, rows: int) -> np.ndarray:
    """Terms of rows that route to each neuron one input or, now and then, none."""
    terms = np.zeros((rows, config.tn, config.ti, config.lane.operands), dtype=np.int64)
    row, neuron = np.nonzero(rng.random((rows, config.tn)) < 0.7)
    inputs = rng.integers(0, config.ti, len(row))
    if isinstance(config.lane, BinaryLane):
        inputs = rng.integers(0, config.ti, rows)[row]  # a row of it routes one input
    terms[row, neuron, inputs, rng.integers(0, config.lane.operands, len(row))] = 1
    return terms


def random_program(
    config: NfuConfig, rng: np.random.Generator, *, length: int
) -> tuple[tuple[Instruction, ...], MemoryImage]:
    """A program that the golden executor accepts, with its memory; it stores something.

    Candidates are drawn until it accepts one, ``length`` times.
    """
    rows, tables = 48, 48
    last = rng.random(rows) < (0.4 if config.turns < 4 else 0.2)
    last[-1] = True
    offsets = rng.integers(0, 4, rows)
    words = _random_rows(rng, config, offsets, last)
    if config.maximum or config.function is not None:
        some = slice(_ROUTES)
        routes = pack_rows(config, _routes(rng, config, _ROUTES), offsets[some], last[some])
        words = (*routes, *words[_ROUTES:])
    scales = _random_terms(
        rng, (tables, config.nfu3_lanes, config.scale_terms), config.scale_exponents
    )
    bound = 1 << (config.product_width - 2)
    constants = rng.integers(-bound, bound, (tables, config.nfu3_lanes))
    segments = 1 if config.function is None else config.function.count
    begins = rng.integers(
        *(-1 << (config.activation_width - 1), 1 << config.activation_width),
        (tables // segments, segments, config.nfu3_lanes),
    )
    begins[:, 1:] = np.sort(begins[:, 1:], axis=1)
    image = MemoryImage(
        words,
        pack_scales(config, scales, constants, begins.reshape(constants.shape)),
        rng.integers(0, 1 << config.activation_width, 32 * max(config.tn, config.ti)),
    )
    end = Instruction(cp_end=1)
    program = [Instruction(sb_size=32, nbin_size=16, table_size=32)]
    for number in range(1, length):
        op = int(rng.random() < 0.9)
        for _ in range(200):
            one = _candidate(config, rng, last, image, half=number % 2, op=op)
            try:
                execute(config, (*program, one, end), image)
            except VerifyError:
                continue
            program.append(one)
            break
    if not execute(config, (*program, end), image).stores:
        return random_program(config, rng, length=length)
    return (*program, end), image


def _candidate(
    config: NfuConfig,
    rng: np.random.Generator,
    last: np.ndarray,
    image: MemoryImage,
    *,
    half: int,
    op: int,
) -> Instruction:
    def load(name: str, part: int, count: int, unit: int = 1) -> dict[str, int]:
        part, count = part // unit, count // unit
        size = int(rng.integers(1, part + 1)) if rng.random() < 0.5 else 0
        source = int(rng.integers(0, count - size + 1))
        target = half * part + int(rng.integers(0, part - size + 1))
        fields = {"source": source, "target": target, "size": size}
        return {f"{name}_{field}": value * unit for field, value in fields.items()}

    values = load("table", 16, len(image.tables), config.function.count if config.function else 1)
    values |= load("nbin", 8, len(image.activations) // config.ti)
    # rows that lie in SB as they lie in memory, so that the groups are known
    count = int(rng.integers(config.turns, config.turns + 7))
    maximum = config.maximum and rng.random() < 0.5
    function = config.function is not None and rng.random() < 0.5
    begin = int(rng.integers(0, _ROUTES + 1 - count if maximum or function else 32))
    values |= {"sb_source": begin, "sb_target": begin % 32, "sb_size": count}
    if begin + count > 32:
        values |= {"sb_source": 0, "sb_target": 0, "sb_size": 0}
    low, high = sorted(rng.integers(-(1 << 8), 1 << 8, 2).tolist())
    limit = 1 << (config.accumulator_width - 1)
    values |= {
        "cp_fence": rng.random() < 0.3,
        "sb_address": begin,
        "sb_rows": count,
        "nbin_address": half * 8 + int(rng.integers(0, 3)),
        "nbin_stride": int(rng.integers(0, 2)),
        "nbin_positions": int(rng.integers(1, 4)),
        "nbin_signed": rng.integers(0, 2),
        "table_address": half * 16,
        "table_shared": rng.random() < 0.4,
        "nbout_address": int(rng.integers(0, 16)),
        "nbout_groups": int(last[begin : begin + count].sum()),
        "nbout_store": rng.random() < 0.7,
        "nbout_target": int(rng.integers(0, len(image.activations) // config.tn)),
        "nbout_stride": int(rng.integers(0, 4)),
        "nfu_op": op,
        "nfu_combine": maximum,
        "nfu_in": rng.random() < 0.3 and not maximum,
        "nfu_out": rng.random() < 0.6,
        "nfu_function": function,
        "nfu_shift": rng.integers(0, min(10, config.product_width)),
        "nfu_saturate": rng.random() < 0.6,
        "nfu_low": max(low, -limit),
        "nfu_high": min(high, limit - 1),
    }
    return Instruction(**{name: int(value) for name, value in values.items()})
