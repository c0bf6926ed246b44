"""The cocotb bench: right designs pass, every fault is named, and nothing passes unseen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stream_designs import AT, SHAPE, Fault, faulty, faulty_images

from hwgen.errors import ToolError
from hwgen.sim.cosim import run_cocotb
from hwgen.sim.types import BenchResult, Difference, Stall

STALL = Stall(0.4, 0.4)


def run(fault: Fault, build_dir: Path, **options: object) -> BenchResult:
    """The result for the faulty module, with both taps compared."""
    images = faulty_images(fault)
    return run_cocotb(
        faulty(),
        images,
        images,
        seed=3,
        build_dir=build_dir,
        taps_expected={"first": images, "second": images},
        deadline=500,
        **{"stall": STALL, **options},
    )


def test_a_right_design_passes(build_dir: Path) -> None:
    result = run(Fault.NONE, build_dir)
    assert result.passed
    assert [(c.node, c.words_compared, c.words_differed) for c in result.layers] == [
        ("first", 24, 0),
        ("second", 24, 0),
        ("output", 24, 0),
    ]
    assert result.first_difference is None
    assert result.seed == 3
    assert result.cycles > 30


def test_cycles_are_those_of_the_other_bench(build_dir: Path) -> None:
    result = run(Fault.NONE, build_dir, stall=Stall())
    assert result.passed
    assert result.cycles == 25
    assert result.cycles_per_image == 12
