"""Radiona ULX3S: Lattice ECP5 in three sizes."""

from typing import Any

from amaranth_boards.ulx3s import ULX3S_25F_Platform, ULX3S_45F_Platform, ULX3S_85F_Platform

from hwgen.boards.parts import ECP5, ecp5_device
from hwgen.boards.pll import ECP5_PLL
from hwgen.boards.resources import connector_pins, resource_pins, uart_pins
from hwgen.boards.types import Board, SpiPins

__all__ = ["ULX3S_25F", "ULX3S_45F", "ULX3S_85F"]


def _ulx3s(size: str, platform: type[Any]) -> Board:
    return Board(
        name=f"ulx3s-{size}f",
        title=f"ULX3S {size}F",
        vendor="Radiona",
        part=platform.device,
        device=ecp5_device(size, speed=platform.speed),
        capacity=ECP5[size],
        clock=resource_pins(platform, "clk25")[0],
        clock_hz=25_000_000,
        pll=ECP5_PLL,
        target_mhz=100.0,
        nfu_tile=(8, 8),
        leds=tuple(resource_pins(platform, "led", number)[0] for number in range(8)),
        spi=SpiPins(
            *connector_pins(
                platform,
                "gpio",
                0,
                ("0+", "1+", "2+", "3+"),
                {"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"},
            )
        ),
        connector="J1, GP0 to GP3",
        loader="ulx3s",
        uart=uart_pins(platform),
    )


ULX3S_25F = _ulx3s("25", ULX3S_25F_Platform)
ULX3S_45F = _ulx3s("45", ULX3S_45F_Platform)
ULX3S_85F = _ulx3s("85", ULX3S_85F_Platform)
