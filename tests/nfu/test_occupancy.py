"""Words of the buffers over cycles: what a run reads was loaded, and what is stored was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nfu_networks import random_layers, suitable_config

from hwgen.nfu.chart import draw_trace, save
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import schedule
from hwgen.nfu.occupancy import Use, uses


def _words(use: Use, depth: int) -> set[int]:
    return {(use.first + k) % depth for k in range(use.words)}


@pytest.mark.parametrize("seed", range(5))
def test_words_are_there_before_they_are_used(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = suitable_config(rng)
    compiled = compile_network(random_layers(rng, layers=2, size=5), config)
    found = list(
        uses(config, compiled.program, compiled.memory.rows, schedule(config, compiled.program))
    )
    depths = {"sb": config.sb_depth, "nbin": config.nbin_depth, "nbout": config.nbout_depth}
    for buffer, source, user in (
        ("sb", "load", "read"),
        ("nbin", "load", "read"),
        ("nbout", "write", "store"),
    ):
        mine = [use for use in found if use.buffer == buffer]
        users = [use for use in mine if use.what == user]
        assert users
        for use in users:
            before = [
                _words(u, depths[buffer]) for u in mine if u.what == source and u.end < use.begin
            ]
            assert _words(use, depths[buffer]) <= set().union(*before)
    assert all(use.begin <= use.end for use in found)


def test_chart(tmp_path: Path) -> None:
    """A picture of the part asked for, the same each time; other suffixes are refused."""
    rng = np.random.default_rng(1)
    config = suitable_config(rng)
    compiled = compile_network(random_layers(rng, layers=2, size=5), config)
    found = schedule(config, compiled.program)
    for name in ("a.svg", "b.svg", "c.png", "a.pdf"):
        figure = draw_trace(config, compiled.program, compiled.memory.rows, found, window=(5, 40))
        save(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"stall: " in (tmp_path / "a.svg").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"must be \.png, \.svg or \.pdf, not '\.gif2'"):
        save(figure, tmp_path / "d.gif2")
