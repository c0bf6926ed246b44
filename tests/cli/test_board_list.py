"""``hwgen boards``: what a user wires to a board is in the list."""

from __future__ import annotations

import json
from collections.abc import Callable

from hwgen.boards import BOARDS

Call = Callable[..., tuple[int, str, str]]


def test_pins_of_both_links_are_named(hwgen: Call) -> None:
    status, out, _ = hwgen("boards")
    told = json.loads(hwgen("boards", "--json")[1])
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(rows) == set(told) == set(BOARDS)
    for name, board in BOARDS.items():
        spi = board.spi
        assert f"{board.uart.rx.site}/{board.uart.tx.site} " in rows[name]
        sites = (spi.cs.site, spi.copi.site, spi.cipo.site, spi.clk.site)
        assert f" {'/'.join(sites)} " in rows[name]
        assert board.connector in rows[name]
        assert told[name]["spi"]["cipo"] == spi.cipo.site
