# amaranth: UnusedElaboratable=no
"""An NFU that takes programs: one network after another on the same hardware, bit by bit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from networks import NETWORKS, images_for
from nfu_networks import random_layers

from hwgen.errors import DataError, ResourceError, UnsupportedError
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.elements import ElementFrames, map_values
from hwgen.nfu.loadable import (
    LoadableMemory,
    Room,
    program_of,
    room_for,
    writable_memories,
)
from hwgen.nfu.loadable_design import build_loadable, common_config
from hwgen.nfu.loadable_system import LoadableSystem, loadable_frame_cycles
from hwgen.numeric import IntArray
from hwgen.sim.golden import run
from hwgen.sim.types import Stall
from hwgen.sim.verify import verify
from hwgen.stream.programs import PART_BITS, Program, part_count


class _Bench:
    """One piece of hardware that begins with the program of the first of several networks."""

    def __init__(self, networks: Sequence[IntegerNetwork], tile: tuple[int, int]) -> None:
        self.networks = networks
        self.config = common_config(networks, tile=tile, depth=64)
        self.compiled = [compile_network(one, self.config) for one in networks]
        # as many words as there are, and no more
        exact = [_exact(self.config, one) for one in self.compiled]
        self.room = Room(*(max(column) for column in zip(*exact, strict=True)))
        words = max(self.room.weights, self.room.scales, 8 * self.room.activations)
        width = max(self.config.address_width, (words - 1).bit_length())
        self.config = replace(self.config, address_width=width)
        self.programs = [program_of(self.config, self.room, one) for one in self.compiled]
        first = self.compiled[0]
        self.memory = LoadableMemory(self.config, first.program, first.memory, room=self.room)
        maps = self.programs[0].contents[-1][0]
        self.system = LoadableSystem(self.config, self.memory, maps=maps)

    def frames(self, number: int) -> ElementFrames:
        compiled = self.compiled[number]
        return ElementFrames(compiled, self.config.activation_width, self.room.result_width)

    def cycles(self, number: int) -> int:
        compiled = self.compiled[number]
        program = count_cycles(self.config, compiled.program, self.memory.timing).total
        return loadable_frame_cycles(self.config, compiled, program)

    def run(self, script: Sequence[int], *, stall: float, seed: int) -> list[int]:
        """Load each program of ``script`` and run two images; the cycles from one to the next."""
        system, rng = self.system, np.random.default_rng(seed)
        reset, spacings = Signal(), []
        m = Module()
        m.submodules.system = ResetInserter(reset)(system)

        async def bench(ctx: Any) -> None:
            for turn, number in enumerate(script):
                if turn:
                    await self._load(ctx, self.programs[number], rng, stall)
                    ctx.set(reset, 1)
                    await ctx.tick()
                    ctx.set(reset, 0)
                spacings.append(await self._images(ctx, number, rng, stall))

        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        return spacings

    async def _load(
        self, ctx: Any, program: Program, rng: np.random.Generator, stall: float
    ) -> None:
        load = self.system.load
        memories = writable_memories(self.config, self.room)
        parts = [
            {"memory": number, "address": address, "part": part, "data": data}
            for number, (memory, words) in enumerate(zip(memories, program.contents, strict=True))
            for address, word in enumerate(words)
            for part in range(part_count(memory.width))
            for data in [word >> PART_BITS * part & (1 << PART_BITS) - 1]
        ]
        for payload in parts:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(load.payload, payload)
            ctx.set(load.valid, 1)
            while not ctx.get(load.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(load.valid, 0)
        await ctx.tick().repeat(3)  # the last word may wait for its memory

    async def _images(self, ctx: Any, number: int, rng: np.random.Generator, stall: float) -> int:
        network, frames, system = self.networks[number], self.frames(number), self.system
        images = images_for(network, 2, number)
        size = -(-frames.input_width // 8)
        out_size = -(-frames.output_width // 8)
        content = b"".join(frames.encode(image) for image in images)
        inputs = [
            int.from_bytes(content[k : k + size], "little") for k in range(0, len(content), size)
        ]
        heard: list[int] = []
        ends: list[int] = []
        cycle = sent = 0
        while len(heard) < 2 * frames.result_beats:
            offers = sent < len(inputs) and rng.random() >= stall
            ctx.set(system.i.valid, offers)
            ctx.set(system.i.payload, inputs[sent] if offers else 0)
            ctx.set(system.o.ready, rng.random() >= stall)
            if offers and ctx.get(system.i.ready):
                sent += 1
            if ctx.get(system.o.valid) and ctx.get(system.o.ready):
                heard.append(ctx.get(system.o.payload))
                if len(heard) % frames.result_beats == 0:
                    ends.append(cycle)
            cycle += 1
            assert cycle < 40 * self.cycles(number) + 1000, "the hardware hangs"
            await ctx.tick()
        ctx.set(system.i.valid, 0)
        words = b"".join(word.to_bytes(out_size, "little") for word in heard)
        half = len(words) // 2
        found = np.stack([frames.decode(words[:half]), frames.decode(words[half:])])
        np.testing.assert_array_equal(found, run(network, images))
        return ends[1] - ends[0]


def _exact(config: NfuConfig, one: CompiledNetwork) -> tuple[int, ...]:
    both = max(config.tn, config.ti)
    return (
        *(len(one.program), len(one.memory.rows), len(one.memory.tables)),
        *(max(2, len(one.memory.activations) // both), max(2, one.output.size // config.tn)),
        max(r.width for r in one.output.ranges),
    )


def _random(seed: int, layers: int = 2) -> IntegerNetwork:
    return random_layers(np.random.default_rng(seed), layers=layers, size=4)


@pytest.mark.parametrize(("tile", "stall"), [((1, 4), 0.3), ((4, 1), 0.0), ((2, 2), 0.0)])
def test_programs_replace_each_other(tile: tuple[int, int], stall: float) -> None:
    bench = _Bench([NETWORKS["classifier"](), _random(3)], tile)
    script = [0, 1, 0]
    spacings = bench.run(script, stall=stall, seed=1)
    if not stall:
        assert spacings == [bench.cycles(number) for number in script]


def test_the_verilog_is_the_golden_model(tmp_path: Path) -> None:
    """The network that it begins with, pixel by pixel, and each cycle of an image."""
    network = NETWORKS["classifier"]()
    built = build_loadable(network, tile=(2, 2))
    images = images_for(network, 3, 2) * network.input_format.step
    report = verify(
        network, built.design, images, mode="fast", stall=Stall(), build_dir=tmp_path, waves=False
    )
    assert report.passed, report.summary
    assert report.cycles_per_image == built.plan.interval


def test_what_has_no_room_is_refused() -> None:
    network = NETWORKS["classifier"]()
    config = common_config([network], tile=(2, 2), depth=64)
    compiled = compile_network(network, config)
    room = room_for(config, [compiled])
    assert program_of(config, room, compiled).image_beats
    small = replace(room, weights=len(compiled.memory.rows) - 1)
    with pytest.raises(ResourceError, match=r"memory of the weights must hold \d+ words, and has"):
        program_of(config, small, compiled)
    with pytest.raises(ResourceError, match=r"Results have \d+ bits, and the hardware keeps 2"):
        program_of(config, replace(room, result_width=2), compiled)
    wide = replace(compiled.input, shape=(1, 4, 5000))
    with pytest.raises(UnsupportedError, match=r"at most 4,096 elements a pixel, .* 5,000 and 4"):
        map_values(config, wide, origin=0)


def test_values_that_do_not_fit_are_refused() -> None:
    network = NETWORKS["classifier"]()
    config = common_config([network], tile=(2, 2), depth=64)
    frames = ElementFrames(compile_network(network, config), 8, 16)
    image: IntArray = images_for(network, 1, 0)[0] + 1000
    with pytest.raises(DataError, match="Channel 0 holds"):
        frames.encode(image)


def test_no_multiplier() -> None:
    text = rtlil.convert(_Bench([_random(5)], (4, 2)).system)
    assert "cell $add" in text
    assert not re.search(r"cell \$(mul|macc|div|mod|pow)", text)
