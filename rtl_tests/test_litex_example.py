"""The LiteX example: its SoC holds the network, and answers through its UART bridge."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import serial
from networks import NETWORKS, images_for

from hwgen.integer.types import IntegerNetwork
from hwgen.link.simulated import simulated_board
from hwgen.numeric import IntArray
from hwgen.sim.golden import run
from hwgen.sim.words import frames_to_pixels
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.stream.wrappers.wrap import MAGIC, bus_layout, wrap
from hwgen.toolchain.yosys import run_yosys

_EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "litex_soc.py"
_BASE, _BAUD, _DIVISOR = 0x3000_0000, 1_000_000, 25  # as in the example
_WRITE, _READ = 1, 2  # commands of LiteX's bridge: then words, address and data, high byte first
_STATUS, _IN, _OUT, _IMAGES = 2, 4, 5, 7
_BENCH = """
module bench(input clk, input rx, output tx);
  reg [3:0] count = 0;
  wire pin;
  assign tx = pin | ~&count;  // LiteX gives it no value before the reset
  always @(posedge clk) if (~&count) count <= count + 1;
  soc soc(.sys_clk(clk), .sys_rst(~&count), .serial_rx(rx), .serial_tx(pin));
endmodule
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litex") is None, reason="LiteX is not installed"
)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return NETWORKS["bare"]()


@pytest.fixture(scope="module")
def design(network: IntegerNetwork) -> StreamDesign:
    return emit(plan_pipeline(network))


@pytest.fixture(scope="module")
def folder(design: StreamDesign, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example put the SoC of the network."""
    made = tmp_path_factory.mktemp("litex")
    (made / "design.v").write_text(design.verilog)
    (made / "design_wishbone.v").write_text(wrap(design, "wishbone"))
    subprocess.run(
        [sys.executable, str(_EXAMPLE), str(made), "--out", "soc"],
        cwd=made,
        check=True,
        capture_output=True,
        timeout=250,
    )
    return made


def test_soc_with_a_network(folder: Path) -> None:
    commands = [
        "read_verilog design.v design_wishbone.v soc/gateware/soc.v",
        "hierarchy -check -top soc",
        "select -assert-count 1 soc/t:hwgen_net_wishbone",
    ]
    run_yosys(commands, directory=folder)


def _words(layout: PixelLayout, frames: IntArray) -> list[int]:
    """All pixels of frames (N, C, H, W), each from a word of 32 bits of its own."""
    bus = bus_layout(layout)
    count = -(-bus.width // 32)
    pixels = bus.pack(frames_to_pixels(frames))
    return [pixel >> 32 * k & 0xFFFF_FFFF for pixel in pixels for k in range(count)]


class _Bridge:
    """LiteX's UART bridge, a register at a time."""

    def __init__(self, port: serial.Serial) -> None:
        self.port = port

    def write(self, register: int, value: int) -> None:
        self.port.write(self._head(_WRITE, register) + value.to_bytes(4, "big"))

    def read(self, register: int) -> int:
        self.port.write(self._head(_READ, register))
        answer = self.port.read(4)
        assert len(answer) == 4, f"Register {register} does not answer"
        return int.from_bytes(answer, "big")

    @staticmethod
    def _head(command: int, register: int) -> bytes:
        return bytes([command, 1]) + (_BASE // 4 + register).to_bytes(4, "big")


def test_images_through_the_bridge(
    folder: Path, network: IntegerNetwork, design: StreamDesign, build_dir: Path
) -> None:
    images = images_for(network, 2)
    sources = ("design.v", "design_wishbone.v", "soc/gateware/soc.v")
    verilog = "\n".join([*((folder / name).read_text() for name in sources), _BENCH])
    with (
        simulated_board(verilog, top="bench", divisor=_DIVISOR, build_dir=build_dir) as path,
        serial.Serial(path, _BAUD, timeout=60) as port,
    ):
        bridge = _Bridge(port)
        assert bridge.read(0) == MAGIC
        sent, got = _words(design.input_layout, images), []
        expected = _words(design.output_layout, run(network, images))
        for word in sent:
            bridge.write(_IN, word)
            while bridge.read(_STATUS) & 2:
                got.append(bridge.read(_OUT))
        assert got == expected
        # nothing was lost, nothing is left, and everything was counted
        assert bridge.read(_STATUS) == 1
        assert bridge.read(_IMAGES) == len(images)
