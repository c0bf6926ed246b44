# amaranth: UnusedElaboratable=no
"""What synthesis makes of the blocks' memories, and that it finds no multiplier."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil

from hwgen.integer.types import Conv
from hwgen.numeric import Range
from hwgen.stream.branch import Buffer
from hwgen.stream.common import pixel_layout
from hwgen.stream.dense import Dense
from hwgen.toolchain.yosys import run_yosys


def _cells(block, family: str, directory: Path) -> dict[str, int]:
    """Cells after the memories were mapped; one entry a type."""
    ports = [port for stream in (block.i, block.o) for port in (stream.valid, stream.ready)]
    ports += [block.i.payload.as_value(), block.o.payload.as_value()]
    text = rtlil.convert(block, ports=ports, name="top")
    (directory / "block.il").write_text(text, encoding="utf-8")
    script = [
        "read_rtlil block.il",
        f"synth_{family} -top top -run begin:map_ffram",
        "flatten",
        "tee -o cells.txt stat",
    ]
    run_yosys(script, directory=directory)
    report = (directory / "cells.txt").read_text(encoding="utf-8")
    return {name: int(count) for count, name in re.findall(r"(\d+) +([$\\\w]+)$", report, re.M)}


@pytest.mark.parametrize(("family", "ram"), [("ice40", "SB_RAM40_4K"), ("ecp5", "DP16KD")])
def test_codes_lie_in_block_ram(family: str, ram: str, tmp_path: Path) -> None:
    """5,120 weights in codes of 6 bits; the frames, 2 x 16 words of 128 bits, where they fit."""
    weight = np.random.default_rng(0).integers(-8, 9, (20, 16, 4, 4))
    block = Dense(
        Conv(weight, np.zeros(20)), ranges=[Range(-128, 127)] * 16, shape=(16, 4, 4), lanes=4
    )
    cells = _cells(block, family, tmp_path)
    bits = weight.size * block.code.width
    capacity = {"ice40": 4096, "ecp5": 18 * 1024}[family]
    assert -(-bits // capacity) <= cells[ram] <= -(-bits // capacity) + 10
    assert not any("mul" in name.lower() or "macc" in name.lower() for name in cells), cells


@pytest.mark.parametrize(("family", "ram"), [("ice40", "SB_RAM40_4K"), ("ecp5", "DP16KD")])
def test_deep_buffer_lies_in_block_ram(family: str, ram: str, tmp_path: Path) -> None:
    cells = _cells(Buffer(pixel_layout([Range(0, 255)] * 2), 257), family, tmp_path)
    assert cells[ram] == 1
