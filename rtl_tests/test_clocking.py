"""The reset after configuration, and how each family's PLL is instantiated."""

import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from hwgen.boards import BOARDS
from hwgen.boards.clocking import ClockGenerator, PowerOnReset, board_clock
from hwgen.toolchain.yosys import rtlil_to_verilog


def test_reset_ends_after_its_cycles_and_returns_with_the_lock_lost() -> None:
    reset = PowerOnReset(5)
    m = Module()
    m.domains.sync = ClockDomain("sync", reset_less=True)
    m.submodules.reset = reset
    seen = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(60):
            ctx.set(reset.lock, not (cycle < 10 or 30 <= cycle < 33))
            seen.append(ctx.get(reset.rst))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    synchroniser = 2
    first, lost = 10 + synchroniser + 5, 30 + synchroniser + 1
    again = 33 + synchroniser + 5
    expected = [cycle < first or lost <= cycle < again for cycle in range(60)]
    assert seen == expected


def test_a_reset_of_no_cycles_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 cycle, not 0"):
        PowerOnReset(0)


@pytest.mark.parametrize(
    ("name", "mhz", "expected"),
    [
        (
            "icebreaker",
            48,
            {"DIVR": "4'h0", "DIVF": "7'h3f", "DIVQ": "3'h4", "FILTER_RANGE": "3'h1"},
        ),
        ("ulx3s-25f", 80, {"CLKI_DIV": "1", "CLKOP_DIV": "16", "CLKOS_DIV": "5"}),
        ("tang-nano-9k", 54, {"FCLKIN": '"27"', "IDIV_SEL": "0", "FBDIV_SEL": "1"}),
    ],
)
def test_instances_hold_the_dividers(name: str, mhz: float, expected: dict[str, str]) -> None:
    clock = board_clock(BOARDS[name], mhz)
    assert clock.setting is not None
    generator = ClockGenerator(clock.setting, cycles=clock.reset_cycles)
    verilog = rtlil_to_verilog(str(rtlil.convert(generator, name="clocking", emit_src=False)))
    assert f"  {clock.setting.pll.primitive} #(" in verilog
    found = dict(re.findall(r"\.(\w+)\((?:32'd)?([^()]*)\)", verilog))
    assert {key: found[key] for key in expected} == expected
