"""The boards: names, pins, constraint files."""

import dataclasses

import pytest
from amaranth_boards.icebreaker import ICEBreakerPlatform

from hwgen.boards import BOARDS, LINKS, Board, Pin, Wires, find_board
from hwgen.boards.constraints import constraints
from hwgen.boards.resources import connector_pins, resource_pins, uart_pins
from hwgen.errors import ResourceError


class _Bare:
    """A platform without anything."""

    resources: tuple[object, ...] = ()


_ALL = [pytest.param(board, id=name) for name, board in BOARDS.items()]


def test_names() -> None:
    assert list(BOARDS) == [
        *("ulx3s-25f", "ulx3s-45f", "ulx3s-85f", "colorlight-i5", "colorlight-i9"),
        *("tang-nano-9k", "tang-nano-20k", "hx8k-evn", "icebreaker"),
    ]
    assert all(board.name == name for name, board in BOARDS.items())


def test_boards_are_found_by_name_in_any_case() -> None:
    assert find_board("ULX3S-25F") is BOARDS["ulx3s-25f"]


def test_unknown_board_is_answered_with_the_names() -> None:
    with pytest.raises(
        ResourceError,
        match=r"^There is no board 'arty': choose one of ulx3s-25f, .*, hx8k-evn, icebreaker$",
    ):
        find_board("arty")


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("board", _ALL)
def test_every_port_has_a_pin_of_its_own(board: Board, link: Wires) -> None:
    sites = [pin.site for _, pin in board.ports(link)]
    assert len(set(sites)) == len(sites)
    text = constraints(board, link)
    form = {
        "ice40": " {} {}\n",  # behind set_io and its options
        "ecp5": 'LOCATE COMP "{}" SITE "{}";\n',
        "gowin": 'IO_LOC "{}" {};\n',
    }[board.family]
    for port, pin in board.ports(link):
        assert form.format(port, pin.site) in text
    assert len(board.ports(link)) == {"uart": 3, "spi": 5}[link] + len(board.leds)


@pytest.mark.parametrize("board", _ALL)
def test_boards_print_as_what_they_are(board: Board) -> None:
    assert hash(board) == hash(dataclasses.replace(board))
    assert board.name in repr(board)


def test_constraints_of_an_ecp5_board_set_the_buffers() -> None:
    lines = constraints(BOARDS["ulx3s-85f"]).splitlines()
    assert lines[:2] == [
        'LOCATE COMP "clk" SITE "G2";',
        'IOBUF PORT "clk" IO_TYPE=LVCMOS33;',
    ]
    assert 'LOCATE COMP "rx" SITE "M1";' in lines


def test_constraints_of_a_gowin_board_have_one_clause_a_line() -> None:
    lines = constraints(BOARDS["tang-nano-9k"]).splitlines()
    assert lines[:2] == ['IO_LOC "clk" 52;', 'IO_PORT "clk" IO_TYPE=LVCMOS33;']
    assert 'IO_PORT "led0" IO_TYPE=LVCMOS18;' in lines
    assert 'IO_PORT "rx" IO_TYPE=LVCMOS33 PULL_MODE=UP;' in lines
    assert all(line.count(";") == 1 for line in lines)


def test_constraints_of_an_ice40_board_pull_up_what_idles_high() -> None:
    text = constraints(BOARDS["icebreaker"])
    assert text.splitlines()[:2] == ["set_io clk 35", "set_io -pullup yes rx 6"]


def test_modules_on_the_same_extension_board_differ_in_part_and_light() -> None:
    small, large = BOARDS["colorlight-i5"], BOARDS["colorlight-i9"]
    assert (small.part, large.part) == ("LFE5U-25F", "LFE5U-45F")
    assert (small.leds[0].site, large.leds[0].site) == ("U16", "L2")
    assert (small.clock, small.spi, small.uart) == (large.clock, large.spi, large.uart)


def test_polarity_comes_from_the_platform() -> None:
    assert all(pin.invert for pin in BOARDS["icebreaker"].leds)
    assert not any(pin.invert for pin in BOARDS["hx8k-evn"].leds)


@pytest.mark.parametrize("board", _ALL)
def test_links_have_pins_of_their_own(board: Board) -> None:
    spi = (board.spi.cs, board.spi.copi, board.spi.cipo, board.spi.clk)
    pins = [board.clock, *board.leds, board.uart.rx, board.uart.tx, *spi]
    assert len({pin.site for pin in pins}) == len(pins)


def test_uart_is_seen_from_the_fpga() -> None:
    uart = BOARDS["ulx3s-85f"].uart
    assert (uart.rx.site, uart.tx.site) == ("M1", "L4")
    assert BOARDS["icebreaker"].uart.rx == Pin("6", (("IO_STANDARD", "SB_LVTTL"), ("PULLUP", "1")))


def test_what_a_platform_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="_Bare has no resource 'uart' 0"):
        uart_pins(_Bare)
    with pytest.raises(ValueError, match="ICEBreakerPlatform has no resource 'led' 7"):
        resource_pins(ICEBreakerPlatform, "led", 7)
    with pytest.raises(ValueError, match="ICEBreakerPlatform has no connector 'pmod' 9"):
        connector_pins(ICEBreakerPlatform, "pmod", 9, ("1",), {})
    with pytest.raises(ValueError, match="Connector 'pmod' 0 has no pin '11'"):
        connector_pins(ICEBreakerPlatform, "pmod", 0, ("1", "11"), {})
