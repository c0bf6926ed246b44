# amaranth: UnusedElaboratable=no
"""Fork, joins and the branch buffer, alone and put together."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from streambench import run_stream

from hwgen.integer.types import Add as AddOp
from hwgen.integer.types import Concat as ConcatOp
from hwgen.numeric import Range
from hwgen.stream.branch import Add, Buffer, Concat, Fork
from hwgen.stream.common import next_count, pixel_layout, pixel_signature

STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]


def _frames(ranges, shape, count, seed):
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.integers(r.lo, r.hi, (count, *shape), endpoint=True) for r in ranges], axis=1
    )


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("shifts", [(0, 0), (3, 0), (0, 2, 5), (4,), (1, 9)])
def test_add(shifts: tuple[int, ...], stalls: tuple[float, float]) -> None:
    base = ([Range(-8, 7), Range(0, 200)], [Range(-90, 3), Range(0, 1)], [Range(2, 9)] * 2)
    ranges = base[: len(shifts)]
    inputs = tuple(_frames(r, (3, 4), 3, seed=k) for k, r in enumerate(ranges))
    for k, (frames, r) in enumerate(zip(inputs, ranges, strict=True)):
        frames[0, :, 0, 0] = [c.lo for c in r]
        frames[0, :, 0, 1] = [c.hi for c in r]
        frames[0, :, 0, 2 + k % 2] = [c.hi for c in r]
    expected = sum(frames * 2**s for frames, s in zip(inputs, shifts, strict=True))
    block = Add(AddOp(shifts), ranges=ranges)
    np.testing.assert_array_equal(block.model(*inputs), expected)
    for channel, r in enumerate(block.output_ranges):
        assert (expected[:, channel].min(), expected[:, channel].max()) == (r.lo, r.hi)
    run = run_stream(
        block, inputs, expected=expected, stall_in=stalls[0], stall_out=stalls[1], seed=3
    )
    if stalls == (0.0, 0.0):
        assert run.first_latency == block.latency
        assert run.cycles == len(run.produced) + block.latency
    run_stream(block, inputs, expected=expected, stall_in=stalls[0], reset_at=11)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("shifts", [(0, 0), (2, 0), (0, 1, 3)])
def test_concat(shifts: tuple[int, ...], stalls: tuple[float, float]) -> None:
    base = ([Range(-8, 7), Range(0, 200)], [Range(-90, 3)], [Range(2, 9)] * 3)
    ranges = base[: len(shifts)]
    inputs = tuple(_frames(r, (2, 3), 4, seed=k) for k, r in enumerate(ranges))
    expected = np.concatenate(
        [frames * 2**s for frames, s in zip(inputs, shifts, strict=True)], axis=1
    )
    block = Concat(ConcatOp(shifts), ranges=ranges)
    np.testing.assert_array_equal(block.model(*inputs), expected)
    assert len(block.output_ranges) == expected.shape[1]
    run = run_stream(
        block, inputs, expected=expected, stall_in=stalls[0], stall_out=stalls[1], seed=3
    )
    if stalls == (0.0, 0.0):
        assert run.first_latency == block.latency
        assert run.cycles == len(run.produced) + block.latency


@pytest.mark.parametrize("depth", [2, 3, 4, 17, 64])
@pytest.mark.parametrize("stalls", [*STALLS, (0.1, 0.8), (0.8, 0.1)])
def test_buffer(depth: int, stalls: tuple[float, float]) -> None:
    ranges = [Range(-8, 7), Range(0, 200)]
    frames = _frames(ranges, (5, 5), 5, seed=depth)
    block = Buffer(pixel_layout(ranges), depth)
    run = run_stream(block, frames, stall_in=stalls[0], stall_out=stalls[1], seed=depth)
    if stalls == (0.0, 0.0):
        assert run.first_latency == block.latency
        assert run.cycles == len(run.produced) + block.latency
    run_stream(block, frames, stall_in=stalls[0], stall_out=stalls[1], reset_at=31)


class _Blocked(wiring.Component):
    """A buffer whose reader waits until ``count`` items were accepted; then it never stops."""

    latency = 2

    def __init__(self, layout, depth, count):
        self.layout, self.depth, self.count = layout, depth, count
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = Buffer(self.layout, self.depth)
        wiring.connect(m, wiring.flipped(self.i), buffer.i)
        level = Signal(range(self.count + 1))
        full = level == self.count
        with m.If(buffer.i.valid & buffer.i.ready & ~full):
            m.d.sync += level.eq(level + 1)
        m.d.comb += [
            self.o.payload.eq(buffer.o.payload),
            self.o.valid.eq(buffer.o.valid & full),
            buffer.o.ready.eq(self.o.ready & full),
        ]
        return m


@pytest.mark.parametrize("depth", [2, 3, 4, 17])
def test_buffer_holds_exactly_its_depth(depth: int) -> None:
    items = np.arange(40)[:, None]
    layout = pixel_layout([Range(0, 39)])
    run_stream(_Blocked(layout, depth, depth), items, expected=items)
    with pytest.raises(AssertionError, match="0 of 40 items"):
        run_stream(_Blocked(layout, depth, depth + 1), items, expected=items)


class _Residual(wiring.Component):
    """``x`` forked ``n`` ways, each through its own buffer (or none), and concatenated."""

    def __init__(self, ranges, depths):
        self.ranges, self.depths = ranges, depths
        self.join = Concat(ConcatOp((0,) * len(depths)), ranges=[ranges] * len(depths))
        super().__init__(
            {"i": In(pixel_signature(ranges)), "o": Out(pixel_signature(self.join.output_ranges))}
        )

    latency = 8

    def elaborate(self, platform):
        m = Module()
        layout = pixel_layout(self.ranges)
        m.submodules.fork = fork = Fork(layout, len(self.depths))
        m.submodules.join = self.join
        wiring.connect(m, wiring.flipped(self.i), fork.i)
        wiring.connect(m, self.join.o, wiring.flipped(self.o))
        for k, depths in enumerate(self.depths):
            source = getattr(fork, f"o{k}")
            for n, depth in enumerate(depths):
                m.submodules[f"buffer{k}_{n}"] = buffer = Buffer(layout, depth)
                wiring.connect(m, source, buffer.i)
                source = buffer.o
            wiring.connect(m, source, getattr(self.join, f"i{k}"))
        return m


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(
    "depths", [((), ()), ((2,), ()), ((), (9,)), ((2, 3, 2), (2,), (5, 5)), ((), (), (2,))]
)
def test_fork_and_join(depths, stalls: tuple[float, float]) -> None:
    """Branches of different latency deliver every item once, in order, without deadlock."""
    ranges = [Range(-8, 7), Range(0, 30)]
    frames = _frames(ranges, (4, 5), 4, seed=len(depths))
    expected = np.concatenate([frames] * len(depths), axis=1)
    block = _Residual(ranges, depths)
    run = run_stream(
        block, frames, expected=expected, stall_in=stalls[0], stall_out=stalls[1], seed=9
    )
    assert len(run.produced) == 80
    run_stream(block, frames, expected=expected, stall_out=stalls[1], reset_at=13)


class _Uneven(wiring.Component):
    """A fork whose branches take items only in every second, third, ... cycle; concatenated."""

    latency = 20

    def __init__(self, ranges, n):
        self.ranges, self.n = ranges, n
        self.join = Concat(ConcatOp((0,) * n), ranges=[ranges] * n)
        super().__init__(
            {"i": In(pixel_signature(ranges)), "o": Out(pixel_signature(self.join.output_ranges))}
        )

    def elaborate(self, platform):
        m = Module()
        layout = pixel_layout(self.ranges)
        m.submodules.fork = fork = Fork(layout, self.n)
        m.submodules.join = self.join
        wiring.connect(m, wiring.flipped(self.i), fork.i)
        wiring.connect(m, self.join.o, wiring.flipped(self.o))
        for k in range(self.n):
            branch = getattr(fork, f"o{k}")
            m.submodules[f"buffer{k}"] = buffer = Buffer(layout, 4)
            phase = Signal(range(k + 2), init=k)
            m.d.sync += phase.eq(next_count(phase, k + 2))
            m.d.comb += [
                buffer.i.payload.eq(branch.payload),
                buffer.i.valid.eq(branch.valid & (phase == 0)),
                branch.ready.eq(buffer.i.ready & (phase == 0)),
            ]
            wiring.connect(m, buffer.o, getattr(self.join, f"i{k}"))
        return m


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_fork_into_uneven_branches(n: int, stalls: tuple[float, float]) -> None:
    """Each branch gets every item once, whenever it takes it."""
    ranges = [Range(0, 255)]
    frames = _frames(ranges, (5, 6), 3, seed=n)
    expected = np.concatenate([frames] * n, axis=1)
    block = _Uneven(ranges, n)
    run_stream(block, frames, expected=expected, stall_in=stalls[0], stall_out=stalls[1], seed=n)


def test_errors() -> None:
    layout = pixel_layout([Range(0, 1)])
    with pytest.raises(ValueError, match="at least one branch"):
        Fork(layout, 0)
    with pytest.raises(ValueError, match="at least 2"):
        Buffer(layout, 1)
    with pytest.raises(ValueError, match="one shift an input"):
        Add(AddOp((0,)), ranges=[[Range(0, 1)]] * 2)
    with pytest.raises(ValueError, match="not be negative"):
        Concat(ConcatOp((0, -1)), ranges=[[Range(0, 1)]] * 2)
    with pytest.raises(ValueError, match="equally many channels"):
        Add(AddOp((0, 0)), ranges=[[Range(0, 1)], [Range(0, 1)] * 2])
