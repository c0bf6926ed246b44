"""The serial port and the board's top module, bit by bit, around a small core."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hwgen.boards import find_board
from hwgen.boards.serial_port import SerialPort
from hwgen.boards.top import RESET_CYCLES, top_name, top_verilog
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.synthesis import SynthesisJob, synthesise
from hwgen.toolchain.verilator import build_model, find_verilator
from hwgen.toolchain.yosys import netlist_to_verilog

_DEADLINE = 20_000


class _Increment(wiring.Component):  # type: ignore[misc]
    """Adds 1 to each word, modulo the width of the output; one word a cycle, latency 1."""

    def __init__(self, input_width: int, output_width: int) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(input_width)),
                "o": Out(stream.Signature(output_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        enable = Signal()
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), self.i.ready.eq(enable)]
        with m.If(enable):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.payload.eq(self.i.payload + 1),
            ]
        return m


def _simulate(
    words: list[int], input_width: int, output_width: int, seed: int | None
) -> tuple[list[int], list[int], int]:
    """Drive bits in and take bits out; return the words, the last LEDs and the cycles taken.

    With ``seed`` both sides wait at random.
    """
    leds = 3
    port = SerialPort(input_width=input_width, output_width=output_width, leds=leds)
    core = _Increment(input_width, output_width)
    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.port = port
    m.submodules.core = core
    wiring.connect(m, port.o, core.i)
    wiring.connect(m, core.o, port.i)
    rng = np.random.default_rng(seed)
    bits_in = [word >> bit & 1 for word in words for bit in range(input_width)]
    bits_out: list[int] = []
    lights: list[int] = []
    taken = [0]

    async def bench(ctx: object) -> None:
        position = 0
        held = False
        for cycle in range(_DEADLINE):
            if position < len(bits_in):
                held = held or seed is None or bool(rng.random() < 0.6)
            ctx.set(port.sdi_valid, held)  # type: ignore[attr-defined]
            ctx.set(port.sdi, bits_in[position] if held else 0)  # type: ignore[attr-defined]
            ready = seed is None or bool(rng.random() < 0.6)
            ctx.set(port.sdo_ready, ready)  # type: ignore[attr-defined]
            accepted = held and ctx.get(port.sdi_ready)  # type: ignore[attr-defined]
            if ready and ctx.get(port.sdo_valid):  # type: ignore[attr-defined]
                bits_out.append(ctx.get(port.sdo))  # type: ignore[attr-defined]
                taken[0] = cycle + 1
            await ctx.tick()  # type: ignore[attr-defined]
            if accepted:
                position += 1
                held = False
            if len(bits_out) == len(words) * output_width and cycle > taken[0] + 50:
                lights.append(ctx.get(port.led))  # type: ignore[attr-defined]
                return
        pytest.fail(f"{len(bits_out)} bits of {len(words) * output_width} arrived in time")

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(bits_out) == len(words) * output_width
    groups = [bits_out[k : k + output_width] for k in range(0, len(bits_out), output_width)]
    return [sum(bit << k for k, bit in enumerate(group)) for group in groups], lights, taken[0]


@pytest.mark.parametrize("seed", [None, 1, 2], ids=["full rate", "seed 1", "seed 2"])
@pytest.mark.parametrize(("input_width", "output_width"), [(8, 9), (1, 2), (5, 1), (33, 8)])
def test_words_pass_through_the_serial_port(
    input_width: int, output_width: int, seed: int | None
) -> None:
    rng = np.random.default_rng(7)
    words = [0, (1 << input_width) - 1, *rng.integers(1 << input_width, size=8).tolist()]
    out, lights, _ = _simulate(words, input_width, output_width, seed)
    expected = [(word + 1) % (1 << output_width) for word in words]
    assert out == expected
    assert lights == [expected[-1] & 7]


def test_a_word_takes_one_cycle_a_bit_and_one_more() -> None:
    words = list(range(20))
    _, _, cycles = _simulate(words, 8, 8, None)
    latency_of_core = 1
    assert cycles == len(words) * (8 + 1) + latency_of_core + 8


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"input_width": 0, "output_width": 1, "leds": 0}, "at least 1 bit, not 0 in and 1 out"),
        ({"input_width": 1, "output_width": 1, "leds": -1}, "must not be negative, not -1"),
    ],
)
def test_impossible_widths_are_refused(widths: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SerialPort(**widths)


_CORE = """
module plus(input clk, input rst, input [7:0] i__payload, input i__valid, output i__ready,
            output reg [8:0] o__payload, output reg o__valid, input o__ready);
  assign i__ready = ~o__valid | o__ready;
  always @(posedge clk) begin
    if (i__ready) begin
      o__valid <= i__valid;
      o__payload <= i__payload + 9'd1;
    end
    if (rst) o__valid <= 0;
  end
endmodule
"""

_HOST = """
#include "Vtop.h"
#include <cstdio>
#include <cstring>
double sc_time_stamp() { return 0; }
int main(int argc, char **argv) {
  const char *bits = argv[1];
  unsigned state = 1, position = 0, length = std::strlen(bits), first = 0;
  bool held = false;
  Vtop top;
  for (unsigned cycle = 0; cycle < 20000; cycle++) {
    state = state * 1664525u + 1013904223u;
    top.clk = 0;
    held = position < length && (held || (state >> 16 & 1));
    top.sdi_valid = held;
    top.sdi = held && bits[position] == '1';
    top.sdo_ready = state >> 17 & 1;
    top.eval();
    if (top.sclk != 0) return 3;
    bool accepted = held && top.sdi_ready;
    if (top.sdo_ready && top.sdo_valid) std::putchar(top.sdo ? '1' : '0');
    if (accepted && !first) first = cycle;
    position += accepted;
    if (accepted) held = false;
    top.clk = 1;
    top.eval();
    if (top.sclk != 1) return 3;
  }
  std::printf("\\n%u %d%d\\n", first, top.led1, top.led0);
}
"""


def _top(form: str, directory: Path) -> tuple[str, str]:
    """Verilog of the whole top, as it was written or as its synthesised netlist, and its name."""
    layout_in, layout_out = PixelLayout(((8, False),)), PixelLayout(((9, False),))
    design = StreamDesign("plus", _CORE, (1, 4, 4), layout_in, (1, 4, 4), layout_out)
    name = top_name(design)
    verilog = _CORE + top_verilog(design, find_board("icebreaker"))
    if form == "verilog":
        return verilog, name
    (result,) = synthesise(SynthesisJob({"top.v": verilog}, name, form, directory))
    return netlist_to_verilog(result.netlist, top=name, family=form), name


@pytest.mark.parametrize("form", ["verilog", "ecp5", "ice40", "gowin"])
def test_top_resets_itself_and_passes_words(form: str, tmp_path: Path) -> None:
    verilog, name = _top(form, tmp_path)
    program = build_model(find_verilator(), verilog, top=name, main=_HOST, build_dir=tmp_path)
    words = [0, 255, 1, 128, *np.random.default_rng(3).integers(256, size=12).tolist()]
    bits = "".join(str(word >> bit & 1) for word in words for bit in range(8))
    done = subprocess.run(
        [str(program), bits], capture_output=True, text=True, check=True, timeout=60
    )
    received, rest = done.stdout.split("\n", 1)
    assert [int(group[::-1], 2) for group in re.findall(".{9}", received)] == [
        word + 1 for word in words
    ]
    assert len(received) == 9 * len(words)
    first, leds = rest.split()
    assert RESET_CYCLES <= int(first) < RESET_CYCLES + 20
    low_bits = ~(words[-1] + 1) & 3  # the board's LEDs light at a low level
    assert leds == f"{low_bits:02b}"
