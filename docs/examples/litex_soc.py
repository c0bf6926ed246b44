"""A LiteX SoC with a generated network on its bus, and a UART that reaches its registers.

    hwgen generate out/face --wrapper wishbone
    python docs/examples/litex_soc.py out/face --out build/soc

writes the Verilog of the SoC to ``build/soc/gateware`` (``pip install litex migen``; nothing is
synthesised). The network's registers, which the head of ``design_wishbone.v`` explains, lie from
0x3000_0000 on, for a processor or, as here without one, for LiteX's UART bridge. On a board, pass
the board's platform to :class:`Soc` instead of an ECP5 whose pins are not placed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from litex.build.generic_platform import Pins, Subsignal
from litex.build.lattice.platform import LatticeECP5Platform
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import wishbone
from migen import ClockDomain, ClockSignal, Instance, Module, ResetSignal

BASE = 0x3000_0000
CLOCK = int(25e6)
PINS = [
    ("sys_clk", 0, Pins(1)),
    ("sys_rst", 0, Pins(1)),
    ("serial", 0, Subsignal("tx", Pins(1)), Subsignal("rx", Pins(1))),
]


class Network(Module):  # type: ignore[misc]
    """The Wishbone slave that ``hwgen generate --wrapper wishbone`` wrote into ``folder``."""

    def __init__(self, platform: Any, folder: Path, name: str = "hwgen_net_wishbone") -> None:
        self.bus = bus = wishbone.Interface(data_width=32, adr_width=30)
        self.specials += Instance(
            name,
            i_wb_clk_i=ClockSignal(),
            i_wb_rst_i=ResetSignal(),
            i_wb_cyc_i=bus.cyc,
            i_wb_stb_i=bus.stb,
            i_wb_we_i=bus.we,
            i_wb_sel_i=bus.sel,
            i_wb_adr_i=bus.adr[:4],
            i_wb_dat_i=bus.dat_w,
            o_wb_dat_o=bus.dat_r,
            o_wb_ack_o=bus.ack,
        )
        self.comb += bus.err.eq(0)
        for file in ("design.v", "design_wishbone.v"):
            platform.add_source(str(folder / file))


class Clocks(Module):  # type: ignore[misc]
    """The system's clock and reset from pins."""

    def __init__(self, platform: Any) -> None:
        self.clock_domains.cd_sys = ClockDomain()
        self.comb += [
            self.cd_sys.clk.eq(platform.request("sys_clk")),
            self.cd_sys.rst.eq(platform.request("sys_rst")),
        ]


class Soc(SoCMini):  # type: ignore[misc]
    """A system of a UART bridge and a network, without a processor."""

    def __init__(self, platform: Any, folder: Path) -> None:
        SoCMini.__init__(self, platform, CLOCK, ident="hwgen")
        self.submodules.crg = Clocks(platform)
        self.submodules.network = Network(platform, folder)
        region = SoCRegion(origin=BASE, size=64, cached=False)
        self.bus.add_slave("network", self.network.bus, region)
        self.add_uartbone(uart_name="serial", baudrate=1_000_000)


def main() -> None:
    """Write the SoC's Verilog."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where hwgen generated the design")
    parser.add_argument("--out", type=Path, default=Path("build/soc"))
    chosen = parser.parse_args()
    platform = LatticeECP5Platform("LFE5U-25F-6BG381C", PINS, toolchain="trellis")
    soc = Soc(platform, chosen.directory.absolute())
    folder = str(chosen.out)
    builder = Builder(soc, output_dir=folder, compile_software=False, compile_gateware=False)
    builder.build(run=False, build_name="soc")


if __name__ == "__main__":
    main()
