"""The arithmetic of the PLLs, and the settings that are chosen."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.boards import BOARDS, Board, find_board
from hwgen.boards import pll as plls
from hwgen.boards.clocking import board_clock
from hwgen.boards.pll import ECP5_PLL, GW2A_PLL, ICE40_PAD_PLL, PllSetting, choose_setting
from hwgen.errors import ResourceError

_BOARDS = [find_board(name) for name in ("icebreaker", "tang-nano-9k", "tang-nano-20k")]
_MHZ = 1_000_000


def test_formulas_are_those_of_published_settings() -> None:
    """Settings that icepll, ecppll and Gowin's editor print for these clocks."""
    ice40 = PllSetting(ICE40_PAD_PLL, 12 * _MHZ, 1, 64, 8)
    assert (ice40.pfd_hz, ice40.vco_hz, ice40.output_hz) == (12e6, 768e6, 96e6)
    ecp5 = PllSetting(ECP5_PLL, 25 * _MHZ, 1, 24, 12)
    assert (ecp5.pfd_hz, ecp5.vco_hz, ecp5.output_hz) == (25e6, 600e6, 50e6)
    gowin = PllSetting(GW2A_PLL, 27 * _MHZ, 1, 4, 8)
    assert (gowin.pfd_hz, gowin.vco_hz, gowin.output_hz) == (27e6, 864e6, 108e6)


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-25f", "tang-nano-9k", "tang-nano-20k"])
def test_every_setting_keeps_within_the_bounds(name: str) -> None:
    board = find_board(name)
    every = list(plls.settings(board.pll, board.clock_hz))
    assert len(every) > 100
    assert len(set(every)) == len(every)
    for found in every:
        assert board.pll.pfd_mhz[0] * _MHZ <= found.pfd_hz <= board.pll.pfd_mhz[1] * _MHZ
        assert board.pll.vco_mhz[0] * _MHZ <= found.vco_hz <= board.pll.vco_mhz[1] * _MHZ
        assert board.pll.output_mhz[0] * _MHZ <= found.output_hz <= board.pll.output_mhz[1] * _MHZ


@settings(max_examples=20, derandomize=True, deadline=None)
@given(board=st.sampled_from(_BOARDS), target=st.integers(17_000, 270_000))
def test_no_other_setting_comes_closer_from_below(board: Board, target: int) -> None:
    found = choose_setting(board.pll, board.clock_hz, target / 1000)
    assert found.output_hz <= target * 1000
    pll = board.pll
    for reference in pll.reference:
        for feedback in pll.feedback:
            ratio = Fraction(board.clock_hz * feedback, reference)
            for output in pll.output:
                vco, clock = (
                    (ratio, ratio / output) if pll.loop == "vco" else (ratio * output, ratio)
                )
                legal = (
                    pll.pfd_mhz[0] * _MHZ * reference <= board.clock_hz
                    and pll.vco_mhz[0] * _MHZ <= vco <= pll.vco_mhz[1] * _MHZ
                    and pll.output_mhz[0] * _MHZ <= clock <= target * 1000
                )
                assert not legal or clock <= found.output_hz


def test_clocks_that_exist_are_met() -> None:
    for name, mhz in (("icebreaker", 48), ("ulx3s-85f", 80), ("colorlight-i9", 62.5)):
        assert board_clock(find_board(name), mhz).hz == mhz * _MHZ
    clock = board_clock(find_board("tang-nano-9k"), 50)
    assert (clock.hz, clock.reset_cycles) == (49_500_000, 248)


def test_the_oscillator_needs_no_pll() -> None:
    for board in BOARDS.values():
        assert board_clock(board) == board_clock(board, board.clock_hz / 1e6)
        assert board_clock(board).setting is None
    assert board_clock(find_board("icebreaker")).reset_cycles == 64


@pytest.mark.parametrize("mhz", [1, 15.9, 276])
def test_clocks_that_the_pll_cannot_make_are_refused(mhz: float) -> None:
    with pytest.raises(
        ResourceError,
        match=r"^The clock must be .* 12 MHz, or what its PLL makes, 16.125 to 270 MHz: not \d",
    ):
        board_clock(find_board("icebreaker"), mhz)
