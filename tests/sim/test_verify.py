"""Verification of a small network's hand-written design, right and wrong, in both modes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import VerifyError
from hwgen.integer.types import Conv, IntegerNetwork, IntNode, Requantise
from hwgen.numeric import FixedFormat, Range
from hwgen.serial import dumps, loads
from hwgen.sim import verify as module
from hwgen.sim.golden import run
from hwgen.sim.types import Difference, LayerCheck, Stall, VerifyReport
from hwgen.sim.verify import Mode, verify
from hwgen.stream.design import PixelLayout, StreamDesign, Tap

SUMS = (Range(-16, 14), Range(-14, 16))
OUT = (Range(0, 7), Range(0, 7))

NETWORK = IntegerNetwork(
    name="sums",
    input_name="x",
    input_shape=(2, 3, 4),
    input_format=FixedFormat(4, 2, True),
    nodes=(
        IntNode(
            name="sum",
            op=Conv(np.array([1, 1, 1, -1]).reshape(2, 2, 1, 1), np.array([0, 1])),
            inputs=("x",),
            shape=(2, 3, 4),
            ranges=SUMS,
            scale=(0.25, 0.25),
            origin="conv1",
        ),
        IntNode(
            name="relu",
            op=Requantise(np.ones((2, 1, 1)), np.ones((2, 1, 1)), 0, 7),
            inputs=("sum",),
            shape=(2, 3, 4),
            ranges=OUT,
            scale=(0.5, 0.5),
            origin="conv1",
        ),
    ),
    output="relu",
)

VERILOG = """
module sums(
  input clk, input rst,
  input [7:0] i__payload, input i__valid, output i__ready,
  output [5:0] o__payload, output o__valid, input o__ready,
  output [10:0] tap0__payload, output tap0__valid
);
  wire signed [3:0] a = i__payload[3:0], b = i__payload[7:4];
  reg signed [4:0] s;
  reg signed [5:0] d;
  reg [2:0] p, q;
  reg first = 0, second = 0;
  wire ce = ~second | o__ready;
  wire signed [4:0] t = (s + 5'sd1) >>> 1;
  wire signed [5:0] u = (d + 6'sd1) >>> 1;
  assign i__ready = ce;
  assign o__valid = second;
  assign o__payload = {q, p};
  assign tap0__payload = {d, s};
  assign tap0__valid = first & ce;
  always @(posedge clk) begin
    if (ce) begin
      first <= i__valid;
      second <= first;
      s <= a + b;
      d <= a - b + 1;
      p <= t < 0 ? 0 : t > 7 ? 7 : t;
      q <= u < 0 ? 0 : u > 7 ? 7 : u;
    end
    if (rst) begin
      first <= 0;
      second <= 0;
    end
  end
endmodule
"""

DESIGN = StreamDesign(
    name="sums",
    verilog=VERILOG,
    input_shape=(2, 3, 4),
    input_layout=PixelLayout(((4, True), (4, True))),
    output_shape=(2, 3, 4),
    output_layout=PixelLayout.from_ranges(OUT),
    taps=(Tap(0, "sum", (2, 3, 4), PixelLayout.from_ranges(SUMS)),),
)


def every_pixel() -> np.ndarray:
    """Images (22, 2, 3, 4) with all 256 pairs of inputs, the last ones repeated."""
    pairs = np.stack(np.meshgrid(np.arange(-8, 8), np.arange(-8, 8))).reshape(2, -1)
    pairs = np.concatenate([pairs, pairs[:, -8:]], axis=1)
    return pairs.reshape(2, 22, 3, 4).transpose(1, 0, 2, 3) / 4


def mutant(*changes: tuple[str, str]) -> StreamDesign:
    """The design with a mistake in it."""
    verilog = VERILOG
    for old, new in changes:
        assert verilog.count(old) == 1
        verilog = verilog.replace(old, new)
    return replace(DESIGN, verilog=verilog)


@pytest.mark.parametrize(("mode", "layers"), [("cocotb", True), ("fast", True), ("fast", False)])
def test_a_right_design_passes(mode: Mode, layers: bool, build_dir: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(
        NETWORK,
        DESIGN,
        every_pixel(),
        mode=mode,
        layers=layers,
        build_dir=build_dir,
        seed=4,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert report.passed
    assert (report.mode, report.images, report.seed) == (mode, 22, 4)
    assert report.layers == (LayerCheck("sum", 264, 0),) * layers + (LayerCheck("relu", 264, 0),)
    words = 528 if layers else 264
    assert report.summary == f"22 images verified, {words} words compared, 0 differed"
    assert report.stall == Stall(0.25, 0.25)
    assert report.waveform is None
    assert report.cycles > 300
    assert "Verilator" in report.simulator
    assert seen[-1] == (22, 22)
    classes = (VerifyReport, LayerCheck, Stall, Difference)
    assert loads(dumps(report), classes, VerifyReport) == report


@pytest.mark.parametrize("mode", ["cocotb", "fast"])
def test_the_first_wrong_layer_is_named_and_recorded(mode: Mode, build_dir: Path) -> None:
    report = verify(
        NETWORK,
        mutant(("a - b + 1", "a - b")),
        every_pixel(),
        mode=mode,
        layers=True,
        build_dir=build_dir,
    )
    found = report.first_difference
    assert not report.passed
    assert found is not None
    assert found.cycle is not None
    assert found == Difference("sum", 0, 1, 0, 0, 1, 0, found.cycle)
    assert report.layers[0].words_differed == 264
    assert report.summary.endswith(
        "first sum: image 0, channel 1, row 0, column 0: expected 1, got 0"
    )
    assert report.waveform is not None
    wave = Path(report.waveform).read_text()
    assert "tap0__payload" in wave
    assert wave.count("\n#") > 20  # times at which something changed


def test_a_difference_late_in_the_set_is_located(
    build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)
    images = every_pixel()
    q = NETWORK.input_format.quantise(images)
    golden = run(NETWORK, q)
    report = verify(
        NETWORK,
        mutant(("t > 7 ? 7", "t == 7 ? 6")),
        images,
        mode="fast",
        build_dir=build_dir,
        waves=False,
    )
    wrong = np.argwhere(golden[:, 0] == 7)
    frame, row, column = wrong[0].tolist()
    assert frame > 3
    found = report.first_difference
    assert found is not None
    assert found == Difference("relu", frame, 0, row, column, 7, 6, found.cycle)
    assert report.layers == (LayerCheck("relu", 264, len(wrong), found),)
    assert report.waveform is None


def test_a_late_difference_is_recorded_from_its_image_on(
    build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 12)
    report = verify(
        NETWORK,
        mutant(("t > 7 ? 7", "t == 7 ? 6")),
        every_pixel(),
        mode="fast",
        build_dir=build_dir,
    )
    found = report.first_difference
    assert found is not None
    assert found.cycle is not None
    assert report.waveform is not None
    times = [
        int(line[1:])
        for line in Path(report.waveform).read_text().splitlines()
        if line.startswith("#")
    ]
    edge = 10 * (found.cycle + 3) + 5  # three cycles of reset come first
    assert edge in times
    assert edge - 10 * 40 < times[1] < edge < times[-1] < edge + 10 * 20


@pytest.mark.parametrize(("mode", "chunk"), [("fast", 100), ("fast", 3)])
def test_a_design_that_hangs_is_reported(
    mode: Mode, chunk: int, build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    report = verify(
        NETWORK,
        mutant(
            ("assign i__ready = ce;", "assign i__ready = ce & a != 7;"),
            ("first <= i__valid;", "first <= i__valid & i__ready;"),
        ),
        every_pixel(),
        mode=mode,
        build_dir=build_dir,
        deadline=300,
        jobs=2,
    )
    assert not report.passed
    assert report.words_differed == 0
    assert report.fault is not None
    words = min(264, 12 * chunk)
    assert report.fault.startswith(
        f"The output stopped after 15 of {words} words, the last image 1"
    )
    assert report.summary == report.fault


def test_a_design_of_another_network_is_refused(build_dir: Path) -> None:
    cases = [
        (replace(DESIGN, taps=()), True, "Design sums has no taps, so its layers cannot be"),
        (replace(DESIGN, output_shape=(2, 4, 3)), False, r"Stream o carries frames of shape"),
        (
            replace(DESIGN, output_layout=PixelLayout(((3, False), (2, False)))),
            False,
            r"Channel 1 of stream o has 2 bits, too few for 0 \.\. 7 of 'relu'",
        ),
        (
            replace(DESIGN, input_layout=PixelLayout(((4, True), (4, False)))),
            False,
            r"Channel 1 of stream i has 4 bits, too few for -8 \.\. 7 of 'x'",
        ),
        (
            replace(DESIGN, taps=(replace(DESIGN.taps[0], node="y"),)),
            True,
            "Stream tap0 shows 'y', which the network does not have",
        ),
    ]
    for design, layers, message in cases:
        with pytest.raises(VerifyError, match=message):
            verify(NETWORK, design, every_pixel(), layers=layers, build_dir=build_dir)


def test_the_mode_must_be_known(build_dir: Path) -> None:
    with pytest.raises(ValueError, match="Mode must be 'cocotb' or 'fast', not 'slow'"):
        verify(NETWORK, DESIGN, every_pixel(), mode="slow", build_dir=build_dir)  # type: ignore[arg-type]


def test_several_runs_at_a_time_find_the_same(
    build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4)
    seen: list[tuple[int, int]] = []
    for design in (DESIGN, mutant(("t > 7 ? 7", "t == 7 ? 6"))):
        reports = [
            verify(
                NETWORK,
                design,
                every_pixel(),
                mode="fast",
                layers=True,
                build_dir=build_dir,
                jobs=jobs,
                waves=False,
                progress=lambda done, of: seen.append((done, of)),
            )
            for jobs in (1, 2)
        ]
        assert reports[0] == reports[1]
        assert reports[0].passed == (design is DESIGN)
    assert seen[-1] == (22, 22)
