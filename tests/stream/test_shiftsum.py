"""Sums of shifted copies: every multiple and constant, at both ends of the input's range."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from hwgen.numeric import Range, csd_weight
from hwgen.stream.common import Registers, range_shape
from hwgen.stream.shiftsum import affine, affine_stages


@pytest.mark.parametrize("r", [Range(-9, 9), Range(0, 5), Range(-7, -2), Range(3, 12)])
def test_every_small_coefficient(r: Range) -> None:
    """All coefficients of 7 bits, each with several constants, on every input."""
    m = Module()
    ce = Signal(init=1)
    x = Signal(range_shape(r))
    registers = Registers(m, ce)
    cases = [(k, c) for k in range(-64, 65) if k for c in (0, 1, -8, 37)]
    results = [
        affine(registers, x, r, coefficient=k, constant=c, name=f"n{n}")
        for n, (k, c) in enumerate(cases)
    ]
    for (k, c), result in zip(cases, results, strict=True):
        exact = r.scale(k) + Range(c, c)
        needed = range_shape(exact)
        if csd_weight(k) + (c != 0) > 1:
            assert (len(result), result.shape().signed) == (needed.width, needed.signed), (k, c)
        operands = csd_weight(k) + (c != 0)
        assert affine_stages(k, c) >= (operands - 1).bit_length()

    async def bench(ctx):
        for value in range(r.lo, r.hi + 1):
            ctx.set(x, value)
            await ctx.tick().repeat(4)
            got = [ctx.get(result) for result in results]
            assert got == [k * value + c for k, c in cases]

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_zero_coefficient_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be 0"):
        affine(
            Registers(Module(), Signal()),
            Signal(4),
            Range(0, 9),
            coefficient=0,
            constant=1,
            name="n",
        )
    assert affine_stages(np.int64(5).item(), 0) == 1
