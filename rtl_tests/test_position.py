"""Flags of a scan in hardware: in every beat what the schedule says, frame after frame."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.sim import Simulator
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hwgen.stream.position import Position
from hwgen.stream.scan import Scan


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    """Any small scan: wide padding, strides, dilation, frames narrower than the kernel."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    pads = draw(st.tuples(*[st.integers(0, 4)] * 4))
    try:
        return Scan(
            draw(st.integers(1, 7)),
            draw(st.integers(1, 7)),
            draw(pair),
            draw(st.tuples(*[st.integers(1, 3)] * 2)),
            pads,
            draw(st.tuples(*[st.integers(1, 2)] * 2)),
        )
    except ValueError:
        assume(False)
        raise


def check(scan: Scan) -> None:
    m = Module()
    go = Signal()
    position = Position(m, scan, go)
    rows = [position.window_row_mask(r) for r in range(scan.kernel[0])]
    columns = [position.column_mask(s) for s in range(scan.kernel[1])]
    flags: list[Value] = [position.takes(), position.gives(), *rows, *columns]
    watched = [Signal(name=f"watched{k}") for k in range(len(flags))]
    m.d.comb += [signal.eq(flag) for signal, flag in zip(watched, flags, strict=True)]
    frames = 3
    found = np.zeros((frames * scan.beats, len(flags)), dtype=bool)

    async def run(ctx) -> None:
        for beat in range(len(found)):
            found[beat] = [ctx.get(signal) for signal in watched]
            ctx.set(go, 0)
            if beat % 5 == 3:
                await ctx.tick()
            ctx.set(go, 1)
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    takes, gives, *masks = found.reshape(frames, scan.beats, -1).transpose(2, 0, 1)
    for frame in range(frames):
        np.testing.assert_array_equal(takes[frame], scan.takes())
        np.testing.assert_array_equal(gives[frame], scan.gives())
        windows = np.array(masks)[:, frame, scan.gives()]
        inside = [np.repeat(row, scan.out_size[1]) for row in scan.inside(0)]
        inside += [np.tile(column, scan.out_size[0]) for column in scan.inside(1)]
        np.testing.assert_array_equal(windows, inside)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(scans())
def test_flags_are_those_of_the_schedule(scan: Scan) -> None:
    check(scan)


@pytest.mark.parametrize(
    "scan",
    [
        Scan(32, 32, (3, 3), (1, 1), (1, 1, 1, 1)),
        Scan(3, 6, (1, 5), (1, 2), (0, 0, 0, 3)),  # the last row of beats ends early
        Scan(3, 1, (3, 3), (1, 1), (1, 1, 1, 1)),
    ],
    ids=["usual", "ends early", "narrow"],
)
def test_named_schedules(scan: Scan) -> None:
    check(scan)
