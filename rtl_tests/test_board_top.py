"""The board's top module around a small core, pin by pin: as Verilog, and as netlists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgen.boards import Board, find_board
from hwgen.boards.top import link_rate, top_name, top_verilog
from hwgen.errors import LinkError, ResourceError, UnsupportedError
from hwgen.link.driver import Link
from hwgen.link.payload import PixelFrames, design_info
from hwgen.link.simulated import simulated_board, simulated_spi
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.gates import netlist_to_verilog
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

_CORE = """
module plus(input clk, input rst, input [23:0] i__payload, input i__valid, output i__ready,
            output reg [11:0] o__payload, output reg o__valid, input o__ready);
  assign i__ready = ~o__valid | o__ready;
  always @(posedge clk) begin
    if (i__ready) begin
      o__valid <= i__valid;
      o__payload <= i__payload[23:16] + i__payload[15:8] + i__payload[7:0];
    end
    if (rst) o__valid <= 0;
  end
endmodule
"""

_DESIGN = StreamDesign(
    "plus",
    _CORE,
    (3, 2, 4),
    PixelLayout(((8, False),) * 3),
    (1, 2, 4),
    PixelLayout(((12, False),)),
)
_LARGE = (1, 257, 256)
_SUM = """
module sum(input clk, input rst, input [7:0] i__payload, input i__valid, output i__ready,
           output reg [23:0] o__payload, output o__valid, input o__ready);
  reg [16:0] seen;
  assign i__ready = seen != 65792;
  assign o__valid = seen == 65792;
  always @(posedge clk)
    if (rst | (o__valid & o__ready)) begin
      seen <= 0;
      o__payload <= 0;
    end else if (i__valid & i__ready) begin
      seen <= seen + 1;
      o__payload <= o__payload + i__payload;
    end
endmodule
"""
_BAUD = 3_000_000  # 4 cycles a bit at 12 MHz


@contextmanager
def _spi_board(build_dir: Path) -> Iterator[Link]:
    """A link to an iCEBreaker with the core, over SPI."""
    name = top_name(_DESIGN)
    verilog = _CORE + top_verilog(_DESIGN, find_board("icebreaker"), link="spi")
    with (
        simulated_board(verilog, top=name, divisor=None, build_dir=build_dir) as port,
        Link(simulated_spi(port), timeout=20, retries=1) as link,
    ):
        yield link


@contextmanager
def _board(form: str, build_dir: Path, design: StreamDesign = _DESIGN) -> Iterator[Link]:
    """A link to an iCEBreaker with the core, simulated as it was written or as a netlist."""
    board = find_board("icebreaker")
    name = top_name(design)
    verilog = design.verilog + top_verilog(design, board, baud=_BAUD)
    if form != "verilog":
        job = SynthesisJob({"top.v": verilog}, name, form, build_dir / form)
        (result,) = synthesise(job)
        verilog = netlist_to_verilog(result.netlist, top=name, family=form)
    with (
        simulated_board(verilog, top=name, divisor=4, build_dir=build_dir) as port,
        Link.open(port, baud=_BAUD, timeout=60, retries=0) as link,
    ):
        yield link


@pytest.mark.parametrize("form", ["verilog", "ice40"])
def test_images_go_through_the_pins(form: str, build_dir: Path) -> None:
    images = np.random.default_rng(3).integers(256, size=(5, 3, 2, 4))
    with _board(form, build_dir) as link:
        assert link.check(_DESIGN) == design_info(_DESIGN, 12_000_000)
        answers = list(link.run_all(PixelFrames(_DESIGN), images))
        again = link.run(PixelFrames(_DESIGN), images[0])
    assert len(answers) == len(images)
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_array_equal(answer.output, image.sum(axis=0, keepdims=True))
    np.testing.assert_array_equal(again.output, answers[0].output)
    # 8 pixels of 3 bytes of 10 bits of 4 cycles; from the first pixel on, and one cycle of latency
    assert {answer.cycles for answer in answers} == {7 * 3 * 10 * 4 + 2}


def test_images_go_over_spi(build_dir: Path) -> None:
    images = np.random.default_rng(3).integers(256, size=(4, 3, 2, 4))
    frames = PixelFrames(_DESIGN)
    with _spi_board(build_dir) as link:
        assert link.check(_DESIGN) == design_info(_DESIGN, 12_000_000)
        answers = list(link.run_all(frames, images))
        # what looks like the start of a frame takes what follows with it
        link._port.write(b"\xa5\x02\x01\x04\0\0")
        link._timeout = 0.5
        again = link.run(frames, images[0])
    found = np.stack([answer.output for answer in answers])
    np.testing.assert_array_equal(found, images.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(again.output, answers[0].output)
    assert again.tries == 2
    # 8 pixels of 3 bytes of 8 bits of 8 cycles, and a few where transfers meet
    assert {answer.cycles for answer in answers} == {7 * 3 * 8 * 8 + 2}


def test_spi_has_a_greatest_clock() -> None:
    assert link_rate("spi", 12_000_000) == 1_500_000
    assert link_rate("spi", 12_000_000, fastest=100_000) == 80_000
    assert link_rate("spi", 12_000_000, baud=9_600) == 9_600
    with pytest.raises(ResourceError, match=r"at most an eighth of the design's, 1,500,000 Hz"):
        top_verilog(_DESIGN, find_board("icebreaker"), link="spi", baud=2_000_000)


def test_an_image_may_have_more_than_65535_bytes(build_dir: Path) -> None:
    one = PixelLayout(((8, False),))
    design = StreamDesign("sum", _SUM, _LARGE, one, (1, 1, 1), PixelLayout(((24, False),)))
    image = np.random.default_rng(5).integers(256, size=_LARGE)
    with _board("verilog", build_dir, design) as link:
        assert link.check(design).image_bytes == 65_792
        answer = link.run(PixelFrames(design), image)
    assert answer.output.item() == image.sum()


def test_another_design_is_told_apart(build_dir: Path) -> None:
    other = replace(_DESIGN, verilog=_CORE.replace("plus", "minus"))
    with (
        _board("verilog", build_dir) as link,
        pytest.raises(LinkError, match=r"holds another design \(hash [0-9a-f]{16}, and plus has"),
    ):
        link.check(other)


def _slow(clock_hz: int) -> Board:
    return replace(find_board("icebreaker"), clock_hz=clock_hz)


def test_a_clock_must_give_the_baud_rate() -> None:
    with pytest.raises(ResourceError, match=r"of iCEBreaker, 12 MHz, must give .* not 7000000"):
        top_verilog(_DESIGN, find_board("icebreaker"), baud=7_000_000)
    with pytest.raises(ResourceError, match=r"must give the baud rate within 0.75 %"):
        top_verilog(_DESIGN, _slow(10_500_000), baud=1_000_000)


def test_images_larger_than_a_frame_are_refused() -> None:
    large = replace(_DESIGN, input_shape=(3, 2048, 4096))
    with pytest.raises(UnsupportedError, match=r"image of .* at most 16,777,215 .* 25,165,824"):
        top_verilog(large, find_board("icebreaker"))
    large = replace(_DESIGN, output_shape=(1, 4096, 2048))
    with pytest.raises(UnsupportedError, match=r"result of .* at most 16,777,215 .* 16,777,220"):
        top_verilog(large, find_board("icebreaker"))
