# amaranth: UnusedElaboratable=no
"""Random programs on the NFU: words against the golden executor, cycles against the model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from nfubench import random_config, random_program, random_timing, run_nfu

from hwgen.nfu.config import DyadicLane, NfuConfig
from hwgen.nfu.core import Nfu
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.golden import execute
from hwgen.nfu.timing import Timing
from hwgen.nfu.verilog import emit
from hwgen.toolchain.synthesis import SynthesisJob, synthesise


def _check(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    program, image = random_program(config, rng, length=length)
    golden = execute(config, program, image)
    fetch, request, data, store = rng.choice([0.3, 0.7, 1.0], 4).tolist()
    timings = (
        Timing(latency=int(rng.integers(1, 4))),
        random_timing(seed, fetch=fetch, request=request, data=data, store=store),
    )
    for timing in timings:
        count = count_cycles(config, program, timing)
        run = run_nfu(config, program, image, timing, deadline=count.total + 200)
        assert run.stores == golden.stores
        assert len(golden.stores) > 0
        assert count.total == count.busy + sum(count.stalls.values())
        assert (run.starts, run.total) == (count.starts, count.total)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed: int) -> None:
    _check(seed, length=14)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_many_random_programs(seed: int) -> None:
    _check(seed, length=20)


@pytest.mark.parametrize("lane", [DyadicLane(1, 8), DyadicLane(3, 16)])
def test_no_multiplier(lane: DyadicLane) -> None:
    text = rtlil.convert(Nfu(NfuConfig(tn=2, ti=4, lane=lane, sb_depth=16)))
    assert "cell $add" in text
    assert not re.search(r"cell \$(mul|macc|div|mod|pow)", text)


def test_synthesis(tmp_path: Path) -> None:
    """Buffers become block RAM, and no signal that is an index becomes a multiplication."""
    config = NfuConfig(tn=2, ti=2, accumulator_width=16, product_width=32)
    verilog = emit(config, name="small")
    assert verilog.count("no_rw_check") == 5  # index words, SB, NBin, table, NBout
    (result,) = synthesise(SynthesisJob({"small.v": verilog}, "small", "ice40", tmp_path))
    # 9 + 20 bits of SB, 16 of NBin, 48 of the table, 32 of NBout, 16 a block
    assert result.area.brams == 1 + 2 + 1 + 3 + 2
