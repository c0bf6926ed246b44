"""The cycle model: in which cycle each unit takes and completes each instruction.

Every unit handles instructions in order, so the cycle of each event is the latest of those of a few
earlier ones, and a constant. The model is exact for any :class:`hwgen.nfu.timing.Timing`; its
effort is that of the instructions, however long their loads and runs are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from hwgen.errors import VerifyError
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import Instruction, Nfu1, Nfu2In
from hwgen.nfu.stages import drain_stage, read_stage, write_stage
from hwgen.nfu.timing import GATES, LOADS, Timing
from hwgen.numeric import IntArray

__all__ = ["CAUSES", "CycleCount", "Schedule", "Span", "Work", "count_cycles", "schedule"]

CAUSES = ("fetch", *LOADS, "nbout", "drain", "start", "nop")
"""Causes of stalls of the sequencer.

``fetch`` (no instruction is there: the start, a fence, the end), a load (``sb``, ``nbin``,
``table``), ``nbout`` (the store of the instruction before the one before), ``drain`` (partial sums
still in the pipeline), ``start`` (an instruction is taken after a wait), ``nop`` (an instruction
without a run).
"""

_PORTS = len(LOADS)
_FETCH, _FIRST_LOAD, _NBOUT = 0, 1, 1 + _PORTS
_DRAIN, _START, _NOP = _NBOUT + 1, _NBOUT + 2, _NBOUT + 3
_STORE = len(GATES) - 1


@dataclass(frozen=True, eq=False)
class Work:
    """What the model knows of a program of n instructions, the last of which is its end.

    Parameters
    ----------
    loads : int64 array (n, ports)
        Words to load through each port of :data:`hwgen.nfu.timing.LOADS`.
    rows : int64 array (n,)
        Cycles of the run, at least 1; 1 without a run.
    nop, partial, fence : bool array (n,)
        No run; a run that continues partial sums; a fence before the instruction.
    words : int64 array (n,)
        Words to store.
    """

    loads: IntArray
    rows: IntArray
    nop: npt.NDArray[np.bool_]
    partial: npt.NDArray[np.bool_]
    fence: npt.NDArray[np.bool_]
    words: IntArray

    @classmethod
    def of(cls, program: Sequence[Instruction]) -> Work:
        """That of a program; :class:`VerifyError` if none of its instructions ends it."""
        count = next((k + 1 for k, one in enumerate(program) if one.cp_end), None)
        if count is None:
            raise VerifyError("Program must end with an instruction that has the field CP end")

        def column(name: str) -> IntArray:
            return np.array([getattr(one, name) for one in program[:count]], dtype=np.int64)

        return cls.from_columns(column)

    @classmethod
    def from_columns(cls, column: Callable[[str], IntArray]) -> Work:
        """That of instructions whose fields ``name`` are ``column(name)``, int64 (n,)."""
        nop = column("nfu_op") == Nfu1.NOP
        positions = column("nbin_positions")
        words = positions * column("nbout_groups") * column("nbout_store")
        return cls(
            loads=np.stack([column(f"{port}_size") for port in LOADS], axis=1),
            rows=np.where(nop, 1, positions * column("sb_rows")),
            nop=nop,
            partial=column("nfu_in") == Nfu2In.NBOUT,
            fence=column("cp_fence") == 1,
            words=np.where(nop, 0, words),
        )


@dataclass(frozen=True)
class Span:
    """Cycles ``begin`` to ``end`` (inclusive) of a unit.

    ``unit`` is a load port, ``"run"`` or ``"store"``; ``cause`` is empty while it works: a load
    port from its request on, the run while rows are issued, the store from its first read of NBout
    on. Otherwise it is what the run waits for before ``instruction``, one of :data:`CAUSES`.
    """

    unit: str
    instruction: int
    begin: int
    end: int
    cause: str = ""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Cycles of the events of a program of n instructions.

    Parameters
    ----------
    work : Work
        The program.
    dispatched : int64 array (n,)
        The loaders and the sequencer can take the instruction from the next cycle on.
    taken, requested, loaded : int64 array (n, ports)
        A loader takes the instruction; memory takes its request; its last word comes. The last two
        are the cycle after the first where there is no load.
    started : int64 array (n,)
        The sequencer takes the instruction; its first row is issued in the next cycle.
    written : int64 array (n,)
        The last sums are written to NBout.
    storing, stored : int64 array (n,)
        The store takes the instruction; its last word goes to memory (the same without a store).
    stalls : int64 array (n + 1, causes)
        Cycles in which the sequencer waits before it takes each instruction, by the first cause
        that holds, and after the last.
    total : int
        Cycle in which ``done`` rises.
    """

    work: Work
    dispatched: IntArray
    taken: IntArray
    requested: IntArray
    loaded: IntArray
    started: IntArray
    written: IntArray
    storing: IntArray
    stored: IntArray
    stalls: IntArray
    total: int

    def spans(self) -> Iterator[Span]:
        """What each unit does, instruction by instruction."""
        free = 0
        for k, start in enumerate(self.started.tolist()):
            for p, port in enumerate(LOADS):
                if self.work.loads[k, p]:
                    yield Span(port, k, int(self.taken[k, p]) + 1, int(self.loaded[k, p]))
            yield from self._waits(k, free)
            free = start + int(self.work.rows[k]) + 1
            yield Span("run", k, start + 1, free - 1, CAUSES[_NOP] if self.work.nop[k] else "")
            if self.work.words[k]:
                yield Span("store", k, int(self.storing[k]) + 1, int(self.stored[k]))
        yield from self._waits(len(self.started), free)

    def _waits(self, instruction: int, begin: int) -> Iterator[Span]:
        for cause, cycles in zip(CAUSES[:_NOP], self.stalls[instruction].tolist(), strict=False):
            if cycles:
                yield Span("run", instruction, begin, begin + cycles - 1, cause)
                begin += cycles


@dataclass(frozen=True)
class CycleCount:
    """Cycles of a program.

    ``total`` is the cycle in which ``done`` rises. ``starts[k]`` is the cycle in which the
    sequencer takes instruction k; its first row is issued in the next. ``busy`` is the number of
    rows issued, ``stalls`` that of all other cycles by the first cause that holds, one of
    :data:`CAUSES`.
    """

    total: int
    starts: tuple[int, ...]
    busy: int
    stalls: dict[str, int]


def count_cycles(
    config: NfuConfig, program: Sequence[Instruction] | Work, timing: Timing | None = None
) -> CycleCount:
    """Cycles of ``program``, which :func:`hwgen.nfu.golden.execute` accepts.

    Raises
    ------
    VerifyError
        If the program does not end.
    """
    found = schedule(config, program, timing)
    stalls = dict(zip(CAUSES, found.stalls.sum(axis=0).tolist(), strict=True))
    busy = int(found.work.rows[~found.work.nop].sum())
    return CycleCount(found.total, tuple(found.started.tolist()), busy, stalls)


def schedule(
    config: NfuConfig, program: Sequence[Instruction] | Work, timing: Timing | None = None
) -> Schedule:
    """Cycles of all events of ``program``, on the default :class:`Timing` if there is none.

    Raises
    ------
    VerifyError
        If the program does not end.
    """
    work = program if isinstance(program, Work) else Work.of(program)
    timing = Timing() if timing is None else timing
    count = len(work.rows)
    events: IntArray = np.zeros((count, 5), dtype=np.int64)
    loads: IntArray = np.zeros((count, _PORTS, 3), dtype=np.int64)
    stalls: IntArray = np.zeros((count + 1, len(CAUSES)), dtype=np.int64)
    _fill(
        *(work.loads, work.rows, work.nop, work.partial, work.fence, work.words),
        *timing.tables,
        *(timing.latency, read_stage(), drain_stage(config), write_stage(config)),
        *(events, loads, stalls),
    )
    total = int(events[-1, _STORED]) + 1
    return Schedule(
        work=work,
        dispatched=events[:, _DISPATCHED],
        taken=loads[:, :, _TAKEN],
        requested=loads[:, :, _REQUESTED],
        loaded=loads[:, :, _LOADED],
        started=events[:, _STARTED],
        written=events[:, _WRITTEN],
        storing=events[:, _STORING],
        stored=events[:, _STORED],
        stalls=stalls,
        total=total,
    )


_DISPATCHED, _STARTED, _WRITTEN, _STORING, _STORED = range(5)
_TAKEN, _REQUESTED, _LOADED = range(3)


@numba.njit(cache=True)
def _open_cycle(
    before: tuple[IntArray, ...], at: tuple[IntArray, ...], gate: int, cycle: int, count: int
) -> int:
    """Cycle of the ``count``-th open one of a gate from ``cycle`` on."""
    period, opens = len(before[gate]), len(at[gate])
    k = before[gate][cycle % period] + count - 1
    return int((cycle // period + k // opens) * period + at[gate][k % opens])


@numba.njit(cache=True)
def _fill(
    sizes: IntArray,
    rows: IntArray,
    nop: npt.NDArray[np.bool_],
    partial: npt.NDArray[np.bool_],
    fence: npt.NDArray[np.bool_],
    words: IntArray,
    before: tuple[IntArray, ...],
    at: tuple[IntArray, ...],
    latency: int,
    read_after: int,
    drain_after: int,
    write_after: int,
    events: IntArray,
    loads: IntArray,
    stalls: IntArray,
) -> None:
    """Fill in the events. What one sees of another's event, it sees a cycle later."""
    ports = sizes.shape[1]
    fetched = 0
    for k in range(len(rows)):
        # dispatch: offered, all slots free, and at a fence nothing that is not stored
        dispatched = _open_cycle(before, at, 0, events[k - 1, _DISPATCHED] + 1 if k else 0, 1)
        if k:
            dispatched = max(dispatched, fetched + 1)
            for p in range(ports):
                dispatched = max(dispatched, loads[k - 1, p, _TAKEN] + 1)
            if fence[k]:
                dispatched = max(dispatched, events[k - 1, _STORED] + 1)
        events[k, _DISPATCHED] = dispatched
        # the sequencer's own slot is free when the run before has begun
        fetched = max(dispatched + 1, events[k - 1, _STARTED] + 1) if k else dispatched + 1

        for p in range(ports):
            taken = dispatched + 1
            if k:
                taken = max(taken, loads[k - 1, p, _LOADED] + 1)
            if k >= 2:
                # NBin and SB are read by the sequencer's pace, the table by that of the sums
                read = events[k - 2, _WRITTEN]
                if p < ports - 1:
                    read += read_after - write_after
                taken = max(taken, read + 1)
            requested = loaded = taken + 1
            if sizes[k, p]:
                requested = _open_cycle(before, at, 1 + p, taken + 1, 1)
                loaded = _open_cycle(before, at, 1 + ports + p, requested + latency, sizes[k, p])
            loads[k, p, _TAKEN] = taken
            loads[k, p, _REQUESTED] = requested
            loads[k, p, _LOADED] = loaded

        # the run may begin in the last cycle of the one before; it is decided a cycle ahead
        earliest = events[k - 1, _STARTED] + rows[k - 1] if k else -1
        started, waits = earliest, earliest + 1
        for cause in range(_START):
            until = -1
            if cause == _FETCH:
                until = fetched + 1
            elif cause < _NBOUT:
                until = loads[k, cause - _FIRST_LOAD, _LOADED] + 1
            elif cause == _NBOUT and k >= 2:
                until = events[k - 2, _STORED] + 1
            elif cause == _DRAIN and partial[k] and k:
                until = earliest + drain_after + 1
                if words[k - 1]:
                    until = max(until, events[k - 1, _STORED] + 1)
            started = max(started, until + 1)
            stalls[k, cause] = max(0, until + 1 - waits)
            waits += stalls[k, cause]
        stalls[k, _START] = started > earliest
        stalls[k, _NOP] = nop[k]
        events[k, _STARTED] = started
        events[k, _WRITTEN] = started + rows[k] + write_after

        # the store has taken over the run when that before is stored
        moved = max(started, events[k - 1, _STORED]) + 1 if k else started + 1
        storing = max(events[k, _WRITTEN], moved) + 1
        events[k, _STORING] = storing
        # NBout is read in the next cycle, and the word is there in that after it
        stored = storing
        if words[k]:
            stored = _open_cycle(before, at, _STORE, storing + 2, words[k])
        events[k, _STORED] = stored
    last = len(rows) - 1
    idle = events[last, _STARTED] + rows[last] + 1
    stalls[last + 1, _FETCH] = max(0, events[last, _STORED] + 1 - idle)
