"""1BitSquared iCEBreaker: Lattice iCE40 UP5K."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from hwgen.boards.pll import ICE40_PAD_PLL
from hwgen.boards.resources import connector_pins, resource_pins, uart_pins
from hwgen.boards.types import Board, Capacity, SpiPins
from hwgen.toolchain.nextpnr import Device

__all__ = ["ICEBREAKER"]

ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker",
    vendor="1BitSquared",
    part=ICEBreakerPlatform.device,
    device=Device("ice40", ("--up5k", "--package", "sg48")),
    capacity=Capacity(5_280, 5_280, 30, 30 * 4_096, 8, 4 * 262_144),
    clock=resource_pins(ICEBreakerPlatform, "clk12")[0],
    clock_hz=12_000_000,
    pll=ICE40_PAD_PLL,
    target_mhz=40.0,
    nfu_tile=(2, 2),
    leds=tuple(resource_pins(ICEBreakerPlatform, "led", number)[0] for number in range(2)),
    spi=SpiPins(
        *connector_pins(
            ICEBreakerPlatform,
            "pmod",
            0,
            ("1", "2", "3", "4"),
            {"IO_STANDARD": "SB_LVCMOS"},
        )
    ),
    connector="PMOD 1A, pins 1 to 4",
    loader="ice40_generic",
    uart=uart_pins(ICEBreakerPlatform),
)
