"""The cycle model: figures counted by hand, timings, and what it says of each unit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.errors import VerifyError
from hwgen.nfu.assembler import assemble
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import Span, Work, count_cycles, schedule
from hwgen.nfu.timing import GATES, LOADS, Timing, rate

_LOAD = "SB size=2 rows=2 | NBIN size=2 positions=1 | NBOUT groups=1 store=1 target=8 | NFU op=MULT"


def test_cycles_of_a_run() -> None:
    """Counted by hand: dispatch, slot, request, latency, words; then rows, pipeline, store."""
    config = NfuConfig(nfu3_lanes=4)
    program = assemble(f"{_LOAD.replace('positions=1', 'positions=3')}\nCP end=1")
    count = count_cycles(config, program)
    # 0 dispatch, 1 load taken, 2 request, 3 and 4 words, 5 seen, 6 start, 7 to 12 rows; 12 start
    assert count.starts == (6, 12)
    assert count.busy == 6
    # the last row's sums are written 16 cycles later (12 + 2 levels + 2 levels); 29 store taken,
    # 30 first read, 31 to 33 words; 34 the end's run takes its place, 35 its store is taken
    assert count.total == 36
    assert count.total == count.busy + sum(count.stalls.values())


def test_runs_follow_without_a_gap() -> None:
    """Loads for the next run are hidden behind a run that is long enough."""
    config = NfuConfig(nbin_depth=16, nfu3_lanes=4)
    line = (
        "SB size=2 rows=2 target={sb} address={sb} | NBIN size=4 target={n} address={n} "
        "positions=12 | NBOUT groups=1 address={n} | NFU op=MULT"
    )
    lines = [line.format(sb=2 * (k % 2), n=8 * (k % 2)) for k in range(6)]
    program = assemble("\n".join([*lines, "CP end=1"]))
    count = count_cycles(config, program)
    assert np.diff(count.starts[:6]).tolist() == [24] * 5


def _work(rng: np.random.Generator, count: int) -> Work:
    nop = rng.random(count) < 0.2
    return Work(
        loads=rng.integers(0, 9, (count, 3)) * (rng.random((count, 3)) < 0.6),
        rows=np.where(nop, 1, rng.integers(1, 30, count)),
        nop=nop,
        partial=rng.random(count) < 0.3,
        fence=rng.random(count) < 0.2,
        words=np.where(nop, 0, rng.integers(0, 9, count)),
    )


@given(st.integers(0, 1 << 32))
@settings(derandomize=True, max_examples=40)
def test_random_work(seed: int) -> None:
    """Words move in open cycles alone, and what each unit does fills its cycles without overlap."""
    rng = np.random.default_rng(seed)
    patterns = {name: np.append(rng.random(20) < rng.random(), True) for name in GATES}
    timing = Timing(int(rng.integers(1, 5)), patterns)
    work, config = _work(rng, 12), NfuConfig()
    found = schedule(config, work, timing)

    def opens(name: str, begin: int, end: int) -> int:
        assert timing.is_open(name, end)
        return sum(timing.is_open(name, cycle) for cycle in range(begin, end + 1))

    for k, p in np.argwhere(work.loads).tolist():
        requested, loaded = int(found.requested[k, p]), int(found.loaded[k, p])
        assert opens(f"{LOADS[p]}_request", int(found.taken[k, p]) + 1, requested) == 1
        words = opens(f"{LOADS[p]}_words", requested + timing.latency, loaded)
        assert words == work.loads[k, p]
    for k in np.flatnonzero(work.words).tolist():
        words = opens("store", int(found.storing[k]) + 2, int(found.stored[k]))
        assert words == work.words[k]

    spans = list(found.spans())
    for unit in (*LOADS, "run", "store"):
        own = [span for span in spans if span.unit == unit]
        assert all(span.begin <= span.end for span in own)
        assert all(a.end < b.begin for a, b in itertools.pairwise(own))
    runs = [span for span in spans if span.unit == "run"]
    assert [span.begin for span in runs] == [0, *(span.end + 1 for span in runs[:-1])]
    assert runs[-1].end == found.total - 1
    count = count_cycles(config, work, timing)
    assert count.total == count.busy + sum(count.stalls.values())


def test_spans() -> None:
    config = NfuConfig(nfu3_lanes=4)
    found = schedule(config, assemble(f"{_LOAD}\nCP end=1"))
    assert list(found.spans()) == [
        Span("sb", 0, 2, 4),
        Span("nbin", 0, 2, 4),
        Span("run", 0, 0, 2, "fetch"),
        Span("run", 0, 3, 5, "sb"),
        Span("run", 0, 6, 6, "start"),
        Span("run", 0, 7, 8),
        Span("store", 0, 26, 27),
        Span("run", 1, 9, 9, "start"),
        Span("run", 1, 10, 10, "nop"),
        Span("run", 2, 11, 29, "fetch"),
    ]


@pytest.mark.parametrize(("rows", "cycles"), [(1, 3), (2, 3), (3, 3), (4, 4)])
def test_short_runs(rows: int, cycles: int) -> None:
    """The next run is there three cycles after the one before began."""
    ones = np.ones(9, dtype=np.int64)
    never, none = ones < 0, np.zeros((9, 3), dtype=np.int64)
    work = Work(none, rows * ones, never, never, never, 0 * ones)
    assert np.diff(count_cycles(NfuConfig(nfu3_lanes=4), work).starts[:2]) == cycles


def test_long_runs_cost_no_more() -> None:
    """Rows are not counted one by one."""
    ones = np.ones(4, dtype=np.int64)
    work = Work(
        loads=64 * np.ones((4, 3), dtype=np.int64),
        rows=ones * 10**8,
        nop=ones < 0,
        partial=ones < 0,
        fence=ones < 0,
        words=ones,
    )
    count = count_cycles(NfuConfig(), work)
    assert count.busy == 4 * 10**8
    assert np.diff(count.starts).tolist() == [10**8] * 3


@pytest.mark.parametrize(("words", "cycles"), [(1, 1), (1, 4), (3, 4), (5, 7)])
def test_rate(words: int, cycles: int) -> None:
    pattern = rate(words, cycles)
    assert (len(pattern), pattern.sum()) == (cycles, words)
    gaps = np.diff(np.flatnonzero(np.tile(pattern, 2)))
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def test_bad_timings() -> None:
    with pytest.raises(ValueError, match="Latency must be at least 1, not 0"):
        Timing(0)
    with pytest.raises(ValueError, match=r"Port must be one of instructions, .*, not 'loads'"):
        Timing(patterns={"loads": np.ones(1, dtype=np.bool_)})
    with pytest.raises(ValueError, match="Pattern of port store must have an open cycle"):
        Timing(patterns={"store": np.zeros(3, dtype=np.bool_)})
    with pytest.raises(ValueError, match="Rate must be from 1 to 4 words in 4 cycles, not 5"):
        rate(5, 4)


def test_programs_end() -> None:
    with pytest.raises(VerifyError, match="Program must end"):
        count_cycles(NfuConfig(), assemble("CP"))
    both = [assemble(f"{_LOAD}\nCP end=1{rest}") for rest in ("", f"\n{_LOAD}")]
    assert count_cycles(NfuConfig(), both[0]) == count_cycles(NfuConfig(), both[1])
