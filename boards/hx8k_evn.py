"""Lattice iCE40-HX8K breakout board (iCE40HX8K-B-EVN), an FPGA without any multiplier."""

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from hwgen.boards.pll import ICE40_CORE_PLL
from hwgen.boards.resources import connector_pins, resource_pins, uart_pins
from hwgen.boards.types import Board, Capacity, SpiPins
from hwgen.toolchain.nextpnr import Device

__all__ = ["HX8K_EVN"]

HX8K_EVN = Board(
    name="hx8k-evn",
    title="iCE40-HX8K-B-EVN",
    vendor="Lattice",
    part=ICE40HX8KBEVNPlatform.device,
    device=Device("ice40", ("--hx8k", "--package", "ct256")),
    capacity=Capacity(7_680, 7_680, 32, 32 * 4_096, 0),
    clock=resource_pins(ICE40HX8KBEVNPlatform, "clk12")[0],
    clock_hz=12_000_000,
    pll=ICE40_CORE_PLL,
    target_mhz=100.0,
    nfu_tile=(4, 4),
    leds=tuple(resource_pins(ICE40HX8KBEVNPlatform, "led", number)[0] for number in range(8)),
    spi=SpiPins(
        *connector_pins(
            ICE40HX8KBEVNPlatform,
            "j",
            2,
            ("4", "5", "6", "9"),
            {"IO_STANDARD": "SB_LVCMOS"},
        )
    ),
    connector="J2, pins 4 to 6 and 9",
    loader="ice40_generic",
    uart=uart_pins(ICE40HX8KBEVNPlatform),
)
