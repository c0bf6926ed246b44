"""Small hand-written stream modules for the tests of the benches.

One module can misbehave in every way that a bench must notice: channel 1 of each pixel asks for
it, so that a single compiled simulator serves all these tests.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from hwgen.numeric import IntArray
from hwgen.stream.design import PixelLayout, StreamDesign, Tap

__all__ = ["AT", "FRAMES", "SHAPE", "Fault", "faulty", "faulty_images", "register_stage"]

SHAPE = (3, 3, 4)  # of the faulty module's frames
FRAMES = 2
AT = 7  # the word at which faults show


class Fault(IntEnum):
    """What the faulty module does wrong, as channel 1 asks for it."""

    NONE = 0
    WRONG = 1  # flips a bit of word AT
    HANGS = 2  # never accepts word AT
    EXTRA = 3  # repeats the last word
    DROPS_LAST = 4
    DROPS_ONE = 5  # loses word AT
    RETRACTS = 6  # lets valid fall before ready
    CHANGES = 7  # changes the payload before ready
    KEEPS = 8  # does not forget its word in reset
    TAP_WRONG = 9  # only the first tap shows a wrong word
    TAP_TWICE = 10  # the second tap shows the last word twice


_FAULTY = """
module faulty(
  input clk, input rst,
  input [16:0] i__payload, input i__valid, output i__ready,
  output [16:0] o__payload, output o__valid, input o__ready,
  output [16:0] tap0__payload, output tap0__valid,
  output [16:0] tap1__payload, output tap1__valid
);
  // bits 7:0 channel 0, unsigned; 11:8 channel 1, the fault; 16:12 channel 2, signed
  reg full = 0, again = 0, blink = 0, twice = 0;
  reg [16:0] data = 0;
  reg [31:0] accepted = 0, taken = 0;
  wire [3:0] fault = data[11:8];
  wire [3:0] next = i__payload[11:8];
  wire ce = ~full | o__ready;
  wire accept = i__valid & i__ready;
  wire take = o__valid & o__ready;
  wire lose = (next == 4 && accepted == LAST) || (next == 5 && accepted == AT);
  assign i__ready = ce & ~(next == 2 && accepted == AT);
  assign o__valid = (full & ~(fault == 6 && blink)) | again;
  assign o__payload = data ^ (fault == 1 && taken == AT ? 17'h1000 : fault == 7 ? blink : 17'h0);
  assign tap0__payload = i__payload ^ (next == 9 && accepted == AT ? 17'h80 : 17'h0);
  assign tap0__valid = accept;
  assign tap1__payload = o__payload;
  assign tap1__valid = take | twice;
  always @(posedge clk) begin
    again <= take & full & fault == 3 && taken == LAST;
    blink <= full & ~o__ready;
    twice <= take && fault == 10 && taken == LAST;
    accepted <= accepted + accept;
    taken <= taken + take;
    if (ce) begin
      full <= accept & ~lose;
      data <= i__valid ? i__payload : data;
    end
    if (rst) begin
      full <= fault == 8 & full;
      again <= 0;
      accepted <= 0;
      taken <= 0;
    end
  end
endmodule
"""


def faulty() -> StreamDesign:
    """The module that does wrong on request, with a tap at its input and one at its output."""
    layout = PixelLayout(((8, False), (4, False), (5, True)))
    last = FRAMES * SHAPE[1] * SHAPE[2] - 1
    verilog = _FAULTY.replace("LAST", str(last)).replace("AT", str(AT))
    taps = (Tap(0, "first", SHAPE, layout), Tap(1, "second", SHAPE, layout))
    return StreamDesign("faulty", verilog, SHAPE, layout, SHAPE, layout, taps)


def faulty_images(fault: Fault, seed: int = 5) -> IntArray:
    """FRAMES frames (N, 3, H, W) that ask for ``fault``."""
    rng = np.random.default_rng(seed)
    images = np.empty((FRAMES, *SHAPE), dtype=np.int64)
    images[:, 0] = rng.integers(0, 256, images[:, 0].shape)
    images[:, 1] = fault
    images[:, 2] = rng.integers(-16, 16, images[:, 2].shape)
    return images


def register_stage(
    layout: PixelLayout, *, height: int, width: int, stages: int = 1, name: str = "stage"
) -> StreamDesign:
    """Register stages under one clock enable that pass frames of ``layout`` on, unchanged."""
    top, last = layout.width - 1, stages - 1
    verilog = f"""
module {name}(
  input clk, input rst,
  input [{top}:0] i__payload, input i__valid, output i__ready,
  output [{top}:0] o__payload, output o__valid, input o__ready
);
  reg [{last}:0] full = 0;
  reg [{top}:0] data [0:{last}];
  integer k;
  assign o__valid = full[{last}];
  assign o__payload = data[{last}];
  assign i__ready = ~o__valid | o__ready;
  always @(posedge clk) begin
    if (i__ready) begin
      full <= {{full, i__valid}};
      data[0] <= i__payload;
      for (k = 1; k < {stages}; k = k + 1) data[k] <= data[k - 1];
    end
    if (rst) full <= 0;
  end
endmodule
"""
    shape = (len(layout.channels), height, width)
    return StreamDesign(name, verilog, shape, layout, shape, layout)
