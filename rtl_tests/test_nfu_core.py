# amaranth: UnusedElaboratable=no
"""Random programs on the NFU: words against the golden executor, cycles against the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from nfu_networks import function_case
from nfubench import random_config, random_program, random_timing, run_nfu

from hwgen.nfu.assembler import assemble
from hwgen.nfu.config import BinaryLane, DyadicLane, IntLane, NfuConfig, Segments
from hwgen.nfu.core import Nfu
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.golden import execute
from hwgen.nfu.isa import Instruction
from hwgen.nfu.memory import MemoryImage, pack_rows, pack_scales
from hwgen.nfu.timing import Timing
from hwgen.nfu.verilog import emit
from hwgen.toolchain.synthesis import SynthesisJob, synthesise


def _compare(
    config: NfuConfig,
    program: tuple[Instruction, ...],
    image: MemoryImage,
    timing: Timing,
    *,
    resets: Sequence[float] = (),
) -> None:
    """``resets`` are shares of the program's cycles."""
    golden = execute(config, program, image)
    count = count_cycles(config, program, timing)
    cycles = [int(share * count.total) for share in resets]
    deadline = count.total + 200
    run = run_nfu(config, program, image, timing, deadline=deadline, resets=cycles)
    assert run.stores == golden.stores
    assert len(golden.stores) > 0
    assert count.total == count.busy + sum(count.stalls.values())
    assert (run.starts, run.total) == (count.starts, count.total)


def _check(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    program, image = random_program(config, rng, length=length)
    fetch, request, data, store = rng.choice([0.3, 0.7, 1.0], 4).tolist()
    timings = (
        Timing(latency=int(rng.integers(1, 4))),
        random_timing(seed, fetch=fetch, request=request, data=data, store=store),
    )
    for timing in timings:
        _compare(config, program, image, timing)


@pytest.mark.parametrize("seed", range(10))
def test_random_programs(seed: int) -> None:
    _check(seed, length=14)


@pytest.mark.parametrize("seed", [1, 6, 11])
def test_reset_in_mid_run(seed: int) -> None:
    """After a reset at any time the program runs as ever, in as many cycles."""
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    program, image = random_program(config, rng, length=10)
    _compare(config, program, image, random_timing(seed), resets=rng.random(6).tolist())


def test_reset_within_a_group() -> None:
    """Sums that were under way are forgotten."""
    config = NfuConfig(tn=2, ti=2, nfu3_lanes=2)
    terms = np.ones((16, 2, 2, 1), dtype=np.int64)
    rows = pack_rows(config, terms, [0] * 16, [0] * 15 + [1])
    run = "SB size=16 rows=16 | NBIN size=8 positions=8 stride=1 | NBOUT groups=1 store=1 target=8"
    program = assemble(f"{run} | NFU op=MULT\nCP end=1")
    image = MemoryImage(rows, (0,), np.arange(32))
    for share in (0.45, 0.46, 0.6):
        _compare(config, program, image, Timing(), resets=[share])


@pytest.mark.parametrize("seed", range(8))
def test_functions(seed: int) -> None:
    case = function_case(np.random.default_rng(seed), staged=bool(seed % 2))
    _compare(case.config, case.program, case.image, Timing())


def test_runs_of_different_scales_without_a_gap() -> None:
    """Turns of the last group read the table when rows of the next run are under way."""
    config = NfuConfig(nfu3_lanes=1, nbout_depth=32, function=Segments(2, 12))
    ones = np.ones((4, 4, 4, 1), dtype=np.int64)
    scales = np.zeros((8, 1, config.scale_terms), dtype=np.int64)
    scales[:, 0, 0] = 1 << np.arange(8)
    image = MemoryImage(
        pack_rows(config, ones, [0] * 4, [0, 0, 0, 1]),
        pack_scales(config, scales, np.arange(8)[:, None]),
        np.arange(64),
    )
    run = "NBOUT groups=1 address={} store=1 target=4 | NFU op=MULT out=NFU3"
    lines = [
        "SB size=4 rows=4 | NBIN size=1 positions=1 | TABLE size=8 | NFU",
        *(
            f"SB rows=4 | NBIN positions=8 | TABLE {table} | {run.format(8 * k)}"
            for k, table in enumerate(["shared=1", "", "address=1 shared=1", ""])
        ),
        "CP end=1",
    ]
    _compare(config, assemble("\n".join(lines)), image, Timing())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_many_random_programs(seed: int) -> None:
    _check(seed, length=20)


@pytest.mark.parametrize("lane", [DyadicLane(1, 8), DyadicLane(3, 16), BinaryLane()])
def test_no_multiplier(lane: DyadicLane | BinaryLane) -> None:
    text = rtlil.convert(Nfu(NfuConfig(tn=2, ti=4, lane=lane, sb_depth=16)))
    assert "cell $add" in text
    assert not re.search(r"cell \$(mul|macc|div|mod|pow)", text)


def test_multipliers() -> None:
    """A lane of weights of any value has one, and no other part of the NFU has."""
    text = rtlil.convert(Nfu(NfuConfig(tn=2, ti=4, lane=IntLane(8), sb_depth=16)))
    assert len(re.findall(r"cell \$mul", text)) == 8


def test_synthesis(tmp_path: Path) -> None:
    """Buffers become block RAM, and no signal that is an index becomes a multiplication."""
    config = NfuConfig(
        tn=2, ti=2, accumulator_width=16, product_width=32, function=Segments(4, 9), maximum=True
    )
    verilog = emit(config, name="small")
    # index words, SB, NBin, table, NBout, two levels of a search
    assert verilog.count("no_rw_check") == 7
    (result,) = synthesise(SynthesisJob({"small.v": verilog}, "small", "ice40", tmp_path))
    # 9 + 20 bits of SB, 16 of NBin, 48 of the table, 32 of NBout, twice 9 of a search, 16 a block
    assert result.area.brams == 1 + 2 + 1 + 3 + 2 + 2
