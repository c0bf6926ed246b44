"""The coefficients that are shipped, and what is made of them."""

import math

import pytest

from hwgen.boards import find_board
from hwgen.estimate.model import FLIP_FLOP, model_of, modelled_families, period
from hwgen.flow.estimation import device_speed


@pytest.mark.parametrize("family", modelled_families())
def test_coefficients_are_finite_and_not_negative(family: str) -> None:
    model = model_of(family)
    for found in (model.luts, model.ffs, model.lut_scale, model.ff_scale, model.slowness):
        assert all(math.isfinite(value) and value >= 0 for value in found.values())
    assert "*" in model.lut_scale
    assert "*" in model.ff_scale


@pytest.mark.parametrize("name", ["ulx3s-25f", "hx8k-evn", "icebreaker", "tang-nano-9k"])
def test_a_path_twice_as_long_halves_the_clock(name: str) -> None:
    board = find_board(name)
    clocks = [
        model_of(board.family).clock_mhz(path, 3000, device_speed(board))
        for path in (8, 16 + FLIP_FLOP)
    ]
    assert clocks[0] is not None
    assert clocks[1] is not None
    assert clocks[0] == pytest.approx(2 * clocks[1])


def test_paths_grow_with_half_of_the_side_of_a_design() -> None:
    assert period(8, 16 * 500) == pytest.approx(2 * period(8, 500))


def test_no_clock_of_a_device_that_was_not_measured() -> None:
    assert model_of("ice40").clock_mhz(8, 100, "lp384") is None
